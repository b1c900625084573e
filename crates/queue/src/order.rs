use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use yardmaster_protocol::{Blame, BranchName, Cause, ChangeSize, Millis, RequestId};

use crate::depend::Lack;
use crate::policy::{Definitions, Policy};
use crate::promote::{NO_TURN, Turn};
use crate::state::{Custody, Ending, Queue, Request, Target};

/// Smaller comes first: who was moved to the front, class (better with age), how often its branch was red lately,
/// with how many others it does not merge and, where that is equal, meets at definitions, size, age, id.
pub(crate) type Rank = (Turn, i64, usize, (usize, usize), ChangeSize, Millis, RequestId);

/// What the rank of a request that waits is made of, but for what time and others change: kept beside each other,
/// because every look for the best one reads all of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lead {
    class: i64,
    setbacks: usize,
    size: ChangeSize,
    arrived: Millis,
    published: Millis,
}

/// What turns a lead into a rank now.
struct Ranking<'a> {
    queue: &'a Queue,
    target: Option<&'a Target>,
    policy: &'a Policy,
}

impl Ranking<'_> {
    fn rank(&self, id: RequestId, lead: &Lead) -> Rank {
        let moved = self.queue.index.promoted.contains(&id).then(|| self.queue.live.get(&id)).flatten();
        let turn = moved.map_or(NO_TURN, Request::turn);
        let aged = self.queue.now.since(lead.arrived).checked_div(self.policy.ageing_ms).unwrap_or(0);
        let class = lead.class - i64::try_from(aged).unwrap_or(i64::MAX / 2);
        (turn, class, lead.setbacks, self.clashes(id), lead.size, lead.published, id)
    }

    /// With how many others a request does not merge, and with how many it meets at definitions.
    fn clashes(&self, id: RequestId) -> (usize, usize) {
        let reads = self.policy.definitions != Definitions::Off;
        self.target.map_or((0, 0), |t| (t.compared.conflicts(id), if reads { t.read.others(id) } else { 0 }))
    }
}

/// Setbacks beyond so many change nothing any more.
const MOST_SETBACKS: usize = 2;

/// An order that is being found. Each that is held is looked at again only when what it lacks is placed, so that
/// many that wait for nobody cost nothing.
#[derive(Default)]
struct Line {
    order: Vec<RequestId>,
    placed: BTreeSet<RequestId>,
    /// By when they were held: who was first goes first.
    held: BTreeMap<usize, RequestId>,
    lacking: BTreeMap<RequestId, Vec<usize>>,
    holds: usize,
}

impl Line {
    fn hold(&mut self, id: RequestId, lack: Lack) {
        self.holds += 1;
        self.held.insert(self.holds, id);
        self.lacks(self.holds, lack);
    }

    fn lacks(&mut self, hold: usize, lack: Lack) {
        if let Lack::Of(other) = lack {
            self.lacking.entry(other).or_default().push(hold);
        }
    }

    /// Places one, and everybody who waited for nothing else.
    fn place(&mut self, id: RequestId, queue: &Queue) {
        let (mut next, mut free) = (Some(id), BTreeSet::new());
        while let Some(id) = next {
            self.order.push(id);
            self.placed.insert(id);
            for hold in self.lacking.remove(&id).unwrap_or_default() {
                let Some(held) = self.held.get(&hold) else { continue };
                match queue.lacks(*held, &self.placed) {
                    Some(lack) => self.lacks(hold, lack),
                    None => drop(free.insert(hold)),
                }
            }
            next = free.pop_first().and_then(|hold| self.held.remove(&hold));
        }
    }
}

impl Queue {
    /// The rank of a request in custody.
    pub(crate) fn rank(&self, id: RequestId, request: &Request, policy: &Policy) -> Rank {
        self.ranking(&request.target, policy).rank(id, &self.lead(id, request))
    }

    /// The rank of a request whose head has just been seen, before it is in custody.
    pub(crate) fn rank_of_new(
        &self,
        id: RequestId,
        request: &Request,
        custody: &Custody,
        policy: &Policy,
    ) -> Rank {
        let class = self.class_of_new(request, custody);
        let lead =
            Lead { class, setbacks: self.setbacks(request), size: custody.size, ..self.lead(id, request) };
        self.ranking(&request.target, policy).rank(id, &lead)
    }

