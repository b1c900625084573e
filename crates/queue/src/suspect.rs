//! Requests that were red together: they let the others in the stack pass at once, and are tested in smaller parts
//! until it shows which of them is at fault.

use std::collections::BTreeSet;

use yardmaster_protocol::{Blocker, BlockerKind, BranchName, Fact, Independence, RequestId};

use crate::odds::Suspicion;
use crate::state::Queue;
use crate::step::Act;
use crate::walk::{Place, Standing, Walk};

/// Red runs of several that are remembered.
const RUNS_KEPT: usize = 256;
/// Others that one of them is told of.
const NAMED: usize = 8;

impl Act<'_> {
    /// Sets those aside that are red together, once for each run that shows it.
    pub(crate) fn suspect(&mut self, name: &BranchName) {
        let walk = self.walk(name);
        if let Some(fact) = walk.and_then(|walk| self.queue.suspects(name, &walk)) {
            self.emit(fact);
        }
    }
}

impl Queue {
    /// The lowest of those that are red together, if that is news.
    fn suspects(&self, name: &BranchName, walk: &Walk) -> Option<Fact> {
        let target = self.targets.get(name).filter(|t| t.independence() == Independence::None)?;
        let carrying: Vec<&Place> = walk.places.iter().filter(|p| p.carries()).collect();
        let red = carrying.iter().position(|p| matches!(p.standing, Standing::RedTogether { .. }))?;
        let Standing::RedTogether { tree, .. } = carrying.get(red)?.standing else { return None };
        let decided = |p: &&&Place| p.ends_unit && target.is_decided(p, walk);
        let from = carrying.get(..red)?.iter().rposition(|p| decided(&p)).map_or(0, |i| i + 1);
        let requests: Vec<RequestId> = carrying.get(from..=red)?.iter().map(|p| p.request).collect();
        let run = target.verdicts.get(&(tree, walk.gate_id.clone()))?.run.clone();
        // One run sets aside once: two that overlap would push each other back for ever.
        if target.suspecting.contains(&run) || requests.iter().any(|r| target.is_landing(*r)) {
            return None;
        }
        let with = self.dependents_among(&target.stack, &requests);
        Some(Fact::Suspected { target: name.clone(), run, requests, with })
    }

    /// Those of `stack` that need one of `moved`, directly or through others.
    fn dependents_among(&self, stack: &[RequestId], moved: &[RequestId]) -> Vec<RequestId> {
        let mut all: BTreeSet<RequestId> = moved.iter().copied().collect();
        let mut with = Vec::new();
        for id in stack.iter().filter(|id| !moved.contains(id)) {
            let needs = self.index.dependents.contains(id) && !self.pending_needs(*id).is_disjoint(&all);
            if needs {
                all.insert(*id);
                with.push(*id);
            }
        }
        with
    }

    pub(crate) fn suspected(&mut self, fact: &Fact) {
        let Fact::Suspected { target, run, requests, with } = fact else { return };
        let among = u32::try_from(requests.len()).unwrap_or(u32::MAX);
        for id in requests {
            if let Some(request) = self.live.get_mut(id) {
                let new = Suspicion { run: run.clone(), among };
                let old = request.suspicion.take().filter(|old| old.among <= among);
                request.suspicion = Some(old.unwrap_or(new));
                request.proved = false;
            }
        }
        let moved = |id: &RequestId| requests.contains(id) || with.contains(id);
        let target = self.target(target);
        target.suspecting.push_back(run.clone());
        if target.suspecting.len() > RUNS_KEPT {
            target.suspecting.pop_front();
        }
        let (last, mut stack): (Vec<RequestId>, Vec<RequestId>) =
            target.stack.iter().copied().partition(moved);
        stack.extend(last);
        target.stack = stack;
    }

    /// What a suspect waits for, until its own tests have shown something.
    pub(crate) fn suspect_blockers(&self, request: RequestId) -> Vec<Blocker> {
        let Some(suspicion) = self.live.get(&request).and_then(|r| r.suspicion.as_ref()) else {
            return Vec::new();
        };
        let same = |(id, r): &(&RequestId, &crate::state::Request)| {
            **id != request && r.suspicion.as_ref().is_some_and(|s| s.run == suspicion.run)
        };
        let others: Vec<RequestId> = self.live.iter().filter(same).take(NAMED).map(|(id, _)| *id).collect();
        if others.is_empty() {
            return Vec::new();
        }
        let names: Vec<String> = others.iter().map(ToString::to_string).collect();
        vec![Blocker {
            kind: BlockerKind::SemanticConflict,
            with: names.first().cloned(),
            paths: Vec::new(),
            until: "tests of smaller parts have shown which of them is at fault".to_owned(),
            reason: format!(
                "the gate is red with {request} and {} together (`yardmaster logs {}`): others pass meanwhile",
                names.join(", "),
                suspicion.run
            ),
        }]
    }
}

impl crate::state::Target {
    /// It is known, or will be known by itself, whether everything up to here passes.
    pub(crate) fn is_decided(&self, place: &Place, walk: &Walk) -> bool {
        matches!(place.standing, Standing::Green { .. }) || self.is_running(place, walk)
    }
}
