//! Requests that have nothing to do with each other, where the project declares how that is known: neither is
//! tested on top of the other, and what was seen before the other one landed counts after it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{
    Assembly, BranchName, CommitId, Fact, GateId, Independence, RequestId, RunId, RunOutcome, TreeId,
};

use crate::state::{Custody, Queue, Target, Verdict};
use crate::step::Act;
use crate::walk::{Place, Standing, Walk};

/// The latest run of a request, and what it was tested on top of, as far as that has not landed since. It is
/// forgotten as soon as anything else lands that the request has to do with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Evidence {
    pub(crate) run: RunId,
    pub(crate) tree: TreeId,
    pub(crate) gate: GateId,
    pub(crate) behind: Vec<RequestId>,
    /// It was tested on the tip itself.
    #[serde(default)]
    pub(crate) on_tip: bool,
}

/// Who is less likely to land is not stood on by those that need not.
const LIKELY: f64 = 0.5;

/// One that others may stand on, and which of those before it it stands on.
pub(crate) struct Carrying {
    pub(crate) request: RequestId,
    pub(crate) on: Bits,
}

/// A set of small numbers.
#[derive(Clone, Default)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    fn has(&self, i: usize) -> bool {
        self.0.get(i / 64).is_some_and(|word| word >> (i % 64) & 1 == 1)
    }

    fn add(&mut self, i: usize) {
        if self.0.len() <= i / 64 {
            self.0.resize(i / 64 + 1, 0);
        }
        self.0[i / 64] |= 1 << (i % 64);
    }

    fn join(&mut self, other: &Bits) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(all, theirs)| *all |= theirs);
    }

    /// Those of `carrying` that are in it, in order.
    pub(crate) fn of(&self, carrying: &[Carrying]) -> Vec<RequestId> {
        carrying.iter().enumerate().filter(|(i, _)| self.has(*i)).map(|(_, c)| c.request).collect()
    }
}

impl Target {
    /// What the project at the tip declares.
    pub(crate) fn independence(&self) -> Independence {
        self.project.as_ref().map(|p| p.independence).unwrap_or_default()
    }

    /// Whether a merge is not known on the way from the tip to the candidate. Who does not merge without somebody
    /// else is waited for.
    pub(crate) fn lacks_a_merge(&self, tip: CommitId, place: &Place) -> bool {
        let mut base = tip;
        for request in place.behind.iter().chain([&place.request]) {
            match self.assemblies.get(&(base, *request)) {
                None => return true,
                Some(Assembly::Clean { commit, .. }) => base = *commit,
                Some(Assembly::Conflict { .. } | Assembly::TakesBack { .. }) => return false,
            }
        }
        false
    }

    /// Whether the verdict of a run would count for a candidate that is wanted now.
    pub(crate) fn is_evidence(&self, run: &RunId, walk: &Walk) -> bool {
        !self.evidence.is_empty()
            && walk.places.iter().any(|p| {
                let fits = |e: &Evidence| e.run == *run && e.behind == p.behind && e.gate == walk.gate_id;
                matches!(p.standing, Standing::Untested { .. } | Standing::Unassembled)
                    && self.evidence.get(&p.request).is_some_and(fits)
            })
    }

    /// What was tested on something else counts no more.
    pub(crate) fn forget_evidence_on(&mut self, gone: RequestId) {
        self.evidence.remove(&gone);
        self.evidence.retain(|_, e| !e.behind.contains(&gone));
    }
}

impl Queue {
    /// Whether two of the stack may change what the gate says of each other.
    fn meet(&self, name: &BranchName, one: RequestId, other: RequestId) -> bool {
        let Some(target) = self.targets.get(name) else { return true };
        self.index.neighbours.get(&one).is_none_or(|met| met.contains(&other))
            || target.compared.conflicts_of(one).any(|(id, _)| id == other)
            || self.are_linked(one, other)
    }

    /// They land together, or one needs the other.
    fn are_linked(&self, one: RequestId, other: RequestId) -> bool {
        let unit = |id: RequestId| self.live.get(&id).and_then(|r| r.unit);
        let (dependents, needs) = (&self.index.dependents, |a, b| self.pending_needs(a).contains(&b));
        unit(one).is_some_and(|u| unit(other) == Some(u))
            || (dependents.contains(&one) && needs(one, other))
            || (dependents.contains(&other) && needs(other, one))
    }

    /// Of those `carrying` beneath it, the ones that a request has to do with itself, but for those that will hardly
    /// land; and with what it needs, what that stands on. What these have to do with others is their own verdict's
    /// business: it lands only after they have.
    pub(crate) fn stands_on(&self, name: &BranchName, request: RequestId, carrying: &[Carrying]) -> Bits {
        let mut on = Bits::default();
        for (i, other) in carrying.iter().enumerate().rev() {
            if on.has(i) || !self.meet(name, request, other.request) {
                continue;
            }
            let linked = self.are_linked(request, other.request);
            if linked || self.odds(other.request) >= LIKELY {
                on.add(i);
            }
            if linked {
                on.join(&other.on);
            }
        }
        on
    }

