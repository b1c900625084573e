use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::matrix::sweep_rooms;

/// A half-written pack is left alone for so long: another process may still be writing it.
const TEMPORARY_AGE: Duration = Duration::from_secs(3_600);
const MAX_DEPTH: usize = 64;

/// Removes what a killed git left in the mirror: lock files, and old half-written objects.
///
/// Only for whoever holds the mirror alone: a lock of a living process must not go.
pub(crate) fn sweep(mirror: &Path) {
    remove_locks(mirror, 0);
    remove_locks(&mirror.join("refs"), MAX_DEPTH);
    sweep_rooms(mirror);
    let pack = mirror.join("objects").join("pack");
    for entry in fs::read_dir(&pack).into_iter().flatten().flatten() {
        let is_old = entry
            .metadata()
            .and_then(|m| m.modified())
            .is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > TEMPORARY_AGE));
        if is_old && entry.file_name().to_string_lossy().starts_with("tmp_") {
            remove(&entry.path());
        }
    }
}

fn remove_locks(dir: &Path, depth: usize) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth > 0 {
            remove_locks(&path, depth - 1);
        } else if kind.is_file() && path.extension().is_some_and(|e| e == "lock") {
            remove(&path);
        }
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => tracing::info!(path = %path.display(), "removed what a killed git left"),
        Err(error) => tracing::warn!(path = %path.display(), %error, "cannot remove a stale file"),
    }
}
