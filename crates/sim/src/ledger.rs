use std::collections::{BTreeMap, BTreeSet};

use yardmaster_protocol::{
    Announcement, Assembly, Blocker, BlockerKind, BranchName, CommitId, Event, Fact, Gate, GateId, IntakeSeq,
    Millis, Priority, Project, RequestId, RunId, RunOutcome, TreeId,
};
use yardmaster_queue::{GateRule, Guarantee, Policy, Step};

use crate::gate::GateRules;
use crate::git::Git;
use crate::remote::Remote;
use crate::rights::Said;
use crate::told::must_be_told;
use crate::violation::Violation;

/// No toy gate takes longer, in milliseconds.
const LONGEST_GATE: u64 = 60_000;

/// What the checks may look at besides the facts: the truth that the queue cannot see.
pub(crate) struct Truth<'a> {
    pub(crate) git: &'a Git,
    pub(crate) remote: &'a Remote,
    pub(crate) rules: &'a GateRules,
    pub(crate) policy: &'a Policy,
    /// Every tip that each target ever had.
    pub(crate) tips_had: &'a BTreeMap<BranchName, Vec<CommitId>>,
    /// Branches that somebody took back at some time.
    pub(crate) withdrawn: &'a BTreeSet<BranchName>,
    /// Trees of which a gate said what is not so.
    pub(crate) flaked: &'a BTreeSet<TreeId>,
    /// The server's time.
    pub(crate) now: Millis,
    /// Branches that were missing at some time.
    pub(crate) missing: &'a BTreeSet<BranchName>,
    /// A target went backwards at some time.
    pub(crate) rewound: bool,
}

/// A second, independent account of everything that the journal says, for the checks.
#[derive(Default, Clone)]
pub(crate) struct Ledger {
    pub(crate) requests: BTreeMap<RequestId, Record>,
    pub(crate) tips: BTreeMap<BranchName, CommitId>,
    pub(crate) projects: BTreeMap<BranchName, Project>,
    pub(crate) answered: BTreeSet<IntakeSeq>,
    pub(crate) greens: BTreeSet<(TreeId, GateId)>,
    pub(crate) lost: BTreeMap<TreeId, u32>,
    pub(crate) landed_heads: BTreeMap<(BranchName, CommitId), RequestId>,
    /// Landed, and not on the target any more.
    pub(crate) fell_off: BTreeSet<RequestId>,
    /// The tree of the top of the push that each was last part of.
    pub(crate) pushed_trees: BTreeMap<RequestId, TreeId>,
    /// Those that land with others or not at all, by the name of their unit.
    pub(crate) units: BTreeMap<RequestId, RequestId>,
    /// Being pushed; true: something fell off meanwhile, and the push could not be called back.
    pub(crate) pushed: BTreeMap<RequestId, bool>,
    /// Targets that stand still.
    pub(crate) frozen: BTreeSet<BranchName>,
    pub(crate) runs: BTreeMap<RunId, Asked>,
    /// Pushes that were decided on, with the gate that judged them.
    pub(crate) landings: BTreeMap<(BranchName, CommitId, CommitId), Gate>,
    /// Those of them of which only the tip was tested.
    pub(crate) by_push: BTreeSet<(BranchName, CommitId, CommitId)>,
    /// Whose candidates have a tree.
    pub(crate) made: BTreeMap<TreeId, BTreeSet<RequestId>>,
    /// Requests that were red, lost or in conflict somewhere, or did not stand where they did.
    pub(crate) doubtful: BTreeSet<RequestId>,
    pub(crate) reds: BTreeSet<(TreeId, GateId)>,
    /// Targets whose tip was told to be red.
    pub(crate) told_red: BTreeMap<BranchName, CommitId>,
    /// Runs of each tree that were lost, by target and gate.
    pub(crate) tries: BTreeMap<(BranchName, TreeId, GateId), u32>,
    /// How long runs took.
    pub(crate) took: BTreeMap<RunId, u64>,
    /// Those that have a place, in the order in which they got it.
    pub(crate) stacked: Vec<RequestId>,
    /// When somebody ended, by the server's clock.
    pub(crate) last_end: u64,
    /// Paused targets, with the class that still gets a place.
    pub(crate) paused: BTreeMap<BranchName, Option<Priority>>,
    /// Those that were announced again with other words.
    pub(crate) amended: BTreeSet<RequestId>,
    /// Those that waited apart in their place.
    pub(crate) was_apart: BTreeSet<RequestId>,
    /// Who was told last that it waits apart.
    pub(crate) told_apart: BTreeSet<RequestId>,
    /// How often another policy came.
    pub(crate) reloads: u32,
    /// Targets whose tip, or something on it, was red for a while.
    pub(crate) was_red: BTreeSet<BranchName>,
    /// Those that an operator moved to the front; smaller stands further in front.
    pub(crate) turns: BTreeMap<RequestId, (u64, u32)>,
    /// Those that gave up a place for one of them.
    pub(crate) displaced: BTreeSet<RequestId>,
    /// What reviewers have said.
    pub(crate) said: Said,
    pub(crate) reviews_answered: BTreeSet<IntakeSeq>,
    /// How often each target moved other than by a landing of ours.
    pub(crate) moves: BTreeMap<BranchName, u32>,
}

