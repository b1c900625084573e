//! What would become of some branches, tried on a plain repository: the queue that serves, real merges, no
//! daemon and no NATS.

mod drive;

use std::path::{Path, PathBuf};

use serde::Serialize;
use yardmaster_git::{GitError, GitOptions, Matrix, Mirror, Verdict};
use yardmaster_protocol::{BranchName, CommitId, Globs, RequestId};

use drive::{Drive, End};

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

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rehearsal {
    /// Where they would land.
    pub target: BranchName,
    /// Its tip.
    pub tip: CommitId,
    /// First those that land, in that order, then the rest.
    pub branches: Vec<Rehearsed>,
    /// Which two meet.
    pub pairs: Vec<Met>,
}

/// One branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rehearsed {
    /// Which.
    pub branch: BranchName,
    /// Its head.
    pub head: CommitId,
    /// What would become of it.
    pub outcome: Outcome,
    /// Its place among those that land, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<u32>,
    /// Why it does not land, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The paths in which it conflicts with what lands before it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Those tried here with which it does not merge.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts_with: Vec<BranchName>,
    /// It does not merge with the target as it is now.
    pub conflicts_with_target: bool,
}

/// What would become of a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It lands.
    Lands,
    /// The target has it already.
    Contained,
    /// It is refused or fails.
    Fails,
    /// It waits for something that does not come by itself, such as a review.
    Waits,
}

/// Two branches that meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Met {
    /// The one.
    pub one: BranchName,
    /// The other.
    pub other: BranchName,
    /// They do not merge; otherwise both changed the paths, and merge.
    pub conflict: bool,
    /// Where, the first 20.
    pub paths: Vec<String>,
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
/// is written to the repository.
///
/// # Errors
/// When the repository, the target or a branch cannot be used.
pub fn rehearse(ask: &Rehearse, scratch: &Path) -> Result<Rehearsal, RehearseError> {
    let mirror = Mirror::borrowing(scratch, &ask.repository, GitOptions::default())?;
    let sighting = mirror.look(&ask.target, None, &[])?;
    let chosen = chosen(&mirror, ask)?;
    let tip = sighting.tip;
    let mut drive = Drive::new(&mirror, &ask.target, sighting);
    let requests = drive.announce(&chosen)?;
    // Pinned by now, all of them that can be had; each on the target as it was.
    let mut matrix = Matrix::new(tip);
    let heads: Vec<(RequestId, CommitId)> =
        requests.iter().zip(&chosen).filter_map(|(id, (_, head))| Some(((*id)?, *head))).collect();
    matrix.add_all(&mirror, &heads)?;
    let ends = drive.run()?;
    let found = Found { chosen: &chosen, requests: &requests, matrix: &matrix };
    let mut branches: Vec<Rehearsed> =
        chosen.iter().enumerate().map(|(at, _)| found.branch(at, ends.of(&chosen[at].0))).collect();
    branches.sort_by_key(|one| (one.place.is_none(), one.place));
    Ok(Rehearsal { target: ask.target.clone(), tip, branches, pairs: found.pairs() })
}

/// What was tried, and what is known of it.
struct Found<'a> {
    chosen: &'a [(BranchName, CommitId)],
    requests: &'a [Option<RequestId>],
    matrix: &'a Matrix,
}

impl Found<'_> {
    fn name(&self, id: RequestId) -> Option<BranchName> {
        let at = self.requests.iter().position(|other| *other == Some(id))?;
        self.chosen.get(at).map(|(branch, _)| branch.clone())
    }

    fn branch(&self, at: usize, end: End) -> Rehearsed {
        let (branch, head) = &self.chosen[at];
        let id = self.requests[at];
        let met = id.map(|id| self.matrix.meetings(id)).unwrap_or_default();
        let conflicts = met.iter().filter(|m| m.verdict == Verdict::Conflict);
        let standing = id.and_then(|id| self.matrix.against_target(id));
        Rehearsed {
            branch: branch.clone(),
            head: *head,
            outcome: end.outcome,
            place: end.place,
            why: end.why,
            paths: end.paths,
            conflicts_with: conflicts.filter_map(|m| self.name(m.with)).collect(),
            conflicts_with_target: standing.is_some_and(|s| s.verdict == Verdict::Conflict),
        }
    }

    /// Conflicts first.
    fn pairs(&self) -> Vec<Met> {
        let mut pairs = Vec::new();
        for id in self.requests.iter().flatten() {
            for met in self.matrix.meetings(*id).into_iter().filter(|met| met.with > *id) {
                if let (Some(one), Some(other)) = (self.name(*id), self.name(met.with)) {
                    let conflict = met.verdict == Verdict::Conflict;
                    pairs.push(Met { one, other, conflict, paths: met.paths });
                }
            }
        }
        pairs.sort_by_key(|met| !met.conflict);
        pairs
    }
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
