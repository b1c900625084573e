use git2::{Oid, Repository};
use yardmaster_protocol::MergedBy;

use crate::GitError;
use crate::git::Git;
use crate::markers::marked_hunks;
use crate::mergetree::{MergeTree, merge_tree};
use crate::walk::{BY_ATTRIBUTES, Stop, merge_trees};

/// How one head merges into one base.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// The base has it already.
    Contained,
    Clean {
        tree: Oid,
        by: MergedBy,
        /// Where the two left each other.
        bases: Vec<Oid>,
    },
    Conflict {
        paths: Vec<String>,
        detail: String,
        /// The hunks, with git's marks.
        hunk: Option<String>,
    },
}

/// Merges in memory where that is exact, else asks git; `bases` are where the two left each other. What was
/// `written` here is not on the disk yet, nor what git found there and did not write.
pub(crate) fn merge(
    repo: &Repository,
    git: &Git,
    ours: Oid,
    theirs: Oid,
    bases: Vec<Oid>,
    written: &mut Vec<Oid>,
) -> Result<Merge, GitError> {
    let base = match bases[..] {
        [] => {
            let detail = "the two histories have no commit in common".to_owned();
            return Ok(Merge::Conflict { paths: Vec::new(), detail, hunk: None });
        }
        [base] if base == theirs => return Ok(Merge::Contained),
        [base] => base,
        _ => return escalate(repo, git, ours, theirs, "there are several merge bases", bases),
    };
    let tree = |commit: Oid| Ok::<_, git2::Error>(repo.find_commit(commit)?.tree_id());
    match merge_trees(&repo.odb()?, tree(base)?, tree(ours)?, tree(theirs)?, written) {
        Ok(tree) => Ok(Merge::Clean { tree, by: MergedBy::Memory, bases }),
        Err(Stop::Escalate(why)) => escalate(repo, git, ours, theirs, why, bases),
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn escalate(
    repo: &Repository,
    git: &Git,
    ours: Oid,
    theirs: Oid,
    why: &'static str,
    bases: Vec<Oid>,
) -> Result<Merge, GitError> {
    tracing::debug!(%ours, %theirs, why, "merge is left to git");
    // Several merge bases may hide a rule about attributes, so git reads them there too.
    let attributes = why == BY_ATTRIBUTES || why.starts_with("there are several");
    Ok(match merge_tree(git, ours, theirs, attributes)? {
        MergeTree::Clean(tree) => Merge::Clean { tree, by: MergedBy::Git, bases },
        MergeTree::Conflict { paths, detail, tree } => {
            let hunk = tree.and_then(|tree| marked_hunks(repo, tree, &paths));
            Merge::Conflict { paths, detail, hunk }
        }
    })
}
