use std::collections::BTreeSet;

use yardmaster_protocol::RequestId;

use crate::state::{Ending, Queue};

/// What a dependency's name stands for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// It has landed.
    Landed,
    /// These must land first.
    Pending(BTreeSet<RequestId>),
    /// Nobody has announced it, or it ended without landing.
    Unknown,
}

impl Queue {
    /// What `name` (a requirement, a branch or a request id) stands for, seen from `request`.
    pub(crate) fn need(&self, request: RequestId, name: &str) -> Need {
        if let Ok(id) = name.parse::<RequestId>() {
            return self.need_of_id(id, request);
        }
        let pending: BTreeSet<RequestId> =
            self.index.by_name.get(name).into_iter().flatten().copied().filter(|r| *r != request).collect();
        if !pending.is_empty() {
            Need::Pending(pending)
        } else if self.index.landed_names.contains_key(name) || self.is_own_name(request, name) {
            Need::Landed
        } else {
            Need::Unknown
        }
    }

    fn need_of_id(&self, id: RequestId, request: RequestId) -> Need {
        if id == request {
            return Need::Landed;
        }
        if self.live.contains_key(&id) {
            return Need::Pending(BTreeSet::from([id]));
        }
        match self.ended.get(&id).map(|e| &e.ending) {
            Some(Ending::Landed { .. }) => Need::Landed,
            Some(Ending::Superseded { by }) if *by > id => self.need_of_id(*by, request),
            Some(Ending::Superseded { .. } | Ending::Failed { .. } | Ending::Withdrawn { .. }) | None => {
                Need::Unknown
            }
        }
    }

    fn is_own_name(&self, request: RequestId, name: &str) -> bool {
        self.live.get(&request).is_some_and(|r| {
            r.announcement.requirement.as_str() == name || r.announcement.branch.as_str() == name
        })
    }

    /// Whether everything that `request` needs has landed or is in `placed`.
    pub(crate) fn needs_are_met(&self, request: RequestId, placed: &[RequestId]) -> bool {
        let Some(live) = self.live.get(&request) else { return false };
        live.announcement.depends_on.iter().all(|name| match self.need(request, name) {
            Need::Landed => true,
            Need::Pending(others) => others.iter().all(|r| placed.contains(r)),
            Need::Unknown => false,
        })
    }

    /// Those of `among` that `request` needs.
    pub(crate) fn needs_from(&self, request: RequestId, among: &BTreeSet<RequestId>) -> Vec<RequestId> {
        let Some(live) = self.live.get(&request) else { return Vec::new() };
        let mut found = Vec::new();
        for name in &live.announcement.depends_on {
            if let Need::Pending(others) = self.need(request, name) {
                found.extend(others.into_iter().filter(|r| among.contains(r)));
            }
        }
        found
    }

    /// Live requests that `request` waits for, by any of its names.
    pub(crate) fn pending_needs(&self, request: RequestId) -> BTreeSet<RequestId> {
        let Some(live) = self.live.get(&request) else { return BTreeSet::new() };
        let mut found = BTreeSet::new();
        for name in &live.announcement.depends_on {
            if let Need::Pending(others) = self.need(request, name) {
                found.extend(others);
            }
        }
        found
    }

    /// The way from `request` back to itself over dependencies, if there is one.
    pub(crate) fn cycle_of(&self, request: RequestId) -> Option<Vec<RequestId>> {
        let mut visited = BTreeSet::new();
        let mut path = vec![(request, self.pending_needs(request).into_iter())];
        while let Some((_, needs)) = path.last_mut() {
            match needs.next() {
                Some(next) if next == request => return Some(path.iter().map(|(r, _)| *r).collect()),
                Some(next) if visited.insert(next) => {
                    let needs = self.pending_needs(next).into_iter();
                    path.push((next, needs));
                }
                Some(_) => {}
                None => drop(path.pop()),
            }
        }
        None
    }

    /// Live requests that can never land because `gone` failed: they need it by a name that nothing
    /// else stands for now. Call it after `gone` has ended.
    pub(crate) fn orphans_of(&self, gone: RequestId) -> Vec<RequestId> {
        let Some(ended) = self.ended.get(&gone) else { return Vec::new() };
        let id = gone.to_string();
        let names =
            [id.as_str(), ended.announcement.requirement.as_str(), ended.announcement.branch.as_str()];
        let orphaned = |request: &&RequestId| {
            let Some(live) = self.live.get(request) else { return false };
            live.announcement
                .depends_on
                .iter()
                .any(|name| names.contains(&name.as_str()) && self.need(**request, name) == Need::Unknown)
        };
        self.index.dependents.iter().filter(orphaned).copied().collect()
    }
}
