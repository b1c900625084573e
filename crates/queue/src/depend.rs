use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use yardmaster_protocol::RequestId;

use crate::few::Few;
use crate::state::{Ending, Queue};

/// What a dependency's name stands for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// It has landed.
    Landed,
    /// These must land first.
    Pending(Few),
    /// Nobody has announced it, or it ended without landing.
    Unknown,
}

/// What has no place yet and is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// This one.
    Of(RequestId),
    /// Something that nobody has announced.
    Unknown,
}

/// What a stacked request does not stand on, and has to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A request that is pending.
    Request(RequestId),
    /// A name that nothing stands for any more.
    Name(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(request) => write!(f, "{request}"),
            Self::Name(name) => write!(f, "`{name}`"),
        }
    }
}

impl Queue {
    /// What `name` (a requirement, a branch or a request id) stands for, seen from `request`.
    pub(crate) fn need(&self, request: RequestId, name: &str) -> Need {
        if let Ok(id) = name.parse::<RequestId>() {
            return self.need_of_id(id, request);
        }
        if self.is_own_name(request, name) {
            return Need::Landed;
        }
        match self.index.by_name.get(name) {
            Some(pending) => Need::Pending(pending.clone()),
            None if self.index.landed_names.contains_key(name) => Need::Landed,
            None => Need::Unknown,
        }
    }

    fn need_of_id(&self, id: RequestId, request: RequestId) -> Need {
        if id == request {
            return Need::Landed;
        }
        if self.live.contains_key(&id) {
            return Need::Pending(Few::One(id));
        }
        match self.ended.get(&id).map(|e| &e.ending) {
            Some(Ending::Landed { .. }) if self.ended.get(&id).is_some_and(|e| e.fell_off) => Need::Unknown,
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

    /// The first of `request`'s needs that is not in `placed`, if it has one.
    pub(crate) fn lacks(&self, request: RequestId, placed: &BTreeSet<RequestId>) -> Option<Lack> {
        let live = self.live.get(&request)?;
        live.announcement.depends_on.iter().find_map(|name| match self.need(request, name) {
            Need::Landed => None,
            Need::Pending(others) => others.iter().find(|r| !placed.contains(r)).copied().map(Lack::Of),
            Need::Unknown => Some(Lack::Unknown),
        })
    }

    /// What a stacked request has lost since it was stacked: something that it needs stood `below`
    /// it and is not among those that it would be tested `behind`. What came into the queue later
    /// takes nothing away from it.
    pub(crate) fn missing(
        &self,
        request: RequestId,
        below: &[RequestId],
        behind: &[RequestId],
    ) -> Option<Missing> {
        self.live.get(&request)?.announcement.depends_on.iter().find_map(|name| {
            let pending = match self.need(request, name) {
                Need::Landed => return None,
                Need::Pending(others) => others,
                Need::Unknown => Few::default(),
            };
            if let Some(lost) = pending.iter().find(|r| below.contains(r) && !behind.contains(r)) {
                return Some(Missing::Request(*lost));
            }
            if pending.iter().any(|r| behind.contains(r))
                || self.index.landed_names.contains_key(name.as_str())
            {
                return None;
            }
            Some(pending.first().map_or_else(|| Missing::Name(name.clone()), |r| Missing::Request(*r)))
        })
    }

    /// Live requests that `request` waits for, by any of its names.
    pub(crate) fn pending_needs(&self, request: RequestId) -> BTreeSet<RequestId> {
        let Some(live) = self.live.get(&request) else { return BTreeSet::new() };
        let mut found = BTreeSet::new();
        for name in &live.announcement.depends_on {
            if let Need::Pending(others) = self.need(request, name) {
                found.extend(&others);
            }
        }
        found
    }

    /// Live requests that need themselves, or something that does: all others need no search.
    pub(crate) fn tangled(&self) -> BTreeSet<RequestId> {
        let mut open: BTreeMap<RequestId, usize> = BTreeMap::new();
        let mut needed_by: BTreeMap<RequestId, BTreeSet<RequestId>> = BTreeMap::new();
        for request in &self.index.dependents {
            let names = self.live.get(request).map(|r| &r.announcement.depends_on);
            for name in names.into_iter().flatten() {
                let Need::Pending(others) = self.need(*request, name) else { continue };
                for need in others.iter().filter(|n| self.index.dependents.contains(n)) {
                    if needed_by.entry(*need).or_default().insert(*request) {
                        *open.entry(*request).or_default() += 1;
                    }
                }
            }
        }
        let mut free: Vec<RequestId> = needed_by.keys().filter(|r| !open.contains_key(r)).copied().collect();
        while let Some(request) = free.pop() {
            open.remove(&request);
            for other in needed_by.remove(&request).into_iter().flatten() {
                let Some(count) = open.get_mut(&other) else { continue };
                *count -= 1;
                if *count == 0 {
                    free.push(other);
                }
            }
        }
        open.into_keys().collect()
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
