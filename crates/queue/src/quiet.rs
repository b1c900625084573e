//! Which waits are told as they are: what a request with dependencies waits for changes only when something that
//! it names moves, so it is looked at again only then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use yardmaster_protocol::{Announcement, RequestId};

use crate::state::Queue;
use crate::waits::MAX_BLOCKERS;

/// Whose dependencies need no look. Found again from nothing, and never written down.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quiet {
    /// Told to wait for their dependencies alone, and for just these.
    requests: BTreeSet<RequestId>,
    /// Live requests in custody by each name that they depend on.
    needing: BTreeMap<Arc<str>, BTreeSet<RequestId>>,
    /// Those that name an id: what stands for it can change without a word of its name.
    by_id: BTreeSet<RequestId>,
    /// The requests that need themselves, or something that does, when that was looked for last.
    tangled: BTreeSet<RequestId>,
    /// Whether nothing has moved since.
    is_tangled_known: bool,
}

impl Quiet {
    pub(crate) fn contains(&self, id: RequestId) -> bool {
        self.requests.contains(&id)
    }

    /// One of those that depend on something, from now on.
    pub(crate) fn watch(&mut self, id: RequestId, needs: &[String]) {
        self.requests.remove(&id);
        self.is_tangled_known = false;
        for name in needs {
            if name.parse::<RequestId>().is_ok() {
                self.by_id.insert(id);
            } else if let Some(needing) = self.needing.get_mut(name.as_str()) {
                needing.insert(id);
            } else {
                self.needing.insert(name.as_str().into(), BTreeSet::from([id]));
            }
        }
    }

    /// It depends on nothing any more, or is gone.
    pub(crate) fn unwatch(&mut self, id: RequestId, needs: &[String]) {
        if needs.is_empty() {
            return;
        }
        self.requests.remove(&id);
        self.by_id.remove(&id);
        self.is_tangled_known = false;
        for name in needs {
            if let Some(needing) = self.needing.get_mut(name.as_str()) {
                needing.remove(&id);
                if needing.is_empty() {
                    self.needing.remove(name.as_str());
                }
            }
        }
    }

    /// Something has happened to who announced this: whoever depends on it is looked at again.
    pub(crate) fn stir(&mut self, announcement: &Announcement) {
        for name in [announcement.requirement.as_str(), announcement.branch.as_str()] {
            self.stir_name(name);
        }
    }

    pub(crate) fn stir_name(&mut self, name: &str) {
        for id in self.needing.get(name).into_iter().flatten() {
            self.requests.remove(id);
            self.is_tangled_known = false;
        }
    }

    pub(crate) fn stir_all(&mut self) {
        self.requests.clear();
        self.is_tangled_known = false;
    }

    pub(crate) fn stir_one(&mut self, id: RequestId) {
        self.requests.remove(&id);
    }

    /// All that is told of its dependencies is true until it is stirred. Who names an id or is tangled is never
    /// quiet.
    pub(crate) fn settle(&mut self, id: RequestId) {
        if !self.by_id.contains(&id) && !self.tangled.contains(&id) {
            self.requests.insert(id);
        }
    }
}

impl Queue {
    /// Live requests that need themselves, or something that does; where `told` is false none are looked for.
    pub(crate) fn tangled_now(&mut self, told: bool) -> BTreeSet<RequestId> {
        let quiet = &self.index.quiet;
        let is_known = quiet.is_tangled_known && quiet.by_id.is_empty();
        if !told || !is_known {
            let found = if told { self.tangled() } else { BTreeSet::new() };
            let quiet = &mut self.index.quiet;
            for id in found.symmetric_difference(&quiet.tangled) {
                quiet.requests.remove(id);
            }
            quiet.tangled = found;
            quiet.is_tangled_known = told;
        }
        self.index.quiet.tangled.clone()
    }

    /// Whether what is not looked at again would be told as it was told.
    ///
    /// # Errors
    /// A sentence about the first one that would not.
    pub fn check_quiet(&self) -> Result<(), String> {
        let quiet = &self.index.quiet;
        if quiet.is_tangled_known && quiet.by_id.is_empty() && quiet.tangled != self.tangled() {
            return Err(format!("those in a circle are remembered as {:?}", quiet.tangled));
        }
        for id in &quiet.requests {
            let told = self.live.get(id).filter(|r| r.is_waiting()).map(|r| r.blockers.as_slice());
            let would = self.blockers_of_dependent(*id, &quiet.tangled);
            if told != would.get(..would.len().min(MAX_BLOCKERS)) {
                return Err(format!("{id} would be told {would:?} and was told {told:?}"));
            }
        }
        Ok(())
    }
}
