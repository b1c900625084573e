use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use yardmaster_bus::Bus;
use yardmaster_git::{GitError, Mirror};
use yardmaster_protocol::{CandidateRequest, CommitId, GateJob, MAX_KNOWN};

use super::place::Place;

/// How long a candidate is asked for before the run counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Where candidates come from: what is on the remote from there, the rest from the daemon.
#[derive(Debug)]
pub(super) struct Source {
    bus: Bus,
    mirror: Arc<Mirror>,
    packs: PathBuf,
    has_remote: bool,
    number: AtomicU64,
    /// Lanes that start together need the same tip.
    looking: Mutex<()>,
}

impl Source {
    pub(super) fn new(bus: &Bus, place: &Place, has_remote: bool) -> Source {
        Source {
            bus: bus.clone(),
            mirror: Arc::clone(&place.mirror),
            packs: place.packs.clone(),
            has_remote,
            number: AtomicU64::new(0),
            looking: Mutex::new(()),
        }
    }

    /// Brings a job's candidate into the mirror.
    ///
    /// # Errors
    /// Why it could not be had in time.
    pub(super) async fn bring(&self, job: &GateJob) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let why = match self.try_once(job).await {
                Ok(()) => return Ok(()),
                Err(why) => why,
            };
            if Instant::now() + ASK_AGAIN > until {
                return Err(format!("failed to get the candidate {}: {why}", job.candidate));
            }
            tracing::warn!(why, run = %job.run, "a candidate is asked for again");
            sleep(ASK_AGAIN).await;
        }
    }

    async fn try_once(&self, job: &GateJob) -> Result<(), String> {
        let mut known = self.known().await?;
        if self.has_remote && !known.contains(&job.base) && !known.contains(&job.candidate) {
            let _one = self.looking.lock().await;
            known = self.known().await?;
            if !known.contains(&job.base) && !known.contains(&job.candidate) {
                self.look(job).await;
                known = self.known().await?;
            }
        }
        if known.contains(&job.candidate) {
            return Ok(());
        }
        let file = self.packs.join(format!("{}.pack", self.number.fetch_add(1, Ordering::Relaxed)));
        let asked = CandidateRequest { candidate: job.candidate, known };
        let brought = match self.bus.candidate(&asked, &file).await {
            Ok(()) => {
                let (mirror, candidate, from) = (Arc::clone(&self.mirror), job.candidate, file.clone());
                blocking(move || mirror.unpack(candidate, &from)).await
            }
            Err(why) => Err(why.to_string()),
        };
        let _ = tokio::fs::remove_file(&file).await;
        brought
    }

    async fn known(&self) -> Result<Vec<CommitId>, String> {
        let mirror = Arc::clone(&self.mirror);
        blocking(move || mirror.whole_commits(MAX_KNOWN)).await
    }

    /// What cannot be fetched comes from the daemon.
    async fn look(&self, job: &GateJob) {
        let (mirror, target) = (Arc::clone(&self.mirror), job.target.clone());
        if let Err(why) = blocking(move || mirror.look(&target, None, &[])).await {
            tracing::warn!(why, target = %job.target, "the remote is left out: everything comes from the daemon");
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, GitError> + Send + 'static,
) -> Result<T, String> {
    spawn_blocking(work).await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}
