//! Requests that an operator moves to the front: of everything but what is being pushed at this moment.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{BranchName, EventBody, Fact, Millis, Promotion, RequestId};

use crate::apply::Caused;
use crate::order::Rank;
use crate::policy::Policy;
use crate::state::{Phase, Queue, Request};
use crate::step::Act;
use crate::walk::Place;

/// Requests that are moved at once, with what they depend on.
const MOST: usize = 100;

/// Smaller comes first: who was moved later, and then in the order that was asked for.
pub(crate) type Turn = (u64, u32);

pub(crate) const NO_TURN: Turn = (u64::MAX, 0);

/// A request that was moved, and for the sake of whom, if it was not meant itself.
type Moved = (RequestId, Option<RequestId>);

/// Who moved a request to the front, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Promoted {
    turn: u64,
    place: u32,
    who: String,
    why: String,
    needed_by: Option<RequestId>,
}

impl Promoted {
    pub(crate) fn told(&self) -> Promotion {
        let for_whom = self.needed_by.map(|id| format!(" ({id} depends on it)")).unwrap_or_default();
        Promotion { who: self.who.clone(), why: format!("{}{for_whom}", self.why) }
    }
}

impl Request {
    pub(crate) fn turn(&self) -> Turn {
        self.promoted.as_ref().map_or(NO_TURN, |p| (u64::MAX - p.turn, p.place))
    }
}

impl Act<'_> {
    pub(crate) fn promote(&mut self, requests: &[RequestId], who: &str, why: &str) {
        let Some(line) = self.queue.to_promote(requests) else { return };
        if self.queue.stand_in_front(&line) {
            return;
        }
        let turns = self.queue.index.promoted.iter().filter_map(|id| self.queue.live.get(id));
        let turn = turns.filter_map(|r| r.promoted.as_ref()).map(|p| p.turn).max().unwrap_or(0) + 1;
        for (place, (request, needed_by)) in (0..).zip(line) {
            let (who, why) = (who.to_owned(), why.to_owned());
            self.emit(Fact::Promoted { request, turn, place, who, why, needed_by });
        }
    }

    /// Those that were moved to the front and wait get a place there at once, also where the window is full;
    /// but not more of them than the window has places, and not much more in all than the stack has. Whoever behind
    /// them may not stand beside them waits.
    pub(crate) fn let_promoted_in(&mut self, name: &BranchName, window: usize, most: usize) {
        while let Some(request) = self.next_promoted(name, window, most) {
            for other in self.queue.displaced_by(name, request, self.policy) {
                self.emit(Fact::Displaced { request: other, by: request });
            }
            self.emit(Fact::Stacked { request, unit: None });
        }
    }

    fn next_promoted(&self, name: &BranchName, window: usize, most: usize) -> Option<RequestId> {
        let (queue, policy) = (&*self.queue, self.policy);
        let line = queue.promoted_waiting(name, policy);
        let walk = queue.walk(name, policy).filter(|_| !line.is_empty())?;
        let open: Vec<&Place> = walk.places.iter().filter(|p| !p.is_apart()).collect();
        let mut passed_over = Vec::new();
        for id in line {
            let before = queue.those_before(name, id);
            let before = || open.iter().filter(|p| before(p.request));
            if before().filter(|p| p.carries()).count() >= window || open.len() >= most + window {
                return None;
            }
            let ahead: Vec<RequestId> = before().map(|p| p.request).chain(passed_over.clone()).collect();
            if let Some(clear) = queue.first_beside(&ahead, vec![id], policy) {
                return Some(clear);
            }
            passed_over.push(id);
        }
        None
    }
}

impl Queue {
    /// What is to be moved to the front for `requests` to be there, in order: what they depend on comes first.
    /// What is being pushed stays where it is. None where that is too much.
    pub fn to_promote(&self, requests: &[RequestId]) -> Option<Vec<(RequestId, Option<RequestId>)>> {
        let (mut line, mut seen) = (Vec::new(), BTreeSet::new());
        for meant in requests {
            let mut open = vec![(*meant, None, false)];
            while let Some((id, needed_by, is_after_its_needs)) = open.pop() {
                if is_after_its_needs {
                    line.push((id, needed_by.filter(|_| !requests.contains(&id))));
                } else if self.live.contains_key(&id) && !self.is_being_pushed(id) && seen.insert(id) {
                    open.push((id, needed_by, true));
                    open.extend(self.pending_needs(id).into_iter().rev().map(|n| (n, Some(id), false)));
                }
                if seen.len() > MOST {
                    return None;
                }
            }
        }
        Some(line)
    }

    /// Whether it is being pushed at this moment.
    pub fn is_being_pushed(&self, id: RequestId) -> bool {
        self.targets.values().any(|t| t.is_landing(id))
    }

    /// Whether nothing would be different: they stand in front, or were moved there by the latest act.
    fn stand_in_front(&self, line: &[Moved]) -> bool {
        let mut by_target: BTreeMap<&BranchName, Vec<RequestId>> = BTreeMap::new();
        for (id, live) in line.iter().filter_map(|(id, _)| Some((*id, self.live.get(id)?))) {
            by_target.entry(&live.target).or_default().push(id);
        }
        by_target.into_iter().all(|(name, wanted)| {
            let target = self.targets.get(name);
            let stack = target.into_iter().flat_map(|t| &t.stack).filter(|id| !self.is_being_pushed(**id));
            let moved = self.index.promoted.iter().filter_map(|id| Some((*id, self.live.get(id)?)));
            let moved = moved.filter(|(_, r)| r.target == *name);
            let mut moved: Vec<(Turn, RequestId)> = moved.map(|(id, r)| (r.turn(), id)).collect();
            moved.sort_unstable();
            let in_turn = moved.iter().map(|(_, id)| id);
            let n = wanted.len();
            stack.take(n).eq(wanted.iter()) || in_turn.take(n).eq(wanted.iter())
        })
    }

