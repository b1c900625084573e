use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use yardmaster_protocol::{Blame, BranchName, Cause, ChangeSize, Millis, RequestId};

use crate::depend::Lack;
use crate::policy::{Definitions, Policy};
use crate::promote::Turn;
use crate::state::{Ending, Queue, Request, Target};

/// Smaller comes first: who was moved to the front, class (better with age), how often its branch was red lately,
/// with how many others it does not merge and, where that is equal, meets at definitions, size, age, id.
pub(crate) type Rank = (Turn, i64, usize, (usize, usize), ChangeSize, Millis, RequestId);

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
        let class = self.class(id, request);
        let aged = self.now.since(request.arrived).checked_div(policy.ageing_ms).unwrap_or(0);
        let size = request.custody().map(|c| c.size).unwrap_or_default();
        let clashes = self.clashes(id, &request.target, policy);
        let setbacks = self.index.setbacks.get(&id).copied().unwrap_or(0);
        let class = class - i64::try_from(aged).unwrap_or(i64::MAX / 2);
        (request.turn(), class, setbacks, clashes, size, request.published, id)
    }

    /// With how many others a request does not merge, and with how many it meets at definitions.
    pub(crate) fn clashes(&self, id: RequestId, target: &BranchName, policy: &Policy) -> (usize, usize) {
        let reads = policy.definitions != Definitions::Off;
        let met = |t: &Target| (t.compared.conflicts(id), if reads { t.read.others(id) } else { 0 });
        self.targets.get(target).map_or((0, 0), met)
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
        self.waiting(name)
            .filter(|(id, r)| !self.is_held(*id, policy) && !self.waits_for_resume(*id, r))
            .map(|(id, r)| (self.rank(id, r, policy), id))
            .filter(|(_, id)| !self.index.dependents.contains(id) || self.needs_are_met(*id, stack))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, id)| id)
    }

    /// Every request for `name` in the order in which it would land if nothing changed: the stack,
    /// then the rest by rank with dependencies first, then what waits for something unknown, then what
    /// may take no part.
    pub(crate) fn landing_order(&self, name: &BranchName, policy: &Policy) -> Vec<RequestId> {
        let order = self.targets.get(name).map(|t| t.stack.clone()).unwrap_or_default();
        let mut waiting: Vec<(Rank, RequestId)> =
            self.waiting(name).map(|(id, r)| (self.rank(id, r, policy), id)).collect();
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
        let mut ranks: Vec<Rank> = self.waiting(name).map(|(id, r)| self.rank(id, r, policy)).collect();
        ranks.sort_unstable();
        ranks
    }
}
