use yardmaster_protocol::{CommitId, RequestId, RunId};
use yardmaster_queue::BaseRed;

use crate::ledger::{Asked, End, Ledger, Record, Truth};
use crate::violation::Violation;

/// What the facts claim about other requests, held against the ledger.
impl Ledger {
    /// What is called a repetition is one: of the same branch, and of something that has not ended, or
    /// has landed, or ended when the announcement was under way already.
    pub(crate) fn is_repetition(&self, request: RequestId, of: RequestId) -> Result<(), Violation> {
        let found = self.requests.get(&request).zip(self.requests.get(&of));
        let holds = found.is_some_and(|(new, old)| {
            let same = new.target == old.target && new.announcement.branch == old.announcement.branch;
            let in_time = matches!(old.end, None | Some(End::Landed)) || new.sent <= old.until;
            let named = new.announcement.commit.is_none_or(|c| old.head.is_none_or(|h| h == c));
            same && in_time && named && of != request
        });
        Violation::unless(holds, "a repetition repeats something", || format!("{request} of {of}"))
    }

    /// Or one that the rules do not keep out.
    pub(crate) fn is_newer(&self, truth: &Truth, request: RequestId, by: RequestId) -> Result<(), Violation> {
        let found = self.requests.get(&request).zip(self.requests.get(&by));
        let holds = found.is_some_and(|(old, new)| {
            let same = new.target == old.target && new.announcement.branch == old.announcement.branch;
            let other = new.head != old.head || self.may_take_over(truth, new, old);
            same && new.pinned && new.end.is_none() && by > request && other
        });
        Violation::unless(holds, "only a newer head takes a request's place", || format!("{request} by {by}"))
    }

    /// A run is dropped when its request is gone, when something beneath it turned out otherwise, when who
    /// was set aside in front of it is back, when somebody who is not beneath it has landed (a push that was
    /// under way while another policy put others in front), when an operator put others in front, when the
    /// target moved, when what had landed fell off, or when another policy holds.
    pub(crate) fn is_useless(&self, truth: &Truth, run: &RunId) -> Result<(), Violation> {
        let Some(asked) = self.runs.get(run) else { return Ok(()) };
        let Some(request) = asked.request else { return Ok(()) };
        let Some(record) = self.requests.get(&request) else { return Ok(()) };
        let gone = |r: &RequestId| {
            let end = self.requests.get(r).and_then(|r| r.end);
            self.doubtful.contains(r) || !matches!(end, None | Some(End::Landed))
        };
        let front = self.stacked.iter().take_while(|r| **r != request);
        let mut back = front.filter(|r| !asked.behind.contains(r)).filter_map(|r| self.requests.get(r));
        let returns = back.any(|r| r.end.is_none());
        let landed = |(id, r): (&RequestId, &Record)| {
            r.end == Some(End::Landed)
                && r.target == record.target
                && r.until >= asked.at
                && !asked.behind.contains(id)
        };
        let passed = self.requests.iter().any(landed);
        let known = self.greens.contains(&(asked.tree, asked.gate.clone()));
        let moved = self.moves.get(&record.target).copied().unwrap_or(0) != asked.moves;
        let reloaded = self.has_another_policy(truth, asked);
        let holds = record.end.is_some()
            || known
            || moved
            || reloaded
            || returns
            || passed
            || self.is_overtaken(request, asked)
            || !self.fell_off.is_empty()
            || asked.behind.iter().any(gone)
            || self.amended.contains(&request)
            || std::iter::once(&request).chain(&asked.behind).any(|r| self.is_barred(truth, *r))
            || asked.behind.iter().any(|r| self.amended.contains(r));
        Violation::unless(holds, "a run whose result is needed goes on", || {
            format!("{run} of {request} behind {:?}", asked.behind)
        })
    }

