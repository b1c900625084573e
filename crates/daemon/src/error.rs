use std::path::PathBuf;

use yardmaster_bus::server::ServerError;
use yardmaster_bus::{AppendError, BusError, JournalError};
use yardmaster_git::GitError;
use yardmaster_protocol::BranchName;
use yardmaster_runner::RunnerError;

use crate::settings::SettingsError;

/// Why the daemon does not serve (any more). Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The state directory cannot be used.
    #[error("cannot use the state directory {path}: {why}; choose a writable one with --state-dir")]
    StateDir {
        /// Which.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// Another daemon works there.
    #[error("another yardmaster is using {path}; stop it, or give this one its own --state-dir and --name")]
    InUse {
        /// The state directory.
        path: PathBuf,
    },
    /// The state directory belongs to another repository.
    #[error("{path} holds the state of {found}, not of {wanted}; choose another --state-dir")]
    OtherRemote {
        /// The state directory.
        path: PathBuf,
        /// The remote it was made for.
        found: String,
        /// The remote that was asked for.
        wanted: String,
    },
    /// Another daemon leads now.
    #[error("lead any longer: {leader} has taken over")]
    LeaseLost {
        /// Who.
        leader: String,
    },
    /// The embedded server cannot be had.
    #[error("failed to {0}")]
    Server(#[from] ServerError),
    /// NATS cannot be used.
    #[error("failed to {0}")]
    Bus(#[from] BusError),
    /// The journal cannot be read.
    #[error("failed to {0}")]
    Journal(#[from] JournalError),
    /// The journal belongs to somebody else now, or is damaged.
    #[error("failed to {0}")]
    Append(#[from] AppendError),
    /// The repository cannot be used.
    #[error("the repository cannot be used: {0}{hint}", hint = hint(.0))]
    Git(#[from] GitError),
    /// The runners' place cannot be used.
    #[error("failed to {0}")]
    Runner(#[from] RunnerError),
    /// There is nothing to test with.
    #[error(
        "no gate for `{target}`: {why}\n  put a `.yardmaster.toml` with\n    [gate]\n    run = \"./run-tests.sh\"\n  on `{target}`, or start with --gate './run-tests.sh'; to land without any test, spell it out: --gate none"
    )]
    NoGate {
        /// The target.
        target: BranchName,
        /// What was found instead.
        why: String,
    },
    /// A snapshot of this version cannot be read.
    #[error(
        "cannot read the snapshot at record {seq}: {why}; delete the object store `yardmaster-snapshots-<name>` only if the journal is whole"
    )]
    Snapshot {
        /// Its record.
        seq: u64,
        /// What is wrong.
        why: String,
    },
}

impl ServeError {
    /// Another daemon leads: this one may stand by.
    pub(crate) fn is_deposed(&self) -> bool {
        matches!(self, ServeError::LeaseLost { .. } | ServeError::Append(AppendError::Deposed { .. }))
    }
}

/// What to do where git's own words do not say it.
fn hint(error: &GitError) -> &'static str {
    match error {
        GitError::Unreachable { .. } => {
            "\n  check the address (--remote), and that this user may read and push there"
        }
        _ => "",
    }
}
