use std::collections::BTreeSet;

use yardmaster_protocol::{
    Assembly, BranchName, CommitId, Gate, GateId, Independence, RequestId, RunOutcome, TreeId,
};

use crate::depend::Missing;
use crate::health::Fault;
use crate::independent::{Bits, Carrying};
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
    /// So many of those topmost in `behind` are of its own unit.
    pub(crate) mates_below: usize,
    /// It is not followed by others of its unit.
    pub(crate) ends_unit: bool,
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
    /// The gate did not, and it was the first to be tested of several: any of them can be at fault.
    RedTogether { commit: CommitId, tree: TreeId },
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
            Standing::Unassembled
            | Standing::Untested { .. }
            | Standing::Green { .. }
            | Standing::RedTogether { .. } => true,
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

    /// Those of its own unit beneath it.
    pub(crate) fn mates(&self) -> impl Iterator<Item = &RequestId> {
        self.behind.iter().skip(self.behind.len().saturating_sub(self.mates_below))
    }

    /// Nothing undecided is beneath it: what it shows is its own.
    pub(crate) fn is_settled(&self) -> bool {
        self.behind.len() == self.mates_below
    }
}

impl Queue {
    /// Reads the stack; none while the target or its gate is not known.
    pub(crate) fn walk(&self, name: &BranchName, policy: &Policy) -> Option<Walk> {
        let target = self.targets.get(name)?;
        let tip = target.tip?;
        let gate = target.gate(policy).ok()?;
        let gate_id = gate.id();
        let closed = target.is_closed_by_red(&gate, &gate_id, policy);
        let walk = Walk { tip, gate_id, places: Vec::with_capacity(target.stack.len()) };
        let apart = target.independence() != Independence::None;
        let together = self.batch_max(name, policy) > 1;
        let mut climb = Climb {
            queue: self,
            name,
            target,
            policy,
            gate,
            closed,
            together,
            walk,
            footing: Footing { base: tip, behind: Vec::new(), known: true },
            on: Bits::default(),
            ready: BTreeSet::new(),
            carrying: apart.then(|| self.carrying(&target.stack)),
        };
        let mut stack = target.stack.as_slice();
        while let Some(first) = stack.first() {
            let unit = self.live.get(first).and_then(|r| r.unit);
            let same = |id: &&RequestId| unit.is_some() && self.live.get(id).is_some_and(|r| r.unit == unit);
            let size = stack.iter().take_while(same).count().max(1);
            let (group, rest) = stack.split_at(size);
            climb.group(group);
            stack = rest;
        }
        Some(climb.walk)
    }
}

/// What the next one stands on.
#[derive(Clone)]
struct Footing {
    base: CommitId,
    behind: Vec<RequestId>,
    /// Everything beneath is assembled.
    known: bool,
}

/// A walk under way.
struct Climb<'a> {
    queue: &'a Queue,
    name: &'a BranchName,
    target: &'a Target,
    policy: &'a Policy,
    gate: Gate,
    closed: bool,
    /// Several may be tested by one run.
    together: bool,
    walk: Walk,
    footing: Footing,
    /// What the current one stands on of those.
    on: Bits,
    /// Those that could land now if pushes took no time.
    ready: BTreeSet<RequestId>,
    /// Those that carry so far, each with what it stands on, where not everybody stands on everybody.
    carrying: Option<Carrying>,
}

