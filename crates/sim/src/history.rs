use yardmaster_protocol::{BlockerKind, Millis, RequestId};
use yardmaster_queue::{BaseRed, Input, Queue};

use crate::ledger::{End, Record};
use crate::populate::policy;
use crate::rng::Rng;
use crate::violation::Violation;
use crate::world::{Happening, QUIET_AT, World};

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
    /// Times that the daemon was killed.
    pub crashes: u64,
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
        self.crashes += other.crashes;
        self.ms += other.ms;
    }
}

/// A history from beginning to end, and what was told of it.
pub struct History {
    /// How it ended.
    pub result: Result<Outcome, Violation>,
    /// The readable story, where it was asked for.
    pub story: Vec<String>,
}

/// Runs the history of `seed`.
pub fn run(seed: u64, told: bool) -> History {
    let mut rng = Rng::new(seed ^ 0xabcd);
    let mut world = World::new(seed, policy(&mut rng), told);
    world.populate();
    let result = world.live();
    History { result, story: world.story.unwrap_or_default() }
}

impl World {
    fn live(&mut self) -> Result<Outcome, Violation> {
        let mut idle = 0;
        let mut crashes = 0;
        while let Some(happening) = self.next() {
            let look = matches!(happening, Happening::LookReturns { .. });
            crashes += u64::from(matches!(happening, Happening::Start));
            self.happen(happening)?;
            if self.quiet && look {
                idle = if self.is_idle() { idle + 1 } else { 0 };
                if idle > 2 * self.policy.targets.len() {
                    return self.epilogue(crashes.saturating_sub(1));
                }
            }
            let limit = QUIET_AT + 600_000 + 400_000 * u64::try_from(self.works.len()).unwrap_or(0);
            Violation::unless(self.now < limit, "progress", || {
                let plan = self.daemon.as_ref().map(|d| d.queue.plan(&self.policy));
                format!("still at work {} s after the last fault: {plan:?}", (self.now - QUIET_AT) / 1_000)
            })?;
        }
        Err(Violation::new("progress", "nothing will ever happen again"))
    }

    fn is_idle(&self) -> bool {
        let planned = self.daemon.as_ref().is_none_or(|d| !d.queue.plan(&self.policy).orders.is_empty());
        !planned && self.running.is_empty() && self.stream.iter().all(|m| m.acked)
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Act(act) => self.act(&act),
            Happening::Deliver { seq } => self.deliver(seq),
            Happening::RunEnds { run, serial } => {
                self.run_ends(&run, serial);
                Ok(())
            }
            Happening::Report { report, serial } => self.report(report, serial),
            Happening::PushArrives { epoch, target, landing } => self.push_arrives(epoch, target, landing),
            Happening::Crash => {
                self.crash();
                Ok(())
            }
            Happening::Start => self.start_daemon(),
            Happening::Foreign | Happening::Rewind | Happening::Silence | Happening::Speech => {
                self.outside(&happening);
                Ok(())
            }
            Happening::Quiet => {
                self.quiet = true;
                self.remote.silent = false;
                Ok(())
            }
            Happening::Pinned { epoch, .. }
            | Happening::Merged { epoch, .. }
            | Happening::PushReturns { epoch, .. }
            | Happening::LookDue { epoch, .. }
            | Happening::LookReturns { epoch, .. }
            | Happening::FreeAgain { epoch, .. } => {
                if epoch == self.epoch {
                    self.reach_daemon(happening)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// What only the process that asked for it can get.
    fn reach_daemon(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Pinned { found, .. } => self.pinned(found),
            Happening::Merged { target, merges, .. } => {
                if let Some(daemon) = &mut self.daemon {
                    daemon.assembling.remove(&target);
                }
                self.input(Input::Assembled { target, merges }).map(drop)
            }
            Happening::PushReturns { target, landing, pushed, .. } => {
                self.push_returns(target, &landing, pushed)
            }
            Happening::LookDue { target, periodic, .. } => {
                self.look_due(target, periodic);
                Ok(())
            }
            Happening::LookReturns { target, known, sighting, .. } => {
                self.look_returns(target, known, sighting)
            }
            Happening::FreeAgain { target, .. } => {
                match (&mut self.daemon, target) {
                    (Some(daemon), Some(target)) => drop(daemon.busy.take(&target)),
                    (Some(daemon), None) => daemon.pinning = false,
                    (None, _) => {}
                }
                self.carry_out();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Nobody acts any more: everything has ended, or waits for a stated and true reason.
    fn epilogue(&self, crashes: u64) -> Result<Outcome, Violation> {
        let Some(daemon) = &self.daemon else { return Ok(Outcome::default()) };
        let mut outcome = Outcome { steps: self.steps, crashes, ms: self.now, ..Outcome::default() };
        for (id, record) in &self.ledger.requests {
            match record.end {
                Some(End::Landed) => outcome.landed += 1,
                Some(End::Failed) => outcome.failed += 1,
                Some(End::Withdrawn | End::Superseded(_) | End::Repeated) => {}
                None => {
                    self.waits_for_a_reason(&daemon.queue, *id, record)?;
                    outcome.waiting += 1;
                }
            }
            let told = record.told != matches!(record.end, None | Some(End::Repeated));
            Violation::unless(told, "exactly one terminal event", || id.to_string())?;
        }
        Ok(outcome)
    }

    /// The target itself is red, and so is the request on top of it: somebody has to push.
    fn waits_for_the_tip(&self, queue: &Queue, id: RequestId, record: &Record) -> bool {
        let view = queue.request(id, Millis(self.now), &self.policy);
        let told = view
            .is_some_and(|v| v.blockers.iter().any(|b| b.kind == BlockerKind::TargetRed && v.head.is_some()));
        let truth = self.truth();
        let closed = self.policy.base_red == BaseRed::Block;
        told && self.ledger.base_is_red(&truth, record) && (closed || self.ledger.is_red_now(&truth, record))
    }

    fn waits_for_a_reason(&self, queue: &Queue, id: RequestId, record: &Record) -> Result<(), Violation> {
        let branch = &record.announcement.branch;
        if self.waits_for_the_tip(queue, id, record) {
            return Ok(());
        }
        let view = queue.request(id, Millis(self.now), &self.policy);
        let blockers = view.map(|v| v.blockers).unwrap_or_default();
        Violation::unless(!blockers.is_empty(), "who waits knows what for", || format!("{id} ({branch})"))?;
        let pending = |name: &String| {
            let mut others = self.ledger.requests.iter().filter(|(other, _)| **other != id);
            others.any(|(i, r)| r.end.is_none() && self.ledger.is_named(*i, r, name))
        };
        let unmet = |name: &String| !self.ledger.has_landed(name) || pending(name);
        let waits = record.announcement.depends_on.iter().any(unmet);
        Violation::unless(waits, "nobody waits without need", || format!("{id} ({branch}) {blockers:?}"))
    }
}
