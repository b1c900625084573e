use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};
use yardmaster_git::Worktree;
use yardmaster_protocol::{GateJob, Millis, RunOutcome, RunReport, StepResult};

use crate::checkout::{Preparation, prepare};
use crate::disk::{InUse, Seat};
use crate::leftovers::{Marked, clean, sweep};
use crate::log::RunLog;
use crate::output::Output;
use crate::room;
use crate::steps::{Steps, may_be_parallel};
use crate::when::left_out;
use crate::{LaneConfig, LogStore, RunnerError};

/// The longest limit that is counted; what is longer is as good as this.
pub(crate) const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// One place where gates run, one after the other: a standing worktree and what belongs to it.
#[derive(Debug)]
pub struct Lane {
    config: LaneConfig,
    worktree_dir: PathBuf,
    tmp: PathBuf,
    store: LogStore,
    worktree: Option<Worktree>,
    /// Goes on by itself when a run is cancelled in mid-checkout; the next run waits for it.
    preparing: Option<JoinHandle<Result<Worktree, String>>>,
    /// A run was begun and not seen to its end.
    unclean: bool,
    seat: Arc<Seat>,
    _lock: File,
}

/// What a report says of the steps.
#[derive(Default)]
struct Told {
    steps: Vec<StepResult>,
    skipped: Vec<String>,
}

impl Lane {
    /// Opens the lane for this process alone and ends what a crashed predecessor left running.
    /// Blocking. The worktree itself is opened by the first run.
    ///
    /// # Errors
    /// [`RunnerError::LaneInUse`], or [`RunnerError::Directory`] when a directory cannot be made.
    pub fn open(mut config: LaneConfig) -> Result<Lane, RunnerError> {
        let directory = |path: &Path| {
            let path = path.to_owned();
            move |source| RunnerError::Directory { path, source }
        };
        fs::create_dir_all(&config.logs).map_err(directory(&config.logs))?;
        fs::create_dir_all(&config.dir).map_err(directory(&config.dir))?;
        // Absolute and the same on every start: processes are recognised by it.
        config.dir = config.dir.canonicalize().map_err(directory(&config.dir))?;
        let lock_path = config.dir.join("lock");
        let lock = File::create(&lock_path).map_err(directory(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(RunnerError::LaneInUse { path: config.dir }),
            Err(TryLockError::Error(source)) => return Err(directory(&lock_path)(source)),
        }
        clean(&config.dir);
        Ok(Lane {
            seat: config.disk.seat(&config.dir),
            worktree_dir: config.dir.join("worktree"),
            tmp: config.dir.join("tmp"),
            store: LogStore::new(&config.logs),
            worktree: None,
            preparing: None,
            unclean: false,
            _lock: lock,
            config,
        })
    }

    /// Runs the job's steps until one is not green or `cancel` resolves. Nothing of the run is left
    /// running when it returns, nor (a moment later) when it is dropped. Never fails: trouble that
    /// says nothing about the candidate is [`RunOutcome::Lost`].
    pub async fn run(&mut self, job: &GateJob, cancel: impl Future<Output = ()>) -> RunReport {
        let started = Millis(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, ms));
        let clock = Instant::now();
        let mut told = Told::default();
        let outcome = self.outcome(job, clock, pin!(cancel), &mut told).await;
        let (runner, Told { steps, skipped }) = (self.config.name.clone(), told);
        RunReport { run: job.run.clone(), runner, outcome, started, ms: ms(clock.elapsed()), steps, skipped }
    }

    async fn outcome(
        &mut self,
        job: &GateJob,
        clock: Instant,
        mut cancel: Pin<&mut impl Future<Output = ()>>,
        told: &mut Told,
    ) -> RunOutcome {
        if job.gate.steps.is_empty() {
            return RunOutcome::Green;
        }
        let in_use = tokio::select! {
            biased;
            () = cancel.as_mut() => return RunOutcome::Cancelled,
            in_use = self.config.disk.hold(&self.seat) => Arc::new(in_use),
        };
        if self.seat.was_evicted() {
            let _ = self.prepared().await;
            self.worktree = None;
        }
        let (mut wall, mut pause) = (clock + self.config.limits.wall.min(LONGEST), room::FIRST_PAUSE);
        let log = loop {
            let ready = tokio::select! {
                biased;
                () = cancel.as_mut() => return RunOutcome::Cancelled,
                ready = self.make_ready(job, &in_use) => ready,
                () = sleep_until(wall) => Err("the checkout took longer than a whole run may take".to_owned()),
            };
            let why = match ready {
                // What starts on a full disk is red for want of room.
                Ok(_) if room::is_full(&self.config.dir) => "the disk is full".to_owned(),
                Ok(log) => break log,
                Err(why) if room::is_missing(&why) || room::is_full(&self.config.dir) => why,
                Err(why) => return RunOutcome::Lost { why },
            };
            tracing::warn!(%why, run = %job.run, "a run waits until its disk has room");
            tokio::select! {
                () = cancel.as_mut() => return RunOutcome::Cancelled,
                () = sleep(pause) => {}
            }
            pause = (pause * 2).min(room::LONGEST_PAUSE);
            wall = Instant::now() + self.config.limits.wall.min(LONGEST);
        };
        self.unclean = true;
        let log = Mutex::new(log);
        let outcome = self.run_steps(job, wall, cancel, &log, told).await;
        self.unclean = false;
        let mut log = log.into_inner();
        if let RunOutcome::Lost { why } = &outcome {
            log.line(&format!("lost: {why}")).await;
        }
        log.finish().await;
        outcome
    }

