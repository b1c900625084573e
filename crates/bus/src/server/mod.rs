//! A nats-server of our own: found on this machine, bound to loopback, ended with us.

mod embedded;
mod find;
mod process;

use std::path::PathBuf;

pub use embedded::{Embedded, EmbeddedOptions};
pub use find::find;

/// A nats-server that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerBinary {
    /// Where.
    pub path: PathBuf,
    /// Which, such as `2.15.1`.
    pub version: String,
}

/// Why there is no server of our own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// None on this machine is new enough.
    #[error(
        "find nats-server 2.12 or newer{notes}; install it (`brew install nats-server`, `apt install \
         nats-server` where that is new enough, or https://nats.io/download), let `cargo xtask demo` fetch \
         one, or name one with NATS_SERVER"
    )]
    NotFound {
        /// What was found instead, in brackets; empty: nothing.
        notes: String,
    },
    /// The directory is used by another process.
    #[error("use {}: another yardmaster has it; stop that one or name another --state-dir", dir.display())]
    InUse {
        /// Which.
        dir: PathBuf,
    },
    /// The directory cannot be written.
    #[error("use {}: {why}", dir.display())]
    Directory {
        /// Which.
        dir: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// It did not start.
    #[error("start {}: {why}", path.display())]
    Start {
        /// Which binary.
        path: PathBuf,
        /// What went wrong, with the end of its log.
        why: String,
    },
}