    fn ranking<'a>(&'a self, name: &BranchName, policy: &'a Policy) -> Ranking<'a> {
        Ranking { queue: self, target: self.targets.get(name), policy }
    }

    fn lead(&self, id: RequestId, request: &Request) -> Lead {
        Lead {
            class: self.class(id, request),
            setbacks: self.index.setbacks.get(&id).copied().unwrap_or(0),
            size: request.custody().map(|c| c.size).unwrap_or_default(),
            arrived: request.arrived,
            published: request.published,
        }
    }

    /// Notes what the rank of a request is made of, if it waits.
    pub(crate) fn index_lead(&mut self, id: RequestId) {
        let Some(request) = self.live.get(&id).filter(|r| r.is_waiting()) else { return };
        let (target, lead) = (request.target.clone(), self.lead(id, request));
        self.index.waiting.entry(target).or_default().insert(id, lead);
    }

    /// Those that wait, each with its rank.
    fn ranked<'a>(
        &'a self,
        name: &BranchName,
        policy: &'a Policy,
    ) -> impl Iterator<Item = (Rank, RequestId)> + use<'a> {
        let ranking = self.ranking(name, policy);
        let waiting = self.index.waiting.get(name).into_iter().flatten();
        waiting.map(move |(id, lead)| (ranking.rank(*id, lead), *id))
    }

    /// How often the branch of a request was red by its own fault, as far as that counts: others go first, but
    /// not for ever.
    pub(crate) fn setbacks(&self, request: &Request) -> usize {
        let key = (request.target.clone(), request.announcement.branch.clone());
        let earlier = self.index.ended_by_branch.get(&key).into_iter().flatten().rev();
        let red = |id: &&RequestId| {
            self.ended.get(id).is_some_and(|e| match &e.ending {
                Ending::Failed { failure } => {
                    matches!(failure.cause, Cause::GateRed | Cause::GateTimeout)
                        && failure.blame == Blame::Own
                }
                _ => false,
            })
        };
        earlier.take(MOST_SETBACKS).filter(red).count()
    }

    /// The best waiting request whose dependencies have landed or stand in the stack already.
    pub(crate) fn best_waiting(&self, name: &BranchName, policy: &Policy) -> Option<RequestId> {
        let stack = self.targets.get(name).map(|t| t.stack.as_slice()).unwrap_or_default();
        let may_stand = |id: RequestId| {
            let request = self.live.get(&id);
            request.is_some_and(|r| !self.is_held(id, policy) && !self.waits_for_resume(id, r))
                && (!self.index.dependents.contains(&id) || self.needs_are_met(id, stack))
        };
        // Who is no better than the best so far is not looked at closer.
        let better = |best: Option<(Rank, RequestId)>, one: (Rank, RequestId)| {
            let is_better = best.is_none_or(|best| one < best) && may_stand(one.1);
            if is_better { Some(one) } else { best }
        };
        self.ranked(name, policy).fold(None, better).map(|(_, id)| id)
    }

    /// Every request for `name` in the order in which it would land if nothing changed: the stack,
    /// then the rest by rank with dependencies first, then what waits for something unknown, then what
    /// may take no part.
    pub(crate) fn landing_order(&self, name: &BranchName, policy: &Policy) -> Vec<RequestId> {
        let order = self.targets.get(name).map(|t| t.stack.clone()).unwrap_or_default();
        let mut waiting: Vec<(Rank, RequestId)> = self.ranked(name, policy).collect();
        waiting.sort_by_key(|(rank, _)| Reverse(*rank));
        let mut barred: Vec<RequestId> = Vec::new();
        let mut line = Line { placed: order.iter().copied().collect(), order, ..Line::default() };
        while let Some((_, id)) = waiting.pop() {
            if self.is_held(id, policy) {
                barred.push(id);
                continue;
            }
            let needs = self.index.dependents.contains(&id);
            match needs.then(|| self.lacks(id, &line.placed)).flatten() {
                Some(lack) => line.hold(id, lack),
                None => line.place(id, self),
            }
        }
        let Line { mut order, held, .. } = line;
        order.extend(held.into_values());
        order.extend(barred);
        order
    }

    /// The ranks of all that wait, best first.
    pub(crate) fn waiting_ranks(&self, name: &BranchName, policy: &Policy) -> Vec<Rank> {
        let mut ranks: Vec<Rank> = self.ranked(name, policy).map(|(rank, _)| rank).collect();
        ranks.sort_unstable();
        ranks
    }
}
