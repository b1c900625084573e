//! How quick and how right the advice about definitions is, on history.

mod amended;
mod branches;
mod renames;
mod window;

use std::path::PathBuf;

use crate::Trouble;
use branches::Branches;

/// So many of the newest merges of each repository make up its window.
const WINDOW: usize = 300;
/// Among so many of the newest merges those are looked for that maintainers amended.
const SEARCHED: usize = 4_000;

pub(super) fn table(repositories: &[PathBuf]) -> Result<String, Trouble> {
    let mut windows = window::heading(WINDOW);
    let mut renames = renames::heading();
    let mut amended = amended::heading(SEARCHED);
    for repository in repositories {
        eprintln!("symbols: {}", repository.display());
        let branches = Branches::newest(repository, WINDOW)?;
        for (table, row) in [
            (&mut amended, amended::rows(&branches, SEARCHED)?),
            (&mut windows, window::row(&branches)?),
            (&mut renames, renames::row(&branches)?),
        ] {
            eprint!("{row}");
            table.push_str(&row);
        }
    }
    if repositories.is_empty() {
        windows.push_str("| (none: give --repository) |\n");
    }
    Ok(windows + &renames + &amended)
}
