use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use yardmaster_git::Worktree;
use yardmaster_protocol::CommitId;

use crate::leftovers::{Marked, sweep};

/// What has to be done before a gate starts, all of it blocking.
pub(crate) struct Preparation {
    pub(crate) mirror: PathBuf,
    pub(crate) worktree_dir: PathBuf,
    pub(crate) tmp: PathBuf,
    pub(crate) commit: CommitId,
    /// The lane, when its last run was not seen to its end.
    pub(crate) unclean: Option<PathBuf>,
}

/// Makes the worktree exactly the commit, with empty temporary files. A worktree that fails is
/// opened anew once, which repairs it.
///
/// # Errors
/// A sentence for the report.
pub(crate) fn prepare(what: &Preparation, standing: Option<Worktree>) -> Result<Worktree, String> {
    if let Some(lane_dir) = &what.unclean {
        sweep(&Marked::lane(lane_dir));
    }
    empty(&what.tmp)
        .map_err(|why| format!("failed to empty {}: {why}; remove it by hand", what.tmp.display()))?;
    if let Some(worktree) = standing {
        match worktree.checkout(what.commit) {
            Ok(()) => return Ok(worktree),
            Err(why) => tracing::warn!(%why, "the checkout failed; opening the worktree anew"),
        }
    }
    let opened = Worktree::open(&what.mirror, &what.worktree_dir);
    let checked_out = opened.and_then(|worktree| worktree.checkout(what.commit).map(|()| worktree));
    checked_out.map_err(|why| format!("failed to check out {}: {why}", what.commit))
}

/// Makes `dir` an empty directory, also where a gate left directories that cannot be written.
pub(crate) fn empty(dir: &Path) -> io::Result<()> {
    remove(dir)?;
    fs::create_dir(dir)
}

/// Removes a directory, also where a gate left directories that cannot be written. One that is not there is gone.
pub(crate) fn remove(dir: &Path) -> io::Result<()> {
    let removed = match fs::remove_dir_all(dir) {
        Err(why) if why.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(dir).and_then(|()| fs::remove_dir_all(dir))
        }
        other => other,
    };
    match removed {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

/// Never leaves `dir`: links are not followed.
fn make_writable(dir: &Path) -> io::Result<()> {
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
        }
    }
    Ok(())
}
