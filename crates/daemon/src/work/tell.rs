use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use yardmaster_bus::{Bus, LogCalls};
use yardmaster_protocol::{ErrorBody, RunId, ServiceErrorCode};
use yardmaster_runner::LogStore;

use super::presence::Running;
use crate::logs::read;

/// Pieces that are read at the same time.
const READ_AT_ONCE: usize = 8;

/// Answers what the daemon asks about logs that are written here.
pub(super) fn answer_calls(mut calls: LogCalls, logs: LogStore) -> JoinHandle<()> {
    let reading = Arc::new(Semaphore::new(READ_AT_ONCE));
    tokio::spawn(async move {
        while let Some(call) = calls.next().await {
            let Ok(turn) = Arc::clone(&reading).acquire_owned().await else { return };
            let logs = logs.clone();
            tokio::spawn(async move {
                let answer = match RunId::new(call.asked.what.as_str()) {
                    Ok(run) => read(&logs, &run, call.asked.offset).await,
                    Err(why) => Err(ErrorBody {
                        code: ServiceErrorCode::Usage,
                        message: why.to_string(),
                        retryable: false,
                        next: Vec::new(),
                    }),
                };
                call.respond(answer).await;
                drop(turn);
            });
        }
    })
}

/// Leaves the logs of ended runs where the daemon finds them, beside the work.
#[derive(Debug, Clone)]
pub(super) struct Archive {
    bus: Bus,
    logs: LogStore,
    open: Arc<watch::Sender<usize>>,
}

impl Archive {
    pub(super) fn new(bus: &Bus, logs: &LogStore) -> Archive {
        Archive { bus: bus.clone(), logs: logs.clone(), open: Arc::new(watch::Sender::new(0)) }
    }

    /// Until it is there, the run counts as one that we are asked about.
    pub(super) fn keep(&self, run: RunId, running: Running) {
        let archive = self.clone();
        self.open.send_modify(|open| *open += 1);
        tokio::spawn(async move {
            if let Err(why) = archive.bus.store_log(&run, &archive.logs.path(&run)).await {
                tracing::warn!(%why, %run, "the log of a run is only here");
            }
            drop(running);
            archive.open.send_modify(|open| *open -= 1);
        });
    }

    /// Waits until everything is there, at most `longest`.
    pub(super) async fn done(&self, longest: Duration) {
        let mut open = self.open.subscribe();
        let _ = tokio::time::timeout(longest, open.wait_for(|open| *open == 0)).await;
    }
}
