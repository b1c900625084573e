//! Requests that have nothing to do with each other, where the project declares how that is known: neither is
//! tested on top of the other, and what was seen before the other one landed counts after it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{
    BranchName, CommitId, Fact, GateId, Independence, RequestId, RunId, RunOutcome, TreeId,
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
    /// What was tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) candidate: Option<CommitId>,
    /// How that went; none: it has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) green: Option<bool>,
    /// Somebody whom it has to do with landed meanwhile: green, it does not count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) stale: bool,
}

/// Who is less likely to land is not stood on by those that need not.
pub(crate) const LIKELY: f64 = 0.5;

/// One that others may stand on, and which of those before it it stands on.
struct Carried {
    request: RequestId,
    on: Bits,
    likely: bool,
}

/// Those that carry so far, from the tip upwards, where not everybody stands on everybody.
#[derive(Default)]
pub(crate) struct Carrying {
    these: Vec<Carried>,
    highest: Option<RequestId>,
    /// By request, sorted: where it is in `these`, if it carries.
    places: Vec<(RequestId, Option<usize>)>,
    /// Who lands together, or needs the other: both ways.
    links: BTreeMap<RequestId, BTreeSet<RequestId>>,
}

impl Carrying {
    pub(crate) fn push(&mut self, request: RequestId, on: Bits, odds: f64) {
        if let Ok(at) = self.places.binary_search_by_key(&request, |(id, _)| *id) {
            self.places[at].1 = Some(self.these.len());
        }
        self.highest = self.highest.max(Some(request));
        self.these.push(Carried { request, on, likely: odds >= LIKELY });
    }

    fn place(&self, request: RequestId) -> Option<usize> {
        let at = self.places.binary_search_by_key(&request, |(id, _)| *id).ok()?;
        self.places.get(at)?.1
    }

    fn link(&mut self, one: RequestId, other: RequestId) {
        self.links.entry(one).or_default().insert(other);
        self.links.entry(other).or_default().insert(one);
    }

    /// Those that are in `on`, in order.
    pub(crate) fn of(&self, on: &Bits) -> Vec<RequestId> {
        on.iter().filter_map(|i| Some(self.these.get(i)?.request)).collect()
    }
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

