use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use yardmaster_protocol::{
    BaseMoved, BranchName, CommitId, Entry, Event, Fact, GateEvidence, Inspection, IntakeSeq, LandOutcome,
    Landing, Millis, Project, RequestId, RunReport, Sighting,
};

use crate::failure;
use crate::input::Input;
use crate::intent::Moved;
use crate::order::Rank;
use crate::policy::{Definitions, Policy};
use crate::state::{Custody, Queue};
use crate::walk::Walk;

/// An event and the fact that caused it.
#[derive(Debug, Clone, PartialEq)]
pub struct Projected {
    /// Index of the fact in its entry.
    pub index: u32,
    /// What is published.
    pub event: Event,
    /// The trace that the request came with.
    pub traceparent: Option<String>,
}

/// What one input meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The facts, already applied; to be journalled before anything else is done about them.
    pub entry: Entry,
    /// The events that they cause, to be published once they are journalled.
    pub events: Vec<Projected>,
    /// What single agents are to be told besides, once; kept nowhere, and lost with whoever should send it.
    pub told: Vec<BaseMoved>,
}

impl Queue {
    /// What `input` means, as facts, applied at once. No news (late, double, about something
    /// forgotten): no facts.
    pub fn step(&mut self, now: Millis, policy: &Policy, input: Input) -> Step {
        let mut act = Act::begin(self, now, policy);
        let is_time = act.queue.look_again().is_some_and(|at| at <= now);
        let is_look = match input {
            Input::Seen { .. } | Input::PolicyChanged => true,
            Input::Tick { .. } => is_time,
            _ => false,
        };
        match input {
            Input::Message { intake, subject, published, traceparent, payload } => {
                act.message(intake, subject, published, traceparent, &payload);
            }
            Input::Poison { intake, subject, payload } => act.poison(intake, subject, &payload),
            Input::Review { intake, subject, payload } => act.review(intake, subject, &payload),
            Input::PoisonReview { intake, subject, payload } => act.poison_review(intake, subject, &payload),
            Input::PolicyChanged => {}
            Input::Withdraw { request, by } => act.withdraw(request, by, None),
            Input::Inspected(found) => {
                act.remote_answers();
                found.into_iter().for_each(|(request, inspection)| act.inspected(request, inspection));
            }
            Input::Seen { target, known, sighting, project } => {
                act.remote_answers();
                if act.queue.tip(&target) == known {
                    act.seen(&target, &sighting, project);
                    act.landing_is_overtaken(&target);
                }
            }
            Input::Runners(offers) => act.runners_seen(offers),
            Input::Tick { awake } => act.watch(awake, now),
            Input::RemoteSilent { why } => act.remote_is_silent(why),
            Input::Assembled { target, merges } => act.assembled(&target, merges),
            Input::Compared { target, tip, requests, conflicts, with_tip } => {
                act.take_comparison(Fact::Compared { target, tip, requests, conflicts, with_tip });
            }
            Input::DefinitionsRead { target, requests, meetings, unread } => {
                act.take_definitions(target, requests, meetings, unread);
            }
            Input::RolledUp { target, base, top, commit } => act.rolled_up(&target, base, top, commit),
            Input::RunEnded(report) => act.run_ended(report),
            Input::LandEnded { target, to, outcome, project } => {
                act.land_ended(&target, to, outcome, project);
            }
            Input::Freeze { target, who, why } => act.freeze(&target, who, why),
            Input::Unfreeze { target, who, why } => act.unfreeze(&target, who, why),
            Input::Pause { target, who, why, except } => act.pause(target, who, why, except),
            Input::Resume { target, who, why } => act.resume(target, who, why),
            Input::Promote { requests, who, why } => act.promote(&requests, &who, &why),
            Input::Lacking { heads, candidates } => act.lacking(&heads, &candidates),
        }
        if is_look || act.has_consequences() {
            act.settle();
        }
        act.finish()
    }
}

/// A stack as it was read after so many facts.
type Walked = (usize, Option<Rc<Walk>>);

