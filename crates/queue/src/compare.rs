//! What is known of how pending requests merge with each other and with the tip, before they meet in the
//! stack.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{Assembly, BranchName, CommitId, Fact, PairConflict, RequestId, TipConflict};

use crate::failure;
use crate::state::Queue;
use crate::step::Act;

/// Heads that are compared together.
const COMPARED_AT_ONCE: usize = 50;
/// Conflicts that are kept of one request.
const CONFLICTS_KEPT: usize = 64;

/// Comparisons of what is in custody for one target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Compared {
    /// The tip that all of them were held against.
    tip: Option<CommitId>,
    /// Which were held against each other.
    requests: BTreeSet<RequestId>,
    /// Who does not merge with whom, both ways, and the paths.
    conflicts: BTreeMap<RequestId, BTreeMap<RequestId, Vec<String>>>,
    /// Who does not merge with `tip`, and the paths.
    with_tip: BTreeMap<RequestId, Vec<String>>,
}

impl Compared {
    /// With whom `request` does not merge, and in which paths.
    pub(crate) fn conflicts_of(&self, request: RequestId) -> impl Iterator<Item = (RequestId, &Vec<String>)> {
        self.conflicts.get(&request).into_iter().flatten().map(|(other, paths)| (*other, paths))
    }

    /// With how many others `request` does not merge.
    pub(crate) fn conflicts(&self, request: RequestId) -> usize {
        self.conflicts.get(&request).map_or(0, BTreeMap::len)
    }

    pub(crate) fn knows(&self, request: RequestId) -> bool {
        self.requests.contains(&request)
    }

    pub(crate) fn is_hopeless(&self, request: RequestId) -> bool {
        self.with_tip.contains_key(&request)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.conflicts.is_empty()
    }

    pub(crate) fn forget(&mut self, request: RequestId) {
        self.requests.remove(&request);
        self.with_tip.remove(&request);
        for other in self.conflicts.remove(&request).into_iter().flatten().map(|(other, _)| other) {
            if let Some(others) = self.conflicts.get_mut(&other) {
                others.remove(&request);
                if others.is_empty() {
                    self.conflicts.remove(&other);
                }
            }
        }
    }

    fn note(&mut self, one: RequestId, other: RequestId, paths: &[String]) {
        let conflicts = self.conflicts.entry(one).or_default();
        if conflicts.len() < CONFLICTS_KEPT {
            conflicts.insert(other, paths.to_vec());
        }
    }
}

impl Queue {
    /// Those that wait for their turn in vain, as far as the comparison knows.
    pub(crate) fn hopeless(&self, name: &BranchName) -> impl Iterator<Item = RequestId> {
        let target = self.targets.get(name).filter(|t| t.tip.is_some() && t.compared.tip == t.tip);
        let known = target.into_iter().flat_map(|t| t.compared.with_tip.keys().copied());
        known.filter(|id| {
            let waits = self.live.get(id).is_some_and(|r| r.is_waiting());
            waits && self.needs_are_met(*id, &[])
        })
    }

    /// Heads in custody for `target`, each with its request: those that a comparison needs to know.
    pub fn heads(&self, target: &BranchName) -> Vec<(RequestId, CommitId)> {
        let live = self.live.iter().filter(|(_, r)| r.target == *target);
        live.filter_map(|(id, r)| Some((*id, r.custody()?.head))).collect()
    }

    /// What is to be compared now, and with which tip: newcomers, or everything once the tip has moved. Only
    /// while somebody waits outside the stack; those inside are merged on top of each other.
    pub(crate) fn to_compare(&self, name: &BranchName) -> Option<(CommitId, Vec<RequestId>)> {
        let target = self.targets.get(name)?;
        let tip = target.tip?;
        self.index.waiting.get(name).filter(|waiting| !waiting.is_empty())?;
        let new = self.index.uncompared.get(name).into_iter().flatten();
        let new: Vec<RequestId> = new.take(COMPARED_AT_ONCE).copied().collect();
        (!new.is_empty() || target.compared.tip != Some(tip)).then_some((tip, new))
    }

    pub(crate) fn compared(&mut self, fact: &Fact) {
        let Fact::Compared { target, tip, requests, conflicts, with_tip } = fact else { return };
        let live = |id: &RequestId| self.live.contains_key(id);
        let requests: Vec<RequestId> = requests.iter().copied().filter(live).collect();
        let conflicts: Vec<&PairConflict> =
            conflicts.iter().filter(|c| live(&c.one) && live(&c.other)).collect();
        let with_tip: Vec<&TipConflict> = with_tip.iter().filter(|c| live(&c.request)).collect();
        let known = &mut self.target(target).compared;
        if known.tip != Some(*tip) {
            known.tip = Some(*tip);
            known.with_tip.clear();
        }
        known.with_tip.extend(with_tip.into_iter().map(|c| (c.request, c.paths.clone())));
        for PairConflict { one, other, paths } in conflicts {
            known.note(*one, *other, paths);
            known.note(*other, *one, paths);
        }
        known.requests.extend(&requests);
        requests.iter().for_each(|id| self.index.not_uncompared(target, *id));
    }
}

impl Act<'_> {
    /// Takes note of a comparison that is still of use.
    pub(crate) fn take_comparison(&mut self, found: Fact) {
        let Fact::Compared { target, tip, requests, conflicts, with_tip } = found else {
            return;
        };
        let Some((wanted, new)) = self.queue.to_compare(&target) else { return };
        let requests: Vec<RequestId> = requests.into_iter().filter(|r| new.contains(r)).collect();
        let known = self.queue.targets.get(&target).and_then(|t| t.compared.tip);
        // How two heads merge does not depend on the tip, which may have moved meanwhile.
        if !requests.is_empty() || (tip == wanted && known != Some(tip)) {
            self.emit(Fact::Compared { target, tip, requests, conflicts, with_tip });
        }
    }

    /// Ends those that wait for their turn in vain: they do not merge with the tip, and nothing that they
    /// depend on can change that.
    pub(crate) fn fail_hopeless(&mut self, name: &BranchName) {
        let Some(target) = self.queue.targets.get(name) else { return };
        let (Some(tip), false) = (target.tip, self.is_closed(name) || self.is_frozen(name)) else { return };
        if target.compared.tip != Some(tip) || target.gate(self.policy).is_err() {
            return;
        }
        let hopeless: Vec<RequestId> = self.queue.hopeless(name).collect();
        for request in hopeless {
            let Some(target) = self.queue.targets.get(name) else { return };
            let Some(live) = self.queue.live.get(&request) else { continue };
            let Some(Assembly::Conflict { paths, detail, hunk }) = target.assemblies.get(&(tip, request))
            else {
                continue;
            };
            let with = self.queue.landed_on_paths(name, paths);
            let failure = failure::conflict(live, name, tip, (paths, detail, hunk.as_deref()), with);
            self.fail(request, failure);
        }
    }
}
