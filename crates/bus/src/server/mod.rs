//! A nats-server of our own: found on this machine, bound to loopback, ended with us.

use std::path::{Path, PathBuf};

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
        "find nats-server 2.12 or newer{notes}; install it (https://nats.io/download, `brew install nats-server`, `apt install nats-server` where it is new enough, or `cargo xtask demo`, which fetches one) or name it with NATS_SERVER"
    )]
    NotFound {
        /// What was found instead.
        notes: String,
    },
    /// The directory is used by another process.
    #[error("use {dir}: another yardmaster has it; stop that one or name another --state-dir")]
    InUse {
        /// Which.
        dir: PathBuf,
    },
    /// It did not start.
    #[error("start {path}: {why}")]
    Start {
        /// Which binary.
        path: PathBuf,
        /// What went wrong, with the end of its log.
        why: String,
    },
}

/// How a server of our own is to run.
#[derive(Debug, Clone, Default)]
pub struct EmbeddedOptions {
    /// None: a free one.
    pub port: Option<u16>,
    /// Required of clients when set.
    pub token: Option<String>,
}

/// Looks for a nats-server: `explicit`, `NATS_SERVER`, PATH, then `extra` directories.
pub fn find(explicit: Option<&Path>, extra: &[PathBuf]) -> Result<ServerBinary, ServerError> {
    unimplemented!("{explicit:?}{extra:?}")
}

/// A running server of our own; ended when dropped.
#[derive(Debug)]
pub struct Embedded {}

impl Embedded {
    /// Starts it and waits until it answers.
    pub async fn start(
        binary: &ServerBinary,
        store_dir: &Path,
        options: EmbeddedOptions,
    ) -> Result<Embedded, ServerError> {
        unimplemented!()
    }
    /// Where it listens.
    pub fn url(&self) -> &str {
        unimplemented!()
    }
    /// Its process id.
    pub fn pid(&self) -> u32 {
        unimplemented!()
    }
    /// Ends it in good order.
    pub async fn stop(self) {
        unimplemented!()
    }
}
