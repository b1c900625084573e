//! Requests that depend on each other in a circle and land as one unit, or not at all.

use std::collections::BTreeSet;

use yardmaster_protocol::{BranchName, RequestId};

use crate::depend::Need;
use crate::order::Rank;
use crate::policy::{Cycles, Policy};
use crate::state::Queue;

/// More than so many that need each other are no unit.
const MOST_MEMBERS: usize = 32;

impl Queue {
    /// The complete units that wait, each with the rank of its best member.
    pub(crate) fn ready_units(&self, name: &BranchName, policy: &Policy) -> Vec<(Rank, Vec<RequestId>)> {
        if policy.cycles != Cycles::Bundle || self.index.dependents.is_empty() {
            return Vec::new();
        }
        let mut seen: BTreeSet<RequestId> = BTreeSet::new();
        let mut found = Vec::new();
        for id in self.tangled() {
            if seen.insert(id) {
                let unit = self.unit_of(id);
                seen.extend(unit.iter().copied());
                found.extend(self.ready_unit(name, &unit, policy));
            }
        }
        found
    }

    /// Everybody that `id` needs and that needs `id`, with itself.
    pub(crate) fn unit_of(&self, id: RequestId) -> BTreeSet<RequestId> {
        let needed = self.all_needs(id);
        let mut unit: BTreeSet<RequestId> =
            needed.iter().copied().filter(|other| self.all_needs(*other).contains(&id)).collect();
        unit.insert(id);
        unit
    }

    fn all_needs(&self, id: RequestId) -> BTreeSet<RequestId> {
        let mut found = BTreeSet::new();
        let mut open = vec![id];
        while let Some(next) = open.pop() {
            open.extend(self.pending_needs(next).into_iter().filter(|need| found.insert(*need)));
        }
        found
    }

    /// The unit in the order in which it would be tested, if all of it waits and everything else that it needs is
    /// there.
    fn ready_unit(
        &self,
        name: &BranchName,
        unit: &BTreeSet<RequestId>,
        policy: &Policy,
    ) -> Option<(Rank, Vec<RequestId>)> {
        if unit.len() < 2 || unit.len() > MOST_MEMBERS {
            return None;
        }
        let target = self.targets.get(name)?;
        let mut ranked = Vec::new();
        for id in unit {
            let live = self.live.get(id).filter(|r| r.is_waiting() && r.target == *name)?;
            let met = live.announcement.depends_on.iter().all(|need| match self.need(*id, need) {
                Need::Landed => true,
                Need::Pending(others) => others.iter().all(|r| unit.contains(r) || target.stack.contains(r)),
                Need::Unknown => false,
            });
            let is_known = !self.waits_for_reading(*id, live, policy);
            if !met || !is_known || self.is_held(*id, policy) || self.waits_for_resume(*id, live) {
                return None;
            }
            ranked.push((self.rank(*id, live, policy), *id));
        }
        ranked.sort_unstable();
        let best = ranked.first()?.0;
        Some((best, ranked.into_iter().map(|(_, id)| id).collect()))
    }
}