    /// Whether another gate is asked for now, or no more tries are, or none at all while the tip is red.
    pub(crate) fn has_another_policy(&self, truth: &Truth, asked: &Asked) -> bool {
        let target = asked.request.and_then(|r| self.requests.get(&r)).map(|r| &r.target);
        let tried = self.lost.get(&asked.tree).copied().unwrap_or(0);
        tried >= truth.policy.max_lost_runs
            || truth.policy.base_red == BaseRed::Block
            || target.is_none_or(|target| self.gate(truth.policy, target).id() != asked.gate)
    }

    /// Only an agent that may do what the pending one may not announces the same head as its own.
    pub(crate) fn is_no_repetition(
        &self,
        truth: &Truth,
        request: RequestId,
        head: CommitId,
    ) -> Result<(), Violation> {
        let Some(new) = self.requests.get(&request) else { return Ok(()) };
        let twin = self.requests.iter().find(|(_, r)| {
            r.pinned
                && r.end.is_none()
                && r.head == Some(head)
                && r.target == new.target
                && r.announcement.branch == new.announcement.branch
                && !self.may_take_over(truth, new, r)
        });
        Violation::unless(twin.is_none(), "the same head announced again is the same request", || {
            format!("{request} and {:?}", twin.map(|(id, _)| id))
        })
    }

    /// Those in custody that need what failed, with nothing else to stand for it: they fail with it.
    pub(crate) fn orphans(&self, failed: RequestId) -> Vec<RequestId> {
        let Some(gone) = self.requests.get(&failed) else { return Vec::new() };
        let stands = |name: &String| {
            let pending = self.requests.iter().any(|(i, r)| r.end.is_none() && self.is_named(*i, r, name));
            pending || self.has_landed(name)
        };
        let orphaned = |r: &Record| {
            let mut needs = r.announcement.depends_on.iter();
            r.pinned && r.end.is_none() && needs.any(|n| self.is_named(failed, gone, n) && !stands(n))
        };
        self.requests.iter().filter(|(_, r)| orphaned(r)).map(|(id, _)| *id).collect()
    }

    pub(crate) fn needs_have_landed(&self, request: RequestId) -> Result<(), Violation> {
        let Some(record) = self.requests.get(&request) else { return Ok(()) };
        let a = &record.announcement;
        let met = |name: &String| {
            let became = name.parse().ok().and_then(|id| self.became(id));
            self.is_named(request, record, name) || became == Some(request) || self.has_landed(name)
        };
        if self.pushed.get(&request) == Some(&true) {
            return Ok(());
        }
        // Those of one unit arrive in one push.
        let tree = self.pushed_trees.get(&request);
        let arrives = |name: &String| {
            let became = name.parse().ok().and_then(|id| self.became(id));
            let is_meant =
                |(id, r): &(&RequestId, &Record)| self.is_named(**id, r, name) || became == Some(**id);
            let mut others = self.requests.iter().filter(is_meant);
            others.any(|(id, _)| self.pushed.contains_key(id) && self.pushed_trees.get(id) == tree)
        };
        let missing = a.depends_on.iter().find(|name| !met(name) && !arrives(name));
        Violation::unless(missing.is_none(), "nothing lands before what it depends on", || {
            format!("{request} ({}) needs {}", a.branch, missing.map_or("", String::as_str))
        })
    }

    /// Whether something of that name has landed.
    pub(crate) fn has_landed(&self, name: &str) -> bool {
        let landed = |id: RequestId| {
            let landed = self.requests.get(&id).is_some_and(|r| r.end == Some(End::Landed));
            landed && !self.fell_off.contains(&id)
        };
        match name.parse::<RequestId>() {
            Ok(id) => self.became(id).is_some_and(landed),
            Err(_) => self.requests.iter().any(|(id, r)| self.is_named(*id, r, name) && landed(*id)),
        }
    }

    /// The request that took the place of another one; itself when none did.
    pub(crate) fn became(&self, request: RequestId) -> Option<RequestId> {
        match self.requests.get(&request)?.end {
            Some(End::Superseded(by)) if by > request => self.became(by),
            _ => Some(request),
        }
    }
}
