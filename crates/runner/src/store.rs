use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::OFlags;
use yardmaster_protocol::RunId;

use crate::{RunLimits, RunnerError};

/// The logs of all runs, one file each, `<run>.log`. Blocking.
#[derive(Debug, Clone)]
pub struct LogStore {
    dir: PathBuf,
}

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPiece {
    /// The bytes as the gate wrote them.
    pub bytes: Vec<u8>,
    /// Where the next piece starts.
    pub next: u64,
    /// The run has ended, or its runner died, and there is no more.
    pub done: bool,
}

impl LogStore {
    /// The logs under `dir`, which need not be there yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// At most `max` bytes from byte `offset` on. Of a run that still goes on, what is there so far.
    ///
    /// # Errors
    /// [`RunnerError::NoLog`] when there is none, [`RunnerError::Log`] when it cannot be read.
    pub fn read(&self, run: &RunId, offset: u64, max: usize) -> Result<LogPiece, RunnerError> {
        let trouble = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => RunnerError::NoLog { run: run.clone() },
            _ => RunnerError::Log { run: run.clone(), source },
        };
        let mut file = open_plain(&self.path(run)).map_err(trouble)?;
        // Asked before the length: what the writer adds later is seen by the next call.
        let ended = !is_being_written(&file);
        let len = file.metadata().map_err(trouble)?.len();
        let start = offset.min(len);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(start)).map_err(trouble)?;
        file.take((max as u64).min(len - start)).read_to_end(&mut bytes).map_err(trouble)?;
        let next = start + bytes.len() as u64;
        Ok(LogPiece { bytes, next, done: ended && next >= len })
    }

    /// Takes the whole log of a run that was made elsewhere, from a file on the same disk, and makes room for it.
    ///
    /// # Errors
    /// [`RunnerError::Log`] when it cannot be put in its place.
    pub fn adopt(&self, run: &RunId, from: &Path, limits: &RunLimits) -> Result<(), RunnerError> {
        let adopted = fs::create_dir_all(&self.dir)
            .and_then(|()| {
                self.evict(limits.kept_log_bytes.saturating_sub(limits.log_bytes), limits.kept_logs)
            })
            .and_then(|()| fs::rename(from, self.path(run)));
        adopted.map_err(|source| RunnerError::Log { run: run.clone(), source })
    }

    /// Where the log of `run` is; a run id is a plain token and leads nowhere else.
    pub fn path(&self, run: &RunId) -> PathBuf {
        self.dir.join(format!("{run}.log"))
    }

    /// Removes the oldest finished logs until the rest has at most `bytes` and `files`.
    pub(crate) fn evict(&self, bytes: u64, files: usize) -> io::Result<()> {
        let mut logs = self.list()?;
        let mut total: u64 = logs.iter().map(|log| log.bytes).sum();
        let mut count = logs.len();
        if total <= bytes && count <= files {
            return Ok(());
        }
        logs.sort_by_key(|log| log.modified);
        for log in logs {
            if total <= bytes && count <= files {
                break;
            }
            if open_plain(&log.path).is_ok_and(|file| is_being_written(&file)) {
                continue;
            }
            fs::remove_file(&log.path)?;
            total -= log.bytes;
            count -= 1;
        }
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<Kept>> {
        let mut logs = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_none_or(|ext| ext != "log") {
                continue;
            }
            // Another lane may have removed it in the meantime.
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            if meta.is_file() {
                let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                logs.push(Kept { path, bytes: meta.len(), modified });
            }
        }
        Ok(logs)
    }
}

struct Kept {
    path: PathBuf,
    bytes: u64,
    modified: SystemTime,
}

/// Opens a regular file and nothing else: no link is followed, no pipe is waited for.
fn open_plain(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).map_err(io::Error::other)?)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

fn is_being_written(file: &File) -> bool {
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}
