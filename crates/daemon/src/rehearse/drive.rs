use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use yardmaster_git::{Mirror, PinAsk};
use yardmaster_protocol::{
    AgentName, BranchName, Cause, CommitId, DefinitionMeeting, EventBody, Fact, Gate, IntakeSeq, LandOutcome,
    Landing, Millis, Movement, Project, RehearsedOutcome as Outcome, RequestId, Sighting, Unread,
};
use yardmaster_queue::{Definitions, GateRule, Input, Order, Policy, Queue, Step};

use super::RehearseError;
use crate::api::Round;
use crate::compare::{Comparison, Known, Question, compare};
use crate::read_definitions::Readings;
use crate::remote::project;

/// A queue that serves has as much room as this one needs.
const WINDOW: u32 = 64;
/// Each branch is pinned, assembled, compared and landed a few times at the most.
const ROUNDS_PER_BRANCH: usize = 20;
const ROUNDS: usize = 200;
/// For reading source code and holding it against the others, all in all; what is begun is finished.
const READ_FOR: Duration = Duration::from_secs(10);

/// What was read of definitions.
#[derive(Debug, Default)]
pub(super) struct DefinitionsFound {
    pub(super) meetings: Vec<DefinitionMeeting>,
    pub(super) unread: Vec<Unread>,
    /// Those that were not held against the others in time.
    pub(super) late: Vec<RequestId>,
}

/// Meetings of all rounds by pairs, each once: who is answered later meets those that were answered before, and the
/// two of a pair may both be told of it.
#[derive(Default)]
struct Told(BTreeMap<(RequestId, RequestId), Vec<DefinitionMeeting>>);

impl Told {
    fn take(&mut self, round: &[DefinitionMeeting]) {
        for met in round {
            let pair = self.0.entry((met.one, met.other)).or_default();
            pair.extend((!pair.contains(met)).then(|| met.clone()));
        }
    }
}

/// How it ended for one branch.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) place: Option<u32>,
    pub(super) why: Option<String>,
    pub(super) paths: Vec<String>,
}

/// How it ended for each that something is known of.
#[derive(Debug, Default)]
pub(super) struct Ends(BTreeMap<BranchName, End>);

impl Ends {
    pub(super) fn of(&self, branch: &BranchName) -> End {
        let nothing = || End { outcome: Outcome::Waits, place: None, why: None, paths: Vec::new() };
        self.0.get(branch).cloned().unwrap_or_else(nothing)
    }
}

/// Does for a queue what the daemon's hands do, one thing after the other, and only says that it has pushed.
pub(super) struct Drive<'a> {
    mirror: &'a Mirror,
    queue: Queue,
    policy: Policy,
    now: Millis,
    project: Result<Project, String>,
    project_file: Option<String>,
    known: Known,
    branches: usize,
    landed: u32,
    ends: Ends,
}

