use yardmaster_protocol::{
    Assembled, Assembly, BranchName, CommitId, Gate, Inspection, IntakeSeq, LandOutcome, MergedBy, Millis,
    Movement, ObjectId, Project, RunOutcome, RunReport, Sighting, TreeId,
};
use yardmaster_queue::{GateRule, Input, Order, Policy, Queue, Step};

use crate::Trouble;
use crate::agents::announcement;
use crate::git;

/// Announced together, as agents do.
const WAVE: usize = 50;

/// A life of the queue that was never lived: inputs of every kind, in an order that could have been.
pub(super) struct Life {
    pub(super) queue: Queue,
    pub(super) policy: Policy,
    target: BranchName,
    pub(super) now: u64,
    announced: usize,
    made: u64,
    /// One in so many depends on the one before it; 0: none does.
    needing: usize,
    pub(super) steps: Vec<Step>,
    pub(super) facts: usize,
}

/// So many facts and a few more: everything announced has landed, and the remote is at `tip`.
pub(super) fn lived(facts: usize, tip: &str) -> Result<Life, Trouble> {
    let target: BranchName = "main".parse()?;
    let gate = GateRule::Fixed(Gate::command("true"));
    let mut life = Life {
        policy: Policy { gate, ..Policy::new(target.clone()) },
        queue: Queue::new(),
        target,
        now: 1_767_225_600_000,
        announced: 0,
        made: 0,
        needing: 0,
        steps: Vec::new(),
        facts: 0,
    };
    if facts == 0 {
        return Ok(life);
    }
    let first = life.commit();
    life.look(first, Movement::First);
    while life.facts < facts {
        for _ in 0..WAVE {
            life.announce();
        }
        while life.work()? {}
    }
    life.look(tip.parse()?, Movement::Forward);
    Ok(life)
}

/// So many pending requests after a life of `facts`: the window is full and under test, the rest waits. One in
/// `needing` depends on the one before it.
pub(super) fn pending(count: usize, facts: usize, needing: usize) -> Result<Life, Trouble> {
    let mut life = lived(facts, &"5a".repeat(20))?;
    life.needing = needing;
    life.steps = Vec::new();
    for _ in 0..count {
        life.announce();
    }
    life.all_but_tests()?;
    life.steps = Vec::new();
    Ok(life)
}

impl Life {
    /// One more is announced, taken into custody and compared with all others.
    pub(super) fn one_more(&mut self) -> Result<(), Trouble> {
        self.announce();
        self.all_but_tests()
    }

    /// The run in front ends green, and everything that follows from it is done but further runs.
    pub(super) fn one_verdict(&mut self) -> Result<(), Trouble> {
        let first = self.queue.plan(&self.policy).orders.into_iter().find_map(|order| match order {
            Order::Test(job) => Some(job.run),
            _ => None,
        });
        let first = first.ok_or("nothing is tested")?;
        self.work_but(&|order| !matches!(order, Order::Test(job) if job.run == first))?;
        self.all_but_tests()
    }

    fn all_but_tests(&mut self) -> Result<(), Trouble> {
        while self.work_but(&|order| matches!(order, Order::Test(_)))? {}
        Ok(())
    }

    fn step(&mut self, input: Input) {
        self.now += 7;
        let step = self.queue.step(Millis(self.now), &self.policy, input);
        self.facts += step.entry.facts.len();
        if !step.entry.facts.is_empty() {
            self.steps.push(step);
        }
    }

