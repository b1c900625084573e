//! Requests that depend on each other in a circle and land as one unit, or not at all.

use std::collections::{BTreeMap, BTreeSet};

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

    /// `changed` needs others now: of its unit only those stay together that still need each other. The others come
    /// first, so that those stand next to each other.
    pub(crate) fn regroup(&mut self, changed: RequestId) {
        let unit_in = |id: &RequestId| self.live.get(id).and_then(|r| r.unit);
        let Some((name, unit)) = self.live.get(&changed).and_then(|r| Some((r.target.clone(), r.unit?)))
        else {
            return;
        };
        let Some(stack) = self.targets.get(&name).map(|t| t.stack.clone()) else { return };
        let members: BTreeSet<RequestId> =
            stack.iter().copied().filter(|id| unit_in(id) == Some(unit)).collect();
        let regrouped = |id: RequestId| {
            let together = self.unit_of(id);
            (together.len() > 1 && together.is_subset(&members)).then(|| together.first().copied()).flatten()
        };
        let units: BTreeMap<RequestId, Option<RequestId>> =
            members.iter().map(|id| (*id, regrouped(*id))).collect();
        let mut block: Vec<RequestId> = stack.iter().copied().filter(|id| members.contains(id)).collect();
        block.sort_by_key(|id| units.get(id).copied().flatten());
        let mut block = block.into_iter();
        let stack: Vec<RequestId> = stack
            .into_iter()
            .map(|id| if members.contains(&id) { block.next().unwrap_or(id) } else { id })
            .collect();
        for (id, unit) in units {
            self.live.entry(id).and_modify(|r| r.unit = unit);
        }
        self.target(&name).stack = stack;
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
