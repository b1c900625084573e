use git2::{Commit, Oid, Repository, Signature, Time};
use yardmaster_protocol::{CandidateSpec, CommitId, Rollup};

use crate::objects::{commit_id, find_commit};
use crate::{GitError, Mirror};

const COMMITTER: &str = "Yardmaster";
const MAX_NAME: usize = 128;

/// Writes the merge commit of one candidate. The same base, head, tree and request give the same id.
pub(crate) fn write_commit(
    repo: &Repository,
    spec: &CandidateSpec,
    base: &Commit<'_>,
    head: &Commit<'_>,
    tree: Oid,
) -> Result<Oid, GitError> {
    let time = Time::new(date(spec.at.0, base, head), 0);
    let name = author_name(&spec.author);
    let author = Signature::new(&name, &format!("{}@yardmaster.invalid", mail_name(&name)), &time)?;
    let committer = Signature::new(COMMITTER, "yardmaster@yardmaster.invalid", &time)?;
    let mut message = spec.message.replace('\0', " ");
    if !message.ends_with('\n') {
        message.push('\n');
    }
    let tree = repo.find_tree(tree)?;
    Ok(repo.commit(None, &author, &committer, &message, &tree, &[base, head])?)
}

/// Writes the merge commit that brings a batch onto the first-parent history. The same values give the same id.
fn write_rollup(repo: &Repository, rollup: &Rollup) -> Result<Oid, GitError> {
    let (base, top) = (find_commit(repo, rollup.base)?, find_commit(repo, rollup.top)?);
    let time = Time::new(date(rollup.at.0, &base, &top), 0);
    let committer = Signature::new(COMMITTER, "yardmaster@yardmaster.invalid", &time)?;
    let message = rollup.message.replace('\0', " ");
    Ok(repo.commit(None, &committer, &committer, &message, &top.tree()?, &[&base, &top])?)
}

impl Mirror {
    /// The merge commit of a batch; made if it is not there.
    ///
    /// # Errors
    /// When one of its parents is not in the mirror, or the object database cannot be used.
    pub fn roll_up(&self, rollup: &Rollup) -> Result<CommitId, GitError> {
        self.with_repository(|repo| write_rollup(repo, rollup).map(commit_id))
    }
}

/// Seconds since the epoch. A commit that is dated before its parents makes walks of history slow.
fn date(at_ms: u64, base: &Commit<'_>, head: &Commit<'_>) -> i64 {
    let asked = i64::try_from(at_ms / 1_000).unwrap_or(i64::MAX);
    let parents = base.time().seconds().max(head.time().seconds());
    // A parent that claims the end of time must not overflow, nor move ours to where git cannot read it.
    asked.max(parents.saturating_add(1)).clamp(0, 253_402_300_799)
}

fn author_name(text: &str) -> String {
    let plain: String =
        text.chars().filter(|c| !c.is_control() && !"<>".contains(*c)).take(MAX_NAME).collect();
    let plain = plain.trim_matches(|c: char| c.is_whitespace() || ".,:;\"\\'".contains(c));
    if plain.is_empty() { "agent".to_owned() } else { plain.to_owned() }
}

fn mail_name(name: &str) -> String {
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
    if plain.is_empty() { "agent".to_owned() } else { plain }
}
