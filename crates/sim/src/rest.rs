use std::collections::BTreeSet;

use yardmaster_protocol::{BlockerKind, RequestId};
use yardmaster_queue::{BaseRed, Queue};

use crate::history::Outcome;
use crate::ledger::{End, Record};
use crate::violation::Violation;
use crate::world::World;

/// The longest gate, the longest sleep, and what goes with them, in milliseconds.
const BOUND: u64 = 150_000;

/// What holds once faults have stopped.
impl World {
    /// Once faults have stopped, somebody ends within the time of one gate and what goes with it.
    pub(crate) fn moves_on(&self) -> Result<(), Violation> {
        let free = |r: &Record| r.pinned && r.end.is_none() && r.announcement.depends_on.is_empty();
        let last = self.ledger.last_end.saturating_sub(self.server_clock().0 - self.now);
        let late = self.now > last.max(self.calm_at) + BOUND;
        let waits = self
            .ledger
            .requests
            .iter()
            .find(|(id, r)| late && free(r) && !self.tip_is_red(r) && !self.is_barred(**id))
            .map(|(id, _)| *id);
        Violation::unless(waits.is_none(), "somebody ends within the bound", || format!("{waits:?} waits"))
    }

    /// Nobody acts any more: everything has ended, or waits for a stated and true reason, and what a
    /// next start finds is nothing but that.
    pub(crate) fn epilogue(&mut self) -> Result<Outcome, Violation> {
        self.after_a_restart()?;
        let (tally, forks) = (std::mem::take(&mut self.tally), self.forks);
        let mut outcome = Outcome { steps: self.steps, forks, ms: self.now, tally, ..Outcome::default() };
        let Some(daemon) = self.daemons.get(&self.acting) else { return Ok(outcome) };
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
        self.landed_is_there_once()?;
        Ok(outcome)
    }

    /// The last daemon is killed, and one more starts.
    fn after_a_restart(&mut self) -> Result<(), Violation> {
        let epochs: Vec<u32> = self.daemons.keys().copied().collect();
        for epoch in epochs {
            self.acting = epoch;
            self.crash();
        }
        self.start_daemon()?;
        let Some(daemon) = self.daemons.get(&self.acting) else { return Ok(()) };
        let plan = daemon.queue.plan(&daemon.policy);
        Violation::unless(plan.orders.is_empty(), "at rest is at rest after a restart", || {
            format!("{plan:?}")
        })?;
        Violation::unless(self.released == self.due, "every event is published once, in order", || {
            format!("{} of {}", self.released.len(), self.due.len())
        })?;
        let held: BTreeSet<RequestId> = daemon.queue.in_custody().collect();
        Violation::unless(self.pins == held, "only what is pending stays pinned", || {
            format!("pinned {:?}, pending {held:?}", self.pins)
        })?;
        let live: BTreeSet<RequestId> =
            self.ledger.requests.iter().filter(|(_, r)| r.end.is_none()).map(|(id, _)| *id).collect();
        Violation::unless(live == held, "pending is what has not ended", || format!("{live:?}, {held:?}"))?;
        self.views_are_so(daemon)
    }

    /// What landed is on the target, once.
    fn landed_is_there_once(&self) -> Result<(), Violation> {
        let served = self.remote.branches.iter().filter(|(target, _)| self.policy.targets.contains(*target));
        for (target, tip) in served.filter(|_| !self.rewound) {
            let history = self.git.first_parents(*tip, None);
            for (id, record) in self.ledger.requests.iter().filter(|(_, r)| r.target == *target) {
                let Some(commit) = record.commit else { continue };
                let brought = record.rollup.unwrap_or(commit);
                let times = history.iter().filter(|c| **c == brought).count();
                let beneath = self.git.contains(brought, commit);
                Violation::unless(beneath, "a batch has its members beneath it", || id.to_string())?;
                Violation::unless(times == 1, "landed is on the target once", || format!("{id}: {times}"))?;
            }
        }
        Ok(())
    }

    /// The target itself is red, and so is the request on top of it: somebody has to push.
    fn waits_for_the_tip(&self, queue: &Queue, id: RequestId, record: &Record) -> bool {
        let view = queue.request(id, self.clock(), &self.policy);
        let told = view
            .is_some_and(|v| v.blockers.iter().any(|b| b.kind == BlockerKind::TargetRed && v.head.is_some()));
        let truth = self.truth(&self.policy);
        let closed = self.policy.base_red == BaseRed::Block;
        told && self.tip_is_red(record)
            && (closed || self.flaky || self.ledger.is_red_now(&truth, record, None))
    }

    fn tip_is_red(&self, record: &Record) -> bool {
        self.flaky || self.ledger.base_is_red(&self.truth(&self.policy), record)
    }

    /// Somebody has to approve, to let it, or to announce another head.
    fn is_barred(&self, id: RequestId) -> bool {
        self.ledger.is_barred(&self.truth(&self.policy), id)
    }

    fn waits_for_a_reason(&self, queue: &Queue, id: RequestId, record: &Record) -> Result<(), Violation> {
        let branch = &record.announcement.branch;
        if self.waits_for_the_tip(queue, id, record) {
            return Ok(());
        }
        let view = queue.request(id, self.clock(), &self.policy);
        let blockers = view.map(|v| v.blockers).unwrap_or_default();
        Violation::unless(!blockers.is_empty(), "who waits knows what for", || format!("{id} ({branch})"))?;
        let told = blockers.iter().any(|b| matches!(b.kind, BlockerKind::Scope | BlockerKind::Review));
        let barred = self.is_barred(id);
        Violation::unless(barred || !told, "who is kept out by rules is", || format!("{id}: {blockers:?}"))?;
        if told {
            return Ok(());
        }
        let pending = |name: &String| {
            let mut others = self.ledger.requests.iter().filter(|(other, _)| **other != id);
            others.any(|(i, r)| r.end.is_none() && self.ledger.is_named(*i, r, name))
        };
        let unmet = |name: &String| !self.ledger.has_landed(name) || pending(name);
        let waits = record.announcement.depends_on.iter().any(unmet);
        Violation::unless(waits, "nobody waits without need", || format!("{id} ({branch}) {blockers:?}"))
    }
}
