use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::GitError;
use crate::mirror::Mirror;

/// A file system in memory that all systems with Linux have; elsewhere rooms are on the disk.
const MEMORY: &str = "/dev/shm";
/// With less free there, rooms are on the disk.
const LEAST_FREE: u64 = 48 * 1024 * 1024;
static ROOMS: AtomicU64 = AtomicU64::new(0);

/// A place for objects that nobody needs afterwards; it borrows those of the mirror.
pub(super) struct Room {
    dir: PathBuf,
}

impl Room {
    /// In memory: a merge writes a few small files, which cost a disk several times what the merge does.
    pub(super) fn in_memory(mirror: &Mirror) -> Option<Room> {
        let disk = rustix::fs::statvfs(MEMORY).ok()?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < LEAST_FREE {
            return None;
        }
        let dir = Path::new(MEMORY).join(format!("{}{}", prefix(mirror.path())?, name()));
        // Everybody may write there: only a directory that was not there before is ours.
        DirBuilder::new().mode(0o700).create(&dir).ok()?;
        Room { dir }.furnished(mirror).ok()
    }

    pub(super) fn on_disk(mirror: &Mirror) -> Result<Room, GitError> {
        let dir = mirror.path().join("yardmaster").join("weighed").join(name());
        fs::create_dir_all(&dir).map_err(GitError::io(&dir))?;
        Room { dir }.furnished(mirror)
    }

    fn furnished(self, mirror: &Mirror) -> Result<Room, GitError> {
        let info = self.dir.join("info");
        fs::create_dir(&info).map_err(GitError::io(&info))?;
        let borrowed = format!("{}\n", mirror.path().join("objects").display());
        fs::write(info.join("alternates"), borrowed).map_err(GitError::io(&info))?;
        Ok(self)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::debug!(dir = %self.dir.display(), %error, "objects that nobody needs were left behind");
        }
    }
}

fn name() -> String {
    format!("{}-{}", std::process::id(), ROOMS.fetch_add(1, Ordering::Relaxed))
}

/// What the rooms in memory of one mirror are called.
fn prefix(mirror: &Path) -> Option<String> {
    let meta = fs::metadata(mirror).ok()?;
    Some(format!("yardmaster-{:x}-{:x}-", meta.dev(), meta.ino()))
}

/// Removes the rooms that a killed process left; for whoever holds the mirror alone.
pub(crate) fn sweep_rooms(mirror: &Path) {
    drop(fs::remove_dir_all(mirror.join("yardmaster").join("weighed")));
    let Some(prefix) = prefix(mirror) else { return };
    for entry in fs::read_dir(MEMORY).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}
