use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use yardmaster_git::{Cochange, GitError, Mirror, Unusable, Verdict};
use yardmaster_protocol::{
    AgentName, BlockerKind, BranchName, CheckReply, CheckRequest, CheckVerdict, CommitId, ErrorBody, Globs,
    Inspection, Met, ParallelReply, ParallelRequest, RequestId, ServiceErrorCode,
};
use yardmaster_queue::{Common, Definitions, Foreseen, Found, GateRule, History, Policy, Queue, UNANNOUNCED};

use crate::api::Round;
use crate::clock;
use crate::compare::{Matrices, consider};
use crate::read_definitions::Readings;

/// First-parent commits whose files are read for what used to change together.
const HISTORY: usize = 2_000;
const FILES_SHOWN: usize = 100;
/// Paths of a conflict that the queue is told.
const PATHS_TOLD: usize = 5;

/// Answers what agents ask before they do something. It changes nothing that anybody can see.
pub(crate) struct Advisor {
    mirror: Arc<Mirror>,
    matrices: Arc<Matrices>,
    /// With a child of its own, so that who asks is in nobody's way.
    readings: Mutex<Readings>,
    /// Of the tip that was asked about last.
    history: Mutex<Option<(CommitId, Arc<Cochange>)>>,
}

/// A branch as it was found.
struct Branch {
    head: CommitId,
    tip: CommitId,
    inspection: Inspection,
}

/// How a branch merges.
#[derive(Default)]
struct Merges {
    target_conflict: Vec<String>,
    conflicts: Vec<Met>,
    overlaps: Vec<Met>,
    not_compared: u32,
}

impl Merges {
    /// What is known of the branch with these; none where there is nothing more to know.
    fn clashes(&self, found: Found) -> Option<Found> {
        let paths = |met: &Met| met.paths.iter().take(PATHS_TOLD).cloned().collect();
        let conflicts: Vec<_> = self.conflicts.iter().map(|met| (met.request, paths(met))).collect();
        let is_clean = conflicts.is_empty() && self.target_conflict.is_empty();
        let target_conflict = self.target_conflict.clone();
        (!is_clean).then_some(Found { conflicts, target_conflict, ..found })
    }
}

impl Advisor {
    pub(crate) fn new(mirror: &Arc<Mirror>, matrices: &Arc<Matrices>) -> Advisor {
        let (mirror, matrices) = (Arc::clone(mirror), Arc::clone(matrices));
        Advisor { mirror, matrices, readings: Mutex::default(), history: Mutex::new(None) }
    }

    /// What would become of a branch if it were announced now.
    pub(crate) fn check(
        &self,
        queue: &Queue,
        policy: &Policy,
        asked: &CheckRequest,
    ) -> Result<CheckReply, ErrorBody> {
        let target = served(policy, asked.target.as_ref())?;
        let agent = agent_of(asked)?;
        let at = self.find(queue, &target, asked)?;
        let pressure = queue.pressure(policy);
        let hold = queue.hold(&target, policy);
        let gate = queue.gate_steps(&target, policy).unwrap_or_default();
        let round = self.definitions(queue, policy, &target, &at);
        let definitions_unread = round.is_none() && policy.definitions != Definitions::Off;
        let unread = round.iter().flat_map(|round| &round.unread).next();
        let not_read = unread.map(|unread| unread.what.clone().into());
        let meetings = round.map(|round| round.meetings);
        let found = Found {
            inspection: at.inspection.clone(),
            conflicts: Vec::new(),
            target_conflict: Vec::new(),
            breaks_project: self.broken(policy, &at).map_err(|e| trouble(&e))?,
            meetings,
        };
        let foresee = |found| queue.clone().foresee(clock::now(), policy, &agent, asked, found);
        let alone = foresee(found.clone());
        let mut merges = self.merges(queue, &target, &at, &alone).map_err(|e| trouble(&e))?;
        let foreseen = match merges.clashes(found) {
            Some(found) => foresee(found),
            None => alone,
        };
        merges.conflicts.iter_mut().chain(&mut merges.overlaps).for_each(|met| {
            met.ahead = foreseen.ahead.contains(&met.request);
        });
        let Inspection::Pinned { size, files, .. } = at.inspection else {
            return Err(trouble(&GitError::NoCommit(at.head)));
        };
        Ok(CheckReply {
            branch: asked.branch.clone(),
            agent,
            target,
            head: at.head,
            tip: at.tip,
            verdict: verdict(&merges, &foreseen),
            position: foreseen.position,
            target_conflict: merges.target_conflict,
            conflicts: merges.conflicts,
            overlaps: merges.overlaps,
            not_compared: merges.not_compared,
            advice: foreseen.advice,
            definitions_unread,
            not_read,
            files: files.into_iter().take(FILES_SHOWN).collect(),
            size,
            gate,
            hold,
            dependencies: foreseen.dependencies,
            blockers: foreseen.blockers,
            refusal: foreseen.refusal,
            failure: foreseen.failure,
            repeats: foreseen.repeats,
            supersedes: foreseen.supersedes,
            contained: foreseen.contained,
            pressure,
        })
    }

