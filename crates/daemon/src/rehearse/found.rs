use std::collections::BTreeSet;

use yardmaster_git::{Matrix, Verdict};
use yardmaster_protocol::{
    BranchName, CommitId, DefinitionMeeting, Rehearsed, RehearsedMeeting, RehearsedPair, RequestId,
    UnreadNotice,
};

use super::drive::{DefinitionsFound, End};

/// Meetings at definitions that are told.
const MEETINGS_TOLD: usize = 1_000;

/// What was tried, and what is known of it.
pub(super) struct Found<'a> {
    pub(super) chosen: &'a [(BranchName, CommitId)],
    pub(super) requests: &'a [Option<RequestId>],
    pub(super) matrix: &'a Matrix,
    pub(super) definitions: DefinitionsFound,
}

impl Found<'_> {
    fn name(&self, id: RequestId) -> Option<BranchName> {
        let at = self.requests.iter().position(|other| *other == Some(id))?;
        self.chosen.get(at).map(|(branch, _)| branch.clone())
    }

    pub(super) fn branch(&self, at: usize, end: End) -> Rehearsed {
        let (branch, head) = &self.chosen[at];
        let id = self.requests[at];
        let met = id.map(|id| self.matrix.meetings(id)).unwrap_or_default();
        let conflicts = met.iter().filter(|m| m.verdict == Verdict::Conflict);
        let standing = id.and_then(|id| self.matrix.against_target(id));
        Rehearsed {
            branch: branch.clone(),
            head: *head,
            outcome: end.outcome,
            place: end.place,
            why: end.why,
            paths: end.paths,
            conflicts_with: conflicts.filter_map(|m| self.name(m.with)).collect(),
            conflicts_with_target: standing.is_some_and(|s| s.verdict == Verdict::Conflict),
            meets: id.map(|id| self.meets(id)).unwrap_or_default(),
            not_read: id.and_then(|id| self.not_read(id)),
        }
    }

    /// Conflicts first.
    pub(super) fn pairs(&self) -> Vec<RehearsedPair> {
        let mut pairs = Vec::new();
        for id in self.requests.iter().flatten() {
            for met in self.matrix.meetings(*id).into_iter().filter(|met| met.with > *id) {
                if let (Some(one), Some(other)) = (self.name(*id), self.name(met.with)) {
                    let conflict = met.verdict == Verdict::Conflict;
                    pairs.push(RehearsedPair { one, other, conflict, paths: met.paths });
                }
            }
        }
        pairs.sort_by_key(|met| !met.conflict);
        pairs
    }

    fn do_conflict(&self, met: &DefinitionMeeting) -> bool {
        let with = self.matrix.meetings(met.one).into_iter().find(|m| m.with == met.other);
        with.is_some_and(|m| m.verdict == Verdict::Conflict)
    }

    /// Those of pairs that merge.
    fn met(&self) -> impl Iterator<Item = &DefinitionMeeting> {
        self.definitions.meetings.iter().filter(|met| !self.do_conflict(met))
    }

    fn meets(&self, id: RequestId) -> Vec<BranchName> {
        let other = |met: &DefinitionMeeting| match (met.one == id, met.other == id) {
            (true, _) => Some(met.other),
            (_, true) => Some(met.one),
            _ => None,
        };
        let others: BTreeSet<RequestId> = self.met().filter_map(other).collect();
        others.into_iter().filter_map(|id| self.name(id)).collect()
    }

    fn not_read(&self, id: RequestId) -> Option<UnreadNotice> {
        let unread = self.definitions.unread.iter().find(|unread| unread.request == id)?;
        Some(unread.what.clone().into())
    }

    /// The most telling first.
    pub(super) fn meetings(&self) -> Vec<RehearsedMeeting> {
        let told = |met: &DefinitionMeeting| {
            let (one, other) = (self.name(met.one)?, self.name(met.other)?);
            let used_in = met.used_in.iter().filter(|used_in| **used_in != met.path);
            Some(RehearsedMeeting {
                meeting: met.meeting,
                symbol: met.symbol.clone(),
                paths: std::iter::once(&met.path).chain(used_in).cloned().collect(),
                sentence: met.told_of(&one, &other),
                one,
                other,
            })
        };
        let mut met: Vec<&DefinitionMeeting> = self.met().collect();
        met.sort_by_key(|met| met.meeting);
        met.into_iter().filter_map(told).take(MEETINGS_TOLD).collect()
    }

    pub(super) fn unread(&self) -> Vec<BranchName> {
        self.definitions.late.iter().filter_map(|id| self.name(*id)).collect()
    }
}
