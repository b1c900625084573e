use std::collections::BTreeSet;
use std::path::Path;

use git2::Oid;

use super::select::Merge;
use crate::{Trouble, git};

/// What plain git makes of the two parents.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Clean(Oid),
    Conflict(Conflict),
}

/// Where git sees a conflict.
#[derive(Debug, Clone, Default)]
pub(super) struct Conflict {
    /// Paths with more than one version left.
    pub(super) unmerged: BTreeSet<String>,
    /// Those, and all that its `CONFLICT` messages are about, such as the old name of a renamed file.
    pub(super) told: BTreeSet<String>,
}

/// Asks `git merge-tree --write-tree`, without any help of ours.
pub(super) fn answer(repository: &Path, merge: &Merge) -> Result<Answer, Trouble> {
    let (first, second) = (merge.first.to_string(), merge.second.to_string());
    let args = ["merge-tree", "--write-tree", "-z", "--name-only", "--messages", &first, &second];
    let done = git::output(repository, &args)?;
    let fields: Vec<String> =
        done.stdout.split(|b| *b == 0).map(|f| String::from_utf8_lossy(f).trim().to_owned()).collect();
    match done.status.code() {
        Some(0) => Ok(Answer::Clean(Oid::from_str(fields.first().map_or("", String::as_str))?)),
        Some(1) => Ok(Answer::Conflict(conflict(&fields))),
        _ => Err(format!("git merge-tree: {}", String::from_utf8_lossy(&done.stderr)).into()),
    }
}

/// A tree, unmerged paths, an empty field, then messages: a count, so many paths, a type and a text.
fn conflict(fields: &[String]) -> Conflict {
    let mut rest = fields.iter().skip(1);
    let unmerged: BTreeSet<String> = rest.by_ref().take_while(|f| !f.is_empty()).cloned().collect();
    let mut told = unmerged.clone();
    while let Some(count) = rest.next().and_then(|f| f.parse::<usize>().ok()) {
        let about: Vec<String> = rest.by_ref().take(count).cloned().collect();
        if rest.next().is_some_and(|kind| kind.starts_with("CONFLICT")) {
            told.extend(about);
        }
        rest.next();
    }
    Conflict { unmerged, told }
}

/// The paths in which two trees differ.
pub(super) fn differing(repository: &Path, one: Oid, other: Oid) -> Result<Vec<String>, Trouble> {
    let (one, other) = (one.to_string(), other.to_string());
    let paths =
        git::run(repository, &["diff-tree", "-r", "-z", "--name-only", "--no-renames", &one, &other])?;
    Ok(paths.split('\0').filter(|p| !p.is_empty()).map(str::to_owned).collect())
}
