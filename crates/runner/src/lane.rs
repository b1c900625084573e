use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};
use yardmaster_git::Worktree;
use yardmaster_protocol::{GateJob, Millis, RunOutcome, RunReport, Step, StepResult};

use crate::checkout::{Preparation, prepare};
use crate::environment::{Surroundings, environment};
use crate::leftovers::{CrashRecord, clean};
use crate::log::RunLog;
use crate::room;
use crate::step::{StepEnd, StepJob, run_step};
use crate::tail::Tail;
use crate::{LaneConfig, LogStore, RunnerError};

/// The longest limit that is counted; what is longer is as good as this.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// One place where gates run, one after the other: a standing worktree and what belongs to it.
#[derive(Debug)]
pub struct Lane {
    config: LaneConfig,
    worktree_dir: PathBuf,
    tmp: PathBuf,
    record: PathBuf,
    store: LogStore,
    worktree: Option<Worktree>,
    /// Goes on by itself when a run is cancelled in mid-checkout; the next run waits for it.
    preparing: Option<JoinHandle<Result<Worktree, String>>>,
    /// A run was begun and not seen to its end.
    unclean: bool,
    _lock: File,
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
        let record = config.dir.join("running");
        clean(&record, &config.dir);
        Ok(Lane {
            worktree_dir: config.dir.join("worktree"),
            tmp: config.dir.join("tmp"),
            record,
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
        let mut steps = Vec::new();
        let outcome = self.outcome(job, clock, pin!(cancel), &mut steps).await;
        let runner = self.config.name.clone();
        RunReport {
            run: job.run.clone(),
            runner,
            outcome,
            started,
            ms: ms(clock.elapsed()),
            steps,
            skipped: Vec::new(),
        }
    }

    async fn outcome(
        &mut self,
        job: &GateJob,
        clock: Instant,
        mut cancel: Pin<&mut impl Future<Output = ()>>,
        results: &mut Vec<StepResult>,
    ) -> RunOutcome {
        if job.gate.steps.is_empty() {
            return RunOutcome::Green;
        }
        let (mut wall, mut pause) = (clock + self.config.limits.wall.min(LONGEST), room::FIRST_PAUSE);
        let mut log = loop {
            let ready = tokio::select! {
                biased;
                () = cancel.as_mut() => return RunOutcome::Cancelled,
                ready = self.make_ready(job) => ready,
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
        let outcome = self.run_steps(job, wall, cancel, &mut log, results).await;
        self.unclean = false;
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
        mut cancel: Pin<&mut impl Future<Output = ()>>,
        log: &mut RunLog,
        results: &mut Vec<StepResult>,
    ) -> RunOutcome {
        for step in &job.gate.steps {
            let began = Instant::now();
            let limit = Duration::from_millis(step.timeout_ms).min(LONGEST);
            let deadline = wall.min(began + limit);
            let limit = if deadline < wall { limit } else { self.config.limits.wall };
            let mut tail = Tail::new(self.config.limits.tail_bytes);
            log.line(&format!("$ {}", step.run)).await;
            let ended = run_step(self.step_job(job, step, deadline), log, &mut tail, cancel.as_mut()).await;
            let took = began.elapsed();
            let exit_code = match &ended {
                Ok(StepEnd::Exited(status)) => status.code(),
                _ => None,
            };
            results.push(StepResult { name: step.name.clone(), ms: ms(took), exit_code });
            log.line(&format!("{} after {:.1} s", in_words(&ended), took.as_secs_f64())).await;
            log.flush().await;
            let trouble = log.trouble().map(|why| format!("[the log is incomplete: {why}]"));
            let log_tail = |tail: Tail| tail.into_text(trouble.as_deref());
            match ended {
                Ok(StepEnd::Exited(status)) if status.success() => {}
                Ok(StepEnd::Exited(_)) if room::is_full(&self.config.dir) => {
                    let why = format!("step `{}` was red on a full disk, which says nothing", step.name);
                    return RunOutcome::Lost { why };
                }
                Ok(StepEnd::Exited(_)) => {
                    return RunOutcome::Red { step: step.name.clone(), exit_code, log_tail: log_tail(tail) };
                }
                Ok(StepEnd::TimedOut) => {
                    let (step, limit_ms) = (step.name.clone(), ms(limit));
                    return RunOutcome::TimedOut { step, limit_ms, log_tail: log_tail(tail) };
                }
                Ok(StepEnd::Cancelled) => return RunOutcome::Cancelled,
                Err(why) => {
                    return RunOutcome::Lost { why: format!("failed to run step `{}`: {why}", step.name) };
                }
            }
        }
        RunOutcome::Green
    }

    fn step_job<'a>(&'a self, job: &GateJob, step: &'a Step, deadline: Instant) -> StepJob<'a> {
        let around = Surroundings {
            lane: self.config.number,
            lane_dir: &self.config.dir,
            tmp: &self.tmp,
            pass_env: &self.config.pass_env,
        };
        StepJob {
            command: &step.run,
            dir: &self.worktree_dir,
            lane_dir: &self.config.dir,
            environment: environment(std::env::vars_os(), job, step, &around),
            record: CrashRecord { path: self.record.clone(), run: job.run.clone() },
            deadline,
            grace: self.config.limits.grace,
        }
    }

    /// Checks the candidate out and opens the log, at the same time.
    async fn make_ready(&mut self, job: &GateJob) -> Result<RunLog, String> {
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
        self.preparing = Some(spawn_blocking(move || prepare(&what, standing)));
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

fn in_words(ended: &std::io::Result<StepEnd>) -> String {
    match ended {
        Ok(StepEnd::Exited(status)) => match status.code() {
            Some(code) => format!("exit {code}"),
            None => status.to_string(),
        },
        Ok(StepEnd::TimedOut) => "timed out".to_owned(),
        Ok(StepEnd::Cancelled) => "cancelled".to_owned(),
        Err(why) => format!("not run: {why}"),
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
