use yardmaster_protocol::{
    BranchName, CommitId, GateJob, LandOutcome, Landing, RequestId, RunId, RunOutcome, RunReport, Sighting,
};
use yardmaster_queue::{Input, Order, PinAsk};

use crate::gate::project;
use crate::remote::Pushed;
use crate::violation::Violation;
use crate::world::{Happening, LOOK_EVERY, Running, World};

const BACKOFF: u64 = 3_000;

impl World {
    /// Starts what the plan has and nobody does; stops what somebody does and the plan has not.
    pub(crate) fn carry_out(&mut self) {
        let Some(daemon) = &self.daemon else { return };
        let plan = daemon.queue.plan(&self.policy);
        let mut jobs: Vec<GateJob> = Vec::new();
        for order in plan.orders {
            match order {
                Order::Pin { tip, asks, .. } => self.pin(tip, &asks),
                Order::Assemble { target, base, specs } => {
                    if self.daemon.as_mut().is_some_and(|d| d.assembling.insert(target.clone())) {
                        let merges = self.git.assemble(base, &specs);
                        let (ms, epoch) = (self.rng.range(5, 400), self.epoch);
                        self.after(ms, Happening::Merged { epoch, target, merges });
                    }
                }
                Order::Test(job) => jobs.push(job),
                Order::Land { target, landing } => self.push(target, landing),
            }
        }
        let gone: Vec<RunId> =
            self.running.keys().filter(|run| !jobs.iter().any(|j| j.run == **run)).cloned().collect();
        gone.into_iter().for_each(|run| self.stop(&run));
        jobs.into_iter().for_each(|job| self.start(job));
    }

    fn pin(&mut self, tip: CommitId, asks: &[PinAsk]) {
        let Some(daemon) = self.daemon.as_mut().filter(|d| !d.pinning) else { return };
        daemon.pinning = true;
        let (ms, epoch) = (self.rng.range(20, 3_000), self.epoch);
        let inspect = |ask: &PinAsk| -> (RequestId, _) {
            let found = self.remote.branches.get(&ask.branch).copied();
            (ask.request, self.git.inspect(found, ask.commit, tip))
        };
        let found = (!self.remote.silent).then(|| asks.iter().map(inspect).collect());
        self.after(ms, Happening::Pinned { epoch, found });
    }

    pub(crate) fn pinned(
        &mut self,
        found: Option<Vec<(RequestId, yardmaster_protocol::Inspection)>>,
    ) -> Result<(), Violation> {
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        match found {
            Some(found) => {
                daemon.pinning = false;
                self.input(Input::Inspected(found)).map(drop)
            }
            None => {
                let epoch = self.epoch;
                self.after(BACKOFF, Happening::FreeAgain { epoch, target: None });
                self.input(Input::RemoteSilent { why: "it does not answer".to_owned() }).map(drop)
            }
        }
    }

    fn start(&mut self, job: GateJob) {
        if self.running.contains_key(&job.run) {
            return;
        }
        self.scheduled_run(job);
    }

    fn scheduled_run(&mut self, job: GateJob) {
        let (serial, run) =
            (self.steps * 1_000 + u64::try_from(self.running.len()).unwrap_or(0), job.run.clone());
        let ms = if self.rng.chance(20) { self.rng.range(100, 1_000) } else { self.rng.range(1_000, 60_000) };
        self.running.insert(run.clone(), Running { serial, job, started: self.now });
        self.after(ms, Happening::RunEnds { run, serial });
    }

    /// Ends a run that nobody wants; its report may come all the same.
    fn stop(&mut self, run: &RunId) {
        let Some(running) = self.running.remove(run) else { return };
        if self.unlucky(30) {
            let outcome =
                if self.rng.chance(50) { RunOutcome::Cancelled } else { self.verdict(&running.job) };
            let report = report(&running, outcome, self.now);
            let ms = self.rng.range(0, 5_000);
            self.after(ms, Happening::Report { report, serial: running.serial });
        }
    }

