//! The watchdog: on a target where something can end, something does end within a bound.

use yardmaster_protocol::{BranchName, EventBody, Fact, Gate, Millis, RequestId};

use crate::apply::Caused;
use crate::policy::Policy;
use crate::state::{Queue, Target};
use crate::step::Act;
use crate::walk::{Place, Standing, Walk};

/// A run counts at least so long, in milliseconds.
const SHORTEST_RUN: u64 = 1_000;
/// A run may take so many times the longest one that was seen: machines are busy at times.
const SLOWER: u64 = 2;

/// Who tells.
const WATCHDOG: &str = "watchdog";

impl Act<'_> {
    /// Tells of targets on which nothing has ended for longer than the bound. `awake` is since when
    /// the daemon has worked without interruption: time before that does not count. Both are what the clock
    /// says; the state's own time does not go back with a clock that was set back.
    pub(crate) fn watch(&mut self, awake: Millis, now: Millis) {
        let names: Vec<BranchName> = self.policy.targets.iter().cloned().collect();
        for target in names {
            if let Some(why) = self.queue.overdue(&target, awake, now, self.policy) {
                self.emit(Fact::Stalled { target, why });
            }
        }
    }

    /// A stall is over with the first end after it.
    pub(crate) fn tell_going_on(&mut self, name: &BranchName) {
        let target = self.queue.targets.get(name);
        let over = target.is_some_and(|t| t.stalled.is_some_and(|since| t.progressed >= Some(since)));
        if over {
            self.emit(Fact::WentOn { target: name.clone() });
        }
    }
}

impl Target {
    /// How long one run may take, by its gate's limits and by what was seen of it, in milliseconds.
    fn run_bound_ms(&self, gate: &Gate) -> u64 {
        let gate_id = gate.id();
        let limit = gate.timeout_ms();
        let of_gate = self.verdicts.iter().filter(|((_, id), v)| *id == gate_id && v.lost == 0);
        match of_gate.map(|(_, v)| v.ms).max() {
            Some(longest) => longest.saturating_mul(SLOWER).max(SHORTEST_RUN).min(limit),
            None => limit,
        }
    }
}

impl Queue {
    /// Within how many milliseconds some request for `name` ends, when one can: the one at the front
    /// is tested, and the tip where that is needed, each as often as runs may be lost, among the runs
    /// of all targets; the rest is the policy's constant.
    pub fn progress_bound_ms(&self, name: &BranchName, policy: &Policy) -> u64 {
        let Some(target) = self.targets.get(name) else { return policy.stall_grace_ms };
        let run = target.gate(policy).map_or(0, |gate| target.run_bound_ms(&gate));
        let tries = u64::from(policy.max_lost_runs) + 1;
        let among = u64::try_from(policy.targets.len()).unwrap_or(u64::MAX);
        run.saturating_mul(2 * tries).saturating_mul(among).saturating_add(policy.stall_grace_ms)
    }

    /// What stands still on `name`, where nothing has ended for too long and that was not told yet.
    fn overdue(&self, name: &BranchName, awake: Millis, now: Millis, policy: &Policy) -> Option<String> {
        let target = self.targets.get(name).filter(|t| t.stalled.is_none())?;
        if self.hold(name, policy).is_some() || self.lacks_a_runner(name, policy) {
            return None;
        }
        let closed = |gate: Gate| target.is_closed_by_red(&gate, &gate.id(), policy);
        if target.gate(policy).is_ok_and(closed) {
            return None;
        }
        let walk = self.walk(name, policy)?;
        let (since, front) = self.front(name, target, &walk, policy)?;
        let since = target.progressed.unwrap_or_default().max(awake).max(since);
        let (waited, bound) = (now.since(since), self.progress_bound_ms(name, policy));
        (waited > bound).then(|| {
            format!(
                "nothing has ended on `{name}` for {} s, and something should within {} s: {front}; until \
                 something ends, one is tested at a time",
                waited / 1_000,
                bound / 1_000
            )
        })
    }

    /// What the first one is doing that waits for nobody outside, and since when it may at the earliest;
    /// none when there is no such one.
    fn front(
        &self,
        name: &BranchName,
        target: &Target,
        walk: &Walk,
        policy: &Policy,
    ) -> Option<(Millis, String)> {
        if let Some(landing) = &target.landing {
            let pushed: Vec<String> = landing.requests.iter().map(|(id, _)| self.called(*id)).collect();
            let why = format!("the push of {} to `{name}` has no outcome", pushed.join(", "));
            return Some((Millis::default(), why));
        }
        if let Some(place) = walk.places.iter().find(|p| !p.is_apart()) {
            return Some((Millis::default(), self.doing(target, place, name)));
        }
        let arrived = |id: &RequestId| self.live.get(id).filter(|r| r.target == *name).map(|r| r.arrived);
        let mut arriving = self.index.arriving.values();
        if let Some((id, at)) = arriving.find_map(|id| Some((*id, arrived(id)?))) {
            return Some((at, format!("the head of {} is being fetched", self.called(id))));
        }
        let next = *self.next_to_stack(name, Some(walk), policy)?.first()?;
        Some((arrived(&next)?, format!("{} waits for its turn", self.called(next))))
    }

    fn doing(&self, target: &Target, place: &Place, name: &BranchName) -> String {
        let called = self.called(place.request);
        match &place.standing {
            Standing::Unassembled => format!("{called} is being merged"),
            Standing::Conflict => format!("{called} is being merged with `{name}` alone"),
            Standing::Untested { tree, .. } => match target.runs.iter().find(|(_, r)| r.tree == *tree) {
                Some((id, run)) => format!(
                    "{called} is being tested, attempt {}, and the gate's limit is {} s (`yardmaster logs {id}`)",
                    run.attempt,
                    run.gate.timeout_ms() / 1_000
                ),
                None => format!("{called} waits to be tested"),
            },
            Standing::Green { .. } => format!("{called} is green and not pushed"),
            Standing::RedTogether { .. } => format!("{called} is red together with others"),
            Standing::Red { .. } => match target.runs.iter().find(|(_, r)| r.request.is_none()) {
                Some((id, _)) => format!(
                    "{called} is red, and `{name}` itself is being tested to know why (`yardmaster logs {id}`)"
                ),
                None => format!("{called} is red, and nobody says why"),
            },
            Standing::GivenUp { .. } => format!("runs of {called} were lost"),
            Standing::Without(_) | Standing::Held | Standing::Excused => format!("{called} waits"),
        }
    }

    /// `r12 (roy/req-7 by roy)`
    pub(crate) fn called(&self, id: RequestId) -> String {
        self.live.get(&id).map_or_else(|| id.to_string(), |r| format!("{id} ({})", r.label()))
    }

    pub(crate) fn stalled(&mut self, at: Millis, name: &BranchName, why: &str) -> Caused {
        self.target(name).stalled = Some(at);
        Caused::notice(at, EventBody::Stalled, why.to_owned(), WATCHDOG)
    }

    pub(crate) fn went_on(&mut self, at: Millis, name: &BranchName) -> Caused {
        let target = self.target(name);
        target.stalled = None;
        // From one upwards again: the least that the policy allows.
        target.window = Some(1);
        Caused::notice(
            at,
            EventBody::Resumed,
            format!("`{name}` goes on: something has ended or has changed"),
            WATCHDOG,
        )
    }

    /// Something ended on `name`, or what it waits for has changed: the watch begins anew.
    pub(crate) fn progress(&mut self, name: &BranchName, at: Millis) {
        if let Some(target) = self.targets.get_mut(name) {
            target.progressed = target.progressed.max(Some(at));
        }
    }
}