    pub(crate) fn promoted(&mut self, id: RequestId, at: Millis, fact: &Fact) -> Option<Caused> {
        let Fact::Promoted { turn, place, who, why, needed_by, .. } = fact else { return None };
        let (turn, place, needed_by) = (*turn, *place, *needed_by);
        let request = self.live.get_mut(&id)?;
        request.promoted = Some(Promoted { turn, place, who: who.clone(), why: why.clone(), needed_by });
        let target = request.target.clone();
        self.index.promoted.insert(id);
        self.put_in_front(&target);
        self.progress(&target, at);
        self.caused(id, at, EventBody::MergePromoted { who: who.clone(), why: why.clone(), needed_by })
    }

    pub(crate) fn displaced(&mut self, id: RequestId, at: Millis) {
        let Some(request) = self.live.get_mut(&id) else { return };
        let Phase::Stacked(custody) = &request.phase else { return };
        request.phase = Phase::Waiting(custody.clone());
        request.unit = None;
        let name = request.target.clone();
        self.target(&name).stack.retain(|r| *r != id);
        self.unindex_neighbours(id);
        self.index_live(id);
        self.progress(&name, at);
    }

    /// Orders the stack of a target: those that were moved come right after what is being pushed, but behind
    /// what they depend on. All others keep their order.
    pub(crate) fn put_in_front(&mut self, name: &BranchName) {
        let Some(target) = self.targets.get(name).filter(|_| !self.index.promoted.is_empty()) else { return };
        let mut turns: BTreeMap<RequestId, Turn> = BTreeMap::new();
        for id in &target.stack {
            // Who was red together with others was set aside, and stays there until it is known why.
            let own = self.live.get(id).filter(|r| r.suspicion.is_none()).map_or(NO_TURN, Request::turn);
            let is_moved = own != NO_TURN;
            let mut needs = if is_moved { self.pending_needs(*id) } else { BTreeSet::new() };
            needs.retain(|need| !target.is_landing(*need));
            let after = needs.iter().filter_map(|n| turns.get(n)).max().copied().unwrap_or(own);
            turns.insert(*id, own.max(after));
        }
        self.keep_units_together(&target.stack, &mut turns);
        let pushed = target.stack.iter().rposition(|id| target.is_landing(*id)).map_or(0, |i| i + 1);
        let stack = self.target(name).stack.get_mut(pushed..);
        // Stable: whoever was not moved keeps its place among its like.
        stack.unwrap_or_default().sort_by_key(|id| turns.get(id).copied());
    }

    /// What lands as one unit stands together.
    fn keep_units_together(&self, stack: &[RequestId], turns: &mut BTreeMap<RequestId, Turn>) {
        let unit = |id: &RequestId| self.live.get(id).and_then(|r| r.unit);
        let mut last: BTreeMap<RequestId, Turn> = BTreeMap::new();
        for id in stack {
            if let (Some(unit), Some(turn)) = (unit(id), turns.get(id)) {
                let of_unit = last.entry(unit).or_insert(*turn);
                *of_unit = (*turn).max(*of_unit);
            }
        }
        for (id, turn) in turns {
            *turn = unit(id).and_then(|unit| last.get(&unit)).copied().unwrap_or(*turn);
        }
    }

    /// Who was moved and waits, and could stand in the stack now, but for those that are kept apart; best first.
    fn promoted_waiting(&self, name: &BranchName, policy: &Policy) -> Vec<RequestId> {
        let Some(target) = self.targets.get(name) else { return Vec::new() };
        let moved = self.index.promoted.iter().filter_map(|id| Some((*id, self.live.get(id)?)));
        let mut line: Vec<(Rank, RequestId)> = moved
            .filter(|(_, r)| r.target == *name && r.is_waiting())
            .filter(|(id, r)| !self.is_held(*id, policy) && !self.waits_for_resume(*id, r))
            .filter(|(id, _)| self.needs_are_met(*id, &target.stack))
            .map(|(id, r)| (self.rank(id, r, policy), id))
            .collect();
        line.sort_unstable();
        line.into_iter().map(|(_, id)| id).collect()
    }

    /// Whether one in the stack stands before `id`, who was moved: what is being pushed, who was moved further, and
    /// what it needs.
    fn those_before(&self, name: &BranchName, id: RequestId) -> impl Fn(RequestId) -> bool {
        let turn = self.live.get(&id).map_or(NO_TURN, Request::turn);
        let needs = self.pending_needs(id);
        let target = self.targets.get(name);
        move |other| {
            let is_pushed = target.is_some_and(|t| t.is_landing(other));
            is_pushed || needs.contains(&other) || self.live.get(&other).is_some_and(|r| r.turn() <= turn)
        }
    }

    /// Those in the stack that would come behind `id` and are kept apart from it.
    fn displaced_by(&self, name: &BranchName, id: RequestId, policy: &Policy) -> Vec<RequestId> {
        let Some(walk) = self.walk(name, policy) else { return Vec::new() };
        let before = self.those_before(name, id);
        let stays = |p: &Place| p.is_apart() || before(p.request);
        let behind = || walk.places.iter().filter(|p| !stays(p)).map(|p| p.request);
        let unit = |other: &RequestId| self.live.get(other).and_then(|r| r.unit);
        let clashing: BTreeSet<RequestId> =
            behind().filter(|other| self.are_kept_apart(*other, id, policy)).collect();
        let units: BTreeSet<RequestId> = clashing.iter().filter_map(unit).collect();
        behind().filter(|o| clashing.contains(o) || unit(o).is_some_and(|u| units.contains(&u))).collect()
    }
}
