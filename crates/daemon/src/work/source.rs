use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use yardmaster_bus::Bus;
use yardmaster_git::{GitError, Mirror};
use yardmaster_protocol::{CandidateRequest, CommitId, GateJob, MAX_KNOWN, RunId};

use super::place::Place;

/// How long a candidate is asked for before the run counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// Candidates after which the mirror is packed.
const TIDY_EVERY: u64 = 200;
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Where candidates come from: what is on the remote from there, the rest from the daemon.
#[derive(Debug)]
pub(super) struct Source {
    bus: Bus,
    mirror: Arc<Mirror>,
    packs: PathBuf,
    has_remote: bool,
    number: AtomicU64,
    /// Candidates of runs that have not ended.
    in_use: std::sync::Mutex<BTreeMap<RunId, CommitId>>,
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
            in_use: std::sync::Mutex::default(),
            looking: Mutex::new(()),
        }
    }

    fn used(&self) -> MutexGuard<'_, BTreeMap<RunId, CommitId>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The candidate of this run may go.
    pub(super) fn release(&self, run: &RunId) {
        self.used().remove(run);
    }

    /// Brings a job's candidate into the mirror and keeps it there until it is released.
    ///
    /// # Errors
    /// Why it could not be had in time.
    pub(super) async fn bring(&self, job: &GateJob) -> Result<(), String> {
        self.used().insert(job.run.clone(), job.candidate);
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

    /// The candidate, and what it is compared with where steps depend on what has changed.
    async fn try_once(&self, job: &GateJob) -> Result<(), String> {
        self.bring_candidate(job).await?;
        match job.since {
            Some(since) if !self.has(since).await? => self.ask(since, self.known().await?).await,
            _ => Ok(()),
        }
    }

    async fn bring_candidate(&self, job: &GateJob) -> Result<(), String> {
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
        self.ask(job.candidate, known).await
    }

    async fn ask(&self, commit: CommitId, known: Vec<CommitId>) -> Result<(), String> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let file = self.packs.join(format!("{number}.pack"));
        let asked = CandidateRequest { candidate: commit, known };
        let brought = match self.bus.candidate(&asked, &file).await {
            Ok(()) => {
                let (mirror, from) = (Arc::clone(&self.mirror), file.clone());
                blocking(move || mirror.unpack(commit, &from)).await
            }
            Err(why) => Err(why.to_string()),
        };
        let _ = tokio::fs::remove_file(&file).await;
        if number % TIDY_EVERY == TIDY_EVERY - 1 {
            self.tidy();
        }
        brought
    }

    /// In the background; who brings something meanwhile waits for it.
    fn tidy(&self) {
        let (mirror, in_use) = (Arc::clone(&self.mirror), self.used().values().copied().collect::<Vec<_>>());
        tokio::spawn(async move {
            if let Err(why) = blocking(move || mirror.tidy_received(&in_use)).await {
                tracing::warn!(why, "the runner's mirror was not packed");
            }
        });
    }

    async fn has(&self, commit: CommitId) -> Result<bool, String> {
        let mirror = Arc::clone(&self.mirror);
        blocking(move || mirror.has(commit)).await
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
