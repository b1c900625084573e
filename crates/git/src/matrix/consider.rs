use git2::Oid;
use yardmaster_protocol::{CommitId, RequestId};

use super::{Matrix, Meeting, Standing, Verdict};
use crate::history::Base;
use crate::objects::{commit_id, oid};
use crate::{GitError, Mirror};

/// No request is ever called so.
const NOBODY: RequestId = RequestId(u64::MAX);

/// How a head merges that is not pending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered {
    /// How it meets the target's tip; none when the target has it.
    pub target: Option<Standing>,
    /// How it meets those that are here; left out are those that are apart, that it contains or that contain it.
    pub meetings: Vec<Meeting>,
    /// How many meetings were not kept, because there were too many.
    pub left_out: usize,
}

impl Matrix {
    /// How a head would meet the target and everybody here, if it came. It does not come: nothing is different
    /// afterwards.
    ///
    /// # Errors
    /// As [`Matrix::add`].
    pub fn consider(&mut self, mirror: &Mirror, head: CommitId) -> Result<Considered, GitError> {
        let considered = self.enter(mirror, &[(NOBODY, head)]).and_then(|()| {
            while self.settle(mirror)? > 0 {}
            let (target, left_out) = (self.against_target(NOBODY).cloned(), self.left_out(NOBODY));
            Ok(Considered { target, meetings: self.unrelated_meetings(mirror, oid(head))?, left_out })
        });
        self.remove(NOBODY);
        considered
    }

    fn unrelated_meetings(&mut self, mirror: &Mirror, head: Oid) -> Result<Vec<Meeting>, GitError> {
        let mut meetings = self.meetings(NOBODY);
        let Some(newcomer) = self.requests.get(&NOBODY) else { return Ok(meetings) };
        let (kin, has_fork) = (self.owners.kin(newcomer), newcomer.fork().is_some());
        let related: Vec<(RequestId, Oid)> = meetings
            .iter()
            .filter(|met| met.verdict == Verdict::Overlap)
            .filter_map(|met| Some((met.with, self.requests.get(&met.with)?)))
            .filter(|(id, other)| kin.contains(id) || !has_fork || other.fork().is_none())
            .map(|(id, other)| (id, other.head))
            .collect();
        let history = &mut self.history;
        mirror.with_repository(|repo| {
            for (id, other) in related {
                let base = history.base(repo, head, other)?;
                if base == Base::One(head) || base == Base::One(other) {
                    meetings.retain(|met| met.with != id);
                }
            }
            Ok(meetings)
        })
    }

    /// The target's tip that everything here was held against.
    pub fn tip(&self) -> CommitId {
        commit_id(self.tip)
    }
}