    /// Smallest first.
    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(n, word)| {
            let ones = (0..64).filter(move |bit| word >> bit & 1 == 1);
            ones.map(move |bit| n * 64 + bit)
        })
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
                Some(assembly) => match assembly.candidate() {
                    Some((commit, _)) => base = commit,
                    None => return false,
                },
            }
        }
        false
    }

    /// What is known of a place by its latest run, whose candidate may stand on an older tip: it is merged again only
    /// once it can land, or has to be tested.
    pub(crate) fn by_evidence(&self, place: &Place, gate: &GateId) -> Option<Standing> {
        let evidence = self.evidence.get(&place.request)?;
        if evidence.behind != place.behind || evidence.gate != *gate {
            return None;
        }
        let (commit, tree) = (evidence.candidate?, evidence.tree);
        match evidence.green {
            None => Some(Standing::Untested { commit, tree }),
            Some(true) => Some(Standing::Green { commit, tree }),
            Some(false) if evidence.on_tip || !place.behind.is_empty() => Some(Standing::Red { tree }),
            _ => None,
        }
    }

    /// A run that says nothing.
    pub(crate) fn forget_evidence_of(&mut self, run: &RunId) {
        self.evidence.retain(|_, e| e.run != *run);
    }

    /// How a run went, for whom it counts.
    pub(crate) fn note_evidence(&mut self, run: &RunId, outcome: &RunOutcome) {
        let green = match outcome {
            RunOutcome::Green => true,
            RunOutcome::Red { .. } | RunOutcome::TimedOut { .. } => false,
            RunOutcome::Lost { .. } | RunOutcome::Cancelled => return self.forget_evidence_of(run),
        };
        self.evidence.retain(|_, e| e.run != *run || !e.stale || (!green && e.on_tip));
        self.evidence.values_mut().filter(|e| e.run == *run).for_each(|e| e.green = Some(green));
    }

    /// The runs whose verdicts would count for candidates that are wanted now.
    pub(crate) fn runs_of_evidence(&self, walk: &Walk) -> BTreeSet<&RunId> {
        let wanted = |p: &&Place| matches!(p.standing, Standing::Untested { .. } | Standing::Unassembled);
        let places = walk.places.iter().filter(|_| !self.evidence.is_empty()).filter(wanted);
        let fits = |p: &Place, e: &&Evidence| e.behind == p.behind && e.gate == walk.gate_id;
        places.filter_map(|p| Some(&self.evidence.get(&p.request).filter(|e| fits(p, e))?.run)).collect()
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

    /// Nobody carries yet; who is linked with whom is known.
    pub(crate) fn carrying(&self, stack: &[RequestId]) -> Carrying {
        let mut carrying = Carrying::default();
        carrying.places.extend(stack.iter().map(|id| (*id, None)));
        carrying.places.sort_unstable();
        for id in &self.index.dependents {
            self.pending_needs(*id).into_iter().for_each(|need| carrying.link(*id, need));
        }
        let unit = |id: &RequestId| self.live.get(id).and_then(|r| r.unit);
        for (i, id) in stack.iter().enumerate().filter(|(_, id)| unit(id).is_some()) {
            let mates = stack.iter().take(i).filter(|other| unit(other) == unit(id));
            mates.for_each(|mate| carrying.link(*id, *mate));
        }
        carrying
    }

    /// Of those `carrying` beneath it, the ones that a request has to do with itself, but for those that will hardly
    /// land; and with what it needs, what that stands on. What these have to do with others is their own verdict's
    /// business: it lands only after they have.
    pub(crate) fn stands_on(&self, name: &BranchName, request: RequestId, carrying: &Carrying) -> Bits {
        let mut on = Bits::default();
        let links = carrying.links.get(&request);
        for i in self.met(name, request, carrying).into_iter().rev() {
            let Some(other) = carrying.these.get(i).filter(|_| !on.has(i)) else { continue };
            let linked = links.is_some_and(|l| l.contains(&other.request));
            if linked || other.likely {
                on.add(i);
            }
            if linked {
                on.join(&other.on);
            }
        }
        on
    }

    /// The places of those `carrying` that may change what the gate says of a request, or it of them; lowest first.
    fn met(&self, name: &BranchName, request: RequestId, carrying: &Carrying) -> Vec<usize> {
        let Some(neighbours) = self.index.neighbours.get(&request) else {
            return (0..carrying.these.len()).collect();
        };
        let conflicts = self.targets.get(name).into_iter().flat_map(|t| t.compared.conflicts_of(request));
        let links = carrying.links.get(&request).into_iter().flatten();
        let near = carrying.highest.into_iter().flat_map(|highest| neighbours.range(..=highest));
        let all = near.copied().chain(conflicts.map(|(id, _)| id)).chain(links.copied());
        let mut places: Vec<usize> = all.filter_map(|id| carrying.place(id)).collect();
        places.sort_unstable();
        places.dedup();
        places
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

    /// The request that a run is of, if those that it has to do with do not stand on it.
    pub(crate) fn doubted_of(&self, run: &RunId) -> Option<RequestId> {
        let of = |t: &Target| t.runs.get(run).filter(|_| t.independence() != Independence::None)?.request;
        self.targets.values().find_map(of).filter(|id| self.odds(*id) < LIKELY)
    }

    /// Who was doubted and turns out to be green goes behind those that were tested without it meanwhile: one more
    /// run for itself, instead of one for each of them.
    pub(crate) fn let_pass(&mut self, id: RequestId) {
        let Some(name) = self.live.get(&id).filter(|r| r.proved).map(|r| r.target.clone()) else { return };
        let Some(target) = self.targets.get(&name) else { return };
        let without = |other: &RequestId| {
            let known = target.evidence.get(other).filter(|e| e.green != Some(false) && !e.stale);
            known.is_some_and(|e| !e.behind.contains(&id)) && self.odds(*other) >= LIKELY
        };
        let passes = target.stack.iter().skip_while(|other| **other != id).skip(1);
        let mut passes = passes.filter(|other| without(other) && self.meet(&name, id, **other));
        let needed = self.index.dependents.iter().any(|other| self.pending_needs(*other).contains(&id));
        if passes.next().is_some() && !needed && !target.is_landing(id) {
            let stack = &mut self.target(&name).stack;
            stack.retain(|other| *other != id);
            stack.push(id);
        }
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
        // Who will hardly pass is not tested again and again while others land past it: red on what was the target
        // it fails all the same.
        let (kept, gone): (Vec<RequestId>, Vec<RequestId>) = stale.into_iter().partition(|id| {
            self.odds(*id) < LIKELY && target.evidence.get(id).is_some_and(|e| e.green.is_none())
        });
        let target = self.target(name);
        target.evidence.remove(&landed);
        gone.iter().for_each(|id| drop(target.evidence.remove(id)));
        for id in kept {
            if let Some(evidence) = target.evidence.get_mut(&id) {
                evidence.stale = true;
            }
        }
        target.evidence.values_mut().for_each(|e| e.behind.retain(|r| *r != landed));
    }

    pub(crate) fn carried(&mut self, fact: &Fact) {
        let Fact::Carried { target, request, run, tree, candidate } = fact else { return };
        let target = self.target(target);
        let Some(evidence) = target.evidence.get_mut(request).filter(|e| e.run == *run) else { return };
        let key = (evidence.tree, evidence.gate.clone());
        if let Some(verdict) = target.verdicts.get(&key).cloned() {
            // Of what was taken over only the latest is of use: all of them would drive out what others stand on.
            if evidence.candidate != Some(verdict.candidate) {
                target.verdicts.remove(&key);
            }
            target.verdicts.insert((*tree, evidence.gate.clone()), verdict);
        }
        (evidence.tree, evidence.candidate) = (*tree, Some(*candidate));
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
