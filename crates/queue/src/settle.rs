use std::collections::BTreeSet;
use std::rc::Rc;

use yardmaster_protocol::{
    Assembly, BranchName, CommitId, Fact, Failure, GateEvidence, Landing, RequestId, RunId, TreeId,
};

use crate::failure;
use crate::health::Fault;
use crate::policy::{BaseRed, Guarantee};
use crate::state::{Ending, Queue, Run};
use crate::step::Act;
use crate::walk::{Place, Standing, Walk};

/// Places in the stack for each one that may be tested: those that only wait (for a conflict, a
/// suspicion) take none of the window.
const PLACES_PER_WINDOW: usize = 8;

impl Act<'_> {
    /// Draws every conclusion that the state allows, until there is none left.
    pub(crate) fn settle(&mut self) {
        let names: Vec<BranchName> = self.queue.targets.keys().cloned().collect();
        loop {
            let before = self.facts_so_far();
            for name in &names {
                self.end_unserved(name);
                self.supersede_older(name);
                self.conclude(name);
                self.fail_hopeless(name);
                self.fill_stack(name);
                self.carry_over(name);
                self.start_landing(name);
                self.suspect(name);
                self.match_runs(name);
                self.tell_health(name);
                self.tell_going_on(name);
            }
            if self.facts_so_far() == before {
                break;
            }
        }
        self.explain_waits();
    }

    /// Ends a request, and those that can never land without it; not one that is being pushed at this moment,
    /// on the strength of something that has landed and fallen off meanwhile: its push decides.
    pub(crate) fn fail(&mut self, request: RequestId, failure: Failure) {
        self.fail_together(vec![(request, failure)]);
    }

    /// Ends requests for reasons of their own, and then those that can never land without them.
    pub(crate) fn fail_together(&mut self, mut doomed: Vec<(RequestId, Failure)>) {
        while !doomed.is_empty() {
            let mut gone = Vec::new();
            for (request, failure) in doomed.drain(..) {
                let Some(live) = self.queue.live.get(&request) else { continue };
                gone.push((request, format!("{request} ({})", live.label())));
                self.emit(Fact::Failed { request, failure });
            }
            for (request, label) in gone {
                for orphan in self.queue.orphans_of(request) {
                    let is_landing = self.is_landing(orphan);
                    if let Some(live) = self.queue.live.get(&orphan).filter(|_| !is_landing) {
                        doomed.push((orphan, failure::dependency_failed(live, &label)));
                    }
                }
            }
        }
    }

    /// What is to land where nothing lands any more ends, but for what is being pushed at this moment.
    fn end_unserved(&mut self, name: &BranchName) {
        if self.policy.targets.contains(name) {
            return;
        }
        let live = self.queue.live.iter().filter(|(_, r)| r.target == *name);
        let unserved: Vec<RequestId> = live.map(|(id, _)| *id).collect();
        for request in unserved {
            let is_landing = self.queue.targets.get(name).is_some_and(|t| t.is_landing(request));
            if let Some(live) = self.queue.live.get(&request).filter(|_| !is_landing) {
                self.fail(request, failure::unserved(live, self.policy));
            }
        }
    }

    /// A newer head in custody replaces the older ones of its branch, unless one is being pushed.
    fn supersede_older(&mut self, name: &BranchName) {
        let crowded: Vec<_> = self.queue.index.crowded.iter().filter(|(t, _)| t == name).cloned().collect();
        for key in crowded {
            let on_branch = self.queue.index.by_branch.get(&key).into_iter().flatten();
            let held: Vec<RequestId> = on_branch
                .filter(|r| self.queue.live.get(r).is_some_and(|r| r.custody().is_some()))
                .copied()
                .collect();
            let Some((newest, older)) = held.split_last() else { continue };
            for request in older {
                if !self.queue.targets.values().any(|t| t.is_landing(*request)) {
                    self.emit(Fact::Superseded { request: *request, by: *newest });
                }
            }
        }
    }

    /// The stack as it stands; read again only after a fact that can change it.
    pub(crate) fn walk(&self, name: &BranchName) -> Option<Rc<Walk>> {
        let stirred = self.stirred();
        let mut walked = self.walked.borrow_mut();
        if let Some((_, walk)) = walked.get(name).filter(|(at, _)| *at == stirred) {
            return walk.clone();
        }
        let walk = self.queue.walk(name, self.policy).map(Rc::new);
        walked.insert(name.clone(), (stirred, walk.clone()));
        walk
    }

    /// Ends what is settled: nothing undecided beneath it, so what it shows is its own.
    fn conclude(&mut self, name: &BranchName) {
        if self.is_frozen(name) {
            return;
        }
        while let Some((request, failure)) =
            self.walk(name).and_then(|walk| self.verdict_on_front(name, &walk))
        {
            let counts = failure::narrows_window(&failure);
            self.fail(request, failure);
            if counts {
                self.resize_window(name, |window| window / 2);
            }
        }
    }

    fn verdict_on_front(&self, name: &BranchName, walk: &Walk) -> Option<(RequestId, Failure)> {
        let target = self.queue.targets.get(name)?;
        // A push under way decides for itself, even if another gate is asked for meanwhile.
        let mut open = walk.places.iter().filter(|place| !target.is_landing(place.request));
        open.find_map(|place| {
            let live = self.queue.live.get(&place.request)?;
            let failure = match place.standing {
                Standing::Conflict => {
                    let in_unit = place.mates_below > 0 && place.is_settled();
                    let on = if in_unit { place.base } else { walk.tip };
                    let on_tip = target.assemblies.get(&(on, place.request))?;
                    let needs_others = !self.queue.pending_needs(place.request).is_empty();
                    if needs_others && !place.is_settled() {
                        return None;
                    }
                    match on_tip {
                        Assembly::Clean { .. } => return None,
                        Assembly::Conflict { paths, detail, hunk } => {
                            let with = self.queue.landed_on_paths(name, paths);
                            let told = (paths.as_slice(), detail.as_str(), hunk.as_deref());
                            let failure = failure::conflict(live, name, walk.tip, told, with);
                            let mates: Vec<String> = place.mates().map(ToString::to_string).collect();
                            failure::together_with(failure, if in_unit { &mates } else { &[] })
                        }
                        Assembly::TakesBack { of, label, paths, hunk } => {
                            failure::takes_back(live, name, walk.tip, *of, label, (paths, hunk))
                        }
                        Assembly::BreaksProject { paths, why } => {
                            failure::breaks_project(live, name, walk.tip, paths, why)
                        }
                    }
                }
                Standing::Red { tree } if place.is_settled() => {
                    let verdict = target.verdicts.get(&(tree, walk.gate_id.clone()))?;
                    let gate = target.gate(self.policy).ok()?;
                    match target.fault(&gate, &walk.gate_id, self.policy, verdict) {
                        Fault::Own => {
                            let mates: Vec<String> = place.mates().map(ToString::to_string).collect();
                            let failure = failure::gate_red(live, name, walk.tip, verdict);
                            let failure =
                                self.queue.name_the_other(name, place.request, &walk.gate_id, failure);
                            failure::together_with(failure, &mates)
                        }
                        Fault::NobodyKnows => failure::base_untestable(live, name, walk.tip, verdict),
                        Fault::Open | Fault::Base => return None,
                    }
                }
                Standing::GivenUp { tree } if place.is_settled() => {
                    let verdict = target.verdicts.get(&(tree, walk.gate_id.clone()))?;
                    failure::runs_lost(live, verdict)
                }
                Standing::Unassembled
                | Standing::Untested { .. }
                | Standing::Green { .. }
                | Standing::Red { .. }
                | Standing::RedTogether { .. }
                | Standing::GivenUp { .. }
                | Standing::Without(_)
                | Standing::Held
                | Standing::Excused => return None,
            };
            Some((place.request, failure))
        })
    }

    /// Gives free places of the window to the best waiting requests.
    fn fill_stack(&mut self, name: &BranchName) {
        let Some(target) = self.queue.targets.get(name) else { return };
        if self.is_closed(name) {
            return;
        }
        let window = target.window(self.policy) as usize;
        let places = self.queue.places(name, self.policy);
        self.let_promoted_in(name, window, places.max(window * PLACES_PER_WINDOW));
        while let Some(walk) = self.walk(name) {
            // Who is being pushed keeps nobody from being tested meanwhile.
            let pushed = |p: &Place| self.queue.targets.get(name).is_some_and(|t| t.is_landing(p.request));
            let open: Vec<&Place> = walk.places.iter().filter(|p| !pushed(p)).collect();
            let carrying = open.iter().filter(|p| p.carries()).count();
            let in_the_way = open.iter().filter(|p| !p.is_apart()).count();
            if carrying >= places || in_the_way >= places.max(window * PLACES_PER_WINDOW) {
                return;
            }
            let mut free = places - carrying;
            while free > 0 {
                let next = self.queue.next_to_stack(name, Some(walk.as_ref()), self.policy);
                let Some(group) = next else { return };
                let unit = if group.len() > 1 { group.iter().min().copied() } else { None };
                group.into_iter().for_each(|request| self.emit(Fact::Stacked { request, unit }));
                free -= 1;
            }
        }
    }

    /// A request's commit is on the target.
    pub(crate) fn land(&mut self, name: &BranchName, request: RequestId, commit: CommitId, base: CommitId) {
        let Some(target) = self.queue.targets.get(name) else { return };
        let assembled = target.assemblies.get(&(base, request));
        let landing = target.landing.as_ref();
        let is_member = |l: &&Landing| l.is_member(request);
        let rollup = landing.filter(is_member).map(|l| l.to);
        let tested = landing.map(|l| l.tree);
        let made = assembled.and_then(Assembly::candidate).map(|(_, tree)| tree);
        let Some(tree) = made.or(tested).or(target.tree) else { return };
        let gate = self.evidence(
            name,
            request,
            tree,
            tested.filter(|_| rollup.is_some() || self.is_by_push()),
            commit,
        );
        let commit = (commit != base).then_some(commit);
        self.emit(Fact::Landed { request, commit, tree, base, gate, rollup });
        self.resize_window(name, |window| window.saturating_add(1));
    }

    fn is_by_push(&self) -> bool {
        self.policy.guarantee == Guarantee::EveryPush
    }

    /// The run that a landing stands on: of its own tree, or of the one that was tested for all of a push.
    fn evidence(
        &self,
        name: &BranchName,
        request: RequestId,
        tree: TreeId,
        together: Option<TreeId>,
        commit: CommitId,
    ) -> GateEvidence {
        let target = self.queue.targets.get(name);
        let gate = target.and_then(|t| t.gate(self.policy).ok()).map(|g| g.id());
        let of = |tree: TreeId| {
            let gate = gate.clone()?;
            target.and_then(|t| t.verdicts.get(&(tree, gate)))
        };
        let verdict = of(tree).or_else(|| together.and_then(of));
        GateEvidence {
            run: verdict.map(|v| v.run.clone()),
            gate,
            seconds: verdict.map_or(0.0, |v| f64::from(u32::try_from(v.ms).unwrap_or(u32::MAX)) / 1_000.0),
            reused: verdict.is_some_and(|v| v.request != Some(request) || v.candidate != commit),
            flaky: verdict.map(|v| v.flaky.clone()).unwrap_or_default(),
        }
    }

    fn resize_window(&mut self, name: &BranchName, to: fn(u32) -> u32) {
        if self.policy.is_ungated() {
            return;
        }
        let Some(target) = self.queue.targets.get(name) else { return };
        let now = target.window(self.policy);
        let least = self.policy.window_min.max(1);
        let window = to(now).clamp(least, self.policy.window_max.max(least));
        if window != now {
            self.emit(Fact::WindowSet { target: name.clone(), window });
        }
    }

    /// Asks for the runs whose verdicts are missing, and drops those that nobody needs.
    fn match_runs(&mut self, name: &BranchName) {
        let Some(target) = self.queue.targets.get(name) else { return };
        let Some(walk) = self.walk(name) else { return };
        let of_tip = |tree: TreeId| self.policy.base_red != BaseRed::Ignore && target.tree == Some(tree);
        let variants = self.queue.variants(name, &walk, self.policy);
        let (wanted, evidence) = (walk.wanted(), target.runs_of_evidence(&walk));
        let useless: Vec<RunId> = target
            .runs
            .iter()
            .filter(|(id, run)| {
                let needed = of_tip(run.tree)
                    || wanted.may_need(run)
                    || evidence.contains(id)
                    || variants.iter().any(|v| v.is(run.tree));
                run.gate_id != walk.gate_id || !needed
            })
            .map(|(id, _)| id.clone())
            .collect();
        useless.into_iter().for_each(|run| self.emit(Fact::RunDropped { run }));
        for place in self.queue.worth_testing(name, &walk, self.policy) {
            if let Standing::Untested { commit, tree } = place.standing {
                self.test(name, &place, commit, tree);
            }
        }
        self.test_tip(name, &walk);
    }

    fn test(&mut self, name: &BranchName, place: &Place, candidate: CommitId, tree: TreeId) {
        let Some(target) = self.queue.targets.get(name) else { return };
        let Ok(gate) = target.gate(self.policy) else { return };
        let gate_id = gate.id();
        if target.runs.values().any(|r| r.tree == tree && r.gate_id == gate_id) {
            return;
        }
        let attempt = target.verdicts.get(&(tree, gate_id.clone())).map_or(1, |v| v.lost + v.reds + 1);
        let text = format!("{}-{}-{}-{}", place.request, candidate.short(), gate_id, target.asked + 1);
        let Ok(run) = RunId::new(text) else { return };
        let (request, base, behind) = (place.request, place.base, place.behind.clone());
        self.emit(Fact::Testing { request, run, candidate, tree, base, behind, attempt, gate });
    }
}