/// One step under way: facts are applied as they are found.
pub(crate) struct Act<'a> {
    pub(crate) queue: &'a mut Queue,
    pub(crate) policy: &'a Policy,
    at: Millis,
    /// The clock is not behind the latest fact.
    is_timely: bool,
    facts: Vec<Fact>,
    events: Vec<Projected>,
    pub(crate) moved: BTreeMap<BranchName, Moved>,
    /// Of those that wait, as far as a place among them was asked for.
    ranks: BTreeMap<BranchName, Vec<Rank>>,
    /// Facts so far that can change how a stack is read.
    stirred: usize,
    /// Stacks as they were read, each with how many such facts there were then.
    pub(crate) walked: RefCell<BTreeMap<BranchName, Walked>>,
}

impl<'a> Act<'a> {
    fn begin(queue: &'a mut Queue, now: Millis, policy: &'a Policy) -> Self {
        let (at, is_timely) = (now.max(queue.now), now >= queue.now);
        Act {
            queue,
            policy,
            at,
            is_timely,
            facts: Vec::new(),
            events: Vec::new(),
            moved: BTreeMap::new(),
            ranks: BTreeMap::new(),
            stirred: 0,
            walked: RefCell::default(),
        }
    }

    fn finish(mut self) -> Step {
        self.tell_pressure();
        self.queue.assert_invariants();
        let told = self.tell_of_landings(self.at);
        Step { entry: Entry { at: self.at, facts: self.facts }, events: self.events, told }
    }

    /// The time, as far as it can be relied on: with a clock that was set back nobody waits for it.
    pub(crate) fn clock(&self) -> Option<Millis> {
        self.is_timely.then_some(self.at)
    }

    pub(crate) fn emit(&mut self, fact: Fact) {
        self.note_landing(&fact);
        self.stirred += usize::from(self.stirs(&fact));
        let index = u32::try_from(self.facts.len()).unwrap_or(u32::MAX);
        self.events.extend(self.queue.apply(self.at, &fact).map(|e| e.at(index)));
        self.facts.push(fact);
    }

    /// An announcement alone decides nothing until its head is in custody, and advice never does.
    fn has_consequences(&self) -> bool {
        let enforced = self.policy.definitions == Definitions::Enforce;
        !self.facts.iter().all(|f| match f {
            Fact::DefinitionsRead { .. } => !enforced,
            f => matches!(
                f,
                Fact::Announced { .. }
                    | Fact::Refused { .. }
                    | Fact::ReviewRefused { .. }
                    | Fact::Intended { .. }
                    | Fact::IntentWithdrawn { .. }
                    | Fact::GatePassed { .. }
            ),
        })
    }

    pub(crate) fn facts_so_far(&self) -> usize {
        self.facts.len()
    }

    pub(crate) fn stirred(&self) -> usize {
        self.stirred
    }

    /// Whether a fact can change how a stack is read. Runs do where a red one may be so together with others.
    fn stirs(&self, fact: &Fact) -> bool {
        match fact {
            Fact::Blocked { .. } | Fact::WindowSet { .. } | Fact::PressureSet { .. } => false,
            Fact::Testing { request, .. } => {
                let target = self.queue.live.get(request).map(|r| &r.target);
                target.is_none_or(|name| self.queue.batch_max(name, self.policy) > 1)
            }
            _ => true,
        }
    }

    pub(crate) fn is_landing(&self, id: RequestId) -> bool {
        self.queue.targets.values().any(|t| t.is_landing(id))
    }

    pub(crate) fn withdraw(&mut self, request: RequestId, by: String, intake: Option<IntakeSeq>) {
        if self.queue.live.contains_key(&request) && !self.is_landing(request) {
            self.emit(Fact::Withdrawn { request, by, intake });
        }
    }

    pub(crate) fn remote_answers(&mut self) {
        if self.queue.remote_lost.is_some() {
            self.emit(Fact::RemoteBack);
        }
    }

    fn remote_is_silent(&mut self, why: String) {
        if self.queue.remote_lost.is_none() {
            self.emit(Fact::RemoteLost { why });
        }
    }