/// A run that was asked for.
#[derive(Clone)]
pub(crate) struct Asked {
    /// Whose; none: of the target's own tip.
    pub(crate) request: Option<RequestId>,
    pub(crate) target: BranchName,
    pub(crate) tree: TreeId,
    pub(crate) gate: GateId,
    pub(crate) candidate: CommitId,
    pub(crate) behind: Vec<RequestId>,
    /// How often the target had moved by then.
    pub(crate) moves: u32,
    /// When, by the server's clock.
    pub(crate) at: Millis,
}

/// One request as the ledger knows it.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) announcement: Announcement,
    pub(crate) target: BranchName,
    pub(crate) intake: IntakeSeq,
    pub(crate) head: Option<CommitId>,
    pub(crate) events: u32,
    pub(crate) end: Option<End>,
    /// Its terminal event was published.
    pub(crate) told: bool,
    /// Its head is in custody.
    pub(crate) pinned: bool,
    /// What it touches.
    pub(crate) files: BTreeSet<String>,
    /// Where it landed.
    pub(crate) commit: Option<CommitId>,
    /// The commit on the first-parent history that brought it there, where that is another one.
    pub(crate) rollup: Option<CommitId>,
    /// The server's time of its announcement.
    pub(crate) sent: Millis,
    /// The server's time of its end.
    pub(crate) until: Millis,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Landed,
    Failed,
    Withdrawn,
    Superseded(RequestId),
    Repeated,
}

impl Ledger {
    /// Takes one step into account and checks it. `adds`: the input only added work.
    pub(crate) fn observe(&mut self, truth: &Truth, adds: bool, step: &Step) -> Result<(), Violation> {
        let ends = |f: &Fact| {
            matches!(
                f,
                Fact::Superseded { .. }
                    | Fact::Withdrawn { .. }
                    | Fact::Failed { .. }
                    | Fact::Landed { .. }
                    | Fact::Amended { .. }
            )
        };
        let comes_in_front =
            |f: &Fact| matches!(f, Fact::Stacked { request, .. } if self.turns.contains_key(request));
        let only_adds = adds && !step.entry.facts.iter().any(|f| ends(f) || comes_in_front(f));
        let mut orphans = Vec::new();
        if step.entry.facts.iter().any(ends) {
            self.last_end = truth.now.0;
        }
        for (index, fact) in step.entry.facts.iter().enumerate() {
            if let (Fact::RunDropped { run }, true) = (fact, only_adds)
                && self.runs.get(run).is_some_and(|asked| !self.has_another_policy(truth, asked))
            {
                return Err(Violation::new(
                    "adding a request never stops a run",
                    format!("{run} was dropped by an announcement"),
                ));
            }
            self.fact(truth, fact)?;
            must_be_told(fact, index, step)?;
            if let Fact::Failed { request, .. } = fact {
                orphans.extend(self.orphans(*request));
            }
        }
        let left = orphans.into_iter().find(|id| self.requests.get(id).is_some_and(|r| r.end.is_none()));
        let rule = "who depends on what failed fails with it";
        Violation::unless(left.is_none(), rule, || format!("{left:?} is still live"))?;
        for event in &step.events {
            let fact = usize::try_from(event.index).ok().and_then(|i| step.entry.facts.get(i));
            Violation::unless(fact.is_some(), "every event has its fact", || format!("{event:?}"))?;
            self.event(&event.event)?;
        }
        Ok(())
    }

