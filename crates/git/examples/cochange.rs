//! How long it takes to read what used to change together, and what it says of two globs:
//! `cargo run --release -p yardmaster-git --example cochange -- REPO [GLOB GLOB]`.

use std::path::Path;
use std::time::Instant;

use yardmaster_git::{GitOptions, Mirror};
use yardmaster_protocol::{BranchName, Globs};

const COMMITS: usize = 2_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [repo, globs @ ..] = args.as_slice() else { return Err("give a repository".into()) };
    let branch = std::env::var("BRANCH").unwrap_or_else(|_| "main".to_owned());
    let dir = std::env::temp_dir().join(format!("cochange-{}", std::process::id()));
    let mirror = Mirror::open(Path::new(&dir), repo, GitOptions::default())?;
    let tip = mirror.look(&BranchName::new(branch)?, None, &[])?.tip;
    let started = Instant::now();
    let history = mirror.cochange(tip, COMMITS)?;
    println!(
        "{} commits, {} paths, read in {:.0?}",
        history.commits(),
        history.paths().count(),
        started.elapsed()
    );
    if let [first, second] = globs {
        let started = Instant::now();
        let [first, second] = [first, second].map(|glob| Globs::new([glob]).unwrap_or_default());
        let (first, second) = (history.select(|p| first.matches(p)), history.select(|p| second.matches(p)));
        println!("{:?} in {:.1?}", history.together(&first, &second), started.elapsed());
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