impl<'a> Drive<'a> {
    pub(super) fn new(
        mirror: &'a Mirror,
        target: &BranchName,
        sighting: Sighting,
        definitions: Definitions,
    ) -> Drive<'a> {
        let mut policy = Policy::new(target.clone());
        policy.gate = GateRule::Fixed(Gate::default());
        policy.definitions = definitions;
        policy.window_max = WINDOW;
        policy.window_min = WINDOW;
        policy.max_pending_per_agent = policy.max_pending;
        let mut drive = Drive {
            mirror,
            queue: Queue::new(),
            policy,
            now: Millis(0),
            project: project(mirror, &sighting),
            project_file: sighting.project_file.clone(),
            known: Known::default(),
            branches: 0,
            landed: 0,
            ends: Ends::default(),
        };
        let project = drive.project.clone();
        drive.step(Input::Seen { target: target.clone(), known: None, sighting, project });
        drive
    }

    /// Announces branches, in this order, and takes them into custody; gives the request of each, or none
    /// where it was refused.
    pub(super) fn announce(
        &mut self,
        branches: &[(BranchName, CommitId)],
    ) -> Result<Vec<Option<RequestId>>, RehearseError> {
        self.branches = branches.len();
        let mut requests = Vec::with_capacity(branches.len());
        for (at, (branch, head)) in branches.iter().enumerate() {
            let agent = agent_of(branch);
            let announcement = json!({
                "type": "ready_to_merge",
                "merge_info": {"agent": agent, "branch": branch, "requirement": branch, "commit": head},
            });
            let step = self.step(Input::Message {
                intake: IntakeSeq(at as u64 + 1),
                subject: format!("work.integration.{agent}"),
                published: self.now,
                traceparent: None,
                payload: announcement.to_string().into_bytes(),
            });
            let request = step.entry.facts.iter().find_map(|fact| match fact {
                Fact::Announced { request, .. } => Some(*request),
                _ => None,
            });
            if request.is_none() {
                let why = step.events.iter().find_map(|projected| match &projected.event.body {
                    EventBody::RequestRejected { why, .. } => Some(why.message.clone()),
                    _ => None,
                });
                let end = End { outcome: Outcome::Fails, place: None, why, paths: Vec::new() };
                self.ends.0.insert(branch.clone(), end);
            }
            requests.push(request);
        }
        // All of them, before the first one lands.
        while let Some(order @ Order::Pin { .. }) = self.next() {
            let input = self.carry_out(order)?;
            self.step(input);
        }
        Ok(requests)
    }

    /// Has the source code of all that is in custody read before anything lands, as far as the time goes. Who was
    /// not reached waits for nobody because of it.
    pub(super) fn read_definitions(&mut self, tip: CommitId) -> DefinitionsFound {
        let until = Instant::now() + READ_FOR;
        let mut found = DefinitionsFound::default();
        let mut told = Told::default();
        let target = self.policy.default_target.clone();
        let reading = Readings::default().of(&target);
        while let Some(wanted) = self.to_read() {
            if Instant::now() >= until {
                found.late.extend(&wanted);
                self.read(Round { requests: wanted, ..Round::default() });
                continue;
            }
            let round = reading.of_waiting(self.mirror, tip, &self.queue.heads(&target), &wanted);
            told.take(&round.meetings);
            found.unread.extend(round.unread.iter().cloned());
            self.read(round);
        }
        found.meetings.extend(told.0.into_values().flatten());
        found
    }

    fn to_read(&self) -> Option<Vec<RequestId>> {
        self.queue.plan(&self.policy).orders.into_iter().find_map(|order| match order {
            Order::ReadDefinitions { requests, .. } => Some(requests),
            _ => None,
        })
    }

    fn read(&mut self, round: Round) {
        let Round { requests, meetings, unread } = round;
        let target = self.policy.default_target.clone();
        self.step(Input::DefinitionsRead { target, requests, meetings, unread });
    }

    /// Goes on until nothing is left to do.
    pub(super) fn run(mut self) -> Result<Ends, RehearseError> {
        for _ in 0..ROUNDS + ROUNDS_PER_BRANCH * self.branches {
            let Some(order) = self.next() else { break };
            let input = self.carry_out(order)?;
            self.step(input);
        }
        Ok(self.ends)
    }

    fn next(&self) -> Option<Order> {
        self.queue.plan(&self.policy).orders.into_iter().next()
    }

    fn step(&mut self, input: Input) -> Step {
        self.now = Millis(self.now.0 + 1);
        let step = self.queue.step(self.now, &self.policy, input);
        for projected in &step.events {
            if let Some(about) = &projected.event.about {
                self.note(&about.branch, &projected.event.body);
            }
        }
        step
    }

    fn note(&mut self, branch: &BranchName, body: &EventBody) {
        let end = |outcome, why, paths| End { outcome, place: None, why, paths };
        let end = match body {
            EventBody::MergeComplete { commit: None, .. } => end(Outcome::Contained, None, Vec::new()),
            EventBody::MergeComplete { .. } => {
                self.landed += 1;
                End { place: Some(self.landed), ..end(Outcome::Lands, None, Vec::new()) }
            }
            EventBody::MergeFailed(failure) => {
                let evidence = &failure.evidence;
                let conflict = failure.cause == Cause::Conflict;
                let paths = if conflict { evidence.paths.clone() } else { Vec::new() };
                end(Outcome::Fails, Some(evidence.message.clone()), paths)
            }
            EventBody::MergeBlocked { reason, .. } if !reason.is_empty() => {
                end(Outcome::Waits, Some(reason.join("; ")), Vec::new())
            }
            _ => return,
        };
        self.ends.0.insert(branch.clone(), end);
    }

    fn carry_out(&mut self, order: Order) -> Result<Input, RehearseError> {
        Ok(match order {
            Order::Pin { tip, asks, .. } => {
                let asks: Vec<PinAsk> = asks
                    .into_iter()
                    .map(|ask| PinAsk { request: ask.request, branch: ask.branch, commit: ask.commit })
                    .collect();
                Input::Inspected(self.mirror.pin(&asks, tip)?)
            }
            Order::Assemble { target, base, specs } => {
                Input::Assembled { target, merges: self.mirror.assemble(base, &specs)? }
            }
            Order::Compare { target, tip, requests } => {
                let question = Question { tip, new: requests, heads: self.queue.heads(&target) };
                let Comparison { tip, requests, conflicts, with_tip } =
                    compare(self.mirror, &self.known, question)?;
                Input::Compared { target, tip, requests, conflicts, with_tip }
            }
            Order::ReadDefinitions { target, requests, .. } => {
                Input::DefinitionsRead { target, requests, meetings: Vec::new(), unread: Vec::new() }
            }
            Order::RollUp { target, rollup } => {
                let commit = self.mirror.roll_up(&rollup)?;
                Input::RolledUp { target, base: rollup.base, top: rollup.top, commit }
            }
            // There are no steps, so nothing is tested; whoever asks all the same is told that time has passed.
            Order::Test(_) => Input::Tick { awake: self.now },
            Order::Land { target, landing } => self.landed(target, &landing),
        })
    }

    /// As if it had been pushed.
    fn landed(&self, target: BranchName, landing: &Landing) -> Input {
        let seen = Sighting {
            tip: landing.to,
            tree: landing.tree,
            movement: Movement::Forward,
            contains: self.queue.landing_commits(&target),
            project_file: self.project_file.clone(),
            lost: Vec::new(),
        };
        let outcome = LandOutcome::Landed { seen };
        Input::LandEnded { target, to: landing.to, outcome, project: self.project.clone() }
    }
}