    fn fact(&mut self, truth: &Truth, fact: &Fact) -> Result<(), Violation> {
        match fact {
            Fact::Announced { .. } => self.announced(fact),
            Fact::Refused { intake, .. } => self.answer(*intake),
            Fact::Repeated { request, of } => {
                self.is_repetition(*request, *of)?;
                self.end(*request, End::Repeated)
            }
            Fact::Pinned { request, head, files, .. } => {
                self.is_no_repetition(truth, *request, *head)?;
                let record = self.live(*request)?;
                record.head = Some(*head);
                record.pinned = true;
                record.files = files.iter().cloned().collect();
                let intake = record.intake;
                self.answer(intake)
            }
            Fact::Testing { .. } | Fact::BaseTesting { .. } => self.asked(truth, fact),
            Fact::RunEnded { run, outcome, ms, .. } => {
                self.took.insert(run.clone(), *ms);
                self.run_ended(run, outcome);
                Ok(())
            }
            Fact::RunDropped { run } => self.is_useless(truth, run),
            Fact::Stalled { why, .. } => {
                let still = truth.now.0.saturating_sub(self.last_end);
                let rule = "nobody calls a stall what one gate may take";
                Violation::unless(still > LONGEST_GATE, rule, || why.clone())
            }
            Fact::WentOn { .. } | Fact::PressureSet { .. } | Fact::RunnersSeen { .. } => Ok(()),
            Fact::Intended { intake, .. }
            | Fact::IntentWithdrawn { intake, .. }
            | Fact::GatePassed { intake, .. } => self.answer(*intake),
            Fact::Landed { .. } => self.landed(truth, fact),
            Fact::Failed { request, failure } => {
                self.just(truth, *request, failure)?;
                self.end_at(truth, *request);
                self.end(*request, End::Failed)
            }
            Fact::Withdrawn { request, intake, .. } => {
                let branch = self.live(*request)?.announcement.branch.clone();
                let meant = truth.withdrawn.contains(&branch);
                Violation::unless(meant, "only who takes back is withdrawn", || branch.to_string())?;
                self.answered.extend(*intake);
                self.end(*request, End::Withdrawn)
            }
            Fact::Superseded { request, by } => {
                self.is_newer(truth, *request, *by)?;
                self.end(*request, End::Superseded(*by))
            }
            Fact::Blocked { request, blockers } => {
                let apart = |b: &Blocker| {
                    use BlockerKind::{Dependency, Review, Scope, TargetRed};
                    matches!(b.kind, Dependency | TargetRed | Scope | Review)
                };
                if blockers.iter().any(apart) {
                    self.told_apart.insert(*request);
                    self.was_apart.extend(self.stacked.contains(request).then_some(*request));
                } else {
                    self.told_apart.remove(request);
                }
                Ok(())
            }
            Fact::Amended { request, depends_on, .. } => {
                self.live(*request)?.announcement.depends_on.clone_from(depends_on);
                self.amended.insert(*request);
                Ok(())
            }
            Fact::Promoted { request, turn, place, needed_by, .. } => {
                self.is_movable(*request, *needed_by)?;
                self.turns.insert(*request, (u64::MAX - turn, *place));
                Ok(())
            }
            Fact::Displaced { request, by } => {
                self.gives_way(truth, *request, *by)?;
                self.stacked.retain(|r| r != request);
                self.displaced.insert(*request);
                Ok(())
            }
            Fact::Stacked { request, unit } => {
                self.units.extend(unit.map(|unit| (*request, unit)));
                self.is_let_in(*request)?;
                self.was_apart.extend(self.told_apart.get(request));
                self.stacked.push(*request);
                Ok(())
            }
            Fact::Assembled { request, assembly, .. } => {
                if let Assembly::Clean { tree, .. } = assembly {
                    self.made.entry(*tree).or_default().insert(*request);
                }
                if matches!(assembly, Assembly::Conflict { .. }) {
                    self.doubtful.insert(*request);
                }
                Ok(())
            }
            Fact::WindowSet { window, .. } => Self::is_window(truth, *window),
            Fact::FellOff { requests, .. } => {
                self.fell_off.extend(requests);
                self.pushed.values_mut().for_each(|late| *late = true);
                let landed = |r: &RequestId| self.requests.get(r).is_some_and(|r| r.end == Some(End::Landed));
                let all = requests.iter().all(landed);
                Violation::unless(all, "only what had landed falls off", || format!("{requests:?}"))
            }
            Fact::RemoteLost { .. }
            | Fact::RemoteBack
            | Fact::Compared { .. }
            | Fact::RolledUp { .. }
            | Fact::DefinitionsRead { .. }
            | Fact::CandidatesLost { .. } => Ok(()),
            Fact::Reviewed { .. } | Fact::ReviewRefused { .. } => self.reviewed(fact),
            Fact::Suspected { run, requests, with, .. } => self.is_suspected_rightly(run, requests, with),
            Fact::Carried { request, .. } => Err(Violation::new(
                "no verdict is carried over where nobody declares it",
                request.to_string(),
            )),
            Fact::TargetSeen { .. }
            | Fact::TargetRed { .. }
            | Fact::TargetGreen { .. }
            | Fact::LandingStarted { .. }
            | Fact::LandingEnded { .. }
            | Fact::Frozen { .. }
            | Fact::Unfrozen { .. } => self.of_target(truth, fact),
            Fact::Paused { target, except, .. } => {
                self.paused.insert(target.clone(), *except);
                Ok(())
            }
            Fact::Resumed { target, .. } => {
                self.paused.remove(target);
                Ok(())
            }
        }
    }

