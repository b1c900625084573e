use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use yardmaster_protocol::{AgentName, BranchName, Globs, IntakeSeq, Millis, RequestId};

use crate::few::Few;
use crate::intent::Place;
use crate::order::Lead;
use crate::quiet::Quiet;
use crate::rules::{Mark, Rules};
use crate::state::{Ended, Phase, Queue, Request};

/// Found again from the rest; never written down.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    /// Live requests by target and branch.
    pub(crate) by_branch: BTreeMap<(BranchName, BranchName), Few>,
    /// Live requests by requirement and by branch.
    pub(crate) by_name: BTreeMap<Arc<str>, Few>,
    /// Live requests that are in custody and depend on something.
    pub(crate) dependents: BTreeSet<RequestId>,
    /// Live requests by the agent that announced them.
    pub(crate) by_agent: BTreeMap<AgentName, BTreeSet<RequestId>>,
    /// The globs of announced intents.
    pub(crate) intents: BTreeMap<Place, Globs>,
    /// Messages of arriving requests.
    pub(crate) arriving: BTreeMap<IntakeSeq, RequestId>,
    /// Ended requests by target and branch.
    pub(crate) ended_by_branch: Arc<BTreeMap<(BranchName, BranchName), Few>>,
    /// The latest landed request by requirement and by branch.
    pub(crate) landed_names: Arc<BTreeMap<Arc<str>, RequestId>>,
    /// Live requests in custody that have no place in the stack, by target.
    pub(crate) waiting: BTreeMap<BranchName, BTreeMap<RequestId, Lead>>,
    /// Live requests in custody that were not held against each other yet, by target.
    pub(crate) uncompared: BTreeMap<BranchName, BTreeSet<RequestId>>,
    /// Live requests in custody whose definitions were not read yet, by target.
    pub(crate) unread: BTreeMap<BranchName, BTreeSet<RequestId>>,
    /// Those that wait and are told to wait for something.
    pub(crate) told: BTreeSet<RequestId>,
    /// How often the branch of each was red lately, where it was.
    pub(crate) setbacks: BTreeMap<RequestId, usize>,
    /// Latest ended request by requirement and by branch.
    pub(crate) ended_names: Arc<BTreeMap<Arc<str>, RequestId>>,
    /// Branches with more than one request in custody.
    pub(crate) crowded: BTreeSet<(BranchName, BranchName)>,
    /// What the projects of the targets say about paths.
    pub(crate) rules: BTreeMap<BranchName, Rules>,
    /// What that means for live requests in custody, where it means anything.
    pub(crate) marks: BTreeMap<RequestId, Mark>,
    /// Those of the stack that touch the same, where the project declares independence.
    pub(crate) neighbours: BTreeMap<RequestId, BTreeSet<RequestId>>,
    /// Live requests that may be held, or were: whoever is not among them is not.
    pub(crate) attended: BTreeSet<RequestId>,
    /// Until when a push waits for more, by target.
    pub(crate) pushed_at: BTreeMap<BranchName, Millis>,
    /// Whose dependencies are told as they are.
    pub(crate) quiet: Quiet,
    /// Live requests that an operator moved to the front.
    pub(crate) promoted: BTreeSet<RequestId>,
}

impl Index {
    pub(crate) fn not_uncompared(&mut self, target: &BranchName, id: RequestId) {
        if let Some(uncompared) = self.uncompared.get_mut(target) {
            uncompared.remove(&id);
            if uncompared.is_empty() {
                self.uncompared.remove(target);
            }
        }
    }

    pub(crate) fn not_unread(&mut self, target: &BranchName, id: RequestId) {
        if let Some(unread) = self.unread.get_mut(target) {
            unread.remove(&id);
            if unread.is_empty() {
                self.unread.remove(target);
            }
        }
    }

    pub(crate) fn not_waiting(&mut self, target: &BranchName, id: RequestId) {
        self.told.remove(&id);
        if let Some(waiting) = self.waiting.get_mut(target) {
            waiting.remove(&id);
            if waiting.is_empty() {
                self.waiting.remove(target);
            }
        }
    }
}

impl Queue {
    /// Live requests in custody that have no place in the stack.
    pub(crate) fn waiting(&self, name: &BranchName) -> impl Iterator<Item = (RequestId, &Request)> {
        let waiting = self.index.waiting.get(name).into_iter().flatten();
        waiting.filter_map(|(id, _)| Some((*id, self.live.get(id)?)))
    }

    pub(crate) fn build_index(&mut self) {
        self.index = Index::default();
        let names: Vec<BranchName> = self.targets.keys().cloned().collect();
        names.iter().for_each(|name| self.index_rules(name));
        let live: Vec<RequestId> = self.live.keys().copied().collect();
        for id in live {
            self.index_live(id);
        }
        names.iter().for_each(|name| self.reindex_neighbours(name));
        let intents: Vec<Place> = self.intents.keys().cloned().collect();
        intents.iter().for_each(|place| self.index_intent(place));
        let ended: Vec<RequestId> = self.ended.keys().copied().collect();
        for id in ended {
            self.index_ended(id);
        }
    }

