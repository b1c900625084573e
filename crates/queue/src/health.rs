//! What the gate says of a target's own tip, and whose fault it is what is red on top of it.

use yardmaster_protocol::{
    Blocker, BlockerKind, BranchName, CommitId, Fact, Gate, GateId, RequestId, RunId, RunOutcome, TipHealth,
};

use crate::policy::{BaseRed, Policy};
use crate::state::{Queue, Request, Target, Verdict};
use crate::step::Act;
use crate::walk::{Standing, Walk};

/// What the gate says of a tip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Health<'a> {
    /// There is no verdict yet.
    Unknown,
    /// Runs of it were lost too often.
    Untestable(&'a Verdict),
    Green,
    /// Red, or not in time.
    Red(&'a Verdict),
}

/// Whose fault a red candidate is that stands directly on the tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The tip passes what the candidate does not.
    Own,
    /// The tip does not pass it either, or never came so far.
    Base,
    /// The tip has to be tested first.
    Open,
    /// The tip cannot be tested.
    NobodyKnows,
}

impl Target {
    pub(crate) fn health(&self, gate: &Gate, gate_id: &GateId, policy: &Policy) -> Health<'_> {
        if gate.steps.is_empty() {
            return Health::Green;
        }
        let Some(verdict) = self.tree.and_then(|tree| self.verdicts.get(&(tree, gate_id.clone()))) else {
            return Health::Unknown;
        };
        match &verdict.outcome {
            RunOutcome::Green => Health::Green,
            RunOutcome::Red { .. } | RunOutcome::TimedOut { .. } => Health::Red(verdict),
            RunOutcome::Lost { .. } | RunOutcome::Cancelled if verdict.lost >= policy.max_lost_runs => {
                Health::Untestable(verdict)
            }
            RunOutcome::Lost { .. } | RunOutcome::Cancelled => Health::Unknown,
        }
    }

    /// Whose fault a red `verdict` on top of the tip is. The first red step ends a run: one that the tip's
    /// red step waits for is a step that the tip passes. Of one that ran beside it nothing is known.
    pub(crate) fn fault(&self, gate: &Gate, gate_id: &GateId, policy: &Policy, verdict: &Verdict) -> Fault {
        if policy.base_red == BaseRed::Ignore {
            return Fault::Own;
        }
        match self.health(gate, gate_id, policy) {
            Health::Unknown => Fault::Open,
            Health::Untestable(_) => Fault::NobodyKnows,
            Health::Green => Fault::Own,
            Health::Red(base) => match (red_step(verdict), red_step(base)) {
                (Some(own), Some(base)) if gate.is_before(own, base) => Fault::Own,
                _ => Fault::Base,
            },
        }
    }

    /// Whether nothing is tested or landed because the tip is red.
    pub(crate) fn is_closed_by_red(&self, gate: &Gate, gate_id: &GateId, policy: &Policy) -> bool {
        policy.base_red == BaseRed::Block && matches!(self.health(gate, gate_id, policy), Health::Red(_))
    }
}

fn red_step(verdict: &Verdict) -> Option<&str> {
    let (RunOutcome::Red { step, .. } | RunOutcome::TimedOut { step, .. }) = &verdict.outcome else {
        return None;
    };
    Some(step)
}

/// ``step `unit` ended with 1``
pub(crate) fn what_is_red(outcome: &RunOutcome) -> String {
    match outcome {
        RunOutcome::TimedOut { step, limit_ms, .. } => {
            format!("step `{step}` did not end within {} s", limit_ms / 1_000)
        }
        RunOutcome::Red { step, exit_code: Some(code), .. } => format!("step `{step}` ended with {code}"),
        RunOutcome::Red { step, exit_code: None, .. } => format!("step `{step}` was ended by a signal"),
        RunOutcome::Green | RunOutcome::Cancelled | RunOutcome::Lost { .. } => {
            "the gate did not pass".to_owned()
        }
    }
}

fn tip_is_red(name: &BranchName, tip: CommitId, verdict: &Verdict) -> String {
    let what = what_is_red(&verdict.outcome);
    format!("`{name}` itself is red at {}: {what} (`yardmaster logs {}`)", tip.short(), verdict.run)
}

