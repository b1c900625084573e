use std::cmp::Reverse;

use yardmaster_protocol::{BranchName, ChangeSize, Millis, RequestId};

use crate::policy::Policy;
use crate::state::{Queue, Request};

/// Smaller comes first: class (better with age), with how many others it does not merge, size, age, id.
pub(crate) type Rank = (i64, usize, ChangeSize, Millis, RequestId);

impl Queue {
    /// The rank of a request in custody.
    pub(crate) fn rank(&self, id: RequestId, request: &Request, policy: &Policy) -> Rank {
        let class = self.class(id, request);
        let aged = self.now.since(request.arrived).checked_div(policy.ageing_ms).unwrap_or(0);
        let size = request.custody().map(|c| c.size).unwrap_or_default();
        let conflicts = self.targets.get(&request.target).map_or(0, |t| t.compared.conflicts(id));
        (class - i64::try_from(aged).unwrap_or(i64::MAX / 2), conflicts, size, request.published, id)
    }

    /// The best waiting request whose dependencies have landed or stand in the stack already.
    pub(crate) fn best_waiting(&self, name: &BranchName, policy: &Policy) -> Option<RequestId> {
        let stack = self.targets.get(name).map(|t| t.stack.as_slice()).unwrap_or_default();
        self.waiting(name)
            .map(|(id, r)| (self.rank(id, r, policy), id))
            .filter(|(_, id)| !self.is_held(*id, policy))
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
