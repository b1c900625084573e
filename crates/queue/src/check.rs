use serde_json::json;
use yardmaster_protocol::{
    Advice, AgentName, Blocker, BranchName, CheckRequest, CommitId, DefinitionMeeting, Fact, Failure,
    Inspection, IntakeSeq, Millis, Needed, NeededState, PairConflict, Refusal, RequestId, Requirement,
    TipConflict, announce_subject,
};

use crate::depend::Need;
use crate::failure;
use crate::input::Input;
use crate::policy::Policy;
use crate::state::Queue;

/// What would become of an announcement, found out on a copy of the queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Foreseen {
    /// Its place, from 1; none when it would not be queued.
    pub position: Option<u32>,
    /// What it would wait for besides its turn.
    pub blockers: Vec<Blocker>,
    /// What it needs.
    pub dependencies: Vec<Needed>,
    /// Why it would be refused.
    pub refusal: Option<Refusal>,
    /// How it would fail.
    pub failure: Option<Failure>,
    /// The request that it is already.
    pub repeats: Option<RequestId>,
    /// Whose place it would take.
    pub supersedes: Vec<RequestId>,
    /// It would land at once, with nothing to merge.
    pub contained: bool,
    /// Pending requests for its target that stand before it, in landing order.
    pub ahead: Vec<RequestId>,
    /// And after it.
    pub behind: Vec<RequestId>,
    /// Whom it meets at definitions.
    pub advice: Vec<Advice>,
}

/// What was found of a branch.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its head.
    pub inspection: Inspection,
    /// Pending requests that it does not merge with, and where.
    pub conflicts: Vec<(RequestId, Vec<String>)>,
    /// Where it does not merge with the target's tip.
    pub target_conflict: Vec<String>,
    /// What it would break of the project file, and why that stops the queue.
    pub breaks_project: Option<(Vec<String>, String)>,
    /// Where it meets others at definitions, itself being [`UNANNOUNCED`]; none: nobody has read it.
    pub meetings: Option<Vec<DefinitionMeeting>>,
}

/// What stands for a branch that nobody has announced.
pub const UNANNOUNCED: RequestId = RequestId(u64::MAX);

impl Foreseen {
    fn note(&mut self, request: RequestId, facts: Vec<Fact>) {
        for fact in facts {
            match fact {
                Fact::Repeated { request: id, of } if id == request => self.repeats = Some(of),
                Fact::Failed { request: id, failure } if id == request => self.failure = Some(failure),
                Fact::Landed { request: id, .. } if id == request => self.contained = true,
                Fact::Superseded { request: older, by } if by == request => self.supersedes.push(older),
                _ => {}
            }
        }
    }
}

/// A pending request in custody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingWork {
    /// Its head.
    pub head: CommitId,
    /// Whose.
    pub agent: AgentName,
    /// Where.
    pub branch: BranchName,
    /// What for.
    pub requirement: Requirement,
}

impl Queue {
    /// What would become of `asked` by `agent` if it were announced now, with what was found of its branch.
    /// It is announced to this queue, which is to be a copy.
    pub fn foresee(
        mut self,
        now: Millis,
        policy: &Policy,
        agent: &AgentName,
        asked: &CheckRequest,
        found: Found,
    ) -> Foreseen {
        let mut foreseen = Foreseen::default();
        let announced = self.step(now, policy, announcement(now, agent, asked));
        let request = announced.entry.facts.into_iter().find_map(|fact| match fact {
            Fact::Announced { request, .. } => Some(request),
            Fact::Refused { refusal, .. } => {
                foreseen.refusal = Some(refusal);
                None
            }
            _ => None,
        });
        let Some(request) = request else { return foreseen };
        foreseen.dependencies = self.needed(request);
        if let Some(read) = self.reading(request, &found) {
            self.step(now, policy, read);
        }
        let inspected = self.step(now, policy, Input::Inspected(vec![(request, found.inspection.clone())]));
        foreseen.note(request, inspected.entry.facts);
        let broken = found.breaks_project.as_ref().and_then(|(paths, why)| {
            let live = self.live.get(&request)?;
            Some(failure::breaks_project(live, &live.target, self.tip(&live.target)?, paths, why))
        });
        if let Some(compared) = self.comparison(request, found) {
            let compared = self.step(now, policy, compared);
            foreseen.note(request, compared.entry.facts);
        }
        let request = foreseen.repeats.unwrap_or(request);
        foreseen.failure = foreseen.failure.or(broken);
        let Some(live) = self.live.get(&request) else { return foreseen };
        foreseen.blockers.clone_from(&live.blockers);
        foreseen.advice = self.advice(request);
        let order = self.landing_order(&live.target, policy);
        let place = order.iter().position(|id| *id == request);
        foreseen.position = place.and_then(|n| u32::try_from(n + 1).ok());
        let (ahead, behind) = order.split_at(place.unwrap_or(order.len()));
        foreseen.ahead = ahead.to_vec();
        foreseen.behind = behind.iter().copied().filter(|id| *id != request).collect();
        foreseen
    }

