mod requests;
mod runs;
mod targets;

use std::collections::{BTreeMap, BTreeSet};

use yardmaster_protocol::{
    Announcement, BranchName, CommitId, Event, Fact, Gate, GateId, IntakeSeq, Millis, Priority, Project,
    RequestId, RunId, TreeId,
};
use yardmaster_queue::{GateRule, Policy, Step};

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
    /// Everybody in a candidate, by its commit; and in any candidate of a tree.
    pub(crate) members: BTreeMap<CommitId, BTreeSet<RequestId>>,
    pub(crate) in_tree: BTreeMap<TreeId, BTreeSet<RequestId>>,
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
            Fact::Announced { .. }
            | Fact::Refused { .. }
            | Fact::Repeated { .. }
            | Fact::Pinned { .. }
            | Fact::Amended { .. }
            | Fact::Intended { .. }
            | Fact::IntentWithdrawn { .. }
            | Fact::GatePassed { .. } => self.told_by_agents(truth, fact),
            Fact::Reviewed { .. } | Fact::ReviewRefused { .. } => self.reviewed(fact),
            Fact::Testing { .. }
            | Fact::BaseTesting { .. }
            | Fact::RunEnded { .. }
            | Fact::RunDropped { .. }
            | Fact::Assembled { .. }
            | Fact::Suspected { .. }
            | Fact::Carried { .. } => self.tried(truth, fact),
            Fact::Landed { .. } | Fact::Failed { .. } | Fact::Withdrawn { .. } | Fact::Superseded { .. } => {
                self.ended(truth, fact)
            }
            Fact::Blocked { .. } | Fact::Promoted { .. } | Fact::Displaced { .. } | Fact::Stacked { .. } => {
                self.placed(truth, fact)
            }
            Fact::TargetSeen { .. }
            | Fact::TargetRed { .. }
            | Fact::TargetGreen { .. }
            | Fact::LandingStarted { .. }
            | Fact::LandingEnded { .. }
            | Fact::FellOff { .. } => self.of_target(truth, fact),
            Fact::Frozen { .. }
            | Fact::Unfrozen { .. }
            | Fact::Paused { .. }
            | Fact::Resumed { .. }
            | Fact::Stalled { .. }
            | Fact::WindowSet { .. } => self.held(truth, fact),
            Fact::WentOn { .. }
            | Fact::PressureSet { .. }
            | Fact::RunnersSeen { .. }
            | Fact::RemoteLost { .. }
            | Fact::RemoteBack
            | Fact::Compared { .. }
            | Fact::RolledUp { .. }
            | Fact::DefinitionsRead { .. }
            | Fact::CandidatesLost { .. } => Ok(()),
        }
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
