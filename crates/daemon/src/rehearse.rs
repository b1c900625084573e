//! What would become of some branches, tried on a plain repository: the queue that serves, real merges, no
//! daemon and no NATS.

mod drive;
mod found;

use std::path::{Path, PathBuf};

use yardmaster_git::{GitError, GitOptions, Matrix, Mirror};
use yardmaster_protocol::{BranchName, CommitId, DefinitionsPolicy, Globs, Rehearsal, Rehearsed, RequestId};
use yardmaster_queue::Definitions;

use crate::settings::Settings;
use drive::Drive;
use found::Found;

/// The most branches that are tried together.
const MAX_BRANCHES: usize = 1_000;

/// What is to be tried.
#[derive(Debug, Clone)]
pub struct Rehearse {
    /// Somewhere in the repository.
    pub repository: PathBuf,
    /// Where the branches would land.
    pub target: BranchName,
    /// Branches or globs such as `roy/*`, in the order in which they would be announced; none: all of them.
    pub branches: Vec<String>,
}

/// Why nothing could be tried.
#[derive(Debug, thiserror::Error)]
pub enum RehearseError {
    /// The repository or a branch cannot be used.
    #[error("{0}")]
    Git(#[from] GitError),
    /// What was named does not exist.
    #[error("there is no branch `{0}`: name local branches, or globs such as 'roy/*'")]
    NoBranch(String),
    /// Nor does what they would land on.
    #[error("there is no branch `{0}` to land on: name the target with --target")]
    NoTarget(BranchName),
    /// A glob is not one.
    #[error("{0}")]
    BadGlob(String),
    /// More than are tried together.
    #[error("{found} branches are too many to be tried together: name at most {MAX_BRANCHES}")]
    TooMany {
        /// How many there are.
        found: usize,
    },
}

/// Tries it, in `scratch`, a directory that can be thrown away afterwards. Every gate counts as green. Nothing
/// is written to the repository. What definitions count for is what a daemon would read that was started where
/// `ask` points; where that cannot be read it is the default.
///
/// # Errors
/// When the repository, the target or a branch cannot be used.
pub fn rehearse(ask: &Rehearse, scratch: &Path) -> Result<Rehearsal, RehearseError> {
    let mirror = Mirror::borrowing(scratch, &ask.repository, GitOptions::default())?;
    let sighting = mirror.look(&ask.target, None, &[]).map_err(|why| match why {
        GitError::TargetMissing(target) => RehearseError::NoTarget(target),
        GitError::RemoteEmpty => RehearseError::NoTarget(ask.target.clone()),
        why => RehearseError::Git(why),
    })?;
    let chosen = chosen(&mirror, ask)?;
    let tip = sighting.tip;
    let (policy, settings_unread) = match Settings::definitions(&ask.repository) {
        Ok(policy) => (policy, None),
        Err(why) => (Definitions::Advise, Some(why.to_string())),
    };
    let mut drive = Drive::new(&mirror, &ask.target, sighting, policy);
    let requests = drive.announce(&chosen)?;
    // Pinned by now, all of them that can be had; each on the target as it was.
    let mut matrix = Matrix::new(tip);
    let heads: Vec<(RequestId, CommitId)> =
        requests.iter().zip(&chosen).filter_map(|(id, (_, head))| Some(((*id)?, *head))).collect();
    matrix.add_all(&mirror, &heads)?;
    let definitions = drive.read_definitions(tip);
    let ends = drive.run()?;
    let found = Found { chosen: &chosen, requests: &requests, matrix: &matrix, definitions };
    let mut branches: Vec<Rehearsed> =
        chosen.iter().enumerate().map(|(at, _)| found.branch(at, ends.of(&chosen[at].0))).collect();
    branches.sort_by_key(|one| (one.place.is_none(), one.place));
    Ok(Rehearsal {
        target: ask.target.clone(),
        tip,
        branches,
        pairs: found.pairs(),
        definitions_policy: match policy {
            Definitions::Off => DefinitionsPolicy::Off,
            Definitions::Advise => DefinitionsPolicy::Advise,
            Definitions::Enforce => DefinitionsPolicy::Enforce,
        },
        definitions: found.meetings(),
        definitions_unread: found.unread(),
        settings_unread,
    })
}

/// The branches that are tried, each once, in the order in which they were named.
fn chosen(mirror: &Mirror, ask: &Rehearse) -> Result<Vec<(BranchName, CommitId)>, RehearseError> {
    let there = mirror.branches()?;
    let all = vec!["**".to_owned()];
    let wanted = if ask.branches.is_empty() { &all } else { &ask.branches };
    let mut chosen: Vec<(BranchName, CommitId)> = Vec::new();
    for wish in wanted {
        let globs = Globs::new([wish]).map_err(RehearseError::BadGlob)?;
        let exact = there.iter().filter(|(branch, _)| branch.as_str() == wish);
        let mut found: Vec<_> = exact.collect();
        if found.is_empty() {
            found = there.iter().filter(|(branch, _)| globs.matches(branch.as_str())).collect();
        }
        if found.is_empty() {
            return Err(RehearseError::NoBranch(wish.clone()));
        }
        for (branch, head) in found {
            if *branch != ask.target && !chosen.iter().any(|(other, _)| other == branch) {
                chosen.push((branch.clone(), *head));
            }
        }
    }
    if chosen.len() > MAX_BRANCHES {
        return Err(RehearseError::TooMany { found: chosen.len() });
    }
    Ok(chosen)
}
