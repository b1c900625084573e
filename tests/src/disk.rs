use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SIZE: &str = "192M";
const OPTIONS: &str = "loop,noatime";
/// A device that writes without pause cannot be photographed.
const MAX_EXPOSURES: u32 = 50;

/// A file system on a device of its own, whose content can be copied as a power cut would leave it: what
/// programs wrote and nobody synced is in the kernel's memory alone, and so not on the copy.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// Makes `image` and mounts it at `at`.
    ///
    /// # Errors
    /// What the system said: it takes root, loop devices and ext4.
    pub fn make(image: &Path, at: &Path) -> Result<Disk, String> {
        run("truncate", &["--size", SIZE, text(image)])?;
        let now = "lazy_itable_init=0,lazy_journal_init=0";
        run("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", now, text(image)])?;
        run("mount", &["-o", OPTIONS, text(image), text(at)])?;
        Ok(Disk { image: image.to_owned(), at: at.to_owned() })
    }

    /// Copies what the device holds at this moment. Programs that use the disk have to stand still; the
    /// kernel may still be writing, so a copy that it wrote into is made again.
    pub fn photograph(&self, to: &Path) {
        let written = self.statistics();
        for _ in 0..MAX_EXPOSURES {
            let before = std::fs::read_to_string(&written).expect("a block device");
            run("cp", &["--sparse=always", text(&self.image), text(to)]).expect("copied");
            let after = std::fs::read_to_string(&written).expect("a block device");
            if before == after && in_flight(&after) == Some(0) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("the device never rests");
    }

    /// The same place with what a copy has.
    ///
    /// # Errors
    /// What the system said.
    pub fn replace(&mut self, image: &Path) -> Result<(), String> {
        // Who was killed may take a moment to let go of its files.
        let mut left = 100;
        while let Err(why) = run("umount", &[text(&self.at)]) {
            left -= 1;
            if left == 0 {
                return Err(why);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        run("mount", &["-o", OPTIONS, text(image), text(&self.at)])?;
        self.image = image.to_owned();
        Ok(())
    }

    fn statistics(&self) -> PathBuf {
        let devices = run("losetup", &["--noheadings", "--output", "NAME", "-j", text(&self.image)]);
        let devices = devices.expect("losetup knows it");
        let name = devices.trim().rsplit('/').next().unwrap_or_default().to_owned();
        Path::new("/sys/block").join(name).join("stat")
    }
}

impl Drop for Disk {
    /// Lazily, so that nobody who still has a file open there keeps it for ever.
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// The ninth number of a block device's statistics.
fn in_flight(statistics: &str) -> Option<u64> {
    statistics.split_whitespace().nth(8)?.parse().ok()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let out = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&out.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_copy_has_what_was_synced_and_not_what_was_only_written() {
        let (images, at) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("another"));
        let mut disk = match Disk::make(&images.path().join("disk"), at.path()) {
            Ok(disk) => disk,
            Err(why) => return eprintln!("SKIPPED: nothing can be mounted here: {why}"),
        };
        let write = |name: &str| {
            let mut file = std::fs::File::create(at.path().join(name)).expect("created");
            file.write_all(b"content").expect("written");
            file
        };
        write("synced").sync_all().expect("synced");
        write("written");
        let copy = images.path().join("copy");
        disk.photograph(&copy);
        disk.replace(&copy).expect("mounted");
        assert_eq!(std::fs::read(at.path().join("synced")).expect("is there"), b"content");
        assert_ne!(std::fs::read(at.path().join("written")).ok().as_deref(), Some(b"content".as_slice()));
    }
}