/// Agents call their branches `AGENT/WORK`.
fn agent_of(branch: &BranchName) -> AgentName {
    let first = branch.as_str().split('/').next().unwrap_or_default();
    first.parse().unwrap_or_else(|_| fallback())
}

fn fallback() -> AgentName {
    "rehearsal".parse().unwrap_or_else(|_| unreachable!("it is a name"))
}

#[cfg(test)]
mod tests {
    use yardmaster_protocol::MeetingKind;

    use super::*;

    /// A round that answers some, and one that answers the rest: what two of the later ones have with an earlier
    /// one is news, whoever is told of it.
    #[test]
    fn a_meeting_is_told_once_in_whatever_round_it_comes() {
        let met = |one, other, symbol: &str| DefinitionMeeting {
            one: RequestId(one),
            other: RequestId(other),
            meeting: MeetingKind::BothChanged,
            symbol: symbol.to_owned(),
            path: "a.rs".to_owned(),
            used_in: None,
        };
        let mut told = Told::default();
        told.take(&[met(1, 2, "open")]);
        told.take(&[met(1, 2, "open"), met(1, 2, "close"), met(1, 3, "open"), met(3, 4, "open")]);
        told.take(&[met(1, 3, "open")]);
        let all: Vec<DefinitionMeeting> = told.0.into_values().flatten().collect();
        assert_eq!(all, [met(1, 2, "open"), met(1, 2, "close"), met(1, 3, "open"), met(3, 4, "open")]);
    }
}
