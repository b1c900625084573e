use std::collections::{BTreeMap, BTreeSet};

use yardmaster_protocol::{
    Access, AgentName, AgentScope, Blocker, BranchName, Globs, Owners, Priority, Project, RequestId,
};

use crate::state::{Custody, Queue, Request};

/// What a project says about paths, ready to be held against changes. Found again from the project, and
/// never written down.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// Without the gate, which changes more often.
    pub(crate) project: Project,
    systems: Vec<(String, Globs)>,
    pub(crate) protected: Globs,
    agents: BTreeMap<AgentName, AgentRules>,
    /// What needs an approval.
    pub(crate) review: Globs,
    owners: Owners,
}

/// What one agent may touch.
#[derive(Debug, Clone, Default)]
pub(crate) struct AgentRules {
    /// Only these.
    pub(crate) allow: Option<Globs>,
    /// Never these.
    pub(crate) deny: Globs,
}

/// What the rules say of one request. Found again from the rules and its files.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Mark {
    /// What its systems stand for.
    class: Option<Priority>,
    /// The systems that its files belong to.
    pub(crate) systems: BTreeSet<String>,
    /// What it touches and may not.
    pub(crate) scope: Vec<Blocker>,
    /// It needs an approval.
    pub(crate) review: bool,
    /// Paths that it touches and others own, by their owners.
    pub(crate) owned: BTreeMap<BTreeSet<AgentName>, Vec<String>>,
}

impl Rules {
    fn of(project: &Project) -> Rules {
        let globs = |list: &Vec<String>| Globs::new(list).unwrap_or_default();
        let agent = |(name, scope): (&AgentName, &AgentScope)| {
            let rules = AgentRules { allow: scope.allow.as_ref().map(globs), deny: globs(&scope.deny) };
            (name.clone(), rules)
        };
        Rules {
            systems: project.systems.iter().map(|(name, s)| (name.clone(), globs(&s.paths))).collect(),
            protected: globs(&project.scope.protected),
            agents: project.scope.agents.iter().map(agent).collect(),
            review: globs(&project.review.paths),
            owners: Owners::new(&project.owners).unwrap_or_default(),
            project: without_gate(project),
        }
    }

    /// The systems that `files` belong to.
    pub(crate) fn systems_of(&self, files: &[String]) -> BTreeSet<String> {
        let touched = |globs: &Globs| files.iter().any(|f| globs.matches(f));
        self.systems.iter().filter(|(_, g)| touched(g)).map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn has_owners(&self) -> bool {
        !self.owners.is_empty()
    }

    /// The paths that a request touches and that belong to others than its agent, by their owners.
    fn owned_by_others(
        &self,
        request: &Request,
        custody: &Custody,
    ) -> BTreeMap<BTreeSet<AgentName>, Vec<String>> {
        let mut owned: BTreeMap<BTreeSet<AgentName>, Vec<String>> = BTreeMap::new();
        for path in custody.files.iter() {
            if let Some(owners) = self.owners.of(path)
                && !owners.contains(&request.announcement.agent)
            {
                owned.entry(owners.clone()).or_default().push(path.clone());
            }
        }
        owned
    }

    /// What `agent` may touch; none: everything that is not protected.
    pub(crate) fn of_agent(&self, agent: &AgentName) -> Option<AgentRules> {
        let nothing = || AgentRules { allow: Some(Globs::default()), deny: Globs::default() };
        match (self.agents.get(agent), self.project.scope.default) {
            (Some(rules), _) => Some(rules.clone()),
            (None, Access::Deny) => Some(nothing()),
            (None, Access::Allow) => None,
        }
    }
}

fn without_gate(project: &Project) -> Project {
    Project { gate: None, ..project.clone() }
}

impl Queue {
    /// Makes the rules of a target ready after its project was seen: what it says, and nothing when it cannot
    /// be read.
    pub(crate) fn index_rules(&mut self, name: &BranchName) {
        let Some(seen) = self.targets.get(name).map(|t| t.project.as_ref()) else { return };
        let is_readable = seen.is_ok();
        let project = seen.map(without_gate).unwrap_or_default();
        let known = self.index.rules.get(name).map(|rules| &rules.project);
        if is_readable && known.unwrap_or(&Project::default()) == &project {
            return;
        }
        self.index.rules.insert(name.clone(), Rules::of(&project));
        let all: Vec<RequestId> =
            self.live.iter().filter(|(_, r)| r.target == *name).map(|(id, _)| *id).collect();
        all.into_iter().for_each(|id| self.index_mark(id));
        self.reindex_neighbours(name);
    }

    /// Holds a request in custody against the rules.
    pub(crate) fn index_mark(&mut self, id: RequestId) {
        let Some(request) = self.live.get(&id) else { return };
        let mark = match (request.custody(), self.index.rules.get(&request.target)) {
            (Some(custody), Some(rules)) => Mark {
                class: rules.class(request, custody),
                systems: rules.systems_of(&custody.files),
                scope: rules.scope_blockers(request, custody),
                review: rules.needs_review(&custody.files, custody.size.files),
                owned: rules.owned_by_others(request, custody),
            },
            _ => Mark::default(),
        };
        let is_unruled = self.targets.get(&request.target).is_some_and(|t| t.project.is_err());
        if is_unruled
            || mark.review
            || !mark.owned.is_empty()
            || !mark.scope.is_empty()
            || self.is_spoken_of(request)
        {
            self.index.attended.insert(id);
        }
        if mark == Mark::default() {
            self.index.marks.remove(&id);
        } else {
            self.index.marks.insert(id, mark);
        }
        self.index_lead(id);
    }

    /// The class of a request in custody: its claim, else what its real systems stand for, else its claimed
    /// ones, else 2.
    pub(crate) fn class(&self, id: RequestId, request: &Request) -> i64 {
        let marked = self.index.marks.get(&id).and_then(|m| m.class);
        let class = request.announcement.priority.or(marked);
        i64::from(class.unwrap_or_else(|| request.announcement.class()).0)
    }

    /// As `class`, of one whose files have just been seen.
    pub(crate) fn class_of_new(&self, request: &Request, custody: &Custody) -> i64 {
        let mapped = self.index.rules.get(&request.target).and_then(|rules| rules.class(request, custody));
        let class = request.announcement.priority.or(mapped);
        i64::from(class.unwrap_or_else(|| request.announcement.class()).0)
    }

    /// The systems that are claimed and not touched, and those that are touched and were not claimed; of those
    /// that the target's project knows. Nothing where nothing was claimed.
    pub(crate) fn system_mismatch(
        &self,
        request: &Request,
        files: &[String],
    ) -> (BTreeSet<String>, BTreeSet<String>) {
        let claimed: BTreeSet<String> = request.announcement.systems_touched.iter().cloned().collect();
        let Some(rules) = self.index.rules.get(&request.target).filter(|_| !claimed.is_empty()) else {
            return Default::default();
        };
        let real = rules.systems_of(files);
        let known = |name: &&String| rules.project.systems.contains_key(*name);
        let untouched = claimed.difference(&real).filter(known).cloned().collect();
        (untouched, real.difference(&claimed).cloned().collect())
    }
}

impl Rules {
    fn class(&self, request: &Request, custody: &Custody) -> Option<Priority> {
        let real = self.systems_of(&custody.files);
        self.project.class_of(&real).or_else(|| self.project.class_of(&request.announcement.systems_touched))
    }
}