/// What runs can still be of use for.
struct Wanted {
    trees: BTreeSet<TreeId>,
    /// Where the stack is not assembled yet nobody knows, and the run goes on.
    open: BTreeSet<RequestId>,
}

impl Wanted {
    fn may_need(&self, run: &Run) -> bool {
        self.trees.contains(&run.tree) || run.request.is_some_and(|id| self.open.contains(&id))
    }
}

impl Walk {
    fn wanted(&self) -> Wanted {
        let mut wanted = Wanted { trees: BTreeSet::new(), open: BTreeSet::new() };
        for place in &self.places {
            match place.standing {
                Standing::Untested { tree, .. } => drop(wanted.trees.insert(tree)),
                Standing::Unassembled => drop(wanted.open.insert(place.request)),
                Standing::Green { .. }
                | Standing::Conflict
                | Standing::Red { .. }
                | Standing::RedTogether { .. }
                | Standing::GivenUp { .. }
                | Standing::Without(_)
                | Standing::Held
                | Standing::Excused => {}
            }
        }
        wanted
    }
}

impl Queue {
    /// The last requests that landed changes to `paths`, newest first.
    pub(crate) fn landed_on_paths(&self, name: &BranchName, paths: &[String]) -> Vec<String> {
        let landed = self.ended.iter().rev().filter(|(_, e)| {
            e.target == *name
                && matches!(e.ending, Ending::Landed { .. })
                && e.files.iter().any(|f| paths.contains(f))
        });
        landed
            .take(3)
            .map(|(id, e)| format!("{id} ({} by {})", e.announcement.branch, e.announcement.agent))
            .collect()
    }
}