impl Act<'_> {
    /// Asks for a run of the tip itself where its verdict is missing: when there is room for one, or at
    /// once when somebody who is red on top of it waits to know whose fault that is.
    pub(crate) fn test_tip(&mut self, name: &BranchName, walk: &Walk) {
        let Some(target) = self.queue.targets.get(name) else { return };
        let (Some(tree), Ok(gate)) = (target.tree, target.gate(self.policy)) else { return };
        let known = target.health(&gate, &walk.gate_id, self.policy) != Health::Unknown;
        if known || self.policy.base_red == BaseRed::Ignore {
            return;
        }
        let accused = |p: &crate::walk::Place| p.is_settled() && matches!(p.standing, Standing::Red { .. });
        let untested = walk.places.iter().filter(|p| matches!(p.standing, Standing::Untested { .. })).count();
        // In a batch most of them are tested by the runs of others.
        let wanted = if self.queue.batch_max(name, self.policy) > 1 { target.runs.len() } else { untested };
        let window = target.window(self.policy) as usize;
        let is_under_way = target.runs.values().any(|r| r.tree == tree && r.gate_id == walk.gate_id);
        // The window is wider than what runs at the same time: half of it is room for certain.
        if is_under_way || !(walk.places.iter().any(accused) || 2 * wanted <= window) {
            return;
        }
        let attempt = target.verdicts.get(&(tree, walk.gate_id.clone())).map_or(1, |v| v.lost + 1);
        // Several targets may have the same tip.
        let asked: u64 = self.queue.targets.values().map(|t| t.asked).sum();
        let text = format!("base-{}-{}-{}", walk.tip.short(), walk.gate_id, asked + 1);
        let Ok(run) = RunId::new(text) else { return };
        let target = name.clone();
        self.emit(Fact::BaseTesting { target, run, commit: walk.tip, tree, attempt, gate });
    }

    /// Whether a red tip keeps everybody waiting.
    pub(crate) fn is_closed(&self, name: &BranchName) -> bool {
        self.queue.targets.get(name).is_some_and(|target| {
            let gate = target.gate(self.policy);
            gate.is_ok_and(|gate| target.is_closed_by_red(&gate, &gate.id(), self.policy))
        })
    }

    /// What those wait for that have no place yet: a closed target, or no longer one.
    pub(crate) fn waits_for_the_tip(&self, name: &BranchName) -> Vec<(RequestId, Vec<Blocker>)> {
        if self.policy.base_red != BaseRed::Block {
            return Vec::new();
        }
        let closed = self.is_closed(name);
        let blockers = if closed { self.queue.red_tip_blockers(name, self.policy) } else { Vec::new() };
        let was_closed = |r: &Request| r.blockers.iter().any(|b| b.kind == BlockerKind::TargetRed);
        let index = &self.queue.index;
        let is_told_elsewhere = |id: &RequestId| index.dependents.contains(id) || index.attended.contains(id);
        let waiting = self.queue.live.iter().filter(|(_, r)| r.is_waiting() && r.target == *name);
        waiting
            .filter(|(id, r)| closed || (was_closed(r) && !is_told_elsewhere(id)))
            .map(|(id, _)| (*id, blockers.clone()))
            .collect()
    }

    /// Tells when the tip turns out red, and when a later one is green.
    pub(crate) fn tell_health(&mut self, name: &BranchName) {
        let Some(target) = self.queue.targets.get(name) else { return };
        let (Some(tip), Ok(gate)) = (target.tip, target.gate(self.policy)) else { return };
        if self.policy.base_red == BaseRed::Ignore {
            return;
        }
        match target.health(&gate, &gate.id(), self.policy) {
            Health::Red(verdict) if target.told_red != Some(tip) => {
                let (run, why) = (verdict.run.clone(), tip_is_red(name, tip, verdict));
                self.emit(Fact::TargetRed { target: name.clone(), commit: tip, run, why });
            }
            Health::Green if target.told_red.is_some() => {
                self.emit(Fact::TargetGreen { target: name.clone(), commit: tip });
            }
            Health::Red(_) | Health::Green | Health::Unknown | Health::Untestable(_) => {}
        }
    }
}

impl Queue {
    /// What those wait for that a red tip holds up.
    pub(crate) fn red_tip_blockers(&self, name: &BranchName, policy: &Policy) -> Vec<Blocker> {
        let Some(target) = self.targets.get(name) else { return Vec::new() };
        let (Some(tip), Ok(gate)) = (target.tip, target.gate(policy)) else { return Vec::new() };
        let Health::Red(verdict) = target.health(&gate, &gate.id(), policy) else { return Vec::new() };
        let until = match policy.base_red {
            BaseRed::Block => format!("`{name}` is moved by somebody else"),
            BaseRed::Differential | BaseRed::Ignore => {
                format!("`{name}` moves: a request that turns it green lands, or somebody pushes")
            }
        };
        vec![Blocker {
            kind: BlockerKind::TargetRed,
            with: Some(name.to_string()),
            paths: Vec::new(),
            until,
            reason: tip_is_red(name, tip, verdict),
        }]
    }

