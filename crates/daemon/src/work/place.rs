use std::fs::{self, File, TryLockError};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::spawn_blocking;
use yardmaster_git::{CrossCheck, GitOptions, Mirror};
use yardmaster_runner::{Disk, Host, Lane, LaneConfig, LogStore, RunLimits};

use super::{WorkError, WorkOptions};
use crate::crew;
use crate::state_dir::state_home;

/// What git is told where there is no remote; nothing is ever fetched from it.
const NO_REMOTE: &str = "none:";

/// Everything of a runner on disk, held by one process.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) mirror: Arc<Mirror>,
    /// Packs on their way into the mirror.
    pub(super) packs: PathBuf,
    pub(super) logs: LogStore,
    pub(super) disk: Disk,
    _lock: File,
}

impl Place {
    pub(super) async fn open(options: &WorkOptions) -> Result<(Place, Vec<Lane>), WorkError> {
        let (options, named) = (options.clone(), options.state_dir.clone().unwrap_or_default());
        let opened = spawn_blocking(move || open(&options)).await;
        opened.map_err(|e| WorkError::StateDir { path: named, why: e.to_string() })?
    }
}

fn open(options: &WorkOptions) -> Result<(Place, Vec<Lane>), WorkError> {
    let default = || state_home().join("runners").join(options.name.as_str());
    let path = options.state_dir.clone().unwrap_or_else(default);
    let refused = |e: std::io::Error| WorkError::StateDir { path: path.clone(), why: e.to_string() };
    fs::create_dir_all(&path).map_err(refused)?;
    let path = path.canonicalize().map_err(refused)?;
    let lock = File::create(path.join("lock")).map_err(refused)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(WorkError::InUse { path }),
        Err(TryLockError::Error(e)) => return Err(refused(e)),
    }
    let packs = path.join("packs");
    // What a crash left.
    let _ = fs::remove_dir_all(&packs);
    fs::create_dir_all(&packs).map_err(refused)?;
    let (mirror, logs) = (path.join("mirror.git"), path.join("logs"));
    let git = GitOptions {
        cross_check: CrossCheck::Off,
        ssh_command: options.ssh_command.clone(),
        ..GitOptions::default()
    };
    let opened = Mirror::open(&mirror, options.remote.as_deref().unwrap_or(NO_REMOTE), git)?;
    let host = Host::new(options.host);
    let cache_dir = options.cache_dir.as_deref().map(crew::make_cache).transpose()?;
    let disk = crew::disk(path.join("lanes"), cache_dir.clone(), options.disk_bytes);
    let lane = |number: u32| {
        Lane::open(LaneConfig {
            name: format!("{}/{number}", options.name),
            number,
            dir: path.join("lanes").join(number.to_string()),
            mirror: mirror.clone(),
            logs: logs.clone(),
            limits: RunLimits::default(),
            pass_env: options.pass_env.clone(),
            host: host.clone(),
            cache_dir: cache_dir.clone(),
            disk: disk.clone(),
        })
    };
    let lanes = (1..=options.slots).map(lane).collect::<Result<Vec<Lane>, _>>()?;
    Ok((Place { mirror: Arc::new(opened), packs, logs: LogStore::new(logs), disk, _lock: lock }, lanes))
}