    /// What it would break of the project file, and why that stops the queue.
    fn broken(&self, policy: &Policy, at: &Branch) -> Result<Option<(Vec<String>, String)>, GitError> {
        let Inspection::Pinned { files, .. } = &at.inspection else { return Ok(None) };
        let needs_gate = policy.gate == GateRule::FromTarget;
        let broken = self.mirror.breaks_project(at.head, files, needs_gate)?;
        Ok(broken.map(|Unusable { paths, why }| (paths, why)))
    }

    fn find(&self, queue: &Queue, target: &BranchName, asked: &CheckRequest) -> Result<Branch, ErrorBody> {
        let unseen = || later(format!("`{target}` has not been seen on the remote yet"));
        let tip = queue.tip(target).ok_or_else(unseen)?;
        let inspection = self.mirror.inspect_branch(&asked.branch, tip).map_err(|e| trouble(&e))?;
        match inspection {
            Inspection::Pinned { head, .. } => Ok(Branch { head, tip, inspection }),
            Inspection::BranchMissing | Inspection::HeadMoved { .. } => Err(ErrorBody {
                code: ServiceErrorCode::NotFound,
                message: format!("the remote has no branch `{}`: push it first", asked.branch),
                retryable: true,
                next: vec![format!("git push origin {}", asked.branch)],
            }),
            Inspection::Unusable { why } | Inspection::Crashed { why } => Err(ErrorBody {
                code: ServiceErrorCode::Refused,
                message: format!("`{}` cannot be merged: {why}", asked.branch),
                retryable: false,
                next: Vec::new(),
            }),
        }
    }

    /// Where a branch meets what is pending at definitions; none when there was no time to read them all.
    fn definitions(&self, queue: &Queue, policy: &Policy, target: &BranchName, at: &Branch) -> Option<Round> {
        if policy.definitions == Definitions::Off {
            return None;
        }
        let reading = self.readings.lock().unwrap_or_else(PoisonError::into_inner).of(target);
        let mut heads = queue.heads(target);
        heads.push((UNANNOUNCED, at.head));
        let round = reading.of_waiting(&self.mirror, at.tip, &heads, &[UNANNOUNCED]);
        round.requests.contains(&UNANNOUNCED).then_some(round)
    }

    /// As the matrix knows it that is kept of what is pending.
    fn merges(
        &self,
        queue: &Queue,
        target: &BranchName,
        at: &Branch,
        foreseen: &Foreseen,
    ) -> Result<Merges, GitError> {
        let mut merges = Merges::default();
        let others = foreseen.ahead.iter().chain(&foreseen.behind);
        let others: Vec<RequestId> = others.filter(|id| !foreseen.supersedes.contains(id)).copied().collect();
        let in_custody = others.iter().filter_map(|id| Some((*id, queue.pending_work(*id)?.head)));
        let heads: Vec<(RequestId, CommitId)> = in_custody.collect();
        let (met, missing) = consider(&self.mirror, &self.matrices.of(target), at.tip, &heads, at.head)?;
        merges.not_compared = u32::try_from(missing.len() + met.left_out).unwrap_or(u32::MAX);
        if let Some(standing) = met.target.filter(|s| s.verdict == Verdict::Conflict) {
            merges.target_conflict = standing.paths;
        }
        let mut meetings: BTreeMap<RequestId, _> = met.meetings.into_iter().map(|m| (m.with, m)).collect();
        for id in others {
            let Some((meeting, other)) = meetings.remove(&id).zip(queue.pending_work(id)) else { continue };
            let met = Met {
                request: id,
                agent: other.agent,
                branch: other.branch,
                requirement: other.requirement,
                paths: meeting.paths,
                ahead: foreseen.ahead.contains(&id),
            };
            match meeting.verdict {
                Verdict::Conflict | Verdict::Unsettled => merges.conflicts.push(met),
                Verdict::Overlap => merges.overlaps.push(met),
                Verdict::Apart => {}
            }
        }
        Ok(merges)
    }