    fn inspected(&mut self, request: RequestId, inspection: Inspection) {
        let Some(live) = self.queue.live.get(&request).filter(|r| r.custody().is_none()) else { return };
        let announced = live.announcement.commit;
        let head = match &inspection {
            Inspection::Pinned { head, .. } => Some(*head),
            Inspection::BranchMissing
            | Inspection::HeadMoved { .. }
            | Inspection::Unusable { .. }
            | Inspection::Crashed { .. } => announced,
        };
        if let Some(of) = self.known_as(request, head) {
            self.amend(of, request);
            self.emit(Fact::Repeated { request, of });
            return;
        }
        match inspection {
            Inspection::Pinned { head, merge_base, size, files, contained } => {
                let files = Arc::new(files);
                self.pin(request, Custody { head, merge_base, size, files }, contained);
            }
            Inspection::BranchMissing => self.fail(request, failure::branch_missing(live)),
            Inspection::HeadMoved { found } => self.fail(request, failure::head_changed(live, found)),
            Inspection::Crashed { why } => self.fail(request, failure::crashed(live, &why)),
            Inspection::Unusable { why } => self.fail(request, failure::unusable(live, &why)),
        }
    }

    /// The request that an arriving announcement repeats: the same (target, branch, head), pending or
    /// landed, unless it is held for what its agent may not and this one may; or ended otherwise, if it was announced before that end could be known. Without a head
    /// any request of the branch counts, since its work is in custody.
    fn known_as(&self, request: RequestId, head: Option<CommitId>) -> Option<RequestId> {
        let live = self.queue.live.get(&request)?;
        let key = (live.target.clone(), live.announcement.branch.clone());
        let same = |other: Option<CommitId>| head.is_none() || other == head;
        let pending = self.queue.index.by_branch.get(&key).into_iter().flatten().rev().find(|id| {
            let other = self.queue.live.get(id).and_then(|r| r.custody());
            let repeats = **id != request && other.is_some_and(|c| same(Some(c.head)));
            repeats && (head.is_none() || !self.queue.has_the_right(request, **id))
        });
        let ended = || {
            self.queue.index.ended_by_branch.get(&key).into_iter().flatten().rev().find(|id| {
                self.queue.ended.get(id).is_some_and(|e| {
                    let landed = e.is_on_target() && head.is_some();
                    same(e.head) && (landed || live.published <= e.unknown_until.unwrap_or(e.at))
                })
            })
        };
        pending.or_else(ended).copied()
    }

    fn pin(&mut self, request: RequestId, custody: Custody, contained: bool) {
        let Some(live) = self.queue.live.get(&request) else { return };
        let target = live.target.clone();
        let rank = self.queue.rank_of_new(request, live, &custody, self.policy);
        let position = self.take_position(rank, &target);
        let Custody { head, merge_base, size, files } = custody;
        let files = Arc::unwrap_or_clone(files);
        self.emit(Fact::Pinned { request, head, merge_base, size, files, position });
        let seen = self.queue.targets.get(&target).and_then(|t| Some((t.tip?, t.tree?)));
        if let (true, Some((tip, tree))) = (contained && !self.is_frozen(&target), seen) {
            let gate = GateEvidence { run: None, gate: None, seconds: 0.0, reused: false, flaky: Vec::new() };
            self.emit(Fact::Landed { request, commit: None, tree, base: tip, gate, rollup: None });
        }
    }

    /// The place of a newcomer in the queue, from 1. The ranks are sorted once for all newcomers of
    /// a step; one that ends in the same step still counts.
    fn take_position(&mut self, rank: Rank, name: &BranchName) -> u32 {
        let (queue, policy) = (&*self.queue, self.policy);
        let ranks = self.ranks.entry(name.clone()).or_insert_with(|| queue.waiting_ranks(name, policy));
        let ahead = ranks.partition_point(|r| *r < rank);
        ranks.insert(ahead, rank);
        let stack = queue.targets.get(name).map_or(0, |t| t.stack.len());
        u32::try_from(stack + ahead + 1).unwrap_or(u32::MAX)
    }

