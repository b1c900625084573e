use std::path::{Path, PathBuf};

use yardmaster_protocol::{BranchName, CommitId};

/// What can go wrong with a repository; every text reads well after "failed to … because ".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// The remote answers, and has other branches.
    #[error("the remote has no branch `{0}`: push it, or name another target")]
    TargetMissing(BranchName),
    /// The remote answers, and has no branch at all.
    #[error("the remote has no branches yet: push a first commit to it")]
    RemoteEmpty,
    /// The remote did not answer, or refused to serve us.
    #[error("the remote does not answer: {why}")]
    Unreachable {
        /// Git's own words, cut at a limit.
        why: String,
    },
    /// The `git` program could not be started.
    #[error("git cannot be started ({0}): install git 2.40 or newer and put it on PATH")]
    NoGit(#[source] std::io::Error),
    /// The `git` program is too old for `merge-tree --attr-source`.
    #[error("{found} is too old: install git 2.40 or newer")]
    OldGit {
        /// What it says of itself.
        found: String,
    },
    /// A local git command failed.
    #[error("`git {command}` failed: {why}")]
    Command {
        /// Its first words.
        command: String,
        /// Its own words, cut at a limit.
        why: String,
    },
    /// A file or directory of ours could not be used.
    #[error("{path} cannot be used ({source}): look at its owner, its permissions and the free space")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A commit that was asked for is not in the mirror.
    #[error("commit {0} is not in the mirror: fetch its branch first")]
    NoCommit(CommitId),
    /// The object database could not be read or written.
    #[error("the object database cannot be used: {0}")]
    Objects(#[from] git2::Error),
    /// An object is not what its name promises.
    #[error("the object database is damaged: {0}")]
    Damaged(String),
    /// The path of a remote or of a worktree cannot be used.
    #[error("{0}")]
    Refused(String),
}

impl GitError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> GitError + '_ {
        move |source| GitError::Io { path: path.to_owned(), source }
    }
}
