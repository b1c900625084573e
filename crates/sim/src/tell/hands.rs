//! What the daemon does by its plan, with toys, and how runs end.

use yardmaster_protocol::{
    CommitId, Fact, GateJob, LandOutcome, Landing, Millis, RequestId, RunId, RunOutcome, RunReport,
};
use yardmaster_queue::{Input, Order};

use super::Teller;
use crate::gate::rules;
use crate::remote::Pushed;
use crate::story::Tested;

const ROUNDS: usize = 10_000;

impl Teller {
    /// Does all that the plan asks for, except to end runs, until it asks for nothing more.
    pub(super) fn pump(&mut self) -> Result<(), String> {
        for _ in 0..ROUNDS {
            if self.dead || !self.work_once() {
                return Ok(());
            }
        }
        Err("the daemon never comes to rest".to_owned())
    }

    fn work_once(&mut self) -> bool {
        let orders = self.queue.plan(&self.policy).orders;
        let jobs: Vec<&GateJob> =
            orders.iter().filter_map(|o| if let Order::Test(job) = o { Some(job) } else { None }).collect();
        self.match_runs(&jobs);
        let of_tip = jobs.iter().find(|j| j.request.is_none()).map(|j| self.report(j));
        if let Some(report) = of_tip {
            return self.input(Input::RunEnded(report));
        }
        for order in orders {
            let news = match order {
                Order::Pin { tip, asks, .. } if !self.remote.silent => {
                    let found = asks.iter().map(|ask| {
                        let at = self.remote.branches.get(&ask.branch).copied();
                        (ask.request, self.git.inspect(at, ask.commit, tip))
                    });
                    let found = found.collect();
                    self.input(Input::Inspected(found))
                }
                Order::Pin { .. } => self.input(Input::RemoteSilent { why: "silent".to_owned() }),
                Order::Assemble { target, base, specs } => {
                    let merges = self.git.assemble(base, &specs);
                    self.input(Input::Assembled { target, merges })
                }
                Order::RollUp { target, rollup } => {
                    let commit = self.git.roll_up(&rollup);
                    self.input(Input::RolledUp { target, base: rollup.base, top: rollup.top, commit })
                }
                Order::Compare { target, tip, requests } => {
                    let (conflicts, with_tip) = self.git.compare(tip, &requests, &self.queue.heads(&target));
                    self.input(Input::Compared { target, tip, requests, conflicts, with_tip })
                }
                Order::ReadDefinitions { target, requests, .. } => self.input(Input::DefinitionsRead {
                    target,
                    requests,
                    meetings: Vec::new(),
                    unread: Vec::new(),
                }),
                Order::Test(_) => false,
                Order::Land { landing, .. } => self.land(&landing),
            };
            if news || self.dead {
                return true;
            }
        }
        false
    }

    fn match_runs(&mut self, jobs: &[&GateJob]) {
        let name = |r: &RequestId| self.names.get(r).cloned().unwrap_or_else(|| r.to_string());
        let gone: Vec<RunId> =
            self.running.keys().filter(|run| !jobs.iter().any(|j| j.run == **run)).cloned().collect();
        let mut started = Vec::new();
        for job in jobs.iter().filter(|j| !self.running.contains_key(&j.run)) {
            let Some(request) = job.request else { continue };
            let asked = self.journal.iter().rev().flat_map(|e| &e.facts).find_map(|f| match f {
                Fact::Testing { run, behind, .. } if *run == job.run => Some(behind),
                _ => None,
            });
            let on = asked.into_iter().flatten().map(&name).collect();
            started.push((job.run.clone(), ((*job).clone(), Tested { name: name(&request), on })));
        }
        for run in gone {
            self.stopped.extend(self.running.remove(&run).map(|(_, tested)| tested.name));
        }
        self.running.extend(started);
    }

    fn land(&mut self, landing: &Landing) -> bool {
        let (target, to) = (self.main.clone(), landing.to);
        let breaks = self.breaks.take();
        let unknown = LandOutcome::Unknown { why: "the connection broke".to_owned() };
        let mut outcome = unknown.clone();
        if !self.remote.silent && !matches!(breaks, Some((_, false))) {
            let pushed = self.remote.push(&self.git, &target, landing.from, to);
            let asked: Vec<CommitId> = landing.requests.iter().map(|(_, c)| *c).collect();
            let seen = self.remote.look(&self.git, &target, Some(landing.from), &asked);
            outcome = match (pushed, seen) {
                (Pushed::Taken, Some(seen)) => LandOutcome::Landed { seen },
                (Pushed::Moved, Some(seen)) => LandOutcome::Moved { seen },
                (Pushed::Declined(why), Some(seen)) => LandOutcome::Declined { why, seen },
                (_, None) => unknown.clone(),
            };
        }
        match breaks {
            Some((true, _)) => {
                self.dead = true;
                return false;
            }
            Some((false, _)) => outcome = unknown,
            None => {}
        }
        let project = self.tip().and_then(|tip| rules(&self.git.files(tip)));
        self.input(Input::LandEnded { target, to, outcome, project })
    }

    pub(super) fn finish(&mut self, name: &str) -> Result<(), String> {
        self.needs_life()?;
        let found = self.running.iter().find(|(_, (_, tested))| tested.name == name);
        let (run, (job, _)) = found.ok_or_else(|| format!("{name} is not under test"))?;
        let (run, report) = (run.clone(), self.report(job));
        self.running.remove(&run);
        self.input(Input::RunEnded(report));
        self.pump()
    }

    /// How a run ends by the rules of the gate.
    fn report(&self, job: &GateJob) -> RunReport {
        let outcome = if self.rules.is_green(&self.git.files_of(job.tree), &job.gate) {
            RunOutcome::Green
        } else {
            RunOutcome::Red { step: "gate".to_owned(), exit_code: Some(1), log_tail: "red".to_owned() }
        };
        RunReport {
            run: job.run.clone(),
            runner: "toy/1".to_owned(),
            outcome,
            started: Millis(self.now),
            ms: 1_000,
            steps: Vec::new(),
            skipped: Vec::new(),
        }
    }
}
