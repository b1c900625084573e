use std::cmp::Reverse;

use yardmaster_protocol::{Blame, BranchName, Cause, ChangeSize, Millis, RequestId};

use crate::policy::Policy;
use crate::state::{Ending, Queue, Request};

/// Smaller comes first: class (better with age), how often its branch was red lately, with how many others it
/// does not merge, size, age, id.
pub(crate) type Rank = (i64, usize, usize, ChangeSize, Millis, RequestId);

/// Setbacks beyond so many change nothing any more.
const MOST_SETBACKS: usize = 2;

impl Queue {
    /// The rank of a request in custody.
    pub(crate) fn rank(&self, id: RequestId, request: &Request, policy: &Policy) -> Rank {
        let class = self.class(id, request);
        let aged = self.now.since(request.arrived).checked_div(policy.ageing_ms).unwrap_or(0);
        let size = request.custody().map(|c| c.size).unwrap_or_default();
        let conflicts = self.targets.get(&request.target).map_or(0, |t| t.compared.conflicts(id));
        let setbacks = self.index.setbacks.get(&id).copied().unwrap_or(0);
        let class = class - i64::try_from(aged).unwrap_or(i64::MAX / 2);
        (class, setbacks, conflicts, size, request.published, id)
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
        let mut order = self.targets.get(name).map(|t| t.stack.clone()).unwrap_or_default();
        let mut waiting: Vec<(Rank, RequestId)> =
            self.waiting(name).map(|(id, r)| (self.rank(id, r, policy), id)).collect();
        waiting.sort_by_key(|(rank, _)| Reverse(*rank));
        let (mut held, mut barred): (Vec<RequestId>, Vec<RequestId>) = Default::default();
        while let Some((_, id)) = waiting.pop() {
            if self.is_held(id, policy) {
                barred.push(id);
                continue;
            }
            if self.index.dependents.contains(&id) && !self.needs_are_met(id, &order) {
                held.push(id);
                continue;
            }
            order.push(id);
            while let Some(i) = held.iter().position(|h| self.needs_are_met(*h, &order)) {
                order.push(held.remove(i));
            }
        }
        order.extend(held);
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
