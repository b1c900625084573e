use yardmaster_protocol::{Assembly, BranchName, CommitId, GateId, RequestId, RunOutcome, TreeId};

use crate::depend::Missing;
use crate::health::Fault;
use crate::policy::Policy;
use crate::state::{Queue, Target};

/// The stack of one target, read from the tip upwards.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Walk {
    pub(crate) tip: CommitId,
    pub(crate) gate_id: GateId,
    pub(crate) places: Vec<Place>,
}

/// Where one stacked request stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    pub(crate) request: RequestId,
    /// What its candidate is assembled on.
    pub(crate) base: CommitId,
    /// The requests between the tip and `base`, lowest first.
    pub(crate) behind: Vec<RequestId>,
    pub(crate) standing: Standing,
}

/// What is known of a request's candidate on its base.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    /// It has not been assembled, or something below it has not.
    Unassembled,
    /// It does not merge.
    Conflict,
    /// There is no verdict yet.
    Untested { commit: CommitId, tree: TreeId },
    /// The gate passed this very tree.
    Green { commit: CommitId, tree: TreeId },
    /// The gate did not.
    Red { tree: TreeId },
    /// Runs of it were lost too often.
    GivenUp { tree: TreeId },
    /// What it depends on is not beneath it any more.
    Without(Missing),
    /// It may take no part.
    Held,
    /// The tip itself is red, and nothing shows that this one is at fault.
    Excused,
}

impl Place {
    /// Whether those above it stand on it.
    pub(crate) fn carries(&self) -> bool {
        match self.standing {
            Standing::Unassembled | Standing::Untested { .. } | Standing::Green { .. } => true,
            Standing::Conflict
            | Standing::Red { .. }
            | Standing::GivenUp { .. }
            | Standing::Without(_)
            | Standing::Held
            | Standing::Excused => false,
        }
    }

    /// It waits for what it depends on, for a right or for a better tip, and nobody waits for it to be decided.
    pub(crate) fn is_apart(&self) -> bool {
        matches!(self.standing, Standing::Without(_) | Standing::Held | Standing::Excused)
    }

    /// Nothing undecided is beneath it: what it shows is its own.
    pub(crate) fn is_settled(&self) -> bool {
        self.behind.is_empty()
    }
}

impl Queue {
    /// Reads the stack; none while the target or its gate is not known.
    pub(crate) fn walk(&self, name: &BranchName, policy: &Policy) -> Option<Walk> {
        let target = self.targets.get(name)?;
        let tip = target.tip?;
        let gate = target.gate(policy).ok()?;
        let gate_id = gate.id();
        let no_gate = gate.steps.is_empty();
        let closed = target.is_closed_by_red(&gate, &gate_id, policy);
        let mut places = Vec::with_capacity(target.stack.len());
        let (mut base, mut behind, mut known) = (tip, Vec::new(), true);
        for (i, &request) in target.stack.iter().enumerate() {
            let below = target.stack.get(..i).unwrap_or_default();
            let standing = match self.missing(request, below, &behind) {
                Some(other) => Standing::Without(other),
                None if self.is_held(request, policy) => Standing::Held,
                None if closed => Standing::Excused,
                None if !known => Standing::Unassembled,
                None => standing(target, base, request, &gate_id, no_gate, policy),
            };
            let standing = match standing {
                Standing::Red { tree } if behind.is_empty() => {
                    let verdict = target.verdicts.get(&(tree, gate_id.clone()));
                    let fault = verdict.map(|v| target.fault(&gate, &gate_id, policy, v));
                    if fault == Some(Fault::Base) { Standing::Excused } else { Standing::Red { tree } }
                }
                other => other,
            };
            let place = Place { request, base, behind: behind.clone(), standing };
            if place.carries() {
                behind.push(request);
            }
            match place.standing {
                Standing::Unassembled => known = false,
                Standing::Untested { commit, .. } | Standing::Green { commit, .. } => base = commit,
                Standing::Conflict
                | Standing::Red { .. }
                | Standing::GivenUp { .. }
                | Standing::Without(_)
                | Standing::Held
                | Standing::Excused => {}
            }
            places.push(place);
        }
        Some(Walk { tip, gate_id, places })
    }
}

fn standing(
    target: &Target,
    base: CommitId,
    request: RequestId,
    gate_id: &GateId,
    no_gate: bool,
    policy: &Policy,
) -> Standing {
    let (commit, tree) = match target.assemblies.get(&(base, request)) {
        None => return Standing::Unassembled,
        Some(Assembly::Conflict { .. } | Assembly::TakesBack { .. }) => return Standing::Conflict,
        Some(Assembly::Clean { commit, tree, .. }) => (*commit, *tree),
    };
    if no_gate || commit == base {
        return Standing::Green { commit, tree };
    }
    match target.verdicts.get(&(tree, gate_id.clone())) {
        None => Standing::Untested { commit, tree },
        Some(verdict) => match &verdict.outcome {
            RunOutcome::Green => Standing::Green { commit, tree },
            RunOutcome::Red { .. } | RunOutcome::TimedOut { .. } => Standing::Red { tree },
            RunOutcome::Lost { .. } | RunOutcome::Cancelled if verdict.lost >= policy.max_lost_runs => {
                Standing::GivenUp { tree }
            }
            RunOutcome::Lost { .. } | RunOutcome::Cancelled => Standing::Untested { commit, tree },
        },
    }
}
