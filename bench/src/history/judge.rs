use std::collections::BTreeSet;
use std::path::Path;

use super::reference::{Answer, Conflict, differing};
use super::replay::Outcome;
use super::select::Merge;
use crate::Trouble;

/// The most paths that a request's event names.
const PATHS_TOLD: usize = 100;

/// How one merge compares.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Landed with the maintainers' tree, which is git's too.
    AsMaintainers,
    /// Landed with git's tree; the maintainers changed these paths by hand in their merge commit.
    Amended(Vec<String>),
    /// Failed with the paths that git sees in conflict.
    AsGitConflict,
    /// Anything else.
    Unexplained(String),
}

/// A merge with its verdict.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) merge: String,
    pub(super) verdict: Verdict,
}

impl Judged {
    pub(super) fn is_explained(&self) -> bool {
        !matches!(self.verdict, Verdict::Unexplained(_))
    }
}

pub(super) fn judge(
    repository: &Path,
    merge: &Merge,
    answer: &Answer,
    outcome: Outcome,
) -> Result<Judged, Trouble> {
    let verdict = match (answer, outcome) {
        (Answer::Clean(git), Outcome::Landed { tree, parents }) => {
            if parents != [merge.first, merge.second] {
                Verdict::Unexplained(format!("landed with the parents {parents:?}"))
            } else if tree != *git {
                Verdict::Unexplained(format!("landed with tree {tree}, but git's is {git}"))
            } else if tree == merge.tree {
                Verdict::AsMaintainers
            } else {
                Verdict::Amended(differing(repository, *git, merge.tree)?)
            }
        }
        (Answer::Conflict(conflict), Outcome::Conflict { paths }) => conflicts(conflict, &paths),
        (Answer::Clean(git), Outcome::Conflict { paths }) => {
            Verdict::Unexplained(format!("a conflict in {paths:?}, but git merges to {git}"))
        }
        (Answer::Conflict(conflict), Outcome::Landed { tree, .. }) => Verdict::Unexplained(format!(
            "landed with {tree}, but git sees a conflict in {:?}",
            conflict.unmerged
        )),
        (_, Outcome::Other(what)) => Verdict::Unexplained(what),
    };
    Ok(Judged { merge: merge.short(), verdict })
}

fn conflicts(git: &Conflict, ours: &[String]) -> Verdict {
    let told: BTreeSet<String> = ours.iter().cloned().collect();
    let first = |paths: &BTreeSet<String>| paths.iter().take(PATHS_TOLD).cloned().collect::<BTreeSet<_>>();
    if told == first(&git.unmerged) || told == first(&git.told) {
        return Verdict::AsGitConflict;
    }
    Verdict::Unexplained(format!("a conflict in {told:?}, but git sees it in {:?}", git.unmerged))
}
