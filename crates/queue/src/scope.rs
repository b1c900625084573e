use yardmaster_protocol::{Blocker, BlockerKind, BranchName, PROJECT_FILE, RequestId};

use crate::policy::{GateRule, Policy};
use crate::rules::Rules;
use crate::state::{Custody, Queue, Request};

/// Paths that are shown of what may not be touched.
pub(crate) const PATHS_SHOWN: usize = 20;

impl Queue {
    /// Whether a request may take no part now, whatever its turn: it is neither tested nor landed.
    pub(crate) fn is_held(&self, id: RequestId, policy: &Policy) -> bool {
        let attended = self.index.attended.contains(&id);
        let Some(request) = self.live.get(&id).filter(|_| attended) else { return false };
        let Some(target) = self.targets.get(&request.target).filter(|t| !t.is_landing(id)) else {
            return false;
        };
        let marked = self.index.marks.get(&id).is_some_and(|m| !m.scope.is_empty());
        marked
            || self.lacks_review(id, request)
            || (target.project.is_err() && matches!(policy.gate, GateRule::Fixed(_)))
    }

    /// Whether an agent that may do what a pending request is held for announces the same work: then it is no
    /// repetition, but takes its place.
    pub(crate) fn has_the_right(&self, newcomer: RequestId, pending: RequestId) -> bool {
        let (Some(new), Some(old)) = (self.live.get(&newcomer), self.live.get(&pending)) else {
            return false;
        };
        let is_held = self.index.marks.get(&pending).is_some_and(|m| !m.scope.is_empty());
        let rules = self.index.rules.get(&old.target).filter(|_| is_held && !self.is_landing(pending));
        let may = |custody| rules.is_some_and(|rules| rules.scope_blockers(new, custody).is_empty());
        old.custody().is_some_and(may)
    }

    fn is_landing(&self, id: RequestId) -> bool {
        self.targets.values().any(|t| t.is_landing(id))
    }

    /// Why a request is held, each with what ends it.
    pub(crate) fn held(&self, id: RequestId, policy: &Policy) -> Vec<Blocker> {
        let Some(request) = self.live.get(&id).filter(|_| self.is_held(id, policy)) else {
            return Vec::new();
        };
        if let (Some(Err(why)), GateRule::Fixed(_)) =
            (self.targets.get(&request.target).map(|t| &t.project), &policy.gate)
        {
            return vec![unreadable(&request.target, why)];
        }
        let mut blockers = self.index.marks.get(&id).map(|m| m.scope.clone()).unwrap_or_default();
        blockers.extend(self.review_blockers(id, request));
        blockers
    }
}

/// The gate may be our own, but who may touch what is not known.
fn unreadable(target: &BranchName, why: &str) -> Blocker {
    Blocker {
        kind: BlockerKind::Scope,
        with: None,
        paths: vec![PROJECT_FILE.to_owned()],
        until: format!("`{PROJECT_FILE}` at the tip of `{target}` can be read again"),
        reason: format!("who may touch what on `{target}` is not known: {why}"),
    }
}

impl Rules {
    /// What a request touches that its agent may not.
    pub(crate) fn scope_blockers(&self, request: &Request, custody: &Custody) -> Vec<Blocker> {
        let agent = &request.announcement.agent;
        let own = self.of_agent(agent);
        let is_ruled = own.is_some() || self.has_owners() || !self.project.scope.protected.is_empty();
        let own = own.unwrap_or_default();
        let named = |path: &str| own.allow.as_ref().is_some_and(|allow| allow.matches(path));
        let touched = |test: &dyn Fn(&str) -> bool| -> Vec<String> {
            custody.files.iter().filter(|f| test(f)).cloned().collect()
        };
        let denied = touched(&|path| own.deny.matches(path));
        let protected = touched(&|path| self.protected.matches(path) && !named(path));
        let outside = touched(&|path| own.allow.is_some() && !named(path) && !self.protected.matches(path));
        let is_listed = self.project.scope.agents.contains_key(agent);
        let rule = match is_listed {
            true => format!("`scope.agents.{agent}.allow` does not name it"),
            false => format!("`scope.default` is \"deny\" and `scope.agents` does not name {agent}"),
        };
        let found = [
            (denied, format!("`scope.agents.{agent}.deny` names it")),
            (protected, format!("it is protected, and no `scope.agents.{agent}.allow` names it")),
            (outside, rule),
        ];
        let told = found.into_iter().filter(|(paths, _)| !paths.is_empty());
        let mut blockers: Vec<Blocker> = told.map(|(paths, why)| blocker(request, paths, &why)).collect();
        let known = u32::try_from(custody.files.len()).unwrap_or(u32::MAX);
        if is_ruled && custody.size.files > known {
            blockers.push(too_many(request, custody.size.files, known));
        }
        blockers
    }
}

fn blocker(request: &Request, mut paths: Vec<String>, why: &str) -> Blocker {
    let (agent, target) = (&request.announcement.agent, &request.target);
    let more = paths.len().saturating_sub(1);
    let first = paths.first().cloned().unwrap_or_default();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    paths.truncate(PATHS_SHOWN);
    Blocker {
        kind: BlockerKind::Scope,
        with: None,
        paths,
        until: format!(
            "an agent that may touch them announces the work, a head without them is announced, or \
             `{PROJECT_FILE}` at the tip of `{target}` lets {agent} touch them"
        ),
        reason: format!("{agent} may not touch {first}{more} on `{target}`: {why}"),
    }
}

fn too_many(request: &Request, files: u32, known: u32) -> Blocker {
    let (agent, target) = (&request.announcement.agent, &request.target);
    Blocker {
        kind: BlockerKind::Scope,
        with: None,
        paths: Vec::new(),
        until: format!(
            "the work is announced in parts of at most {known} files, or by an agent that no rule is about"
        ),
        reason: format!(
            "it changes {files} files and only {known} of them are listed: too many to show that {agent} may \
             touch all of them on `{target}`"
        ),
    }
}
