use std::path::PathBuf;

use yardmaster_bus::BusError;
use yardmaster_git::GitError;
use yardmaster_protocol::ErrorBody;
use yardmaster_runner::RunnerError;

/// Why a runner does not work (any more). Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The daemon does not want it.
    #[error("{0}")]
    Refused(ErrorBody),
    /// The state directory cannot be used.
    #[error("cannot use the state directory {path}: {why}; choose a writable one with --state-dir")]
    StateDir {
        /// Which.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// Another runner works there.
    #[error("another runner is using {path}; stop it, or give this one its own --name or --state-dir")]
    InUse {
        /// The state directory.
        path: PathBuf,
    },
    /// NATS cannot be used.
    #[error("failed to {0}")]
    Bus(#[from] BusError),
    /// The mirror cannot be used.
    #[error("the runner's mirror cannot be used: {0}")]
    Git(#[from] GitError),
    /// A lane cannot be used.
    #[error("failed to {0}")]
    Runner(#[from] RunnerError),
}
