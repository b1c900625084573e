use std::collections::{BTreeMap, BTreeSet};

use yardmaster_protocol::{
    Announcement, BranchName, CommitId, Event, Fact, Gate, GateId, IntakeSeq, Project, RequestId, RunId,
    RunOutcome, TreeId,
};
use yardmaster_queue::{GateRule, Policy, Step};

use crate::gate::GateRules;
use crate::git::Git;
use crate::remote::Remote;
use crate::violation::Violation;

/// What the checks may look at besides the facts: the truth that the queue cannot see.
pub(crate) struct Truth<'a> {
    pub(crate) git: &'a Git,
    pub(crate) remote: &'a Remote,
    pub(crate) rules: &'a GateRules,
    pub(crate) policy: &'a Policy,
    /// Every tip that each target ever had.
    pub(crate) tips_had: &'a BTreeMap<BranchName, Vec<CommitId>>,
    /// Branches that were missing at some time.
    pub(crate) missing: &'a BTreeSet<BranchName>,
    /// A target went backwards at some time.
    pub(crate) rewound: bool,
}

/// A second, independent account of everything that the journal says, for the checks.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) requests: BTreeMap<RequestId, Record>,
    pub(crate) tips: BTreeMap<BranchName, CommitId>,
    pub(crate) projects: BTreeMap<BranchName, Project>,
    pub(crate) answered: BTreeSet<IntakeSeq>,
    pub(crate) greens: BTreeSet<(TreeId, GateId)>,
    pub(crate) lost: BTreeMap<TreeId, u32>,
    pub(crate) landed_heads: BTreeMap<(BranchName, CommitId), RequestId>,
    pub(crate) runs: BTreeMap<RunId, (TreeId, GateId)>,
    /// Landed, and not on the target any more.
    pub(crate) fell_off: BTreeSet<RequestId>,
    /// Targets that stand still.
    pub(crate) frozen: BTreeSet<BranchName>,
}