    fn verdict(&mut self, job: &GateJob) -> RunOutcome {
        if self.rules.is_green(&self.git.files_of(job.tree), &job.gate) {
            return RunOutcome::Green;
        }
        let (step, log_tail) = ("gate".to_owned(), "red".to_owned());
        if self.rng.chance(10) {
            RunOutcome::TimedOut { step, limit_ms: 1_000, log_tail }
        } else {
            RunOutcome::Red { step, exit_code: Some(1), log_tail }
        }
    }

    pub(crate) fn run_ends(&mut self, run: &RunId, serial: u64) {
        let Some(job) = self.running.get(run).filter(|r| r.serial == serial).map(|r| r.job.clone()) else {
            return;
        };
        let outcome = if self.unlucky(8) {
            RunOutcome::Lost { why: "the runner died".to_owned() }
        } else {
            self.verdict(&job)
        };
        if let Some(running) = self.running.get(run) {
            let report = report(running, outcome, self.now);
            if self.unlucky(5) {
                self.after(700, Happening::Report { report: report.clone(), serial });
            }
            self.after(0, Happening::Report { report, serial });
        }
    }

    /// Reports come until the daemon has taken them.
    pub(crate) fn report(&mut self, report: RunReport, serial: u64) -> Result<(), Violation> {
        let run = report.run.clone();
        if self.daemon.is_none() || !self.input(Input::RunEnded(report.clone()))? {
            self.after(2_000, Happening::Report { report, serial });
        } else if self.running.get(&run).is_some_and(|r| r.serial == serial) {
            self.running.remove(&run);
        }
        Ok(())
    }

    fn push(&mut self, target: BranchName, landing: Landing) {
        if self.daemon.as_mut().is_some_and(|d| d.busy.insert(target.clone())) {
            let (ms, epoch) = (self.rng.range(20, 1_500), self.epoch);
            self.after(ms, Happening::PushArrives { epoch, target, landing });
        }
    }

    /// The moment at which the remote takes a push, or does not.
    pub(crate) fn push_arrives(
        &mut self,
        epoch: u32,
        target: BranchName,
        landing: Landing,
    ) -> Result<(), Violation> {
        let orphan = epoch != self.epoch;
        if orphan && (self.rewound || self.rng.chance(50)) {
            return Ok(());
        }
        let lost_before = self.unlucky(5);
        let lost_after = self.unlucky(8);
        let mut pushed = None;
        if !self.remote.silent && !lost_before {
            let before = self.remote.branches.get(&target).copied();
            let outcome = self.remote.push(&self.git, &target, landing.from, landing.to);
            self.tell(|w| format!("remote: push of {} to {target}: {outcome:?}", w.git.name(landing.to)));
            if self.remote.branches.get(&target).copied() != before {
                self.tip_moved(&target);
                self.check_push(&target, &landing)?;
            }
            pushed = (!lost_after).then_some(outcome);
        }
        let ms = self.rng.range(5, 800);
        self.after(ms, Happening::PushReturns { epoch, target, landing, pushed });
        Ok(())
    }

    /// Every commit that a push put on the first-parent history was green itself.
    fn check_push(&self, target: &BranchName, landing: &Landing) -> Result<(), Violation> {
        let forward = self.git.contains(landing.to, landing.from);
        Violation::unless(forward, "the target only moves forward", || self.git.name(landing.to))?;
        let files = self.git.files(landing.from);
        let gate = match &self.policy.gate {
            yardmaster_queue::GateRule::Fixed(gate) => gate.clone(),
            yardmaster_queue::GateRule::FromTarget => project(&files).gate.unwrap_or_default(),
        };
        for commit in self.git.first_parents(landing.to, Some(landing.from)) {
            let tree = self.git.tree(commit);
            let green = self.rules.is_green(&self.git.files(commit), &gate);
            let tested = self.ledger.greens.contains(&(tree, gate.id()));
            Violation::unless(green && tested, "every commit on the target was green itself", || {
                format!("{} on {target}: green {green}, tested {tested}", self.git.name(commit))
            })?;
            let ours = landing.requests.iter().any(|(_, c)| *c == commit);
            Violation::unless(ours, "every commit of a push is somebody's", || self.git.name(commit))?;
        }
        Ok(())
    }

