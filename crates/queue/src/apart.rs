//! Which requests are kept apart: the later one waits until the earlier one is decided.

use std::collections::{BTreeMap, BTreeSet};

use yardmaster_protocol::{Blocker, BlockerKind, BranchName, DefinitionMeeting, RequestId};

use crate::order::Rank;
use crate::policy::{Definitions, Overlap, Policy};
use crate::state::{Queue, Request};
use crate::walk::Walk;

/// Others that one request is told to wait for.
const NAMED: usize = 5;
/// Paths that are told of one of them.
const PATHS_NAMED: usize = 20;

/// What two requests may not both touch at the same time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Ground<'a> {
    File(&'a str),
    System(String),
}

/// Those that are ahead, in order, and what they stand on.
#[derive(Default)]
struct Ahead<'a> {
    /// By request, its place in the order.
    places: BTreeMap<RequestId, usize>,
    /// The last one on each ground.
    grounds: BTreeMap<Ground<'a>, RequestId>,
}

impl<'a> Ahead<'a> {
    fn push(&mut self, queue: &'a Queue, id: RequestId, policy: &Policy) {
        self.places.insert(id, self.places.len());
        if let Some(request) = queue.live.get(&id) {
            self.grounds.extend(grounds(queue, id, request, policy).map(|ground| (ground, id)));
        }
    }

    fn is_clear_of(&self, queue: &Queue, id: RequestId, request: &Request, policy: &Policy) -> bool {
        !self.conflicts(queue, id, request).any(|_| true)
            && !self.meetings(queue, id, request, policy).any(|_| true)
            && !grounds(queue, id, request, policy).any(|ground| self.grounds.contains_key(&ground))
    }

    fn conflicts<'q>(
        &self,
        queue: &'q Queue,
        id: RequestId,
        request: &Request,
    ) -> impl Iterator<Item = (RequestId, &'q Vec<String>)> {
        let target = queue.targets.get(&request.target);
        let known = target.into_iter().flat_map(move |t| t.compared.conflicts_of(id));
        known.filter(|(other, _)| self.places.contains_key(other))
    }

    fn meetings<'q>(
        &self,
        queue: &'q Queue,
        id: RequestId,
        request: &Request,
        policy: &Policy,
    ) -> impl Iterator<Item = (RequestId, &'q Vec<DefinitionMeeting>)> {
        let enforced = policy.definitions == Definitions::Enforce;
        let target = queue.targets.get(&request.target).filter(|_| enforced);
        let known = target.into_iter().flat_map(move |t| t.read.meetings_of(id));
        known.filter(|(other, _)| self.places.contains_key(other))
    }
}

/// What `request` stands on by the policy.
fn grounds<'a>(
    queue: &'a Queue,
    id: RequestId,
    request: &'a Request,
    policy: &Policy,
) -> impl Iterator<Item = Ground<'a>> {
    let custody = request.custody().filter(|_| policy.overlap != Overlap::Textual);
    let files = custody.into_iter().flat_map(|c| c.files.iter()).map(|f| Ground::File(f.as_str()));
    let of_systems = policy.overlap == Overlap::Systems;
    let systems = if of_systems { queue.systems_of(id, request) } else { BTreeSet::new() };
    files.chain(systems.into_iter().map(Ground::System))
}

impl Queue {
    /// Whether nothing keeps anybody apart on this target.
    fn all_may_meet(&self, name: &BranchName, policy: &Policy) -> bool {
        policy.overlap == Overlap::Textual
            && policy.definitions != Definitions::Enforce
            && self.targets.get(name).is_none_or(|t| t.compared.is_empty())
    }