    /// What the gate says of the tip, as people see it.
    pub(crate) fn tip_health(&self, name: &BranchName, policy: &Policy) -> (TipHealth, Option<String>) {
        let unknown = (TipHealth::Unknown, None);
        let Some(target) = self.targets.get(name) else { return unknown };
        let (Some(tip), Ok(gate)) = (target.tip, target.gate(policy)) else { return unknown };
        if gate.steps.is_empty() {
            return unknown;
        }
        match target.health(&gate, &gate.id(), policy) {
            Health::Green => (TipHealth::Green, None),
            Health::Red(verdict) => (TipHealth::Red, Some(tip_is_red(name, tip, verdict))),
            Health::Untestable(verdict) => {
                let note = format!("runs of `{name}` itself are lost: `yardmaster logs {}`", verdict.run);
                (TipHealth::Unknown, Some(note))
            }
            Health::Unknown => match target.runs.iter().find(|(_, r)| r.request.is_none()) {
                Some((run, _)) => {
                    (TipHealth::Testing, Some(format!("`{name}` itself is being tested: {run}")))
                }
                None => unknown,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use yardmaster_protocol::{Millis, ObjectId, Step, TreeId};

    use super::*;

    fn gate() -> Gate {
        let step = |name: &str| Step { timeout_ms: 1_000, ..Step::command(name, "true") };
        Gate { steps: ["lint", "build", "unit"].map(step).to_vec(), environment: None }
    }

    fn verdict(outcome: RunOutcome, lost: u32) -> Verdict {
        Verdict {
            outcome,
            run: RunId::new("run-1").unwrap_or_else(|e| unreachable!("{e}")),
            request: None,
            candidate: CommitId(ObjectId([1; 20])),
            ms: 1,
            at: Millis(1),
            lost,
            reds: 0,
            flaky: Vec::new(),
            asked: None,
        }
    }

    fn red(step: &str) -> RunOutcome {
        RunOutcome::Red { step: step.to_owned(), exit_code: Some(1), log_tail: String::new() }
    }

    fn late(step: &str) -> RunOutcome {
        RunOutcome::TimedOut { step: step.to_owned(), limit_ms: 1_000, log_tail: String::new() }
    }

    fn lost() -> RunOutcome {
        RunOutcome::Lost { why: "no disk".to_owned() }
    }

    fn fault_on(tip: Option<Verdict>, candidate: RunOutcome, base_red: BaseRed) -> Fault {
        let (gate, tree) = (gate(), TreeId(ObjectId([7; 20])));
        let mut policy = Policy::new(BranchName::new("main").unwrap_or_else(|e| unreachable!("{e}")));
        (policy.base_red, policy.max_lost_runs) = (base_red, 3);
        let mut target = Target { tree: Some(tree), ..Target::default() };
        target.verdicts.extend(tip.map(|verdict| ((tree, gate.id()), verdict)));
        target.fault(&gate, &gate.id(), &policy, &verdict(candidate, 0))
    }

    /// Only a step that the tip is known to pass shows that a candidate is at fault.
    #[test]
    fn who_fails_where_the_tip_fails_or_later_is_not_to_blame() {
        for (tip, candidate, fault) in [
            (red("build"), red("lint"), Fault::Own),
            (red("build"), late("lint"), Fault::Own),
            (red("build"), red("build"), Fault::Base),
            (red("build"), red("unit"), Fault::Base),
            (late("build"), red("build"), Fault::Base),
            (late("unit"), red("build"), Fault::Own),
            (red("a step of long ago"), red("lint"), Fault::Base),
            (RunOutcome::Green, red("lint"), Fault::Own),
        ] {
            let found = fault_on(Some(verdict(tip.clone(), 0)), candidate.clone(), BaseRed::Differential);
            assert_eq!(found, fault, "{candidate:?} on {tip:?}");
        }
    }

    #[test]
    fn without_a_verdict_of_the_tip_nobody_is_blamed_before_it_has_been_tried_often_enough() {
        let fault = |tip, base_red| fault_on(tip, red("lint"), base_red);
        assert_eq!(fault(None, BaseRed::Differential), Fault::Open);
        assert_eq!(fault(Some(verdict(lost(), 2)), BaseRed::Block), Fault::Open);
        assert_eq!(fault(Some(verdict(RunOutcome::Cancelled, 1)), BaseRed::Differential), Fault::Open);
        assert_eq!(fault(Some(verdict(lost(), 3)), BaseRed::Differential), Fault::NobodyKnows);
        assert_eq!(fault(None, BaseRed::Ignore), Fault::Own);
        assert_eq!(fault(Some(verdict(red("lint"), 0)), BaseRed::Ignore), Fault::Own);
    }
}