    /// Whom one that got a place has to do with by what both touch, both ways.
    pub(crate) fn index_neighbours(&mut self, id: RequestId) {
        let Some(name) = self.live.get(&id).map(|r| r.target.clone()) else { return };
        let Some(target) = self.targets.get(&name).filter(|t| t.independence() != Independence::None) else {
            return;
        };
        let touch = |other: &&RequestId| **other != id && self.touch(target.independence(), id, **other);
        let met: BTreeSet<RequestId> = target.stack.iter().filter(touch).copied().collect();
        for other in &met {
            self.index.neighbours.entry(*other).or_default().insert(id);
        }
        self.index.neighbours.insert(id, met);
    }

    pub(crate) fn unindex_neighbours(&mut self, id: RequestId) {
        for other in self.index.neighbours.remove(&id).into_iter().flatten() {
            if let Some(met) = self.index.neighbours.get_mut(&other) {
                met.remove(&id);
            }
        }
    }

    /// The project says something else of independence, or of systems.
    pub(crate) fn reindex_neighbours(&mut self, name: &BranchName) {
        let stack = self.targets.get(name).map(|t| t.stack.clone()).unwrap_or_default();
        stack.iter().for_each(|id| self.unindex_neighbours(*id));
        stack.iter().for_each(|id| self.index_neighbours(*id));
    }

    fn touch(&self, by: Independence, one: RequestId, other: RequestId) -> bool {
        let (Some(a), Some(b)) = (self.live.get(&one), self.live.get(&other)) else { return true };
        let (Some(mine), Some(theirs)) = (a.custody(), b.custody()) else { return true };
        // Of a list that was cut nobody knows the rest.
        let cut = |c: &Custody| (c.files.len() as u64) < u64::from(c.size.files);
        let (small, large) =
            if mine.files.len() < theirs.files.len() { (mine, theirs) } else { (theirs, mine) };
        let systems = || {
            let (a, b) = (self.systems_of(one, a), self.systems_of(other, b));
            a.is_empty() || b.is_empty() || !a.is_disjoint(&b)
        };
        cut(mine)
            || cut(theirs)
            || small.files.iter().any(|f| large.files.binary_search(f).is_ok())
            || (by == Independence::Systems && systems())
    }

    /// What standing together with `landed` made of the evidence of the others.
    pub(crate) fn evidence_after_landing(&mut self, name: &BranchName, landed: RequestId) {
        let Some(target) = self.targets.get(name).filter(|t| !t.evidence.is_empty()) else { return };
        let stale: Vec<RequestId> = target
            .evidence
            .iter()
            .filter(|(id, e)| **id != landed && !e.behind.contains(&landed) && self.meet(name, **id, landed))
            .map(|(id, _)| *id)
            .collect();
        let target = self.target(name);
        target.evidence.remove(&landed);
        stale.iter().for_each(|id| drop(target.evidence.remove(id)));
        target.evidence.values_mut().for_each(|e| e.behind.retain(|r| *r != landed));
    }

    pub(crate) fn carried(&mut self, fact: &Fact) {
        let Fact::Carried { target, request, run, tree, .. } = fact else { return };
        let target = self.target(target);
        let Some(evidence) = target.evidence.get_mut(request).filter(|e| e.run == *run) else { return };
        let key = (evidence.tree, evidence.gate.clone());
        if let Some(verdict) = target.verdicts.get(&key).cloned() {
            target.verdicts.insert((*tree, evidence.gate.clone()), verdict);
        }
        evidence.tree = *tree;
    }
}

impl Act<'_> {
    /// Takes verdicts over to candidates that differ from what was tested only in what they have nothing to do with.
    pub(crate) fn carry_over(&mut self, name: &BranchName) {
        let declared = self.queue.targets.get(name).is_some_and(|t| t.independence() != Independence::None);
        if !declared {
            return;
        }
        let Some(walk) = self.walk(name) else { return };
        let Some(target) = self.queue.targets.get(name) else { return };
        let mut facts = Vec::new();
        for place in &walk.places {
            let Standing::Untested { commit, tree } = place.standing else { continue };
            let known = target.evidence.get(&place.request);
            let fits = known.filter(|e| e.behind == place.behind && e.gate == walk.gate_id && e.tree != tree);
            let Some(evidence) = fits else { continue };
            // A red one may be so for somebody who was left out beneath those that it stood on.
            let counts =
                |v: &Verdict| v.outcome == RunOutcome::Green || evidence.on_tip || !place.behind.is_empty();
            if target.verdicts.get(&(evidence.tree, evidence.gate.clone())).is_some_and(counts) {
                facts.push(self.carried_fact(name, place.request, &evidence.run, commit, tree));
            }
        }
        facts.into_iter().for_each(|fact| self.emit(fact));
    }

    fn carried_fact(
        &self,
        name: &BranchName,
        request: RequestId,
        run: &RunId,
        candidate: CommitId,
        tree: TreeId,
    ) -> Fact {
        Fact::Carried { target: name.clone(), request, run: run.clone(), candidate, tree }
    }
}
