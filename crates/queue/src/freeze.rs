use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{
    Blocker, BlockerKind, BranchName, CommitId, EventBody, Fact, Millis, Movement, Project, RequestId,
    Sighting,
};

use crate::apply::Caused;
use crate::state::{Ending, Queue};
use crate::step::Act;

/// Who freezes a target whose history was rewritten.
const TARGET: &str = "target";
/// Who freezes a target on which a push did not stay what it was.
const AUDIT: &str = "audit";
/// Who freezes a target without being asked by anybody.
pub const FREEZERS: [&str; 2] = [TARGET, AUDIT];
/// The most requests that one event names.
const NAMED: usize = 20;

/// A target that stands still, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Frozen {
    pub(crate) who: String,
    pub(crate) why: String,
}

impl Frozen {
    pub(crate) fn told(&self, target: &BranchName) -> String {
        format!("frozen by {}: {}; `yardmaster unfreeze {target}` lets it go on", self.who, self.why)
    }
}

impl Act<'_> {
    pub(crate) fn is_frozen(&self, name: &BranchName) -> bool {
        self.queue.is_frozen(name)
    }

    pub(crate) fn freeze(&mut self, name: &BranchName, who: String, why: String) {
        if self.policy.targets.contains(name) && !self.is_frozen(name) {
            self.emit(Fact::Frozen { target: name.clone(), who, why });
        }
    }

    pub(crate) fn unfreeze(&mut self, name: &BranchName, who: String, why: String) {
        if self.is_frozen(name) {
            self.emit(Fact::Unfrozen { target: name.clone(), who, why });
        }
    }

    /// After a step back the queue goes on from there; what was rewritten, a person has to look at.
    pub(crate) fn moved_back(&mut self, name: &BranchName, from: Option<CommitId>, seen: &Sighting) {
        if !matches!(seen.movement, Movement::Rewound | Movement::Diverged) {
            return;
        }
        let Some(from) = from else { return };
        let requests = self.queue.landed_in(name, &seen.lost);
        if !requests.is_empty() {
            self.emit(Fact::FellOff { target: name.clone(), from, requests });
        }
        if seen.movement == Movement::Diverged {
            let why = format!(
                "its history was rewritten: it was at {from} and is now at {}, and neither contains the other; \
                 if it is to stay so, unfreeze it, else `git push --force-with-lease=refs/heads/{name}:{} \
                 origin {from}:refs/heads/{name}` first",
                seen.tip.short(),
                seen.tip
            );
            self.freeze(name, TARGET.to_owned(), why);
        }
    }

    /// What became of a push is not what was tested: nobody is told anything about it, and nothing
    /// more is pushed before a person has looked.
    pub(crate) fn altered(
        &mut self,
        name: &BranchName,
        why: String,
        seen: &Sighting,
        project: Result<Project, String>,
    ) {
        self.remote_answers();
        self.freeze(name, AUDIT.to_owned(), why);
        self.seen(name, seen, project);
        self.give_up_landing(name, "the audit found something else on the target", false);
    }
}

impl Queue {
    /// Whether nothing may land on `name` before somebody unfreezes it.
    pub fn is_frozen(&self, name: &BranchName) -> bool {
        self.targets.get(name).is_some_and(|t| t.frozen.is_some())
    }

    pub(crate) fn frozen(&mut self, at: Millis, name: &BranchName, who: &str, why: &str) -> Caused {
        self.target(name).frozen = Some(Frozen { who: who.to_owned(), why: why.to_owned() });
        let why = format!("nothing lands on `{name}` until `yardmaster unfreeze {name}`: {why}");
        Caused::notice(at, EventBody::Paused, why, who)
    }

    pub(crate) fn unfrozen(&mut self, at: Millis, name: &BranchName, who: &str, why: &str) -> Caused {
        self.target(name).frozen = None;
        self.progress(name, at);
        Caused::notice(at, EventBody::Resumed, format!("`{name}` is not frozen any more: {why}"), who)
    }

    pub(crate) fn fell_off(
        &mut self,
        at: Millis,
        name: &BranchName,
        from: CommitId,
        requests: &[RequestId],
    ) -> Caused {
        let mut labels = Vec::new();
        for id in requests {
            let Some(mut ended) = Arc::make_mut(&mut self.ended).remove(id) else { continue };
            self.unindex_ended(*id, &ended);
            ended.fell_off = true;
            if labels.len() < NAMED {
                let a = &ended.announcement;
                labels.push(format!("{id} ({} by {})", a.branch, a.agent));
            }
            let names = [ended.announcement.requirement.to_string(), ended.announcement.branch.to_string()];
            Arc::make_mut(&mut self.ended).insert(*id, ended);
            self.index_ended(*id);
            names.into_iter().for_each(|name| self.index_landed_name(name));
        }
        let more = requests.len().saturating_sub(labels.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let why = format!(
            "landed, but not on `{name}` any more: {}{more}; `git push origin {from}:refs/heads/{name}` brings \
             all of it back where `{name}` has not moved on, and what is announced again lands again",
            labels.join(", ")
        );
        Caused::notice(at, EventBody::Stalled, why, TARGET)
    }

    /// Landed requests whose work is among `commits`.
    fn landed_in(&self, name: &BranchName, commits: &[CommitId]) -> Vec<RequestId> {
        let commits: BTreeSet<CommitId> = commits.iter().copied().collect();
        let mut found: Vec<RequestId> = Vec::new();
        for (id, ended) in self.ended.iter().filter(|(_, e)| e.target == *name && e.is_on_target()) {
            let Ending::Landed { commit, .. } = &ended.ending else { continue };
            if commit.or(ended.head).is_some_and(|c| commits.contains(&c)) {
                found.push(*id);
            }
        }
        found
    }

    /// What a stacked request waits for on a frozen target; one that is being pushed is on its way.
    pub(crate) fn hold_blocker(&self, name: &BranchName, request: RequestId) -> Option<Blocker> {
        let target = self.targets.get(name)?;
        let frozen = target.frozen.as_ref().filter(|_| !target.is_landing(request))?;
        Some(Blocker {
            kind: BlockerKind::Hold,
            with: None,
            paths: Vec::new(),
            until: format!("`yardmaster unfreeze {name}`"),
            reason: format!("`{name}` is frozen by {}: {}", frozen.who, frozen.why),
        })
    }
}