impl Climb<'_> {
    /// One request, or several that land as one unit: if one of them cannot carry, none does.
    fn group(&mut self, group: &[RequestId]) {
        if let [request] = group {
            return self.place(*request, group, 0);
        }
        let (before, from) = (self.footing.clone(), self.walk.places.len());
        for (i, request) in group.iter().enumerate() {
            self.place(*request, group, i);
        }
        let placed = self.walk.places.get_mut(from..).unwrap_or_default();
        let Some(bad) = placed.iter().find(|p| !p.carries()).map(|p| p.request) else { return };
        for mate in placed.iter_mut().filter(|p| p.carries()) {
            mate.standing = Standing::Without(Missing::Request(bad));
        }
        self.footing = before;
    }

    fn place(&mut self, request: RequestId, group: &[RequestId], mates_below: usize) {
        if self.carrying.is_some() {
            self.find_footing(request);
        }
        let ends_unit = mates_below + 1 == group.len();
        let (base, behind) = (self.footing.base, self.footing.behind.clone());
        let standing = Standing::Unassembled;
        let mut place = Place { request, base, behind, standing, mates_below, ends_unit };
        let by_run = self.by_run(&place);
        if self.carrying.is_some() && by_run.is_none() {
            place.base = self.find_base();
        }
        place.standing = self.standing(request, group, by_run);
        if let Standing::Red { tree } = place.standing {
            place.standing = self.whose(&place, tree);
        }
        if place.carries() {
            if let Some(carrying) = &mut self.carrying {
                carrying.push(request, std::mem::take(&mut self.on), self.queue.odds(request));
            }
            self.footing.behind.push(request);
        }
        match place.standing {
            Standing::Unassembled => self.footing.known = false,
            Standing::Untested { commit, .. }
            | Standing::Green { commit, .. }
            | Standing::RedTogether { commit, .. } => self.footing.base = commit,
            Standing::Conflict
            | Standing::Red { .. }
            | Standing::GivenUp { .. }
            | Standing::Without(_)
            | Standing::Held
            | Standing::Excused => {}
        }
        self.walk.places.push(place);
    }

    /// Where requests need not stand on each other, each has a footing of its own.
    fn find_footing(&mut self, request: RequestId) {
        let Some(carrying) = &self.carrying else { return };
        self.on = self.queue.stands_on(self.name, request, carrying);
        self.footing = Footing { base: self.walk.tip, behind: carrying.of(&self.on), known: true };
    }

    /// What a footing of its own is merged to, as far as it is.
    fn find_base(&mut self) -> CommitId {
        let Footing { base, behind, known } = &mut self.footing;
        for other in behind {
            let Some(Assembly::Clean { commit, .. }) = self.target.assemblies.get(&(*base, *other)) else {
                *known = false;
                break;
            };
            *base = *commit;
        }
        *base
    }

    /// What its latest run says of one that has a footing of its own and does not have to be merged again now.
    fn by_run(&mut self, place: &Place) -> Option<Standing> {
        if self.carrying.is_none() || place.mates_below > 0 || !place.ends_unit {
            return None;
        }
        let found = self.target.by_evidence(place, &self.walk.gate_id)?;
        let can_land = place.behind.iter().all(|other| self.ready.contains(other));
        if can_land && matches!(found, Standing::Green { .. }) {
            self.ready.insert(place.request);
            return None;
        }
        let verdict = match found {
            Standing::Red { tree } => self.target.verdicts.get(&(tree, self.walk.gate_id.clone())),
            _ => None,
        };
        let again = verdict.is_some_and(|v| self.target.may_repeat(&self.gate, v, self.queue.now));
        (!again).then_some(found)
    }

    fn standing(&self, request: RequestId, group: &[RequestId], by_run: Option<Standing>) -> Standing {
        let Footing { base, behind, known } = &self.footing;
        let below = self.target.stack.get(..self.walk.places.len()).unwrap_or_default();
        let missing = if group.len() > 1 {
            let (below, behind): (Vec<_>, Vec<_>) =
                (below.iter().chain(group).copied().collect(), behind.iter().chain(group).copied().collect());
            self.queue.missing(request, &below, &behind)
        } else {
            self.queue.missing(request, below, behind)
        };
        match missing {
            Some(other) => Standing::Without(other),
            None if self.queue.is_held(request, self.policy) => Standing::Held,
            None if self.closed => Standing::Excused,
            None if by_run.is_some() => by_run.unwrap_or(Standing::Unassembled),
            None if !known => Standing::Unassembled,
            None => self.of_candidate(*base, request),
        }
    }

    /// What is known of a candidate.
    fn of_candidate(&self, base: CommitId, request: RequestId) -> Standing {
        let Some(assembly) = self.target.assemblies.get(&(base, request)) else {
            return Standing::Unassembled;
        };
        let Some((commit, tree)) = assembly.candidate() else { return Standing::Conflict };
        // What brings nothing onto something else is as green as that is.
        if self.gate.steps.is_empty() || (commit == base && self.walk.tip == base) {
            return Standing::Green { commit, tree };
        }
        let Some(verdict) = self.target.verdicts.get(&(tree, self.walk.gate_id.clone())) else {
            return Standing::Untested { commit, tree };
        };
        let open = Standing::Untested { commit, tree };
        match &verdict.outcome {
            RunOutcome::Green => Standing::Green { commit, tree },
            RunOutcome::Red { .. } if self.target.may_repeat(&self.gate, verdict, self.queue.now) => open,
            RunOutcome::Red { .. } | RunOutcome::TimedOut { .. } => Standing::Red { tree },
            RunOutcome::Lost { .. } | RunOutcome::Cancelled if verdict.lost >= self.policy.max_lost_runs => {
                Standing::GivenUp { tree }
            }
            RunOutcome::Lost { .. } | RunOutcome::Cancelled => open,
        }
    }

    /// Whether a red one is at fault itself, as far as its place can say.
    fn whose(&self, place: &Place, tree: TreeId) -> Standing {
        let verdict = self.target.verdicts.get(&(tree, self.walk.gate_id.clone()));
        if place.is_settled() {
            let fault = verdict.map(|v| self.target.fault(&self.gate, &self.walk.gate_id, self.policy, v));
            return if fault == Some(Fault::Base) { Standing::Excused } else { Standing::Red { tree } };
        }
        let outside = self.walk.places.len() - place.mates_below;
        let beneath = self.walk.places.get(..outside).unwrap_or_default();
        let next = beneath.iter().rev().find(|p| p.carries());
        let decided = next.is_none_or(|p| self.target.is_decided(p, &self.walk));
        if self.carrying.is_some() {
            return self.red_on_others(place, tree);
        }
        let made = self.target.assemblies.get(&(place.base, place.request));
        match made {
            Some(Assembly::Clean { commit, .. }) if self.together && !decided => {
                Standing::RedTogether { commit: *commit, tree }
            }
            _ => Standing::Red { tree },
        }
    }

    /// Where everybody has a footing of its own: as long as one of those beneath is likelier to be at fault, others
    /// go on standing on it.
    fn red_on_others(&self, place: &Place, tree: TreeId) -> Standing {
        let innocent = self.queue.is_explained_by_others(place.request);
        let candidate = self.target.evidence.get(&place.request).filter(|e| e.tree == tree);
        match candidate.and_then(|e| e.candidate) {
            Some(commit) if innocent => Standing::RedTogether { commit, tree },
            _ => Standing::Red { tree },
        }
    }
}