    pub(crate) fn index_live(&mut self, id: RequestId) {
        let Some(request) = self.live.get(&id) else { return };
        let a = &request.announcement;
        let key = (request.target.clone(), a.branch.clone());
        for name in [a.requirement.as_str(), a.branch.as_str()] {
            self.index.by_name.entry(name.into()).or_default().insert(id);
        }
        self.index.by_branch.entry(key.clone()).or_default().insert(id);
        self.index.by_agent.entry(a.agent.clone()).or_default().insert(id);
        self.index.quiet.stir(a);
        match request.phase {
            Phase::Arriving => {
                self.index.arriving.insert(request.intake, id);
            }
            Phase::Waiting(_) | Phase::Stacked(_) => {
                self.index.arriving.remove(&request.intake);
                if self.targets.get(&request.target).is_none_or(|t| !t.compared.knows(id)) {
                    self.index.uncompared.entry(request.target.clone()).or_default().insert(id);
                }
                if self.targets.get(&request.target).is_none_or(|t| !t.read.knows(id)) {
                    self.index.unread.entry(request.target.clone()).or_default().insert(id);
                }
                let setbacks = self.setbacks(request);
                if setbacks > 0 {
                    self.index.setbacks.insert(id, setbacks);
                }
                if request.is_waiting() && !request.blockers.is_empty() {
                    self.index.told.insert(id);
                }
                if !a.depends_on.is_empty() {
                    self.index.dependents.insert(id);
                    self.index.quiet.watch(id, &a.depends_on);
                }
                let on_branch = self.index.by_branch.get(&key).into_iter().flatten();
                let in_custody =
                    on_branch.filter(|r| self.live.get(r).is_some_and(|r| r.custody().is_some()));
                if in_custody.count() > 1 {
                    self.index.crowded.insert(key);
                }
            }
        }
        if request.is_told_held() {
            self.index.attended.insert(id);
        }
        if request.promoted.is_some() {
            self.index.promoted.insert(id);
        }
        self.index_mark(id);
    }

    pub(crate) fn unindex_live(&mut self, id: RequestId, request: &Request) {
        self.unindex_neighbours(id);
        let a = &request.announcement;
        self.index.quiet.stir(a);
        self.index.quiet.unwatch(id, &a.depends_on);
        for name in [a.requirement.as_str(), a.branch.as_str()] {
            if let Some(set) = self.index.by_name.get_mut(name) {
                set.remove(id);
                if set.is_empty() {
                    self.index.by_name.remove(name);
                }
            }
        }
        let key = (request.target.clone(), a.branch.clone());
        if let Some(set) = self.index.by_branch.get_mut(&key) {
            set.remove(id);
            if set.len() < 2 {
                self.index.crowded.remove(&key);
            }
            if set.is_empty() {
                self.index.by_branch.remove(&key);
            }
        }
        if let Some(set) = self.index.by_agent.get_mut(&a.agent) {
            set.remove(&id);
            if set.is_empty() {
                self.index.by_agent.remove(&a.agent);
            }
        }
        self.index.not_waiting(&request.target, id);
        self.index.not_uncompared(&request.target, id);
        self.index.not_unread(&request.target, id);
        self.index.setbacks.remove(&id);
        self.index.dependents.remove(&id);
        self.index.attended.remove(&id);
        self.index.promoted.remove(&id);
        self.index.marks.remove(&id);
        self.index.arriving.remove(&request.intake);
    }

    pub(crate) fn index_ended(&mut self, id: RequestId) {
        let Some(ended) = self.ended.get(&id) else { return };
        let a = &ended.announcement;
        self.index.quiet.stir(a);
        let key = (ended.target.clone(), a.branch.clone());
        Arc::make_mut(&mut self.index.ended_by_branch).entry(key).or_default().insert(id);
        for name in [a.requirement.as_str(), a.branch.as_str()] {
            let latest = Arc::make_mut(&mut self.index.ended_names).entry(name.into()).or_insert(id);
            *latest = id.max(*latest);
        }
        if ended.is_on_target() {
            for name in [a.requirement.as_str(), a.branch.as_str()] {
                let latest = Arc::make_mut(&mut self.index.landed_names).entry(name.into()).or_insert(id);
                *latest = id.max(*latest);
            }
        }
    }

    /// As if nothing had ended.
    pub(crate) fn forget_index_of_ended(&mut self) {
        self.index.quiet.stir_all();
        self.index.ended_by_branch = Arc::default();
        self.index.landed_names = Arc::default();
        self.index.ended_names = Arc::default();
    }

    /// Who landed last under a name, once somebody who did is on the target no more.
    pub(crate) fn index_landed_name(&mut self, name: String) {
        let named =
            |e: &Ended| e.announcement.requirement.as_str() == name || e.announcement.branch.as_str() == name;
        let latest = self.ended.iter().rev().find(|(_, e)| e.is_on_target() && named(e)).map(|(id, _)| *id);
        self.index.quiet.stir_name(&name);
        if let Some(id) = latest {
            Arc::make_mut(&mut self.index.landed_names).insert(name.into(), id);
        }
    }

    pub(crate) fn unindex_ended(&mut self, id: RequestId, ended: &Ended) {
        let a = &ended.announcement;
        self.index.quiet.stir(a);
        let key = (ended.target.clone(), a.branch.clone());
        let by_branch = Arc::make_mut(&mut self.index.ended_by_branch);
        if let Some(few) = by_branch.get_mut(&key) {
            few.remove(id);
            if few.is_empty() {
                by_branch.remove(&key);
            }
        }
        for name in [a.requirement.as_str(), a.branch.as_str()] {
            if self.index.ended_names.get(name) == Some(&id) {
                Arc::make_mut(&mut self.index.ended_names).remove(name);
            }
            if self.index.landed_names.get(name) == Some(&id) {
                Arc::make_mut(&mut self.index.landed_names).remove(name);
            }
        }
    }
}
