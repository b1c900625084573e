//! Which of those that landed a request does not pass together with: it was green without them.

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{Assembly, Blame, BranchName, CommitId, Failure, GateId, RequestId, RunOutcome};

use crate::state::{Ended, Queue, Target};

/// Landings that are remembered on a target.
const LANDINGS_KEPT: usize = 256;
/// Others that are named.
const NAMED: usize = 3;

/// What a landing brought, and onto what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Brought {
    request: RequestId,
    base: CommitId,
    commit: CommitId,
}

impl Target {
    pub(crate) fn note_landing(&mut self, request: RequestId, base: CommitId, commit: CommitId) {
        self.brought.push_back(Brought { request, base, commit });
        if self.brought.len() > LANDINGS_KEPT {
            self.brought.pop_front();
        }
    }

    /// Those that landed between the last base on which `request` was green and the first on which it was red.
    fn red_with(&self, request: RequestId, gate: &GateId) -> Vec<RequestId> {
        let said = |base: CommitId| match self.assemblies.get(&(base, request)) {
            Some(Assembly::Clean { tree, .. }) => {
                self.verdicts.get(&(*tree, gate.clone())).map(|v| &v.outcome)
            }
            _ => None,
        };
        let is_green = |b: &Brought| matches!(said(b.base), Some(RunOutcome::Green));
        let is_red = |b: &Brought| {
            matches!(said(b.commit), Some(RunOutcome::Red { .. } | RunOutcome::TimedOut { .. }))
        };
        let Some(from) = self.brought.iter().rposition(is_green) else { return Vec::new() };
        let since = self.brought.iter().skip(from);
        let until = since.clone().position(is_red).map_or(usize::MAX, |i| i + 1);
        since.take(until).map(|b| b.request).collect()
    }
}

impl Queue {
    /// Names those that a request does not pass with in its failure, where that is known.
    pub(crate) fn name_the_other(
        &self,
        name: &BranchName,
        request: RequestId,
        gate: &GateId,
        mut failure: Failure,
    ) -> Failure {
        let Some(target) = self.targets.get(name) else { return failure };
        let others = target.red_with(request, gate);
        let label = |id: &RequestId| {
            let known: Option<&Ended> = self.ended.get(id);
            known.map_or_else(
                || id.to_string(),
                |e| format!("{id} ({} by {})", e.announcement.branch, e.announcement.agent),
            )
        };
        let named: Vec<String> = others.iter().rev().take(NAMED).map(label).collect();
        let told = match &named[..] {
            [] => return failure,
            [one] => format!(": it is green without {one}, which landed ahead of it, and red with it"),
            some => {
                let more = others.len().saturating_sub(some.len());
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!(
                    ": it was green without {}{more}, which landed since, and is red with one of them",
                    some.join(", ")
                )
            }
        };
        failure.evidence.message.push_str(&told);
        failure.evidence.with.extend(named);
        failure.blame = Blame::Ahead;
        failure
    }
}