    pub(crate) fn push_returns(
        &mut self,
        target: BranchName,
        landing: &Landing,
        pushed: Option<Pushed>,
    ) -> Result<(), Violation> {
        let epoch = self.epoch;
        let commits: Vec<CommitId> = landing.requests.iter().map(|(_, c)| *c).collect();
        let seen = self.remote.look(&self.git, &target, Some(landing.from), &commits);
        let project = Ok(seen.as_ref().map(|s| project(&self.git.files(s.tip))).unwrap_or_default());
        let outcome = match (pushed, seen) {
            (Some(Pushed::Declined(why)), Some(seen)) => LandOutcome::Declined { why, seen },
            (Some(_), Some(seen)) if seen.contains.contains(&landing.to) => LandOutcome::Landed { seen },
            (Some(_), Some(seen)) => LandOutcome::Moved { seen },
            (_, _) => LandOutcome::Unknown { why: "the connection broke".to_owned() },
        };
        let ms = if matches!(outcome, LandOutcome::Unknown { .. }) { BACKOFF } else { 0 };
        if ms > 0 {
            self.after(ms, Happening::FreeAgain { epoch, target: Some(target.clone()) });
            let ms = self.rng.range(0, 2 * BACKOFF);
            self.after(ms, Happening::LookDue { epoch, target: target.clone(), periodic: false });
        } else {
            self.set_free(&target);
        }
        self.input(Input::LandEnded { target, to: landing.to, outcome, project }).map(drop)
    }

    fn set_free(&mut self, target: &BranchName) {
        if let Some(daemon) = &mut self.daemon {
            daemon.busy.remove(target);
        }
    }

    pub(crate) fn look_due(&mut self, target: BranchName, periodic: bool) {
        let epoch = self.epoch;
        let Some(daemon) = &mut self.daemon else { return };
        if !daemon.busy.insert(target.clone()) {
            self.after(400, Happening::LookDue { epoch, target, periodic });
            return;
        }
        if periodic {
            self.after(LOOK_EVERY, Happening::LookDue { epoch, target: target.clone(), periodic });
        }
        let Some(daemon) = &self.daemon else { return };
        let known = daemon.queue.tip(&target);
        let asked = daemon.queue.landing_commits(&target);
        let sighting = self.remote.look(&self.git, &target, known, &asked);
        let ms = self.rng.range(5, 1_000);
        self.after(ms, Happening::LookReturns { epoch, target, known, sighting });
    }

    pub(crate) fn look_returns(
        &mut self,
        target: BranchName,
        known: Option<CommitId>,
        sighting: Option<Sighting>,
    ) -> Result<(), Violation> {
        self.set_free(&target);
        let input = match sighting {
            Some(sighting) => {
                let project = Ok(project(&self.git.files(sighting.tip)));
                Input::Seen { target: target.clone(), known, sighting, project }
            }
            None => Input::RemoteSilent { why: "it does not answer".to_owned() },
        };
        self.input(input)?;
        self.operator(target)
    }

    /// Freezes for no reason the queue knows, and sooner or later unfreezes what stands still.
    fn operator(&mut self, target: BranchName) -> Result<(), Violation> {
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let who = "operator".to_owned();
        if !daemon.queue.is_frozen(&target) {
            if self.unlucky(2) {
                self.input(Input::Freeze { target, who, why: "a release".to_owned() })?;
            }
        } else if self.quiet || self.rng.chance(30) {
            self.input(Input::Unfreeze { target, who, why: "looked at".to_owned() })?;
        }
        Ok(())
    }
}

fn report(running: &Running, outcome: RunOutcome, now: u64) -> RunReport {
    RunReport {
        run: running.job.run.clone(),
        runner: "toy/1".to_owned(),
        outcome,
        started: yardmaster_protocol::Millis(running.started),
        ms: now - running.started,
        steps: Vec::new(),
    }
}
