use std::io;
use std::path::PathBuf;

use yardmaster_protocol::RunId;

/// Why a lane cannot be opened or a log cannot be read. Reads well after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// A directory of the lane cannot be made or looked at.
    #[error("prepare {path}: {source}; check that its parent is writable and has space", path = path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Another process works in this lane.
    #[error(
        "open the lane {path}: another process uses it; stop that one or choose another state directory",
        path = path.display()
    )]
    LaneInUse {
        /// The lane's directory.
        path: PathBuf,
    },
    /// No log of that run is kept.
    #[error("find the log of run {run}: it was never written here, or it made room for newer ones")]
    NoLog {
        /// Which run.
        run: RunId,
    },
    /// The log is there and cannot be read.
    #[error("read the log of run {run}: {source}; check the disk and the permissions of the log directory")]
    Log {
        /// Which run.
        run: RunId,
        /// The system's words.
        source: io::Error,
    },
}
