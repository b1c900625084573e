use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use git2::Repository;
use yardmaster_protocol::{BranchName, CommitId};

use crate::objects::commit_id;
use crate::{GitError, GitOptions, Mirror};

impl Mirror {
    /// A mirror at `dir` of the repository that `path` is in or is, which borrows its objects instead of
    /// copying them: quick, and of use only as long as nothing is removed there. Nothing is written to it.
    ///
    /// # Errors
    /// When there is no repository, or a mirror cannot be opened.
    pub fn borrowing(dir: &Path, path: &Path, options: GitOptions) -> Result<Mirror, GitError> {
        let source = Repository::discover(path).map_err(|_| {
            GitError::Refused(format!("{} is in no git repository: name one with --repo", path.display()))
        })?;
        let common = source.commondir().to_owned();
        let remote = common.to_str().ok_or_else(|| {
            GitError::Refused(format!("{} has a name that is not UTF-8: move it", common.display()))
        })?;
        let info = dir.join("objects").join("info");
        fs::create_dir_all(&info).map_err(GitError::io(&info))?;
        let borrowed = info.join("alternates");
        let objects = format!("{}\n", common.join("objects").display());
        fs::write(&borrowed, objects).map_err(GitError::io(&borrowed))?;
        Mirror::open(dir, remote, options)
    }

    /// The branches that the remote has; those with names that no request can have are left out.
    ///
    /// # Errors
    /// [`GitError::Unreachable`] when the remote does not answer.
    pub fn branches(&self) -> Result<BTreeMap<BranchName, CommitId>, GitError> {
        let heads = self.heads(&[])?;
        Ok(heads.iter().filter_map(|(name, id)| Some((name.parse().ok()?, commit_id(*id)))).collect())
    }
}
