use std::path::Path;
use std::time::Duration;

/// Between two looks at a disk that was full.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(250);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Less is no room.
const LEAST_BYTES: u64 = 1 << 20;

/// Whether this trouble is a disk without room, whoever met it: files of ours, libgit2 or git.
pub(crate) fn is_missing(why: &str) -> bool {
    ["No space left on device", "Disk quota exceeded"].iter().any(|words| why.contains(words))
}

/// Whether the disk that `dir` is on has no room.
pub(crate) fn is_full(dir: &Path) -> bool {
    let Ok(disk) = rustix::fs::statvfs(dir) else { return false };
    let bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
    bytes < LEAST_BYTES || (disk.f_files > 0 && disk.f_favail == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_with_room_is_told_from_other_trouble() {
        let full = std::io::Error::from_raw_os_error(28);
        assert!(is_missing(&format!("failed to check out x: {full}")));
        assert!(!is_missing("failed to check out x: it is not in the mirror"));
        assert!(!is_full(Path::new("/dev/shm")), "a test needs some room there");
    }
}
