//! Requests that have nothing to do with each other, where the project declares how that is known: neither is
//! tested on top of the other, and what was seen before the other one landed counts after it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{BranchName, CommitId, Fact, GateId, Independence, RequestId, RunId, TreeId};

use crate::state::{Queue, Target};
use crate::step::Act;
use crate::walk::{Standing, Walk};

/// The latest run of a request, and what it was tested on top of, as far as that has not landed since. It is
/// forgotten as soon as anything else lands that the request has to do with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Evidence {
    pub(crate) run: RunId,
    pub(crate) tree: TreeId,
    pub(crate) gate: GateId,
    pub(crate) behind: Vec<RequestId>,
}

impl Target {
    /// What the project at the tip declares.
    pub(crate) fn independence(&self) -> Independence {
        self.project.as_ref().map(|p| p.independence).unwrap_or_default()
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
    /// Whether two live requests may change what the gate says of each other.
    pub(crate) fn meet(&self, name: &BranchName, one: RequestId, other: RequestId) -> bool {
        let Some(target) = self.targets.get(name) else { return true };
        let (Some(a), Some(b)) = (self.live.get(&one), self.live.get(&other)) else { return true };
        let (Some(mine), Some(theirs)) = (a.custody(), b.custody()) else { return true };
        let cut = |c: &crate::state::Custody| (c.files.len() as u64) < u64::from(c.size.files);
        let linked = a.unit.is_some() && a.unit == b.unit
            || target.compared.conflicts_of(one).any(|(id, _)| id == other)
            || self.pending_needs(one).contains(&other)
            || self.pending_needs(other).contains(&one);
        if linked || cut(mine) || cut(theirs) {
            return true;
        }
        let files = || {
            let (small, large) =
                if mine.files.len() < theirs.files.len() { (mine, theirs) } else { (theirs, mine) };
            small.files.iter().any(|f| large.files.binary_search(f).is_ok())
        };
        match target.independence() {
            Independence::None => true,
            Independence::Files => files(),
            Independence::Systems => {
                let (a, b) = (self.systems_of(one, a), self.systems_of(other, b));
                files() || a.is_empty() || b.is_empty() || !a.is_disjoint(&b)
            }
        }
    }

    /// Of those `carrying` beneath it, the ones that a request stands on, with what these stand on.
    pub(crate) fn stands_on(
        &self,
        name: &BranchName,
        request: RequestId,
        carrying: &[(RequestId, Vec<RequestId>)],
    ) -> Vec<RequestId> {
        let mut on: BTreeSet<RequestId> = BTreeSet::new();
        for (other, behind) in carrying.iter().rev() {
            if on.contains(other) || self.meet(name, request, *other) {
                on.insert(*other);
                on.extend(behind);
            }
        }
        carrying.iter().map(|(id, _)| *id).filter(|id| on.contains(id)).collect()
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
        let Some(walk) = self.queue.walk(name, self.policy) else { return };
        let Some(target) = self.queue.targets.get(name) else { return };
        let mut facts = Vec::new();
        for place in &walk.places {
            let Standing::Untested { commit, tree } = place.standing else { continue };
            let known = target.evidence.get(&place.request);
            let fits = known.filter(|e| e.behind == place.behind && e.gate == walk.gate_id && e.tree != tree);
            let Some(evidence) = fits else { continue };
            if target.verdicts.contains_key(&(evidence.tree, evidence.gate.clone())) {
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