    /// The comparison that would tell it, where there is anything to tell.
    fn comparison(&self, request: RequestId, found: Found) -> Option<Input> {
        let Found { conflicts, target_conflict, .. } = found;
        if conflicts.is_empty() && target_conflict.is_empty() {
            return None;
        }
        let target = self.live.get(&request)?.target.clone();
        let tip = self.tip(&target)?;
        let pair = |(other, paths)| PairConflict { one: request, other, paths };
        let conflicts = conflicts.into_iter().map(pair).collect();
        let with_tip = match target_conflict.is_empty() {
            true => Vec::new(),
            false => vec![TipConflict { request, paths: target_conflict }],
        };
        Some(Input::Compared { target, tip, requests: vec![request], conflicts, with_tip })
    }

    /// What was read of its definitions, under the id that it has got.
    fn reading(&self, request: RequestId, found: &Found) -> Option<Input> {
        let target = self.live.get(&request)?.target.clone();
        let named = |id| if id == UNANNOUNCED { request } else { id };
        let own = |met: &DefinitionMeeting| DefinitionMeeting {
            one: named(met.one),
            other: named(met.other),
            ..met.clone()
        };
        let meetings = found.meetings.as_ref()?.iter().map(own).collect();
        Some(Input::DefinitionsRead { target, requests: vec![request], meetings, unread: Vec::new() })
    }

    fn needed(&self, request: RequestId) -> Vec<Needed> {
        let names = self.live.get(&request).into_iter().flat_map(|r| &r.announcement.depends_on);
        let needed = |name: &String| {
            let (state, requests) = match self.need(request, name) {
                Need::Landed => (NeededState::Landed, Vec::new()),
                Need::Pending(others) => (NeededState::Pending, others.to_vec()),
                Need::Unknown => (NeededState::Unknown, Vec::new()),
            };
            Needed { name: name.clone(), state, requests }
        };
        names.map(needed).collect()
    }

    /// A pending request whose head is in custody.
    pub fn pending_work(&self, id: RequestId) -> Option<PendingWork> {
        let live = self.live.get(&id)?;
        let a = &live.announcement;
        Some(PendingWork {
            head: live.custody()?.head,
            agent: a.agent.clone(),
            branch: a.branch.clone(),
            requirement: a.requirement.clone(),
        })
    }

    /// The names of the gate's steps, or why there is no gate.
    ///
    /// # Errors
    /// Why there is none, as a sentence.
    pub fn gate_steps(&self, target: &BranchName, policy: &Policy) -> Result<Vec<String>, String> {
        let Some(target) = self.targets.get(target) else {
            return Err("the target has not been seen on the remote yet".to_owned());
        };
        Ok(target.gate(policy)?.steps.into_iter().map(|step| step.name).collect())
    }
}

/// The message that would announce it, after all others.
fn announcement(now: Millis, agent: &AgentName, asked: &CheckRequest) -> Input {
    let requirement = asked.requirement.as_ref().map_or(asked.branch.as_str(), Requirement::as_str);
    let info = json!({
        "agent": agent, "branch": asked.branch, "requirement": requirement, "target": asked.target,
        "priority": asked.priority, "depends_on": asked.depends_on,
    });
    Input::Message {
        intake: IntakeSeq(u64::MAX),
        subject: announce_subject(agent),
        published: now,
        traceparent: None,
        payload: json!({"type": "ready_to_merge", "merge_info": info}).to_string().into_bytes(),
    }
}
