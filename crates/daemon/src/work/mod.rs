//! A runner on whatever machine: it serves the same jobs as the crew inside the daemon, and needs nothing
//! of the daemon but NATS.

mod error;
mod place;
mod presence;
mod source;
mod tell;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use yardmaster_bus::{Bus, BusError, Cancelled, JobLease, JobSource};
use yardmaster_protocol::{
    ErrorBody, GateJob, Label, Millis, RunOutcome, RunReport, RunnerName, ServiceErrorCode,
};
use yardmaster_runner::{HostLimits, Lane};

pub use error::WorkError;

use crate::clock;
use crate::crew::{self, deliver};
use crate::shutdown::Shutdown;
use place::Place;
use presence::Presence;
use source::Source;
use tell::{Archive, answer_calls};

/// Between two looks for a daemon that is not there yet.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Logs that are on their way may take so long.
const LAST_LOGS: Duration = Duration::from_secs(5);
/// What is on its way to NATS may take so long at the end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How a runner is to work.
#[derive(Debug, Clone)]
pub struct WorkOptions {
    /// Its name, unique among those of the queue.
    pub name: RunnerName,
    /// A remote that has the target, so that only what is on no remote comes from the daemon.
    pub remote: Option<String>,
    /// Used instead of `ssh`, for keys and options.
    pub ssh_command: Option<String>,
    /// How many gates run at the same time.
    pub slots: u32,
    /// What it has.
    pub labels: BTreeSet<Label>,
    /// What steps that declare `cpu` and `mem` may take together.
    pub host: HostLimits,
    /// A directory for build caches that gates of all lanes get as `YARDMASTER_CACHE`; made if it is missing.
    pub cache_dir: Option<PathBuf>,
    /// The most bytes that checkouts and caches may take; none: half of the disk.
    pub disk_bytes: Option<u64>,
    /// Where its mirror, worktrees and logs are; none: chosen by its name.
    pub state_dir: Option<PathBuf>,
    /// Variables of its own environment that gates get too.
    pub pass_env: Vec<String>,
    /// How long what runs may go on after it was asked to stop.
    pub grace: Duration,
}

/// How far a runner has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Working {
    /// The daemon does not answer yet; what was heard.
    Waiting(String),
    /// It takes jobs.
    Ready,
    /// It takes nothing new; so many runs go on.
    Draining(usize),
}

/// How a runner is asked to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Take nothing new, and end what runs.
    pub drain: Shutdown,
    /// Give back what runs, at once.
    pub now: Shutdown,
}

/// Works until it is asked to stop. `tell` is called at each change.
///
/// # Errors
/// Whatever keeps it from working, with what to do about it.
pub async fn work(
    bus: Bus,
    options: WorkOptions,
    stop: Stop,
    mut tell: impl FnMut(&Working) + Send,
) -> Result<(), WorkError> {
    let (place, lanes) = Place::open(&options).await?;
    let presence = Arc::new(Presence::new(&bus, &options, &place.disk));
    if !met(&presence, &stop, &mut tell).await? {
        return Ok(());
    }
    tell(&Working::Ready);
    let source = Arc::new(Source::new(&bus, &place, options.remote.is_some()));
    let answering = answer_calls(bus.log_calls(presence.name()).await?, place.logs.clone());
    let archive = Archive::new(&bus, &place.logs);
    let evicting = crew::keep(&place.disk);
    let mut working = JoinSet::new();
    for (number, lane) in (1..).zip(lanes) {
        let desk = Desk {
            bus: bus.clone(),
            source: Arc::clone(&source),
            presence: Arc::clone(&presence),
            stop: stop.clone(),
            grace: options.grace,
            archive: archive.clone(),
            lane: number,
        };
        working.spawn(desk.serve(bus.jobs_for(presence.labels()), lane));
    }
    let ended = Shutdown::new();
    let keeping = tokio::spawn(Arc::clone(&presence).keep(ended.clone(), stop.drain.clone()));
    let told = tokio::select! {
        () = stop.drain.asked() => true,
        Some(_) = working.join_next() => false,
    };
    if told {
        tell(&Working::Draining(presence.running()));
    }
    while working.join_next().await.is_some() {}
    evicting.abort();
    archive.done(LAST_LOGS).await;
    answering.abort();
    ended.ask();
    let _ = keeping.await;
    let refused = presence.refusal();
    let _ = tokio::time::timeout(LAST_WORDS, presence.leave()).await;
    let _ = bus.flush().await;
    refused.map_or(Ok(()), |why| Err(WorkError::Refused(why)))
}