/// One request as the ledger knows it.
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
                Fact::Superseded { .. } | Fact::Withdrawn { .. } | Fact::Failed { .. } | Fact::Landed { .. }
            )
        };
        let only_adds = adds && !step.entry.facts.iter().any(ends);
        let mut orphans = Vec::new();
        for fact in &step.entry.facts {
            if let (Fact::RunDropped { run }, true) = (fact, only_adds) {
                return Err(Violation::new(
                    "adding a request never stops a run",
                    format!("{run} was dropped by an announcement"),
                ));
            }
            self.fact(truth, fact)?;
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
            Fact::Announced { request, intake, target, announcement, .. } => {
                let record = Record {
                    announcement: (**announcement).clone(),
                    target: target.clone(),
                    intake: *intake,
                    head: announcement.commit,
                    events: 0,
                    end: None,
                    told: false,
                    pinned: false,
                };
                let before = self.requests.insert(*request, record);
                Violation::unless(before.is_none(), "an id is given once", || request.to_string())
            }
            Fact::Refused { intake, .. } => self.answer(*intake),
            Fact::Repeated { request, .. } => self.end(*request, End::Repeated),
            Fact::Pinned { request, head, .. } => {
                self.is_no_repetition(*request, *head)?;
                let record = self.live(*request)?;
                record.head = Some(*head);
                record.pinned = true;
                let intake = record.intake;
                self.answer(intake)
            }
            Fact::TargetSeen { target, tip, project, .. } => {
                self.tips.insert(target.clone(), *tip);
                self.projects.insert(target.clone(), project.clone().unwrap_or_default());
                Ok(())
            }
            Fact::Testing { run, tree, gate, request, .. } => {
                self.live(*request)?;
                let before = self.runs.insert(run.clone(), (*tree, gate.id()));
                Violation::unless(before.is_none(), "every run has an id of its own", || run.to_string())
            }
            Fact::BaseTesting { run, tree, gate, .. } => {
                let before = self.runs.insert(run.clone(), (*tree, gate.id()));
                Violation::unless(before.is_none(), "every run has an id of its own", || run.to_string())
            }
            Fact::TargetRed { target, commit, .. } => self.tip_is(truth, target, *commit, false),
            Fact::TargetGreen { target, commit } => self.tip_is(truth, target, *commit, true),
            Fact::RunEnded { run, outcome, .. } => {
                self.run_ended(run, outcome);
                Ok(())
            }
            Fact::Landed { .. } => self.landed(truth, fact),
            Fact::Failed { request, failure } => {
                self.just(truth, *request, failure)?;
                self.end(*request, End::Failed)
            }
            Fact::Withdrawn { request, intake, .. } => {
                self.answered.extend(*intake);
                self.end(*request, End::Withdrawn)
            }
            Fact::Superseded { request, by } => self.end(*request, End::Superseded(*by)),
            Fact::LandingStarted { target, .. } => {
                let frozen = self.frozen.contains(target);
                Violation::unless(!frozen, "nothing is pushed to a frozen target", || target.to_string())
            }
            Fact::Frozen { target, .. } => {
                self.frozen.insert(target.clone());
                Ok(())
            }
            Fact::Unfrozen { target, .. } => {
                self.frozen.remove(target);
                Ok(())
            }
            Fact::FellOff { requests, .. } => {
                self.fell_off.extend(requests);
                let landed = |r: &RequestId| self.requests.get(r).is_some_and(|r| r.end == Some(End::Landed));
                let all = requests.iter().all(landed);
                Violation::unless(all, "only what had landed falls off", || format!("{requests:?}"))
            }
            Fact::RemoteLost { .. }
            | Fact::RemoteBack
            | Fact::Stacked { .. }
            | Fact::Assembled { .. }
            | Fact::RunDropped { .. }
            | Fact::LandingEnded { .. }
            | Fact::Blocked { .. }
            | Fact::WindowSet { .. }
            | Fact::CandidatesLost { .. } => Ok(()),
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
        let so = truth.rules.is_green(&truth.git.files(tip), &gate) == green;
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
        let Some((tree, gate)) = self.runs.get(run).cloned() else { return };
        match outcome {
            RunOutcome::Green => {
                self.greens.insert((tree, gate));
            }
            RunOutcome::Lost { .. } | RunOutcome::Cancelled => *self.lost.entry(tree).or_default() += 1,
            RunOutcome::Red { .. } | RunOutcome::TimedOut { .. } => {}
        }
    }

    fn landed(&mut self, truth: &Truth, fact: &Fact) -> Result<(), Violation> {
        let Fact::Landed { request, commit, tree, .. } = fact else { return Ok(()) };
        if commit.is_some() {
            self.needs_have_landed(*request)?;
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
        self.end(*request, End::Landed)
    }

    fn is_no_repetition(&self, request: RequestId, head: CommitId) -> Result<(), Violation> {
        let Some(new) = self.requests.get(&request) else { return Ok(()) };
        let twin = self.requests.iter().find(|(_, r)| {
            r.pinned
                && r.end.is_none()
                && r.head == Some(head)
                && r.target == new.target
                && r.announcement.branch == new.announcement.branch
        });
        Violation::unless(twin.is_none(), "the same head announced again is the same request", || {
            format!("{request} and {:?}", twin.map(|(id, _)| id))
        })
    }

    /// Those in custody that need what failed, with nothing else to stand for it: they fail with it.
    fn orphans(&self, failed: RequestId) -> Vec<RequestId> {
        let Some(gone) = self.requests.get(&failed) else { return Vec::new() };
        let stands = |name: &String| {
            let pending = self.requests.iter().any(|(i, r)| r.end.is_none() && self.is_named(*i, r, name));
            pending || self.has_landed(name)
        };
        let orphaned = |r: &Record| {
            let mut needs = r.announcement.depends_on.iter();
            r.pinned && r.end.is_none() && needs.any(|n| self.is_named(failed, gone, n) && !stands(n))
        };
        self.requests.iter().filter(|(_, r)| orphaned(r)).map(|(id, _)| *id).collect()
    }

    fn needs_have_landed(&self, request: RequestId) -> Result<(), Violation> {
        let Some(record) = self.requests.get(&request) else { return Ok(()) };
        let a = &record.announcement;
        let met = |name: &String| {
            let became = name.parse().ok().and_then(|id| self.became(id));
            self.is_named(request, record, name) || became == Some(request) || self.has_landed(name)
        };
        let missing = a.depends_on.iter().find(|name| !met(name));
        Violation::unless(missing.is_none(), "nothing lands before what it depends on", || {
            format!("{request} ({}) needs {}", a.branch, missing.map_or("", String::as_str))
        })
    }

    /// Whether something of that name has landed.
    pub(crate) fn has_landed(&self, name: &str) -> bool {
        let landed = |id: RequestId| {
            let landed = self.requests.get(&id).is_some_and(|r| r.end == Some(End::Landed));
            landed && !self.fell_off.contains(&id)
        };
        match name.parse::<RequestId>() {
            Ok(id) => self.became(id).is_some_and(landed),
            Err(_) => self.requests.iter().any(|(id, r)| self.is_named(*id, r, name) && landed(*id)),
        }
    }

    /// The request that took the place of another one; itself when none did.
    fn became(&self, request: RequestId) -> Option<RequestId> {
        match self.requests.get(&request)?.end {
            Some(End::Superseded(by)) if by > request => self.became(by),
            _ => Some(request),
        }
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