    /// Which requirements can be worked on side by side.
    pub(crate) fn parallel(
        &self,
        queue: &Queue,
        policy: &Policy,
        asked: &ParallelRequest,
    ) -> Result<ParallelReply, ErrorBody> {
        let target = served(policy, asked.target.as_ref())?;
        let cochange = match queue.tip(&target) {
            Some(tip) => self.cochange(tip).map_err(|e| trouble(&e))?,
            None => Arc::default(),
        };
        let paths: Vec<&str> = cochange.paths().collect();
        let history = past(&cochange, asked);
        queue.parallel(asked, policy, &paths, &history).map_err(|message| ErrorBody {
            code: ServiceErrorCode::Usage,
            message,
            retryable: false,
            next: Vec::new(),
        })
    }

    fn cochange(&self, tip: CommitId) -> Result<Arc<Cochange>, GitError> {
        let mut known = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, history)) = known.as_ref().filter(|(at, _)| *at == tip) {
            return Ok(Arc::clone(history));
        }
        let read = Arc::new(self.mirror.cochange(tip, HISTORY)?);
        *known = Some((tip, Arc::clone(&read)));
        Ok(read)
    }
}

/// How often each two of the asked-for requirements changed together. What the queue refuses anyway is left
/// out.
fn past(cochange: &Cochange, asked: &ParallelRequest) -> History {
    let select = |planned: &yardmaster_protocol::Planned| -> BTreeSet<usize> {
        let globs = Globs::new(&planned.files).unwrap_or_default();
        if planned.files.is_empty() { BTreeSet::new() } else { cochange.select(|path| globs.matches(path)) }
    };
    let selected: Vec<BTreeSet<usize>> = asked.requirements.iter().take(64).map(select).collect();
    let mut pairs = BTreeMap::new();
    for (j, second) in selected.iter().enumerate() {
        for (i, first) in selected.iter().enumerate().take(j) {
            let together = cochange.together(first, second);
            if together.both > 0 {
                let rarer = together.first.min(together.second);
                pairs.insert((i, j), Common { both: together.both, rarer, example: together.example });
            }
        }
    }
    History { commits: cochange.commits(), pairs }
}

fn verdict(merges: &Merges, foreseen: &Foreseen) -> CheckVerdict {
    let ruled = |kind| matches!(kind, BlockerKind::Scope | BlockerKind::Review);
    if !merges.target_conflict.is_empty() || !merges.conflicts.is_empty() {
        CheckVerdict::Conflict
    } else if foreseen.refusal.is_some()
        || foreseen.failure.is_some()
        || foreseen.blockers.iter().any(|b| ruled(b.kind))
    {
        CheckVerdict::Policy
    } else {
        CheckVerdict::Clean
    }
}

fn agent_of(asked: &CheckRequest) -> Result<AgentName, ErrorBody> {
    if let Some(agent) = &asked.agent {
        return Ok(agent.clone());
    }
    let first = asked.branch.as_str().split('/').next().unwrap_or_default();
    AgentName::new(first).map_err(|_| ErrorBody {
        code: ServiceErrorCode::Usage,
        message: format!("`{first}` is no agent's name: say who would announce `{}`", asked.branch),
        retryable: false,
        next: vec![format!("yardmaster check {} --agent NAME", asked.branch)],
    })
}

fn served(policy: &Policy, target: Option<&BranchName>) -> Result<BranchName, ErrorBody> {
    let target = target.unwrap_or(&policy.default_target);
    if policy.targets.contains(target) {
        return Ok(target.clone());
    }
    let served: Vec<&str> = policy.targets.iter().map(BranchName::as_str).collect();
    Err(ErrorBody {
        code: ServiceErrorCode::NotFound,
        message: format!("`{target}` is not served here: this queue lands on {}", served.join(", ")),
        retryable: false,
        next: vec!["yardmaster status".to_owned()],
    })
}

fn later(message: String) -> ErrorBody {
    ErrorBody { code: ServiceErrorCode::Unexpected, message, retryable: true, next: Vec::new() }
}

fn trouble(error: &GitError) -> ErrorBody {
    later(error.to_string())
}
