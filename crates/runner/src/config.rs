use std::path::PathBuf;
use std::time::Duration;

use crate::{Disk, Host};

/// Where a lane works and how far a run may go.
#[derive(Debug, Clone)]
pub struct LaneConfig {
    /// How people see it, as `host/lane`.
    pub name: String,
    /// Its number; gates get it as `YARDMASTER_LANE` to choose ports and databases by.
    pub number: u32,
    /// Its own directory: the worktree, the temporary files and the crash record are in it.
    pub dir: PathBuf,
    /// The bare repository that has the candidates.
    pub mirror: PathBuf,
    /// The directory of all logs, shared by all lanes.
    pub logs: PathBuf,
    /// How far a run may go.
    pub limits: RunLimits,
    /// Variables of our own environment that gates get too. `GIT_*` never pass.
    pub pass_env: Vec<String>,
    /// What it shares with the other lanes.
    pub host: Host,
    /// A directory for all lanes that gates get as `YARDMASTER_CACHE`.
    pub cache_dir: Option<PathBuf>,
    /// What all lanes may take of the disk.
    pub disk: Disk,
}

/// How far a run may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLimits {
    /// The most bytes of one log on disk; beyond them its head and its tail are kept.
    pub log_bytes: u64,
    /// The most bytes of output in a report.
    pub tail_bytes: usize,
    /// From TERM to KILL.
    pub grace: Duration,
    /// The longest that a whole run may take, with its checkout.
    pub wall: Duration,
    /// The most bytes of all logs; the oldest go first. Logs that are being written in other lanes
    /// may pass it by `log_bytes` each.
    pub kept_log_bytes: u64,
    /// The most logs; the oldest go first.
    pub kept_logs: usize,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            log_bytes: 64 << 20,
            tail_bytes: 4 << 10,
            grace: Duration::from_secs(5),
            wall: Duration::from_secs(2 * 60 * 60),
            kept_log_bytes: 1 << 30,
            kept_logs: 2_000,
        }
    }
}
