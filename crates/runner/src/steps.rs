use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use yardmaster_protocol::{GateJob, RunOutcome, StepResult};

use crate::environment::{Surroundings, environment};
use crate::leftovers::{CrashRecord, Marked, RECORD};
use crate::log::RunLog;
use crate::output::Output;
use crate::room;
use crate::step::{StepEnd, StepJob, run_step};
use crate::tail::Tail;
use crate::{Host, LONGEST, LaneConfig, ms};

/// One run of a gate's steps: each starts when those that it waits for are green, and the first one that is
/// not green ends the others.
pub(crate) struct Steps<'a> {
    pub(crate) config: &'a LaneConfig,
    pub(crate) host: &'a Host,
    pub(crate) worktree_dir: &'a Path,
    pub(crate) tmp: &'a Path,
    pub(crate) job: &'a GateJob,
    /// Those that are left out, one for each step.
    pub(crate) skipped: &'a [bool],
    pub(crate) wall: Instant,
    /// Some of the steps may run beside each other.
    pub(crate) parallel: bool,
    /// Time in which steps waited for what others have, in milliseconds: none of it counts.
    pub(crate) waited_ms: AtomicU64,
}

/// What became of one step.
struct Ended {
    place: usize,
    /// None: it was not started.
    result: Option<StepResult>,
    /// None: it is green.
    outcome: Option<RunOutcome>,
}