    fn announced(&mut self, fact: &Fact) -> Result<(), Violation> {
        let Fact::Announced { request, intake, target, announcement, published, .. } = fact else {
            return Ok(());
        };
        let record = Record {
            announcement: (**announcement).clone(),
            target: target.clone(),
            intake: *intake,
            head: announcement.commit,
            events: 0,
            end: None,
            told: false,
            pinned: false,
            files: BTreeSet::new(),
            commit: None,
            rollup: None,
            sent: *published,
            until: Millis(u64::MAX),
        };
        let before = self.requests.insert(*request, record);
        Violation::unless(before.is_none(), "an id is given once", || request.to_string())
    }

    /// A run was asked for: of a candidate, or of a target's own tip.
    fn asked(&mut self, truth: &Truth, fact: &Fact) -> Result<(), Violation> {
        let (run, asked) = match fact {
            Fact::Testing { run, candidate, tree, gate, request, behind, .. } => {
                let target = self.live(*request)?.target.clone();
                let moves = self.moves.get(&target).copied().unwrap_or(0);
                let asked = Asked {
                    request: Some(*request),
                    target,
                    tree: *tree,
                    gate: gate.id(),
                    candidate: *candidate,
                    behind: behind.clone(),
                    moves,
                    at: truth.now,
                };
                self.is_asked_rightly(truth, fact, &asked)?;
                self.is_kept_apart(truth, &asked)?;
                self.is_in_turn(&asked)?;
                self.meets_nobody(truth, &asked)?;
                (run, asked)
            }
            Fact::BaseTesting { target, run, commit, tree, gate, .. } => {
                let asked = Asked {
                    request: None,
                    target: target.clone(),
                    tree: *tree,
                    gate: gate.id(),
                    candidate: *commit,
                    behind: Vec::new(),
                    moves: 0,
                    at: truth.now,
                };
                (run, asked)
            }
            _ => return Ok(()),
        };
        let before = self.runs.insert(run.clone(), asked);
        Violation::unless(before.is_none(), "every run has an id of its own", || run.to_string())
    }