    fn object(&mut self) -> ObjectId {
        self.made += 1;
        let mut bytes = [0x5a; 20];
        bytes[..8].copy_from_slice(&self.made.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        ObjectId(bytes)
    }

    fn commit(&mut self) -> CommitId {
        CommitId(self.object())
    }

    fn look(&mut self, tip: CommitId, movement: Movement) {
        let sighting = self.sighting(tip, movement, Vec::new());
        let known = self.queue.tip(&self.target);
        self.step(Input::Seen {
            target: self.target.clone(),
            known,
            sighting,
            project: Ok(Project::default()),
        });
    }

    fn sighting(&mut self, tip: CommitId, movement: Movement, contains: Vec<CommitId>) -> Sighting {
        Sighting {
            tip,
            tree: TreeId(self.object()),
            movement,
            contains,
            project_file: None,
            lost: Vec::new(),
        }
    }

    fn announce(&mut self) {
        let number = self.announced;
        self.announced += 1;
        let agent = format!("agent-{}", number % 40);
        let mut more = serde_json::json!({"files_changed": [format!("src/{number}.rs")], "systems_touched": ["backend"]});
        if number > 0 && self.needing > 0 && number.is_multiple_of(self.needing) {
            more["depends_on"] = serde_json::json!([git::branch(number - 1)]);
        }
        self.step(Input::Message {
            intake: IntakeSeq(number as u64 + 1),
            subject: format!("work.integration.{agent}"),
            published: Millis(self.now),
            traceparent: None,
            payload: announcement(&agent, &git::branch(number), &more),
        });
    }

    /// Does all that the plan asks for; false when there was nothing to do.
    fn work(&mut self) -> Result<bool, Trouble> {
        self.work_but(&|_| false)
    }

    /// The same without some of it.
    fn work_but(&mut self, left: &dyn Fn(&Order) -> bool) -> Result<bool, Trouble> {
        let mut orders = self.queue.plan(&self.policy).orders;
        orders.retain(|order| !left(order));
        let busy = !orders.is_empty();
        for order in orders {
            self.carry_out(order);
        }
        Ok(busy)
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Pin { tip, asks, .. } => {
                let found = asks.iter().map(|ask| (ask.request, self.inspection(tip))).collect();
                self.step(Input::Inspected(found));
            }
            Order::Assemble { target, base, specs } => {
                let mut top = base;
                let mut merges = Vec::new();
                for spec in specs {
                    let (commit, tree) = (self.commit(), TreeId(self.object()));
                    let assembly = Assembly::Clean { commit, tree, by: MergedBy::Memory };
                    merges.push(Assembled { base: top, request: spec.request, assembly });
                    top = commit;
                }
                self.step(Input::Assembled { target, merges });
            }
            Order::Compare { target, tip, requests } => self.step(Input::Compared {
                target,
                tip,
                requests,
                conflicts: Vec::new(),
                with_tip: Vec::new(),
            }),
            Order::RollUp { target, rollup } => {
                let commit = self.commit();
                self.step(Input::RolledUp { target, base: rollup.base, top: rollup.top, commit });
            }
            Order::ReadDefinitions { target, requests, .. } => {
                self.step(Input::DefinitionsRead {
                    target,
                    requests,
                    meetings: Vec::new(),
                    unread: Vec::new(),
                });
            }
            Order::Test(job) => {
                let (runner, started) = ("bench/1".to_owned(), Millis(self.now));
                let report = RunReport {
                    run: job.run,
                    runner,
                    outcome: RunOutcome::Green,
                    started,
                    ms: 900,
                    steps: Vec::new(),
                    skipped: Vec::new(),
                };
                self.step(Input::RunEnded(report));
            }
            Order::Land { target, landing } => {
                let contains = landing.requests.iter().map(|(_, commit)| *commit).collect();
                let seen =
                    Sighting { tree: landing.tree, ..self.sighting(landing.to, Movement::Forward, contains) };
                let outcome = LandOutcome::Landed { seen };
                self.step(Input::LandEnded {
                    target,
                    to: landing.to,
                    outcome,
                    project: Ok(Project::default()),
                });
            }
        }
    }

    fn inspection(&mut self, merge_base: CommitId) -> Inspection {
        let size = yardmaster_protocol::ChangeSize { lines: 40, files: 2 };
        let files = vec![format!("src/a{}.rs", self.made), format!("src/b{}.rs", self.made)];
        Inspection::Pinned { head: self.commit(), merge_base, size, files, contained: false }
    }
}
