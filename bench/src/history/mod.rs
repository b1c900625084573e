mod judge;
mod reference;
mod replay;
mod report;
mod select;

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::Trouble;
use crate::daemon::Program;
use crate::git;
use judge::{Judged, judge};
use reference::Answer;

/// Makes the newest true merges of repositories again, through the daemon, and holds every outcome
/// against what the maintainers and git made of the same two parents.
#[derive(Debug, clap::Parser)]
#[command(name = "real-history")]
pub struct RealHistory {
    /// Repositories, bare or not; nothing is written to them.
    #[arg(required = true, value_name = "REPO")]
    repositories: Vec<PathBuf>,
    /// How many merges of each are made again.
    #[arg(long, default_value_t = 150)]
    merges: usize,
    /// How many of them are announced to one daemon at a time, each with a target of its own.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    at_once: u16,
}

/// One repository, replayed.
struct Replayed {
    name: String,
    judged: Vec<Judged>,
    seconds: f64,
}

/// Prints the tables; false when something was not explained.
///
/// # Errors
/// When a repository cannot be read or the daemon, its server or git do not work.
pub async fn real_history(options: RealHistory) -> Result<bool, Trouble> {
    let program = Program::find()?;
    let mut all = Vec::new();
    for repository in &options.repositories {
        all.push(repository_replayed(&program, repository, &options).await?);
    }
    print!("{}", report::tables(&all));
    Ok(all.iter().flat_map(|r| &r.judged).all(Judged::is_explained))
}

async fn repository_replayed(
    program: &Program,
    repository: &Path,
    options: &RealHistory,
) -> Result<Replayed, Trouble> {
    let name = name_of(repository);
    let merges = select::newest_merges(repository, options.merges)?;
    eprintln!("{name}: {} merges", merges.len());
    let scratch = tempfile::tempdir()?;
    let reference = scratch.path().join("reference.git");
    git::create_bare(&reference, Some(repository))?;
    let answers: Vec<Answer> =
        merges.iter().map(|merge| reference::answer(&reference, merge)).collect::<Result<_, _>>()?;
    let remote = scratch.path().join("remote.git");
    git::create_bare(&remote, Some(repository))?;
    let mut replay = replay::Replay::begin(program, scratch.path(), &reference, &remote).await?;
    let began = Instant::now();
    let mut judged = Vec::new();
    let group = usize::from(options.at_once);
    for (merges, answers) in merges.chunks(group).zip(answers.chunks(group)) {
        let outcomes = replay.group(merges).await?;
        for ((merge, answer), outcome) in merges.iter().zip(answers).zip(outcomes) {
            judged.push(judge(&reference, merge, answer, outcome)?);
        }
        eprintln!("{name}: {} of {} made again", judged.len(), options.merges);
    }
    let seconds = began.elapsed().as_secs_f64();
    replay.end().await;
    Ok(Replayed { name, judged, seconds })
}

/// The directory's name; of `name/repo` and `name/.git` the outer one, with `+` as `/`.
pub(crate) fn name_of(repository: &Path) -> String {
    let inner = ["repo", ".git", "repo.git"];
    let parts: Vec<String> = repository
        .components()
        .map(|c| c.as_os_str().to_string_lossy().into_owned())
        .filter(|part| !inner.contains(&part.as_str()))
        .collect();
    let last = parts.last().map_or("repository", String::as_str);
    last.trim_end_matches(".git").replace('+', "/")
}
