//! What was merged and tested.

use yardmaster_protocol::{Assembly, Fact, RunId, RunOutcome};

use super::{Asked, Ledger, Truth};
use crate::violation::Violation;

impl Ledger {
    /// What was merged and tested.
    pub(super) fn tried(&mut self, truth: &Truth, fact: &Fact) -> Result<(), Violation> {
        match fact {
            Fact::Testing { .. } | Fact::BaseTesting { .. } => self.asked(truth, fact),
            Fact::RunEnded { run, outcome, ms, .. } => {
                self.took.insert(run.clone(), *ms);
                self.run_ended(run, outcome);
                Ok(())
            }
            Fact::RunDropped { run } => self.is_useless(truth, run),
            Fact::Assembled { request, base, assembly } => {
                if let Assembly::Clean { tree, commit, .. } = assembly {
                    self.made.entry(*tree).or_default().insert(*request);
                    let mut members = self.members.get(base).cloned().unwrap_or_default();
                    members.insert(*request);
                    self.in_tree.entry(*tree).or_default().extend(&members);
                    self.members.insert(*commit, members);
                }
                if matches!(assembly, Assembly::Conflict { .. }) {
                    self.doubtful.insert(*request);
                }
                Ok(())
            }
            Fact::Suspected { run, requests, with, .. } => self.is_suspected_rightly(run, requests, with),
            Fact::Carried { request, .. } => Err(Violation::new(
                "no verdict is carried over where nobody declares it",
                request.to_string(),
            )),
            _ => Ok(()),
        }
    }

    /// A run was asked for: of a candidate, or of a target's own tip.
    fn asked(&mut self, truth: &Truth, fact: &Fact) -> Result<(), Violation> {
        let (run, asked) = match fact {
            Fact::Testing { run, candidate, tree, gate, request, behind, .. } => {
                let target = self.live(*request)?.target.clone();
                let moves = self.moves.get(&target).copied().unwrap_or(0);
                let asked = Asked {
                    request: Some(*request),
                    target,
                    tree: *tree,
                    gate: gate.id(),
                    candidate: *candidate,
                    behind: behind.clone(),
                    moves,
                    at: truth.now,
                };
                self.is_asked_rightly(truth, fact, &asked)?;
                self.is_kept_apart(truth, &asked)?;
                self.is_in_turn(&asked)?;
                self.meets_nobody(truth, &asked)?;
                (run, asked)
            }
            Fact::BaseTesting { target, run, commit, tree, gate, .. } => {
                let asked = Asked {
                    request: None,
                    target: target.clone(),
                    tree: *tree,
                    gate: gate.id(),
                    candidate: *commit,
                    behind: Vec::new(),
                    moves: 0,
                    at: truth.now,
                };
                (run, asked)
            }
            _ => return Ok(()),
        };
        let before = self.runs.insert(run.clone(), asked);
        Violation::unless(before.is_none(), "every run has an id of its own", || run.to_string())
    }

    fn run_ended(&mut self, run: &RunId, outcome: &RunOutcome) {
        let Some(Asked { request, target, tree, gate, .. }) = self.runs.get(run).cloned() else { return };
        if *outcome != RunOutcome::Green {
            self.doubtful.extend(request);
            self.doubtful.extend(self.made.get(&tree).into_iter().flatten());
        }
        match outcome {
            RunOutcome::Green => {
                self.greens.insert((tree, gate));
            }
            RunOutcome::Lost { .. } | RunOutcome::Cancelled => {
                *self.lost.entry(tree).or_default() += 1;
                *self.tries.entry((target, tree, gate)).or_default() += 1;
            }
            RunOutcome::Red { .. } | RunOutcome::TimedOut { .. } => {
                self.reds.insert((tree, gate));
            }
        }
    }
}