    /// Who waits outside the stack and could stand in it, but for those that are kept apart; best first. Those that
    /// land as one unit come together.
    fn ready(&self, name: &BranchName, policy: &Policy) -> Vec<Vec<RequestId>> {
        let stack = self.targets.get(name).map(|t| t.stack.as_slice()).unwrap_or_default();
        let mut ranked: Vec<(Rank, Vec<RequestId>)> = self
            .waiting(name)
            .filter(|(id, r)| !self.is_held(*id, policy) && !self.waits_for_resume(*id, r))
            .filter(|(id, _)| !self.index.dependents.contains(id) || self.needs_are_met(*id, stack))
            .map(|(id, r)| (self.rank(id, r, policy), vec![id]))
            .collect();
        ranked.extend(self.ready_units(name, policy));
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, group)| group).collect()
    }

    /// Those in the stack that are on their way; who waits apart there holds nobody up.
    fn under_way<'a>(&'a self, name: &BranchName, walk: Option<&Walk>, policy: &Policy) -> Ahead<'a> {
        let mut ahead = Ahead::default();
        let places = walk.map(|walk| walk.places.as_slice()).unwrap_or_default();
        let apart: BTreeSet<RequestId> = places.iter().filter(|p| p.is_apart()).map(|p| p.request).collect();
        let stack = self.targets.get(name).into_iter().flat_map(|t| &t.stack);
        stack.filter(|id| !apart.contains(id)).for_each(|id| ahead.push(self, *id, policy));
        ahead
    }

    /// The best waiting request that may stand in the stack now, or all of the best unit. Who is kept apart from one
    /// ahead of it waits, and keeps those after it apart in turn: nobody overtakes for ever, and nobody waits in a
    /// circle.
    pub(crate) fn next_to_stack(
        &self,
        name: &BranchName,
        walk: Option<&Walk>,
        policy: &Policy,
    ) -> Option<Vec<RequestId>> {
        if self.all_may_meet(name, policy) {
            let best = self.best_waiting(name, policy);
            let ranked = best.and_then(|id| Some((self.rank(id, self.live.get(&id)?, policy), vec![id])));
            return self.ready_units(name, policy).into_iter().chain(ranked).min().map(|(_, group)| group);
        }
        let ahead = self.under_way(name, walk, policy);
        self.first_clear(ahead, self.ready(name, policy), policy)
    }

    fn first_clear<'a>(
        &'a self,
        mut ahead: Ahead<'a>,
        line: Vec<Vec<RequestId>>,
        policy: &Policy,
    ) -> Option<Vec<RequestId>> {
        line.into_iter().find(|group| {
            let is_clear = |id: &RequestId| {
                self.live.get(id).is_some_and(|r| {
                    !self.waits_for_reading(*id, r, policy) && ahead.is_clear_of(self, *id, r, policy)
                })
            };
            let clear = group.iter().all(is_clear);
            if !clear {
                group.iter().for_each(|id| ahead.push(self, *id, policy));
            }
            clear
        })
    }

    /// The first of `line` that is not kept apart from any of `ahead`.
    pub(crate) fn first_beside(
        &self,
        ahead: &[RequestId],
        line: Vec<RequestId>,
        policy: &Policy,
    ) -> Option<RequestId> {
        let mut those = Ahead::default();
        ahead.iter().for_each(|id| those.push(self, *id, policy));
        let line = line.into_iter().map(|id| vec![id]).collect();
        self.first_clear(those, line, policy)?.pop()
    }

    /// Whether these two are kept apart.
    pub(crate) fn are_kept_apart(&self, one: RequestId, other: RequestId, policy: &Policy) -> bool {
        self.first_beside(&[one], vec![other], policy).is_none()
    }

    /// Who is kept apart, and from whom: on each ground the last one that is ahead.
    pub(crate) fn kept_apart(
        &self,
        name: &BranchName,
        walk: Option<&Walk>,
        policy: &Policy,
    ) -> Vec<(RequestId, Vec<Blocker>)> {
        if self.all_may_meet(name, policy) {
            return Vec::new();
        }
        let mut ahead = self.under_way(name, walk, policy);
        let mut held = Vec::new();
        for group in self.ready(name, policy) {
            let of =
                |id: &RequestId| Some((*id, self.apart_blockers(*id, self.live.get(id)?, &ahead, policy)));
            let mut told: Vec<(RequestId, Vec<Blocker>)> = group.iter().filter_map(of).collect();
            let waits = told.iter().find(|(_, blockers)| !blockers.is_empty()).map(|(id, _)| *id);
            if let Some(mate) = waits {
                let free = told.iter_mut().filter(|(_, blockers)| blockers.is_empty());
                free.for_each(|(_, blockers)| blockers.push(self.waits_for_mate(mate)));
                held.extend(told);
            }
            group.iter().for_each(|id| ahead.push(self, *id, policy));
        }
        held
    }

    fn apart_blockers(
        &self,
        id: RequestId,
        request: &Request,
        ahead: &Ahead<'_>,
        policy: &Policy,
    ) -> Vec<Blocker> {
        let mut conflicts: Vec<_> = ahead.conflicts(self, id, request).collect();
        conflicts.sort_by_key(|(other, _)| std::cmp::Reverse(ahead.places.get(other)));
        let mut blockers: Vec<Blocker> =
            conflicts.into_iter().take(NAMED).map(|(other, paths)| self.unmergeable(other, paths)).collect();
        let mut meetings: Vec<_> = ahead.meetings(self, id, request, policy).collect();
        meetings.sort_by_key(|(other, _)| std::cmp::Reverse(ahead.places.get(other)));
        let meetings = meetings.into_iter().take(NAMED);
        blockers.extend(meetings.map(|(other, met)| self.meeting_at_definitions(other, met)));
        let mut shared: BTreeMap<RequestId, Vec<Ground<'_>>> = BTreeMap::new();
        for ground in grounds(self, id, request, policy) {
            if let Some(other) = ahead.grounds.get(&ground) {
                shared.entry(*other).or_default().push(ground);
            }
        }
        let mut shared: Vec<_> = shared.into_iter().collect();
        shared.sort_by_key(|(other, _)| std::cmp::Reverse(ahead.places.get(other)));
        blockers
            .extend(shared.into_iter().take(NAMED).map(|(other, grounds)| self.overlapping(other, &grounds)));
        blockers
    }

    fn waits_for_mate(&self, mate: RequestId) -> Blocker {
        Blocker {
            kind: BlockerKind::Dependency,
            with: Some(mate.to_string()),
            paths: Vec::new(),
            until: format!("what {mate} waits for has landed or left the queue"),
            reason: format!(
                "lands as one unit with {mate} ({}), which is kept apart from others",
                self.label(mate)
            ),
        }
    }

    pub(crate) fn unmergeable(&self, other: RequestId, paths: &[String]) -> Blocker {
        Blocker {
            kind: BlockerKind::TextualConflict,
            with: Some(other.to_string()),
            paths: paths.to_vec(),
            until: format!("{other} has landed (then this one fails with the conflict) or left the queue"),
            reason: format!(
                "does not merge with {other} ({}), which is ahead of it: {}",
                self.label(other),
                paths.join(", ")
            ),
        }
    }

    /// A merge onto several failed, and which of them it is due to is not known.
    pub(crate) fn unmergeable_among(
        &self,
        other: RequestId,
        among: &[RequestId],
        paths: &[String],
    ) -> Blocker {
        let all: Vec<String> = among.iter().map(ToString::to_string).collect();
        let all = all.join(", ");
        Blocker {
            until: format!(
                "the one of {all} that it does not merge with has landed (then this one fails with the conflict) \
                 or left the queue"
            ),
            reason: format!(
                "does not merge with all of {all}, which are ahead of it: {}; {other} ({}) touches that too",
                paths.join(", "),
                self.label(other)
            ),
            ..self.unmergeable(other, paths)
        }
    }

    fn overlapping(&self, other: RequestId, grounds: &[Ground<'_>]) -> Blocker {
        let files =
            grounds.iter().filter_map(|g| if let Ground::File(f) = g { Some((*f).to_owned()) } else { None });
        let paths: Vec<String> = files.take(PATHS_NAMED).collect();
        let systems: Vec<String> = grounds
            .iter()
            .filter_map(|g| if let Ground::System(s) = g { Some(format!("system `{s}`")) } else { None })
            .collect();
        let shared: Vec<String> = systems.into_iter().chain(paths.iter().cloned()).take(NAMED).collect();
        let more = grounds.len().saturating_sub(shared.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Blocker {
            kind: BlockerKind::Overlap,
            with: Some(other.to_string()),
            paths,
            until: format!("{other} has landed or left the queue"),
            reason: format!(
                "touches what {other} ({}) touches, which is ahead of it: {}{more}",
                self.label(other),
                shared.join(", ")
            ),
        }
    }

    pub(crate) fn label(&self, id: RequestId) -> String {
        self.live.get(&id).map(Request::label).unwrap_or_default()
    }

    /// The systems that a request touches: by its real files where the target's project maps them, and those
    /// that it claims.
    pub(crate) fn systems_of(&self, id: RequestId, request: &Request) -> BTreeSet<String> {
        let real = self.index.marks.get(&id).into_iter().flat_map(|mark| &mark.systems);
        request.announcement.systems_touched.iter().chain(real).cloned().collect()
    }
}
