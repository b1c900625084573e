use yardmaster_protocol::{BranchName, CommitId, GateJob, RequestId, RunId, RunOutcome, RunReport};
use yardmaster_queue::{Input, Order, PinAsk};

use crate::fault::Fault;
use crate::violation::Violation;
use crate::world::{Happening, Outage, Own, Running, World};

pub(crate) const BACKOFF: u64 = 3_000;

impl World {
    /// Starts what the plan has and nobody does; stops what somebody does and the plan has not.
    pub(crate) fn carry_out(&mut self) -> Result<(), Violation> {
        let Some(daemon) = self.daemons.get(&self.acting) else { return Ok(()) };
        let plan = daemon.queue.plan(&daemon.policy);
        let mut jobs: Vec<GateJob> = Vec::new();
        for order in plan.orders {
            match order {
                Order::Pin { tip, asks, .. } => self.pin(tip, &asks),
                Order::Assemble { target, base, specs } => {
                    let free = self
                        .daemons
                        .get_mut(&self.acting)
                        .is_some_and(|d| d.assembling.insert(target.clone()));
                    if free && !self.hit(Fault::BeforeAssemble) {
                        let merges = (!self.is_out(Outage::Mirror)).then(|| self.git.assemble(base, &specs));
                        let ms = self.rng.range(5, 400);
                        self.own(ms, Own::Merged { target, merges });
                    }
                }
                Order::RollUp { target, rollup } => {
                    let free =
                        self.daemons.get_mut(&self.acting).is_some_and(|d| d.rolling.insert(target.clone()));
                    if free {
                        let made = (!self.is_out(Outage::Mirror)).then(|| self.git.roll_up(&rollup));
                        let ms = self.rng.range(1, 200);
                        self.own(ms, Own::RolledUp { target, parents: (rollup.base, rollup.top), made });
                    }
                }
                Order::Compare { target, tip, requests } => self.compare(target, tip, requests),
                Order::ReadDefinitions { target, requests, .. } => self.read_definitions(target, requests),
                Order::Test(job) => jobs.push(job),
                Order::Land { target, landing } => self.push(target, landing),
            }
            if !self.lives() {
                return Ok(());
            }
        }
        self.match_jobs(jobs)
    }

