use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;
use yardmaster_bus::Bus;
use yardmaster_protocol::{ErrorBody, LogReply, LogRequest, RunId, ServiceErrorCode};
use yardmaster_runner::{LogStore, RunLimits, RunnerError};

use crate::runners::Runners;
use crate::state_dir::StateDir;

pub(crate) const PIECE_BYTES: usize = 256 * 1_024;
const EVICT: Duration = Duration::from_secs(600);
/// Of logs of runs elsewhere, all together.
const KEPT_BYTES: u64 = 1 << 30;

/// The logs of runs, wherever those were made.
#[derive(Debug)]
pub(crate) struct Logs {
    bus: Bus,
    runners: Runners,
    here: LogStore,
    arrivals: PathBuf,
    number: AtomicU64,
}

impl Logs {
    pub(crate) fn new(bus: &Bus, runners: &Runners, state: &StateDir) -> Logs {
        let arrivals = state.log_arrivals();
        // What a crash left.
        let _ = std::fs::remove_dir_all(&arrivals);
        Logs {
            bus: bus.clone(),
            runners: runners.clone(),
            here: LogStore::new(state.logs()),
            arrivals,
            number: AtomicU64::new(0),
        }
    }

    /// A piece of the log of a run: from here, from the runner that is at it, or from where runners leave the
    /// logs of what they have done.
    pub(crate) async fn piece(&self, run: RunId, offset: u64) -> Result<LogReply, ErrorBody> {
        let missing = match read(&self.here, &run, offset).await {
            Err(why) if why.code == ServiceErrorCode::NotFound => why,
            read => return read,
        };
        if let Some(runner) = self.runners.who_runs(&run) {
            let asked = LogRequest { what: run.to_string(), offset };
            match self.bus.runner_log(&runner, &asked).await {
                Ok(piece) => return Ok(piece),
                Err(why) => tracing::debug!(%why, %run, %runner, "a runner does not tell its log"),
            }
        }
        self.bring(&run).await.map_err(|why| {
            tracing::debug!(why, %run, "no log");
            missing
        })?;
        read(&self.here, &run, offset).await
    }

    async fn bring(&self, run: &RunId) -> Result<(), String> {
        tokio::fs::create_dir_all(&self.arrivals).await.map_err(|e| e.to_string())?;
        let file = self.arrivals.join(self.number.fetch_add(1, Ordering::Relaxed).to_string());
        let fetched = self.bus.fetch_log(run, &file).await.map_err(|e| e.to_string());
        let adopted = match fetched {
            Ok(()) => {
                let (here, run, from) = (self.here.clone(), run.clone(), file.clone());
                let adopted = spawn_blocking(move || here.adopt(&run, &from, &RunLimits::default())).await;
                adopted.map_err(|e| e.to_string()).and_then(|done| done.map_err(|e| e.to_string()))
            }
            Err(why) => Err(why),
        };
        let _ = tokio::fs::remove_file(&file).await;
        adopted
    }
}

/// A piece of a log on this disk.
pub(crate) async fn read(store: &LogStore, run: &RunId, offset: u64) -> Result<LogReply, ErrorBody> {
    let (store, id) = (store.clone(), run.clone());
    let read = spawn_blocking(move || store.read(&id, offset, PIECE_BYTES)).await;
    let body = |code, message: String| ErrorBody {
        code,
        message,
        retryable: true,
        next: vec!["yardmaster queue".to_owned()],
    };
    match read {
        Ok(Ok(piece)) => Ok(LogReply {
            run: run.clone(),
            text: String::from_utf8_lossy(&piece.bytes).into_owned(),
            next: piece.next,
            done: piece.done,
        }),
        Ok(Err(why @ RunnerError::NoLog { .. })) => Err(body(ServiceErrorCode::NotFound, why.to_string())),
        Ok(Err(why)) => Err(body(ServiceErrorCode::Unexpected, why.to_string())),
        Err(why) => Err(body(ServiceErrorCode::Unexpected, why.to_string())),
    }
}

/// Keeps the logs of runs elsewhere bounded.
pub(crate) fn evict_now_and_then(bus: &Bus) -> JoinHandle<()> {
    let bus = bus.clone();
    tokio::spawn(async move {
        loop {
            sleep(EVICT).await;
            if let Err(why) = bus.evict_logs(KEPT_BYTES).await {
                tracing::warn!(%why, "old logs of runs elsewhere stay until they are too old");
            }
        }
    })
}
