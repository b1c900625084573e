use std::path::Path;

use git2::{Oid, Repository};

use crate::{Trouble, git};

/// A merge commit that maintainers made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merge {
    pub(super) commit: Oid,
    pub(super) first: Oid,
    pub(super) second: Oid,
    pub(super) tree: Oid,
}

impl Merge {
    /// Enough to find it again.
    pub(super) fn short(&self) -> String {
        self.commit.to_string().chars().take(10).collect()
    }

    /// The branch that it is to land on: its tip is the first parent.
    pub(super) fn target(&self) -> String {
        format!("at/{}", self.short())
    }

    /// The branch that is announced: its tip is the second parent.
    pub(super) fn branch(&self) -> String {
        format!("agents/{}", self.short())
    }
}

/// The newest merges of the default branch's history with two parents, both of which have something that
/// the other has not, and some history in common.
pub(super) fn newest_merges(repository: &Path, count: usize) -> Result<Vec<Merge>, Trouble> {
    let listed = git::run(
        repository,
        &["log", "--min-parents=2", "--max-parents=2", "--date-order", "--format=%H %T %P", "HEAD"],
    )?;
    let repo = Repository::open(repository)?;
    let mut merges = Vec::new();
    for line in listed.lines() {
        let ids: Vec<Oid> = line.split(' ').map(Oid::from_str).collect::<Result<_, _>>()?;
        let [commit, tree, first, second] = ids[..] else { continue };
        if repo.merge_base(first, second).is_ok_and(|base| base != first && base != second) {
            merges.push(Merge { commit, first, second, tree });
        }
        if merges.len() == count {
            break;
        }
    }
    Ok(merges)
}
