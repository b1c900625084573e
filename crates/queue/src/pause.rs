//! A paused target: what is in the stack goes on, and nobody else gets a place but who is urgent enough.

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{Blocker, BlockerKind, BranchName, EventBody, Fact, Millis, Priority, RequestId};

use crate::apply::Caused;
use crate::state::{Queue, Request};
use crate::step::Act;

/// Why nobody gets a place, and who does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pause {
    who: String,
    why: String,
    /// This class and better ones get a place.
    except: Option<Priority>,
}

impl Act<'_> {
    pub(crate) fn pause(&mut self, target: BranchName, who: String, why: String, except: Option<Priority>) {
        let asked = Pause { who, why, except };
        let known = self.queue.targets.get(&target).and_then(|t| t.paused.as_ref());
        let is_news = known.is_none_or(|known| known.except != asked.except);
        if self.policy.targets.contains(&target) && is_news {
            let Pause { who, why, except } = asked;
            self.emit(Fact::Paused { target, who, why, except });
        }
    }

    pub(crate) fn resume(&mut self, target: BranchName, who: String, why: String) {
        if self.queue.is_paused(&target) {
            self.emit(Fact::Resumed { target, who, why });
        }
    }
}

impl Queue {
    /// Whether nobody gets a place on `name`, but for who is urgent.
    pub fn is_paused(&self, name: &BranchName) -> bool {
        self.targets.get(name).is_some_and(|t| t.paused.is_some())
    }

    pub(crate) fn paused(&mut self, at: Millis, fact: &Fact) -> Option<Caused> {
        let Fact::Paused { target, who, why, except } = fact else { return None };
        let pause = Pause { who: who.clone(), why: why.clone(), except: *except };
        let told = format!("{}; {}; `yardmaster resume {target}` ends it", pause.told(target), pause.why);
        self.target(target).paused = Some(pause);
        Some(Caused::notice(at, EventBody::Paused, told, who))
    }

    pub(crate) fn resumed(&mut self, at: Millis, name: &BranchName, who: &str, why: &str) -> Caused {
        self.target(name).paused = None;
        self.progress(name, at);
        Caused::notice(at, EventBody::Resumed, format!("`{name}` is not paused any more: {why}"), who)
    }

    /// Whether a pause leaves this request without a place.
    pub(crate) fn waits_for_resume(&self, id: RequestId, request: &Request) -> bool {
        let pause = self.targets.get(&request.target).and_then(|t| t.paused.as_ref());
        pause.is_some_and(|p| p.except.is_none_or(|least| self.class(id, request) > i64::from(least.0)))
    }

    /// Those that a pause keeps waiting.
    pub(crate) fn paused_blockers(&self, name: &BranchName) -> Vec<(RequestId, Vec<Blocker>)> {
        let Some(pause) = self.targets.get(name).and_then(|t| t.paused.as_ref()) else { return Vec::new() };
        let blocker = Blocker {
            kind: BlockerKind::Hold,
            with: None,
            paths: Vec::new(),
            until: format!("`yardmaster resume {name}`"),
            reason: format!("{}, by {}: {}", pause.told(name), pause.who, pause.why),
        };
        let held = self.waiting(name).filter(|(id, r)| self.waits_for_resume(*id, r));
        held.map(|(id, _)| (id, vec![blocker.clone()])).collect()
    }
}

impl Pause {
    fn told(&self, target: &BranchName) -> String {
        match self.except {
            Some(class) => format!("`{target}` is paused for everything below priority {}", class.0),
            None => format!("`{target}` is paused"),
        }
    }
}
