use std::collections::BTreeSet;

use yardmaster_queue::Input;

use crate::daemon::Daemon;
use crate::fault::{Fault, Tally};
use crate::populate::policy;
use crate::rng::Rng;
use crate::violation::Violation;
use crate::world::{Happening, Outage, Own, QUIET_AT, World};

/// What a history came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Steps of the queue.
    pub steps: u64,
    /// Requests that landed.
    pub landed: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests that wait at the end, for a stated reason.
    pub waiting: u64,
    /// Histories forked off, in which faults stopped early.
    pub forks: u64,
    /// How often each fault came to pass.
    pub tally: Tally,
    /// Virtual milliseconds.
    pub ms: u64,
}

impl Outcome {
    /// Adds another history's figures to these.
    pub fn add(&mut self, other: &Outcome) {
        self.steps += other.steps;
        self.landed += other.landed;
        self.failed += other.failed;
        self.waiting += other.waiting;
        self.forks += other.forks;
        for (fault, times) in &other.tally {
            *self.tally.entry(*fault).or_default() += times;
        }
        self.ms += other.ms;
    }
}

/// A history from beginning to end, and what was told of it.
pub struct History {
    /// How it ended.
    pub result: Result<Outcome, Violation>,
    /// The readable story, where it was asked for.
    pub story: Vec<String>,
    /// What users were told, without names and numbers.
    pub words: BTreeSet<String>,
}

/// Runs the history of `seed`.
pub fn run(seed: u64, told: bool) -> History {
    let mut rng = Rng::new(seed ^ 0xabcd);
    let mut world = World::new(seed, policy(&mut rng), told);
    world.populate();
    let result = world.live();
    History { result, story: world.story.unwrap_or_default(), words: world.words }
}

impl World {
    fn live(&mut self) -> Result<Outcome, Violation> {
        let mut idle = 0;
        while let Some(happening) = self.next() {
            let look = matches!(happening, Happening::OfDaemon { what: Own::LookReturns { .. }, .. });
            self.happen(happening)?;
            if self.quiet && look {
                self.moves_on()?;
                idle = if self.is_idle() { idle + 1 } else { 0 };
                if idle > 2 * self.policy.targets.len() {
                    return self.epilogue();
                }
            }
            let limit = QUIET_AT + 600_000 + 400_000 * u64::try_from(self.works.len()).unwrap_or(0);
            Violation::unless(self.now < limit, "progress", || {
                let plans = self.daemons.values().map(|d| d.queue.plan(&d.policy));
                let plans: Vec<_> = plans.collect();
                format!("still at work {} s after the last fault: {plans:?}", (self.now - QUIET_AT) / 1_000)
            })?;
        }
        Err(Violation::new("progress", "nothing will ever happen again"))
    }

    fn is_idle(&self) -> bool {
        let idle = |d: &Daemon| {
            d.queue.plan(&d.policy).orders.is_empty() && d.batch.is_empty() && d.outbox.is_empty()
        };
        !self.daemons.is_empty()
            && self.daemons.values().all(idle)
            && self.running.is_empty()
            && self.reports.is_empty()
            && self.ledger.paused.is_empty()
            && self.stream.iter().chain(&self.reviews).all(|m| m.acked)
    }

    pub(crate) fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Act(act) => return self.act(&act),
            Happening::Deliver { seq } => return self.deliver(seq),
            Happening::DeliverReview { seq } => return self.deliver_review(seq),
            Happening::RunEnds { run, serial } => self.run_ends(&run, serial),
            Happening::Report { serial } => return self.report(serial),
            Happening::Resume => return self.resume(),
            Happening::PushArrives { epoch, target, landing } => {
                return self.push_arrives(epoch, target, landing);
            }
            Happening::OfDaemon { epoch, what } => return self.reach(epoch, what),
            Happening::Outside(what) => return self.outside(what),
            Happening::Arm(point) => self.armed.extend((!self.quiet).then_some(point)),
            Happening::Crash => {
                if self.choose() {
                    self.count(Fault::Killed);
                    self.crash();
                }
            }
            Happening::Start => return self.start(),
            Happening::Rival => {
                if !self.quiet && self.choose() {
                    self.count(Fault::Rival);
                    return self.start_daemon();
                }
            }
            Happening::Sleep => self.sleep(),
            Happening::Fork => return self.fork(),
            Happening::Quiet => self.calm(),
        }
        Ok(())
    }

    /// Faults and agents stop; what was away is back.
    pub(crate) fn calm(&mut self) {
        self.quiet = true;
        self.calm_at = self.now;
        self.skew = 0;
        self.awake = self.clock();
        self.armed.clear();
        [Outage::Remote, Outage::Nats, Outage::Journal, Outage::Mirror]
            .into_iter()
            .for_each(|outage| self.set_out(outage, false));
        for (target, tips) in &self.tips_had {
            if let Some(tip) = tips.last() {
                self.remote.branches.entry(target.clone()).or_insert(*tip);
            }
        }
    }

    /// From here, too, everything comes to an end once faults stop.
    fn fork(&mut self) -> Result<(), Violation> {
        if self.forked {
            return Ok(());
        }
        let leads = |d: &&Daemon| d.position == self.journal.len() && d.batch.is_empty();
        if let Some(daemon) = self.daemons.values().find(leads) {
            self.views_are_so(daemon)?;
        }
        let mut other = self.clone();
        (other.forked, other.story) = (true, None);
        other.calm();
        self.forks += 1;
        other
            .live()
            .map(drop)
            .map_err(|v| Violation::new(v.rule, format!("in the fork at {}: {}", self.now, v.found)))
    }

    /// What only the process that asked for it can get, once it is awake.
    fn reach(&mut self, epoch: u32, what: Own) -> Result<(), Violation> {
        self.acting = epoch;
        let Some(daemon) = self.daemons.get_mut(&epoch) else { return Ok(()) };
        if daemon.wakes_at > self.now {
            let ms = daemon.wakes_at - self.now;
            self.own(ms, what);
            return Ok(());
        }
        match what {
            Own::Commit => self.commit(),
            Own::Again { input } => self.again(*input),
            Own::Pinned { found } => self.pinned(found),
            Own::Merged { target, merges } => self.merged(target, merges),
            Own::RolledUp { target, parents, made } => self.rolled_up(target, parents, made),
            Own::Compared { target, comparison } => self.compared(&target, *comparison),
            Own::DefinitionsRead { target, read } => self.definitions_read(&target, *read),
            Own::PushReturns { target, landing, pushed } => self.push_returns(target, &landing, pushed),
            Own::LookDue { target, periodic } => {
                self.look_due(target, periodic);
                Ok(())
            }
            Own::LookReturns { target, known, sighting } => self.look_returns(&target, known, sighting),
            Own::FreeAgain { target } => {
                match target {
                    Some(target) => drop(daemon.busy.remove(&target)),
                    None => daemon.pinning = false,
                }
                if daemon.waits { Ok(()) } else { self.carry_out() }
            }
        }
    }

    /// An answer comes once more. The hand at a target tells of one push at a time, so that an old
    /// outcome cannot come while another push is under way.
    fn again(&mut self, input: Input) -> Result<(), Violation> {
        let busy = |target| self.daemons.get(&self.acting).is_some_and(|d| d.busy.contains(target));
        if matches!(&input, Input::LandEnded { target, .. } if busy(target)) {
            return Ok(());
        }
        self.input(input)
    }
}
