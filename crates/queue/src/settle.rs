use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use yardmaster_protocol::{
    Assembly, Blocker, BlockerKind, BranchName, CommitId, Fact, Failure, GateEvidence, Landing, RequestId,
    RunId, TreeId,
};

use crate::depend::Need;
use crate::failure;
use crate::health::Fault;
use crate::policy::{BaseRed, Cycles, Guarantee, Policy};
use crate::state::{Ending, Queue, Run};
use crate::step::Act;
use crate::walk::{Place, Standing, Walk};

/// Places in the stack for each one that may be tested: those that only wait (for a conflict, a
/// suspicion) take none of the window.
const PLACES_PER_WINDOW: usize = 8;
/// Reasons to wait that are told of one request: a fact has to fit into a record.
pub(crate) const MAX_BLOCKERS: usize = 20;

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
        let mut doomed = vec![(request, failure)];
        while let Some((request, failure)) = doomed.pop() {
            let Some(live) = self.queue.live.get(&request) else { continue };
            let label = format!("{request} ({})", live.label());
            self.emit(Fact::Failed { request, failure });
            for orphan in self.queue.orphans_of(request) {
                let is_landing = self.is_landing(orphan);
                if let Some(live) = self.queue.live.get(&orphan).filter(|_| !is_landing) {
                    doomed.push((orphan, failure::dependency_failed(live, &label)));
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
        let tree = match assembled {
            Some(Assembly::Clean { tree, .. }) => Some(*tree),
            Some(Assembly::Conflict { .. } | Assembly::TakesBack { .. }) | None => {
                target.landing.as_ref().map(|l| l.tree).or(target.tree)
            }
        };
        let Some(tree) = tree else { return };
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

    /// What one waits for that has no place yet, besides its turn.
    fn blockers_of_waiting(&self, request: RequestId, tangled: &BTreeSet<RequestId>) -> Vec<Blocker> {
        let mut blockers = self.queue.held(request, self.policy);
        if self.queue.index.dependents.contains(&request) {
            blockers.extend(self.queue.blockers_of_dependent(request, tangled));
        }
        blockers
    }

    /// Publishes what has changed in what requests wait for.
    fn explain_waits(&mut self) {
        let mut changed: Vec<(RequestId, Vec<Blocker>)> = Vec::new();
        let mut kept_apart = Vec::new();
        let told = self.policy.cycles == Cycles::Refuse;
        let tangled = self.queue.tangled_now(told);
        let names: Vec<BranchName> = self.queue.targets.keys().cloned().collect();
        for name in names {
            let walk = self.walk(&name);
            let no_runner = self.queue.runner_blocker(&name, self.policy);
            for place in walk.iter().flat_map(|w| &w.places) {
                if !self.queue.is_being_probed(&name, walk.as_deref(), place) {
                    let mut blockers = self.queue.blockers_in_stack(&name, place, &tangled, self.policy);
                    blockers.extend(self.queue.hold_blocker(&name, place.request));
                    let untested = matches!(place.standing, Standing::Untested { .. });
                    blockers.extend(no_runner.clone().filter(|_| untested));
                    changed.push((place.request, blockers));
                }
            }
            changed.extend(self.waits_for_the_tip(&name));
            kept_apart.extend(self.queue.paused_blockers(&name));
            kept_apart.extend(self.queue.kept_apart(&name, walk.as_deref(), self.policy));
        }
        let inside = changed.len();
        let apart: BTreeSet<RequestId> = kept_apart.iter().map(|(id, _)| *id).collect();
        changed.extend(self.waits_outside(&changed, &tangled, kept_apart));
        for (at, (request, mut blockers)) in changed.into_iter().enumerate() {
            blockers.truncate(MAX_BLOCKERS);
            if self.queue.live.get(&request).is_some_and(|r| r.blockers != blockers) {
                self.emit(Fact::Blocked { request, blockers });
            }
            let index = &mut self.queue.index;
            let for_others = at < inside || apart.contains(&request) || index.attended.contains(&request);
            if for_others {
                index.quiet.stir_one(request);
            } else if index.dependents.contains(&request) {
                index.quiet.settle(request);
            }
        }
    }
}

impl Act<'_> {
    /// What those wait for that have no place in the stack, besides their turn; also those that wait for
    /// nothing any more. Without who is `told` already.
    fn waits_outside(
        &self,
        told: &[(RequestId, Vec<Blocker>)],
        tangled: &BTreeSet<RequestId>,
        kept_apart: Vec<(RequestId, Vec<Blocker>)>,
    ) -> BTreeMap<RequestId, Vec<Blocker>> {
        let told: BTreeSet<RequestId> = told.iter().map(|(r, _)| *r).collect();
        let index = &self.queue.index;
        let stirred = |id: &&RequestId| !index.quiet.contains(**id);
        let mut waits: BTreeMap<RequestId, Vec<Blocker>> =
            index.told.iter().filter(stirred).map(|id| (*id, Vec::new())).collect();
        let waiting = |r: &&RequestId| self.queue.live.get(r).is_some_and(|r| r.is_waiting());
        let dependents = index.dependents.iter().filter(stirred);
        for id in dependents.chain(&index.attended).filter(waiting) {
            waits.insert(*id, self.blockers_of_waiting(*id, tangled));
        }
        for (id, blockers) in kept_apart {
            let besides = || self.blockers_of_waiting(id, tangled);
            waits.entry(id).or_insert_with(besides).extend(blockers);
        }
        waits.retain(|id, _| !told.contains(id));
        waits
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
    /// Whether it will soon show who a conflict is with: the tip itself, or somebody ahead.
    fn is_being_probed(&self, name: &BranchName, walk: Option<&Walk>, place: &Place) -> bool {
        let (Some(walk), Some(target)) = (walk, self.targets.get(name)) else { return false };
        place.standing == Standing::Conflict
            && self.pending_needs(place.request).is_empty()
            && !target.assemblies.contains_key(&(walk.tip, place.request))
    }

    fn blockers_in_stack(
        &self,
        name: &BranchName,
        place: &Place,
        tangled: &BTreeSet<RequestId>,
        policy: &Policy,
    ) -> Vec<Blocker> {
        match &place.standing {
            Standing::Excused => self.red_tip_blockers(name, policy),
            Standing::Without(_) => self.blockers_of_dependent(place.request, tangled),
            Standing::Held => self.held(place.request, policy),
            _ if place.is_settled() => Vec::new(),
            Standing::Conflict => self.conflict_blockers(name, place),
            Standing::Red { .. } | Standing::GivenUp { .. } => self.suspicion_blockers(place),
            Standing::RedTogether { .. } if self.is_explained_by_others(place.request) => {
                self.suspicion_blockers(place)
            }
            Standing::Untested { .. } | Standing::RedTogether { .. } => self.suspect_blockers(place.request),
            Standing::Unassembled | Standing::Green { .. } => Vec::new(),
        }
    }

    fn conflict_blockers(&self, name: &BranchName, place: &Place) -> Vec<Blocker> {
        let assembly = self.targets.get(name).and_then(|t| t.assemblies.get(&(place.base, place.request)));
        let Some(Assembly::Conflict { paths, .. } | Assembly::TakesBack { paths, .. }) = assembly else {
            return Vec::new();
        };
        let touches = |r: &&RequestId| {
            self.live
                .get(r)
                .and_then(|r| r.custody())
                .is_some_and(|c| c.files.iter().any(|f| paths.contains(f)))
        };
        let mut others: Vec<RequestId> = place.behind.iter().filter(touches).copied().collect();
        if others.is_empty() {
            others.extend(place.behind.last());
        }
        match others.as_slice() {
            [one] => vec![self.unmergeable(*one, paths)],
            several => several.iter().map(|other| self.unmergeable_among(*other, several, paths)).collect(),
        }
    }

    fn suspicion_blockers(&self, place: &Place) -> Vec<Blocker> {
        let ahead: Vec<String> = place.behind.iter().map(ToString::to_string).collect();
        let list = ahead.join(", ");
        vec![Blocker {
            kind: BlockerKind::SemanticConflict,
            with: ahead.last().cloned(),
            paths: Vec::new(),
            until: format!(
                "{list} landed or left the queue; if one of them leaves, this one is tested again without it"
            ),
            reason: format!(
                "the gate is red on top of {list}: whose fault it is shows when they are decided"
            ),
        }]
    }

    fn dependency_blocker(&self, other: RequestId) -> Blocker {
        let label = self.live.get(&other).map(|r| r.label()).unwrap_or_default();
        Blocker {
            kind: BlockerKind::Dependency,
            with: Some(other.to_string()),
            paths: Vec::new(),
            until: format!("{other} has landed"),
            reason: format!("depends on {other} ({label})"),
        }
    }

    fn unknown_dependency(&self, name: &str) -> Blocker {
        let by_id = name.parse::<RequestId>().ok().filter(|id| self.ended.contains_key(id));
        let ended = by_id.or_else(|| self.index.ended_names.get(name).copied());
        let became = ended.and_then(|id| Some((id, self.ended.get(&id)?)));
        let how = became.map(|(id, e)| {
            let label = format!("{id} ({} by {})", e.announcement.branch, e.announcement.agent);
            match &e.ending {
                Ending::Landed { .. } => format!("{label} had landed, and is not on the target any more"),
                Ending::Failed { .. } => format!("{label} failed, and nobody has announced it since"),
                Ending::Withdrawn { .. } => format!("{label} was withdrawn"),
                Ending::Superseded { by } => format!("{label} was superseded by {by}, which has not landed"),
            }
        });
        let reason = match how {
            Some(how) => format!("depends on `{name}`: {how}"),
            None => format!("depends on `{name}`, which nobody has announced"),
        };
        let again = if became.is_some() { "announced again" } else { "announced" };
        Blocker {
            kind: BlockerKind::Dependency,
            with: Some(name.to_owned()),
            paths: Vec::new(),
            until: format!("`{name}` is {again} and has landed"),
            reason,
        }
    }

    /// What a request with dependencies waits for, besides its turn.
    pub(crate) fn blockers_of_dependent(
        &self,
        request: RequestId,
        tangled: &BTreeSet<RequestId>,
    ) -> Vec<Blocker> {
        if let Some(cycle) = tangled.contains(&request).then(|| self.cycle_of(request)).flatten() {
            let mut names: Vec<String> = cycle.iter().map(ToString::to_string).collect();
            names.push(request.to_string());
            return vec![Blocker {
                kind: BlockerKind::Cycle,
                with: names.get(1).cloned(),
                paths: Vec::new(),
                until: "one of them is withdrawn and announced again without that dependency".to_owned(),
                reason: format!("depends on itself: {}", names.join(" needs ")),
            }];
        }
        let Some(live) = self.live.get(&request) else { return Vec::new() };
        let mut blockers = Vec::new();
        for name in &live.announcement.depends_on {
            match self.need(request, name) {
                Need::Landed => {}
                Need::Pending(others) => {
                    let stacked = |r: &RequestId| {
                        let stack = self.targets.get(&live.target).map(|t| &t.stack);
                        live.is_waiting() && stack.is_some_and(|s| s.contains(r))
                    };
                    let waiting = others.iter().filter(|r| !stacked(r));
                    blockers.extend(waiting.map(|r| self.dependency_blocker(*r)));
                }
                Need::Unknown => blockers.push(self.unknown_dependency(name)),
            }
        }
        blockers
    }

    /// The last requests that landed changes to `paths`, newest first.
    pub(crate) fn landed_on_paths(&self, name: &BranchName, paths: &[String]) -> Vec<String> {
        let landed = self.ended.iter().rev().filter(|(_, e)| {
            e.target == *name
                && matches!(e.ending, crate::state::Ending::Landed { .. })
                && e.files.iter().any(|f| paths.contains(f))
        });
        landed
            .take(3)
            .map(|(id, e)| format!("{id} ({} by {})", e.announcement.branch, e.announcement.agent))
            .collect()
    }
}
