use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const MAX_DEPTH: usize = 512;

/// Lets the owner into every directory below, so that its content can be removed. Symbolic links
/// are never followed.
pub(crate) fn unlock_directories(dir: &Path) {
    unlock(dir, 0);
}

fn unlock(dir: &Path, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    let Ok(meta) = fs::symlink_metadata(dir) else { return };
    if !meta.is_dir() {
        return;
    }
    let mode = meta.permissions().mode();
    if mode & 0o700 != 0o700 {
        drop(fs::set_permissions(dir, Permissions::from_mode(mode | 0o700)));
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            unlock(&entry.path(), depth + 1);
        }
    }
}

/// Removes everything in a directory; the directory itself stays.
pub(crate) fn empty(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        remove(&entry?.path())?;
    }
    Ok(())
}

/// Removes a file or a directory with all that is in it; nothing there is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
