//! Facts about runs, applied.

use yardmaster_protocol::{BranchName, EventBody, Fact, Independence, Millis, RequestId, RunId, RunOutcome};

use crate::apply::Caused;
use crate::independent::Evidence;
use crate::state::{Queue, Run, Verdict};

impl Queue {
    pub(crate) fn testing(&mut self, id: RequestId, at: Millis, fact: &Fact) -> Option<Caused> {
        let Fact::Testing { run, candidate, tree, base, behind, attempt, gate, .. } = fact else {
            return None;
        };
        let name = self.target_of(id)?;
        let gate_id = gate.id();
        let target = self.target(&name);
        target.asked += 1;
        if target.independence() != Independence::None {
            let evidence = Evidence {
                run: run.clone(),
                tree: *tree,
                gate: gate_id.clone(),
                behind: behind.clone(),
                on_tip: behind.is_empty(),
                candidate: Some(*candidate),
                green: None,
                stale: false,
            };
            target.evidence.insert(id, evidence);
        }
        target.runs.insert(
            run.clone(),
            Run {
                request: Some(id),
                candidate: *candidate,
                tree: *tree,
                base: *base,
                gate: gate.clone(),
                gate_id,
                attempt: *attempt,
                asked: Some(at),
                behind: behind.clone(),
                beside: 0,
            },
        );
        target.note_company();
        self.caused(
            id,
            at,
            EventBody::MergeTesting {
                run: run.clone(),
                candidate: *candidate,
                base: *base,
                behind: behind.clone(),
                attempt: *attempt,
            },
        )
    }

    pub(crate) fn base_testing(&mut self, name: &BranchName, at: Millis, fact: &Fact) {
        let Fact::BaseTesting { run, commit, tree, attempt, gate, .. } = fact else { return };
        let target = self.target(name);
        target.asked += 1;
        target.runs.insert(
            run.clone(),
            Run {
                request: None,
                candidate: *commit,
                tree: *tree,
                base: *commit,
                gate: gate.clone(),
                gate_id: gate.id(),
                attempt: *attempt,
                asked: Some(at),
                behind: Vec::new(),
                beside: 0,
            },
        );
        target.note_company();
    }

    pub(crate) fn run_ended(&mut self, id: &RunId, outcome: &RunOutcome, ms: u64, at: Millis) {
        let doubted = self.doubted_of(id);
        self.prove(id, outcome);
        for target in self.targets.values_mut() {
            let Some(run) = target.runs.remove(id) else { continue };
            if matches!(outcome, RunOutcome::Green | RunOutcome::Red { .. }) {
                target.pace.note(&run.gate_id, run.beside, ms);
            }
            target.note_evidence(id, outcome);
            let key = (run.tree, run.gate_id.clone());
            let earlier = target.verdicts.get(&key).cloned();
            let mut flaky = earlier.as_ref().map(|v| v.flaky.clone()).unwrap_or_default();
            flaky.extend(target.note_flake(earlier.as_ref(), outcome, at));
            let red_now = matches!(outcome, RunOutcome::Red { .. });
            let reds = earlier.as_ref().map_or(0, |v| v.reds) + u32::from(red_now);
            let lost_now = matches!(outcome, RunOutcome::Lost { .. } | RunOutcome::Cancelled);
            let lost = earlier.as_ref().map_or(0, |v| v.lost) + u32::from(lost_now);
            target.keep_verdict(
                key,
                Verdict {
                    outcome: outcome.clone(),
                    run: id.clone(),
                    request: run.request,
                    candidate: run.candidate,
                    ms,
                    at,
                    lost,
                    reds,
                    flaky,
                    asked: run.asked,
                },
            );
        }
        doubted.into_iter().for_each(|id| self.let_pass(id));
    }
}