    pub(crate) fn seen(&mut self, name: &BranchName, sighting: &Sighting, project: Result<Project, String>) {
        let landing = self.queue.targets.get(name).and_then(|t| t.landing.clone());
        let mut arrived = false;
        if let Some(Landing { from, requests, .. }) = landing {
            let mut base = from;
            for (request, commit) in requests {
                if sighting.contains.contains(&commit) {
                    self.land(name, request, commit, base);
                    arrived = true;
                }
                base = commit;
            }
        }
        let target = self.queue.targets.get(name);
        let is_news = target.is_none_or(|t| t.tip != Some(sighting.tip) || t.project != project);
        if is_news || arrived {
            let (tip, tree, movement) = (sighting.tip, sighting.tree, sighting.movement);
            let from = target.and_then(|t| t.tip);
            self.emit(Fact::TargetSeen { target: name.clone(), tip, tree, movement, project });
            self.moved_back(name, from, sighting);
        }
    }

    fn assembled(&mut self, name: &BranchName, merges: Vec<yardmaster_protocol::Assembled>) {
        for merge in merges {
            let known = self.queue.targets.get(name).is_none_or(|t| {
                t.assemblies.contains_key(&(merge.base, merge.request))
                    || !(t.stack.contains(&merge.request) || t.compared.is_hopeless(merge.request))
            });
            if !known {
                let (request, base, assembly) = (merge.request, merge.base, merge.assembly);
                self.emit(Fact::Assembled { request, base, assembly });
            }
        }
    }

    fn run_ended(&mut self, report: RunReport) {
        if self.queue.targets.values().any(|t| t.runs.contains_key(&report.run)) {
            let RunReport { run, outcome, ms, steps, .. } = report;
            self.emit(Fact::RunEnded { run, outcome, ms, steps });
        }
    }

    fn land_ended(
        &mut self,
        name: &BranchName,
        to: CommitId,
        outcome: LandOutcome,
        project: Result<Project, String>,
    ) {
        let current = self.queue.targets.get(name).and_then(|t| t.landing.as_ref());
        if current.is_none_or(|l| l.to != to) {
            return;
        }
        match outcome {
            LandOutcome::Unknown { why } => self.remote_is_silent(why),
            LandOutcome::Landed { seen } | LandOutcome::Moved { seen } => {
                self.remote_answers();
                self.seen(name, &seen, project);
                self.give_up_landing(name, "the target had moved", false);
            }
            LandOutcome::Altered { why, seen } => self.altered(name, why, &seen, project),
            LandOutcome::Declined { why, seen } => {
                self.remote_answers();
                self.seen(name, &seen, project);
                self.declined(name, &why);
            }
        }
    }

    fn declined(&mut self, name: &BranchName, why: &str) {
        let Some(landing) = self.queue.targets.get(name).and_then(|t| t.landing.clone()) else { return };
        self.give_up_landing(name, why, true);
        let unit = |id: &RequestId| self.queue.live.get(id).and_then(|r| r.unit);
        let first = landing.requests.first().and_then(|(id, _)| unit(id));
        // Those that land together or not at all cannot be tried one by one.
        let is_one = landing.requests.len() < 2
            || (first.is_some() && landing.requests.iter().all(|(id, _)| unit(id) == first));
        if is_one {
            let mates = |of: &RequestId| {
                let mates = landing.requests.iter().filter(|(id, _)| id != of);
                mates.map(|(id, _)| id.to_string()).collect::<Vec<_>>()
            };
            let told = |(id, commit): &(RequestId, CommitId)| {
                let live = self.queue.live.get(id)?;
                Some((*id, failure::push_refused(live, *commit, why, &mates(id))))
            };
            let told = landing.requests.iter().filter_map(told).collect();
            self.fail_together(told);
        }
    }

    /// A push that was decided on against another tip can only be refused.
    fn landing_is_overtaken(&mut self, name: &BranchName) {
        let overtaken = self
            .queue
            .targets
            .get(name)
            .is_some_and(|t| t.landing.as_ref().is_some_and(|l| t.tip.is_some_and(|tip| tip != l.from)));
        if overtaken {
            self.give_up_landing(name, "the target had moved", false);
        }
    }

    pub(crate) fn give_up_landing(&mut self, name: &BranchName, why: &str, declined: bool) {
        if self.queue.targets.get(name).is_some_and(|t| t.landing.is_some()) {
            self.emit(Fact::LandingEnded { target: name.clone(), why: why.to_owned(), declined });
        }
    }
}
