use std::path::{Path, PathBuf};
use std::process::Command;

/// Room enough for a round, and soon filled.
const SIZE: &str = "size=48m";
const FILLER: &str = "filler";

/// A disk of its own at a directory, as small as a round needs.
pub(crate) struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Mounts it.
    ///
    /// # Errors
    /// What the system said: without the right to mount there are no rounds about disks.
    pub(crate) fn mount(at: &Path) -> Result<Disk, String> {
        std::fs::create_dir_all(at).map_err(|e| e.to_string())?;
        let out =
            Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "yardmaster-siege"]).arg(at).output();
        match out {
            Ok(out) if out.status.success() => Ok(Disk { at: at.to_owned() }),
            Ok(out) => Err(String::from_utf8_lossy(&out.stderr).trim().to_owned()),
            Err(why) => Err(format!("mount: {why}")),
        }
    }

    /// Leaves no byte free.
    pub(crate) fn fill(&self) {
        let zeros = std::fs::File::open("/dev/zero");
        let filler = std::fs::File::create(self.at.join(FILLER));
        if let (Ok(mut zeros), Ok(mut filler)) = (zeros, filler) {
            // Ends with the error that is wanted.
            let _ = std::io::copy(&mut zeros, &mut filler);
        }
    }

    /// Gives the room back.
    pub(crate) fn free(&self) {
        let _ = std::fs::remove_file(self.at.join(FILLER));
    }

    /// Keeps what is on it beside it, for who has to look at it.
    pub(crate) fn keep(&self) {
        self.free();
        let _ = Command::new("cp").arg("-a").arg(&self.at).arg(self.at.with_extension("kept")).status();
    }
}

impl Drop for Disk {
    /// Lazily, so that nobody who still has a file open there keeps it for ever.
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// Whether this machine lets us mount at all, and if not, why.
///
/// # Errors
/// What the system said.
pub fn disks_can_be_had() -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    Disk::mount(&dir.path().join("tried")).map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn a_full_disk_takes_nothing_until_it_is_freed() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = dir.path().join("disk");
        let disk = match Disk::mount(&at) {
            Ok(disk) => disk,
            Err(why) => return eprintln!("SKIPPED: nothing can be mounted here: {why}"),
        };
        disk.fill();
        let full = std::fs::write(at.join("more"), "more").expect_err("it is full");
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        disk.free();
        std::fs::write(at.join("more"), "more").expect("there is room");
        drop(disk);
        assert!(!at.join("more").exists());
    }
}