    async fn run_steps(
        &self,
        job: &GateJob,
        wall: Instant,
        cancel: Pin<&mut impl Future<Output = ()>>,
        log: &Mutex<RunLog>,
        report: &mut Told,
    ) -> RunOutcome {
        let skipped = self.left_out(job, log).await;
        let left_out = job.gate.steps.iter().zip(&skipped).filter(|(_, left_out)| **left_out);
        report.skipped = left_out.map(|(step, _)| step.name.clone()).collect();
        let parallel = may_be_parallel(job);
        let steps = Steps {
            config: &self.config,
            host: &self.config.host,
            worktree_dir: &self.worktree_dir,
            tmp: &self.tmp,
            job,
            skipped: &skipped,
            wall,
            parallel,
            waited_ms: AtomicU64::new(0),
        };
        let outcome = steps.run(cancel, log, &mut report.steps).await;
        if parallel {
            // What had left its group and its step's environment, but not the lane's.
            let lane_dir = self.config.dir.clone();
            let _ = spawn_blocking(move || sweep(&Marked::lane(&lane_dir))).await;
        }
        outcome
    }

    /// Which steps need not run, and says so in the log. When that cannot be found out, none.
    async fn left_out(&self, job: &GateJob, log: &Mutex<RunLog>) -> Vec<bool> {
        let (mirror, asked) = (self.config.mirror.clone(), job.clone());
        let found = spawn_blocking(move || left_out(&mirror, &asked)).await;
        let found = found.unwrap_or_else(|why| Err(why.to_string()));
        let mut output = Output::new(log, None);
        let skipped = match found {
            Ok(skipped) => skipped,
            Err(why) => {
                output.line(&format!("every step runs, whatever its `when`: {why}")).await;
                vec![false; job.gate.steps.len()]
            }
        };
        for (step, _) in job.gate.steps.iter().zip(&skipped).filter(|(_, left_out)| **left_out) {
            let since = job.since.map(|since| since.short()).unwrap_or_default();
            let text =
                format!("step `{}` is left out: nothing of its `when` differs from {since}", step.name);
            output.line(&text).await;
        }
        skipped
    }

    /// Checks the candidate out and opens the log, at the same time.
    async fn make_ready(&mut self, job: &GateJob, in_use: &Arc<InUse>) -> Result<RunLog, String> {
        let log = self.open_log(job);
        // A run that was dropped in mid-checkout left its worktree on the way.
        let _ = self.prepared().await;
        let what = Preparation {
            mirror: self.config.mirror.clone(),
            worktree_dir: self.worktree_dir.clone(),
            tmp: self.tmp.clone(),
            commit: job.candidate,
            unclean: self.unclean.then(|| self.config.dir.clone()),
        };
        let standing = self.worktree.take();
        // It may go on when the run has been called off.
        let in_use = Arc::clone(in_use);
        self.preparing = Some(spawn_blocking(move || {
            let _in_use = in_use;
            prepare(&what, standing)
        }));
        self.prepared().await?;
        log.await.map_err(|why| format!("failed to open the log: {why}"))
    }

    /// Waits for the worktree that is being prepared; can be dropped and asked again.
    async fn prepared(&mut self) -> Result<(), String> {
        let Some(preparing) = self.preparing.as_mut() else { return Ok(()) };
        let worktree = preparing.await;
        self.preparing = None;
        let worktree = worktree.map_err(|why| format!("the checkout broke off: {why}"))??;
        self.worktree = Some(worktree);
        Ok(())
    }

    fn open_log(&self, job: &GateJob) -> JoinHandle<RunLog> {
        let (store, run, limits) = (self.store.clone(), job.run.clone(), self.config.limits);
        spawn_blocking(move || {
            let bytes = limits.kept_log_bytes.saturating_sub(limits.log_bytes);
            if let Err(why) = store.evict(bytes, limits.kept_logs.saturating_sub(1)) {
                tracing::warn!(%why, "old logs could not make room");
            }
            RunLog::create(&store.path(&run), limits.log_bytes)
        })
    }
}

pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