    /// What is said of a target, not of one request.
    fn of_target(&mut self, truth: &Truth, fact: &Fact) -> Result<(), Violation> {
        match fact {
            Fact::TargetSeen { target, tip, project, .. } => {
                let before = self.tips.insert(target.clone(), *tip);
                let own = |from| self.landings.contains_key(&(target.clone(), from, *tip));
                if before != Some(*tip) && !before.is_some_and(own) {
                    *self.moves.entry(target.clone()).or_default() += 1;
                }
                self.projects.insert(target.clone(), project.clone().unwrap_or_default());
                Ok(())
            }
            Fact::TargetRed { target, commit, .. } => {
                self.was_red.insert(target.clone());
                let before = self.told_red.insert(target.clone(), *commit);
                Violation::unless(before != Some(*commit), "a red tip is told once", || target.to_string())?;
                self.tip_is(truth, target, *commit, false)
            }
            Fact::TargetGreen { target, commit } => {
                let before = self.told_red.remove(target);
                Violation::unless(before.is_some(), "green is told of what was red", || target.to_string())?;
                self.tip_is(truth, target, *commit, true)
            }
            Fact::LandingStarted { target, landing } => {
                let gate = self.gate(truth.policy, target);
                let based = self.tips.get(target) == Some(&landing.from);
                Violation::unless(based, "pushes start from the tip that is known", || {
                    format!("{landing:?}")
                })?;
                let frozen = self.frozen.contains(target);
                Violation::unless(!frozen, "nothing is pushed to a frozen target", || target.to_string())?;
                let mut barred =
                    landing.requests.iter().filter_map(|(r, _)| self.bar(truth, *r, landing.from));
                if let Some((rule, found)) = barred.next() {
                    return Err(Violation::new(rule, found));
                }
                let key = (target.clone(), landing.from, landing.to);
                if truth.policy.guarantee == Guarantee::EveryPush {
                    self.by_push.insert(key.clone());
                }
                self.landings.insert(key, gate);
                self.pushed_trees
                    .extend(landing.requests.iter().map(|(request, _)| (*request, landing.tree)));
                self.pushed.extend(landing.requests.iter().map(|(request, _)| (*request, false)));
                Ok(())
            }
            Fact::LandingEnded { target, .. } => {
                let requests = &self.requests;
                self.pushed.retain(|r, _| requests.get(r).is_some_and(|r| r.target != *target));
                Ok(())
            }
            Fact::Frozen { target, .. } => {
                self.frozen.insert(target.clone());
                Ok(())
            }
            Fact::Unfrozen { target, .. } => {
                self.frozen.remove(target);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn tip_is(
        &self,
        truth: &Truth,
        target: &BranchName,
        tip: CommitId,
        green: bool,
    ) -> Result<(), Violation> {
        let gate = self.gate(truth.policy, target);
        let flaked = truth.flaked.contains(&truth.git.tree(tip));
        let so = flaked || truth.rules.is_green(&truth.git.files(tip), &gate) == green;
        Violation::unless(so, "what is told of a tip is so", || truth.git.name(tip))
    }

    fn answer(&mut self, intake: IntakeSeq) -> Result<(), Violation> {
        let first = self.answered.insert(intake);
        Violation::unless(first, "a message is answered once", || format!("message {} twice", intake.0))
    }

    pub(crate) fn live(&mut self, request: RequestId) -> Result<&mut Record, Violation> {
        self.requests
            .get_mut(&request)
            .filter(|r| r.end.is_none())
            .ok_or_else(|| Violation::new("nothing happens to a request after its end", request.to_string()))
    }

    fn end(&mut self, request: RequestId, end: End) -> Result<(), Violation> {
        let record = self.live(request)?;
        record.end = Some(end);
        let intake = record.intake;
        self.answered.insert(intake);
        Ok(())
    }

    fn run_ended(&mut self, run: &RunId, outcome: &RunOutcome) {
        let Some(Asked { request, target, tree, gate, .. }) = self.runs.get(run).cloned() else { return };
        if *outcome != RunOutcome::Green {
            self.doubtful.extend(request);
            self.doubtful.extend(self.made.get(&tree).into_iter().flatten());
        }
        match outcome {
            RunOutcome::Green => {
                self.greens.insert((tree, gate));
            }
            RunOutcome::Lost { .. } | RunOutcome::Cancelled => {
                *self.lost.entry(tree).or_default() += 1;
                *self.tries.entry((target, tree, gate)).or_default() += 1;
            }
            RunOutcome::Red { .. } | RunOutcome::TimedOut { .. } => {
                self.reds.insert((tree, gate));
            }
        }
    }

    fn landed(&mut self, truth: &Truth, fact: &Fact) -> Result<(), Violation> {
        let Fact::Landed { request, commit, tree, rollup, .. } = fact else { return Ok(()) };
        if commit.is_some() {
            self.needs_have_landed(*request)?;
            self.is_tested_as_told(fact)?;
        }
        let record = self.live(*request)?;
        let (target, head) = (record.target.clone(), record.head);
        let shown = head.map(|h| truth.git.name(h)).unwrap_or_default();
        let on_target = |commit: CommitId| {
            truth.tips_had.get(&target).is_some_and(|t| t.iter().any(|t| truth.git.contains(*t, commit)))
        };
        if let Some(commit) = commit {
            Violation::unless(truth.git.tree(*commit) == *tree, "the told tree is the commit's", || {
                format!("{request} ({shown})")
            })?;
            Violation::unless(on_target(*commit), "landed means on the target", || {
                format!("{request} ({shown})")
            })?;
            let key = (target.clone(), head.unwrap_or(*commit));
            let earlier = self.landed_heads.insert(key, *request);
            Violation::unless(earlier.is_none() || truth.rewound, "no content lands twice", || {
                format!("{request} and {earlier:?} ({shown})")
            })?;
        }
        Violation::unless(
            head.is_some_and(on_target),
            "landed means that the head is on the target",
            || format!("{request} ({shown})"),
        )?;
        self.end_at(truth, *request);
        if let Some(record) = self.requests.get_mut(request) {
            (record.commit, record.rollup) = (*commit, *rollup);
        }
        self.end(*request, End::Landed)
    }

    fn end_at(&mut self, truth: &Truth, request: RequestId) {
        if let Some(record) = self.requests.get_mut(&request) {
            record.until = truth.now;
        }
    }

    /// Whether the message needs no other answer than what is in custody: its head is pinned, or it is
    /// answered.
    pub(crate) fn is_held(&self, seq: IntakeSeq, pins: &BTreeSet<RequestId>) -> bool {
        let live = self.requests.iter().find(|(_, r)| r.intake == seq && r.end.is_none());
        self.answered.contains(&seq) && live.is_none_or(|(id, r)| r.pinned && pins.contains(id))
    }

    pub(crate) fn is_named(&self, id: RequestId, record: &Record, name: &str) -> bool {
        let a = &record.announcement;
        a.requirement.as_str() == name || a.branch.as_str() == name || id.to_string() == name
    }

    fn event(&mut self, event: &Event) -> Result<(), Violation> {
        let Some(about) = &event.about else { return Ok(()) };
        let Some(record) = self.requests.get_mut(&about.request) else {
            return Err(Violation::new("events are about requests", about.request.to_string()));
        };
        record.events += 1;
        let found = || format!("{} has seq {} as event {}", about.request, about.seq, record.events);
        Violation::unless(record.events == about.seq, "events count from 1 without a gap", found)?;
        let after_end = record.told;
        record.told |= event.body.is_terminal();
        Violation::unless(!after_end, "a terminal event is the last one", || about.request.to_string())
    }

    /// The gate that judges candidates for `target` now.
    pub(crate) fn gate(&self, policy: &Policy, target: &BranchName) -> Gate {
        match &policy.gate {
            GateRule::Fixed(gate) => gate.clone(),
            GateRule::FromTarget => {
                self.projects.get(target).and_then(|p| p.gate.clone()).unwrap_or_default()
            }
        }
    }
}
