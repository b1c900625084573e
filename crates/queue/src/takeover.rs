use std::collections::{BTreeMap, BTreeSet};

use yardmaster_protocol::{Assembly, BranchName, CandidateSpec, CommitId, Fact, RequestId};

use crate::failure;
use crate::plan::candidate;
use crate::policy::Policy;
use crate::state::Queue;
use crate::step::Act;

/// A candidate that the journal counts on, with all that it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeCandidate {
    /// What it stands on.
    pub base: CommitId,
    /// What it is made of.
    pub spec: CandidateSpec,
    /// What came out.
    pub commit: CommitId,
}

impl Queue {
    /// Requests in custody, with the branch and the head that they were announced with.
    pub fn custodies(&self) -> impl Iterator<Item = (RequestId, &BranchName, CommitId)> + '_ {
        self.live.iter().filter_map(|(id, r)| Some((*id, &r.announcement.branch, r.custody()?.head)))
    }

    /// Requests whose heads are not in custody yet, with where they are to land.
    pub fn arriving(&self) -> BTreeMap<RequestId, BranchName> {
        let arriving = self.index.arriving.values();
        arriving.filter_map(|id| Some((*id, self.live.get(id)?.target.clone()))).collect()
    }

    /// Every candidate that is assembled and may be tested or landed.
    pub fn made_candidates(&self, policy: &Policy) -> Vec<MadeCandidate> {
        let assemblies = self.targets.values().flat_map(|t| &t.assemblies);
        assemblies
            .filter_map(|((base, request), assembly)| {
                let Assembly::Clean { commit, .. } = assembly else { return None };
                let spec = candidate(*request, self.live.get(request)?, policy)?;
                (commit != base).then_some(MadeCandidate { base: *base, spec, commit: *commit })
            })
            .collect()
    }

    pub(crate) fn candidates_lost(&mut self, commits: &[CommitId]) {
        let is_lost = |commit: &CommitId| commits.contains(commit);
        for target in self.targets.values_mut() {
            target.assemblies.retain(|(base, _), assembly| {
                !is_lost(base) && assembly.candidate().is_none_or(|(commit, _)| !is_lost(&commit))
            });
            target.runs.retain(|_, run| !is_lost(&run.candidate));
        }
    }
}

impl Act<'_> {
    /// A push whose commits are gone cannot be tried again. Whoever saw the target last has said what
    /// of it arrived.
    pub(crate) fn lacking(&mut self, heads: &[RequestId], candidates: &[CommitId]) {
        let gone: BTreeSet<&CommitId> = candidates.iter().collect();
        let stuck: Vec<BranchName> = self
            .queue
            .targets
            .iter()
            .filter(|(_, t)| {
                t.landing.as_ref().is_some_and(|l| l.requests.iter().any(|(_, c)| gone.contains(c)))
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in stuck {
            self.give_up_landing(&name, "its commits are in the mirror of a daemon that is gone", false);
        }
        if !candidates.is_empty() {
            self.emit(Fact::CandidatesLost { commits: candidates.to_vec() });
        }
        for request in heads {
            let lost = self.queue.live.get(request).filter(|r| r.custody().is_some());
            if let Some(live) = lost.filter(|_| !self.queue.targets.values().any(|t| t.is_landing(*request)))
            {
                self.fail(*request, failure::custody_lost(live));
            }
        }
    }
}