impl Steps<'_> {
    /// Runs them until all are green, one is not, or `cancel` resolves.
    pub(crate) async fn run(
        &self,
        mut cancel: Pin<&mut impl Future<Output = ()>>,
        log: &Mutex<RunLog>,
        results: &mut Vec<StepResult>,
    ) -> RunOutcome {
        let waits = self.job.gate.waits();
        let mut green: Vec<bool> = self.skipped.to_vec();
        let mut started = green.clone();
        let (stop, stopped) = watch::channel(false);
        let mut running = FuturesUnordered::new();
        let (mut outcome, mut is_cancelled) = (None, false);
        loop {
            for (place, needed) in waits.iter().enumerate().filter(|_| outcome.is_none()) {
                if !started[place] && needed.iter().all(|w| green[*w]) {
                    started[place] = true;
                    running.push(self.step(place, stopped.clone(), log));
                }
            }
            let ended: Option<Ended> = tokio::select! {
                biased;
                () = cancel.as_mut(), if !is_cancelled => {
                    is_cancelled = true;
                    outcome.get_or_insert(RunOutcome::Cancelled);
                    let _ = stop.send(true);
                    continue;
                }
                ended = running.next() => ended,
            };
            let Some(Ended { place, result, outcome: how }) = ended else { break };
            results.extend(result);
            match how {
                None => green[place] = true,
                Some(how) => {
                    outcome.get_or_insert(how);
                    let _ = stop.send(true);
                }
            }
        }
        outcome.unwrap_or(RunOutcome::Green)
    }

    async fn step(&self, place: usize, mut stop: watch::Receiver<bool>, log: &Mutex<RunLog>) -> Ended {
        let step = &self.job.gate.steps[place];
        let asked = Instant::now();
        let not_started = |outcome| Ended { place, result: None, outcome: Some(outcome) };
        let claim = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return not_started(RunOutcome::Cancelled),
            claim = self.host.claim(step) => claim,
        };
        let claim = match claim {
            Ok(claim) => claim,
            Err(why) => {
                let why = format!("step `{}` could not take what it needs: {why}", step.name);
                return not_started(RunOutcome::Lost { why });
            }
        };
        self.waited_ms.fetch_add(ms(asked.elapsed()), Ordering::Relaxed);
        let mut output = Output::new(log, self.parallel.then_some(step.name.as_str()));
        let ended = self.run_step(place, stop, &mut output).await;
        drop(claim);
        ended
    }

    async fn run_step(
        &self,
        place: usize,
        mut stop: watch::Receiver<bool>,
        output: &mut Output<'_>,
    ) -> Ended {
        let step = &self.job.gate.steps[place];
        let began = Instant::now();
        let (limit, learned) = self.limit(place);
        let wall = self.wall + Duration::from_millis(self.waited_ms.load(Ordering::Relaxed));
        let deadline = wall.min(began + limit);
        let (limit, learned) =
            if deadline < wall { (limit, learned) } else { (self.config.limits.wall, false) };
        let mut tail = Tail::new(self.config.limits.tail_bytes);
        output.line(&format!("$ {}", step.run)).await;
        let asked_to_stop = std::pin::pin!(async {
            let _ = stop.wait_for(|stop| *stop).await;
        });
        let ended = run_step(self.step_job(place, deadline), output, &mut tail, asked_to_stop).await;
        let took = began.elapsed();
        let exit_code = match &ended {
            Ok(StepEnd::Exited(status)) => status.code(),
            _ => None,
        };
        output.line(&format!("{} after {:.1} s", in_words(&ended), took.as_secs_f64())).await;
        let trouble = output.flush().await;
        let log_tail = |tail: Tail| tail.into_text(trouble.as_deref());
        let name = step.name.clone();
        let result = Some(StepResult { name: name.clone(), ms: ms(took), exit_code });
        let outcome = match ended {
            Ok(StepEnd::Exited(status)) if status.success() => None,
            Ok(StepEnd::Exited(_)) if room::is_full(&self.config.dir) => {
                let why = format!("step `{name}` was red on a full disk, which says nothing");
                Some(RunOutcome::Lost { why })
            }
            Ok(StepEnd::Exited(_)) => {
                Some(RunOutcome::Red { step: name, exit_code, log_tail: log_tail(tail) })
            }
            Ok(StepEnd::TimedOut) if learned => {
                Some(RunOutcome::Lost { why: too_slow(&name, limit, step.timeout_ms) })
            }
            Ok(StepEnd::TimedOut) => {
                Some(RunOutcome::TimedOut { step: name, limit_ms: ms(limit), log_tail: log_tail(tail) })
            }
            Ok(StepEnd::Cancelled) => Some(RunOutcome::Cancelled),
            Err(why) => Some(RunOutcome::Lost { why: format!("failed to run step `{name}`: {why}") }),
        };
        Ended { place, result, outcome }
    }

    /// How long a step may take, and whether that was learned from its runs.
    fn limit(&self, place: usize) -> (Duration, bool) {
        let step = &self.job.gate.steps[place];
        let learned = self.job.learned_ms.get(&step.name).filter(|ms| **ms < step.timeout_ms);
        let limit = Duration::from_millis(*learned.unwrap_or(&step.timeout_ms)).min(LONGEST);
        (limit, learned.is_some())
    }

    fn step_job(&self, place: usize, deadline: Instant) -> StepJob<'_> {
        let (config, step) = (self.config, &self.job.gate.steps[place]);
        let around = Surroundings {
            lane: config.number,
            lane_dir: &config.dir,
            tmp: self.tmp,
            pass_env: &config.pass_env,
            cache_dir: config.cache_dir.as_deref(),
        };
        let mark = if self.parallel { Marked::step(&config.dir, place) } else { Marked::lane(&config.dir) };
        let record = if self.parallel { format!("{RECORD}-{place}") } else { RECORD.to_owned() };
        StepJob {
            command: &step.run,
            dir: self.worktree_dir,
            environment: environment(std::env::vars_os(), self.job, (place, step), &around),
            record: CrashRecord { path: config.dir.join(record), run: self.job.run.clone() },
            mark,
            deadline,
            grace: config.limits.grace,
        }
    }
}

/// Whether some steps may run beside each other.
pub(crate) fn may_be_parallel(job: &GateJob) -> bool {
    let waits = job.gate.waits();
    waits.iter().enumerate().any(|(place, needed)| place > 0 && !needed.contains(&(place - 1)))
}

fn too_slow(step: &str, limit: Duration, own_ms: u64) -> String {
    format!(
        "step `{step}` did not end within {} s, four times what its green runs take; that says nothing, and the run \
         is repeated with the step's own limit of {} s",
        limit.as_secs(),
        own_ms / 1_000
    )
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