    fn match_jobs(&mut self, jobs: Vec<GateJob>) -> Result<(), Violation> {
        let gone: Vec<RunId> = self
            .running
            .iter()
            .filter(|(run, r)| r.epoch == self.acting && !jobs.iter().any(|j| j.run == **run))
            .map(|(run, _)| run.clone())
            .collect();
        for run in gone {
            if self.hit(Fault::BeforeRetract) {
                return Ok(());
            }
            self.stop(&run);
            if self.hit(Fault::AfterRetract) {
                return Ok(());
            }
        }
        for job in jobs {
            if self.running.contains_key(&job.run) || self.is_out(Outage::Nats) {
                continue;
            }
            let asked = self.ledger.runs.get(&job.run).is_some_and(|asked| asked.tree == job.tree);
            Violation::unless(asked, "nothing is tested before the journal says so", || job.run.to_string())?;
            if self.hit(Fault::BeforeJob) {
                return Ok(());
            }
            self.start_run(job);
            if self.hit(Fault::AfterJob) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn pin(&mut self, tip: CommitId, asks: &[PinAsk]) {
        let Some(daemon) = self.daemons.get_mut(&self.acting).filter(|d| !d.pinning) else { return };
        daemon.pinning = true;
        if self.hit(Fault::BeforePin) {
            return;
        }
        let ms = self.rng.range(20, 3_000);
        let inspect = |ask: &PinAsk| -> (RequestId, _) {
            let found = self.remote.branches.get(&ask.branch).copied();
            (ask.request, self.git.inspect(found, ask.commit, tip))
        };
        let fails = self.remote.silent || self.is_out(Outage::Mirror);
        let found: Option<Vec<_>> = (!fails).then(|| asks.iter().map(inspect).collect());
        let pinned = |(request, found): &(RequestId, yardmaster_protocol::Inspection)| {
            matches!(found, yardmaster_protocol::Inspection::Pinned { .. }).then_some(*request)
        };
        self.pins.extend(found.iter().flatten().filter_map(pinned));
        self.own(ms, Own::Pinned { found });
    }

    pub(crate) fn pinned(
        &mut self,
        found: Option<Vec<(RequestId, yardmaster_protocol::Inspection)>>,
    ) -> Result<(), Violation> {
        if self.hit(Fault::AfterPin) {
            return Ok(());
        }
        let Some(daemon) = self.daemons.get_mut(&self.acting) else { return Ok(()) };
        match found {
            Some(found) => {
                daemon.pinning = false;
                self.input(Input::Inspected(found))
            }
            None => {
                self.own(BACKOFF, Own::FreeAgain { target: None });
                self.input(Input::RemoteSilent { why: "it does not answer".to_owned() })
            }
        }
    }

    /// What is found is told somewhat later; a mirror that is full finds nothing.
    fn compare(&mut self, target: BranchName, tip: CommitId, requests: Vec<RequestId>) {
        let out = self.is_out(Outage::Mirror);
        let Some(daemon) = self.daemons.get_mut(&self.acting) else { return };
        if out || !daemon.comparing.insert(target.clone()) {
            return;
        }
        let heads = daemon.queue.heads(&target);
        let (conflicts, with_tip) = self.git.compare(tip, &requests, &heads);
        let comparison =
            Box::new(Input::Compared { target: target.clone(), tip, requests, conflicts, with_tip });
        let ms = self.rng.range(5, 2_000);
        self.own(ms, Own::Compared { target, comparison });
    }

    /// A parser does not need the mirror's disk, but its child may take its time.
    fn read_definitions(&mut self, target: BranchName, requests: Vec<RequestId>) {
        let Some(daemon) = self.daemons.get_mut(&self.acting) else { return };
        if !daemon.reading.insert(target.clone()) {
            return;
        }
        let heads = daemon.queue.heads(&target);
        let (meetings, unread) = (self.git.meetings(&requests, &heads), self.git.unread(&requests, &heads));
        let read = Box::new(Input::DefinitionsRead { target: target.clone(), requests, meetings, unread });
        let ms = self.rng.range(5, 2_000);
        self.own(ms, Own::DefinitionsRead { target, read });
    }

    pub(crate) fn definitions_read(&mut self, target: &BranchName, read: Input) -> Result<(), Violation> {
        if let Some(daemon) = self.daemons.get_mut(&self.acting) {
            daemon.reading.remove(target);
        }
        self.input(read)
    }

    pub(crate) fn compared(&mut self, target: &BranchName, comparison: Input) -> Result<(), Violation> {
        if let Some(daemon) = self.daemons.get_mut(&self.acting) {
            daemon.comparing.remove(target);
        }
        self.input(comparison)
    }

    pub(crate) fn rolled_up(
        &mut self,
        target: BranchName,
        (base, top): (CommitId, CommitId),
        made: Option<CommitId>,
    ) -> Result<(), Violation> {
        if let Some(daemon) = self.daemons.get_mut(&self.acting) {
            daemon.rolling.remove(&target);
        }
        match made {
            Some(commit) => self.input(Input::RolledUp { target, base, top, commit }),
            None => {
                self.own(BACKOFF, Own::FreeAgain { target: None });
                Ok(())
            }
        }
    }

    pub(crate) fn merged(
        &mut self,
        target: BranchName,
        merges: Option<Vec<yardmaster_protocol::Assembled>>,
    ) -> Result<(), Violation> {
        if self.hit(Fault::AfterAssemble) {
            return Ok(());
        }
        if let Some(daemon) = self.daemons.get_mut(&self.acting) {
            daemon.assembling.remove(&target);
        }
        match merges {
            Some(merges) => self.input(Input::Assembled { target, merges }),
            None => {
                self.own(BACKOFF, Own::FreeAgain { target: None });
                Ok(())
            }
        }
    }

    fn start_run(&mut self, job: GateJob) {
        self.serials += 1;
        let (serial, run, epoch) = (self.serials, job.run.clone(), self.acting);
        let ms = if self.rng.chance(20) { self.rng.range(100, 1_000) } else { self.rng.range(1_000, 60_000) };
        self.running.insert(run.clone(), Running { serial, epoch, job, started: self.now });
        self.after(ms, Happening::RunEnds { run, serial });
    }

    /// Ends a run that nobody wants; its report may come all the same.
    pub(crate) fn stop(&mut self, run: &RunId) {
        let Some(running) = self.running.remove(run) else { return };
        if self.unlucky(30, Fault::ReportUncalled) {
            let outcome =
                if self.rng.chance(50) { RunOutcome::Cancelled } else { self.verdict(&running.job) };
            let ms = self.rng.range(0, 5_000);
            self.told(&running, outcome, ms);
        }
    }

    /// A report goes into the stream, where it stays until somebody has taken it.
    fn told(&mut self, running: &Running, outcome: RunOutcome, ms: u64) {
        self.reports.insert(running.serial, report(running, outcome, self.now));
        self.after(ms, Happening::Report { serial: running.serial });
    }

    fn verdict(&mut self, job: &GateJob) -> RunOutcome {
        let mut green = self.rules.is_green(&self.git.files_of(job.tree), &job.gate);
        if self.flaky && self.rng.chance(if green { 10 } else { 2 }) {
            green = !green;
            self.flaked.insert(job.tree);
            self.count(Fault::GateFlaked);
        }
        if green {
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
        let Some(running) = self.running.get(run).filter(|r| r.serial == serial).cloned() else { return };
        let lost = self.unlucky(8, Fault::RunnerLost);
        let outcome = if lost {
            RunOutcome::Lost { why: "the runner died".to_owned() }
        } else {
            self.verdict(&running.job)
        };
        self.told(&running, outcome, 0);
    }

    /// Reports come until a daemon has taken them, and sometimes again.
    pub(crate) fn report(&mut self, serial: u64) -> Result<(), Violation> {
        let Some(report) = self.reports.get(&serial).cloned() else { return Ok(()) };
        self.after(2_000, Happening::Report { serial });
        if self.is_out(Outage::Nats) || !self.choose() || self.hit(Fault::BeforeReportTaken) {
            return Ok(());
        }
        if let Some(daemon) = self.daemons.get_mut(&self.acting) {
            daemon.reports.push(serial);
        }
        if self.unlucky(5, Fault::ReportDoubled) {
            self.input(Input::RunEnded(report.clone()))?;
        }
        self.input(Input::RunEnded(report))
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
        skipped: Vec::new(),
    }
}