/// Waits for the daemon; false when it was asked to stop before.
async fn met(
    presence: &Presence,
    stop: &Stop,
    tell: &mut (impl FnMut(&Working) + Send),
) -> Result<bool, WorkError> {
    let mut told = false;
    loop {
        let why = tokio::select! {
            () = stop.drain.asked() => return Ok(false),
            heard = presence.beat() => match heard {
                Ok(()) => return Ok(true),
                Err(why) => why,
            },
        };
        if !is_passing(&why) {
            return Err(WorkError::Refused(why));
        }
        if !told {
            told = true;
            tell(&Working::Waiting(why.message));
        }
        tokio::select! {
            () = stop.drain.asked() => return Ok(false),
            () = sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Whether trouble with the daemon may be over soon.
fn is_passing(why: &ErrorBody) -> bool {
    why.code == ServiceErrorCode::Unreachable || (why.code == ServiceErrorCode::Unexpected && why.retryable)
}

/// One lane at work.
struct Desk {
    bus: Bus,
    source: Arc<Source>,
    presence: Arc<Presence>,
    stop: Stop,
    grace: Duration,
    archive: Archive,
    lane: u32,
}

impl Desk {
    async fn serve(self, mut jobs: JobSource, mut lane: Lane) {
        loop {
            let next = tokio::select! {
                biased;
                () = self.stop.drain.asked() => return,
                next = jobs.next() => next,
            };
            match next {
                Ok((job, lease, cancelled)) => self.run(&mut lane, &job, lease, cancelled).await,
                Err(why @ BusError::OtherWire { .. }) => {
                    self.presence.refuse(ErrorBody {
                        code: ServiceErrorCode::Refused,
                        message: format!("failed to {why}"),
                        retryable: false,
                        next: vec!["yardmaster --version".to_owned()],
                    });
                    self.stop.drain.ask();
                }
                Err(why) => {
                    tracing::warn!(%why, "the job stream is read again");
                    sleep(LOOK_AGAIN).await;
                }
            }
        }
    }

    async fn run(&self, lane: &mut Lane, job: &GateJob, lease: JobLease, cancelled: Cancelled) {
        let running = self.presence.begin(&job.run);
        tracing::info!(run = %job.run, candidate = %job.candidate, lane = self.lane, "takes a job");
        let report = tokio::select! {
            biased;
            () = self.unwanted(cancelled.clone()) => None,
            brought = self.source.bring(job) => match brought {
                Ok(()) => Some(lane.run(job, self.unwanted(cancelled.clone())).await),
                Err(why) => Some(self.lost(job, why)),
            },
        };
        self.source.release(&job.run);
        let report = report.filter(|r| r.outcome != RunOutcome::Cancelled || cancelled.is_cancelled());
        let Some(report) = report else {
            let given = if cancelled.is_cancelled() { lease.ack().await } else { lease.nak().await };
            tracing::info!(run = %job.run, called_off = cancelled.is_cancelled(), "gives a job back");
            if let Err(why) = given {
                tracing::debug!(%why, run = %job.run, "a job that was given back is free after the ack wait");
            }
            return;
        };
        tracing::info!(run = %job.run, ms = report.ms, "a run has ended");
        deliver(&self.bus, &report).await;
        if let Err(why) = lease.ack().await {
            tracing::debug!(%why, run = %job.run, "a job's ack was lost: its second report will be late news");
        }
        if !report.steps.is_empty() {
            self.archive.keep(report.run, running);
        }
    }

    /// When the daemon called the run off, or we have to go.
    async fn unwanted(&self, mut cancelled: Cancelled) {
        let have_to_go = async {
            self.stop.drain.asked().await;
            tokio::select! {
                () = sleep(self.grace) => {}
                () = self.stop.now.asked() => {}
            }
        };
        tokio::select! {
            () = cancelled.cancelled() => {}
            () = have_to_go => {}
        }
    }

    fn lost(&self, job: &GateJob, why: String) -> RunReport {
        RunReport {
            run: job.run.clone(),
            runner: self.presence.name().to_string(),
            outcome: RunOutcome::Lost { why },
            started: Millis(clock::now().0),
            ms: 0,
            steps: Vec::new(),
            skipped: Vec::new(),
        }
    }
}
