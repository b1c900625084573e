//! What is learned from runs: how long steps take, and which tip is known to be green as a whole.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{CommitId, Gate, GateId, MAX_STEPS, RunOutcome, Step, StepResult};

use crate::policy::Policy;
use crate::state::{Run, Target};

/// After so many green runs a step's time is known.
const ENOUGH: usize = 5;
/// The newest so many are kept of each step.
const KEPT: usize = 100;
/// Steps that no gate has any more are forgotten when there are more than so many.
const MOST_STEPS: usize = 2 * MAX_STEPS;
/// A step may take so many times as long as nearly all of its green runs.
const SLACK: u64 = 4;
/// Nobody is stopped before so long, in milliseconds: a machine may be busy.
const FLOOR_MS: u64 = 60_000;

/// How long steps took that were green, in milliseconds, newest last; by the definition of the step, so that
/// one that is changed is learned anew.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Times(BTreeMap<GateId, VecDeque<u64>>);

impl Times {
    /// Takes in what a run of `gate` did.
    pub(crate) fn add(&mut self, gate: &Gate, results: &[StepResult]) {
        for result in results.iter().filter(|r| r.exit_code == Some(0)) {
            let of = gate.steps.iter().find(|s| s.name == result.name && s.learns_timeout);
            let Some(step) = of else { continue };
            let kept = self.0.entry(id(step)).or_default();
            kept.push_back(result.ms);
            if kept.len() > KEPT {
                kept.pop_front();
            }
        }
        if self.0.len() > MOST_STEPS {
            let current: Vec<GateId> = gate.steps.iter().map(id).collect();
            self.0.retain(|id, _| current.contains(id));
        }
    }

    /// The limit of a step for which nobody has declared one: four times what 99 of 100 of its green runs
    /// take, but no less than a minute and no more than its own limit. None while too little is known.
    fn limit_ms(&self, step: &Step) -> Option<u64> {
        let known = self.0.get(&id(step)).filter(|known| step.learns_timeout && known.len() >= ENOUGH)?;
        let mut sorted: Vec<u64> = known.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * 99).div_ceil(100);
        let limit = sorted.get(rank - 1)?.saturating_mul(SLACK).max(FLOOR_MS);
        (limit < step.timeout_ms).then_some(limit)
    }
}

fn id(step: &Step) -> GateId {
    Gate { steps: vec![step.clone()], environment: None }.id()
}

impl Target {
    /// The limits that were learned for the steps of `run`, by their names. A limit that was passed loses the
    /// run, so the next attempt goes without: only the step's own limit says anything about a candidate.
    pub(crate) fn learned(&self, run: &Run, policy: &Policy) -> BTreeMap<String, u64> {
        if run.attempt > 1 || policy.max_lost_runs < 2 {
            return BTreeMap::new();
        }
        let learned = |step: &Step| Some((step.name.clone(), self.times.limit_ms(step)?));
        run.gate.steps.iter().filter_map(learned).collect()
    }

    /// The tip, if all of the gate of `run` is known to be green there. A step that a candidate leaves out
    /// because nothing that it looks at differs from there is green, so the verdict is one about the whole
    /// tree, whatever the candidate was assembled on.
    pub(crate) fn known_green(&self, run: &Run) -> Option<CommitId> {
        run.request?;
        let verdict = self.verdicts.get(&(self.tree?, run.gate_id.clone()))?;
        (verdict.outcome == RunOutcome::Green).then_some(self.tip?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learning(name: &str) -> Step {
        Step { learns_timeout: true, ..Step::command(name, "make") }
    }

    fn took(name: &str, ms: u64, exit_code: Option<i32>) -> StepResult {
        StepResult { name: name.to_owned(), ms, exit_code }
    }

    fn limit(step: &Step, results: &[StepResult]) -> Option<u64> {
        let gate = Gate { steps: vec![step.clone()], environment: None };
        let mut times = Times::default();
        results.iter().for_each(|result| times.add(&gate, std::slice::from_ref(result)));
        times.limit_ms(step)
    }

    #[test]
    fn a_limit_is_learned_from_enough_green_runs_with_a_floor_and_a_ceiling() {
        let step = learning("unit");
        let runs = |ms: u64| [0; ENOUGH].map(|_| took("unit", ms, Some(0)));
        assert_eq!(limit(&step, &runs(20_000)), Some(80_000));
        assert_eq!(limit(&step, &runs(20_000)[1..]), None, "too few");
        assert_eq!(limit(&step, &runs(10)), Some(FLOOR_MS));
        assert_eq!(limit(&step, &runs(500_000)), None, "its own limit is shorter");
        let declared = Step { learns_timeout: false, ..learning("unit") };
        assert_eq!(limit(&declared, &runs(20_000)), None);
        let red = [0; 9].map(|_| took("unit", 20_000, Some(1)));
        assert_eq!(limit(&step, &red), None, "red runs say nothing");
        assert_eq!(limit(&step, &[0; 9].map(|_| took("unit", 20_000, None))), None);
    }

    #[test]
    fn one_slow_run_of_a_hundred_does_not_count_and_old_ones_are_forgotten() {
        let step = learning("unit");
        let mut results = vec![took("unit", 400_000, Some(0))];
        results.extend(vec![took("unit", 20_000, Some(0)); KEPT - 1]);
        assert_eq!(limit(&step, &results), Some(80_000));
        results.insert(1, took("unit", 400_000, Some(0)));
        results.truncate(KEPT);
        assert_eq!(limit(&step, &results), Some(1_600_000));
        results.extend(vec![took("unit", 30_000, Some(0)); KEPT]);
        assert_eq!(limit(&step, &results), Some(120_000));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut times = Times::default();
        for n in 0..1_000 {
            let step = Step { run: format!("make {n}"), ..learning("unit") };
            let gate = Gate { steps: vec![step], environment: None };
            times.add(&gate, &[took("unit", 1, Some(0))]);
        }
        assert!(times.0.len() <= MOST_STEPS);
    }
}
