//! The same head announced again with other words about its place: what it depends on, how urgent it is.

use std::sync::Arc;

use yardmaster_protocol::{Fact, RequestId};

use crate::state::Queue;
use crate::step::Act;

impl Act<'_> {
    /// Takes over what `by` says otherwise than `request`, of which it is a repetition; the later word of the
    /// same agent counts. A repetition that says nothing about dependencies changes nothing about them.
    pub(crate) fn amend(&mut self, request: RequestId, by: RequestId) {
        let (Some(old), Some(new)) = (self.queue.live.get(&request), self.queue.live.get(&by)) else {
            return;
        };
        let is_later = new.published > old.published.max(old.amended);
        if !is_later || old.announcement.agent != new.announcement.agent || self.is_landing(request) {
            return;
        }
        let needs = if new.announcement.states_needs {
            new.announcement.depends_on.clone()
        } else {
            old.announcement.depends_on.clone()
        };
        let priority = new.announcement.priority.or(old.announcement.priority);
        if needs != old.announcement.depends_on || priority != old.announcement.priority {
            let published = new.published;
            self.emit(Fact::Amended { request, by, published, depends_on: needs, priority });
        }
    }
}

impl Queue {
    pub(crate) fn amended(&mut self, fact: &Fact) {
        let Fact::Amended { request, published, depends_on, priority, .. } = fact else { return };
        let Some(live) = self.live.get_mut(request) else { return };
        live.amended = *published;
        self.index.quiet.unwatch(*request, &live.announcement.depends_on);
        let announcement = Arc::make_mut(&mut live.announcement);
        announcement.depends_on.clone_from(depends_on);
        announcement.priority = *priority;
        if depends_on.is_empty() {
            self.index.dependents.remove(request);
        } else if live.custody().is_some() {
            self.index.dependents.insert(*request);
            self.index.quiet.watch(*request, depends_on);
        }
        if live.is_waiting() && !live.blockers.is_empty() {
            self.index.told.insert(*request);
        }
        self.index_mark(*request);
        self.regroup(*request);
    }
}
