//! What requests wait for, as it is told: a reason, what ends it, and with whom it has to do.

use std::collections::{BTreeMap, BTreeSet};

use yardmaster_protocol::{Blocker, BlockerKind, BranchName, Fact, RequestId};

use crate::depend::Need;
use crate::policy::{Cycles, Policy};
use crate::state::{Ending, Queue};
use crate::step::Act;
use crate::walk::{Place, Standing, Walk};

/// Reasons to wait that are told of one request: a fact has to fit into a record.
pub(crate) const MAX_BLOCKERS: usize = 20;

impl Act<'_> {
    /// What one waits for that has no place yet, besides its turn.
    fn blockers_of_waiting(&self, request: RequestId, tangled: &BTreeSet<RequestId>) -> Vec<Blocker> {
        let mut blockers = self.queue.held(request, self.policy);
        if self.queue.index.dependents.contains(&request) {
            blockers.extend(self.queue.blockers_of_dependent(request, tangled));
        }
        blockers
    }

    /// Publishes what has changed in what requests wait for.
    pub(crate) fn explain_waits(&mut self) {
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
        let Some(failed) = assembly.filter(|made| made.candidate().is_none()) else { return Vec::new() };
        let paths = failed.paths();
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
}
