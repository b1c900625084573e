use std::rc::Rc;

use serde_json::{Value, json};
use yardmaster_protocol::{
    BlockerKind, BranchName, CommitId, Event, EventBody, IntakeSeq, Priority, announce_subject,
};
use yardmaster_queue::{Input, Step};

use crate::fault::Fault;
use crate::gate::{GATE_REGION, change_region, fix_region};
use crate::git::Files;
use crate::violation::Violation;
use crate::world::{Happening, Message, Outage, World};

const ATTEMPTS: u32 = 3;

/// One piece of work of a toy agent.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) name: String,
    pub(crate) agent: yardmaster_protocol::AgentName,
    pub(crate) branch: BranchName,
    pub(crate) requirement: String,
    pub(crate) target: BranchName,
    pub(crate) priority: Option<u64>,
    pub(crate) depends_on: Vec<String>,
    pub(crate) heads: Vec<CommitId>,
    pub(crate) attempts: u32,
}

/// What a toy agent does at some moment, on the work of that index.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Create(usize),
    Announce(usize),
    AnnounceOldHead(usize),
    PushAgain(usize),
    PushBack(usize),
    Mend(usize),
    Withdraw(usize),
    WithdrawByService(usize),
    Delete(usize),
    Garbage,
    /// Announced again, with other dependencies.
    Amend(usize),
    Pause,
    Promote,
    Review(usize),
    /// Somebody pushes other rules of who may touch what.
    Rule,
}

impl World {
    pub(crate) fn act(&mut self, act: &Act) -> Result<(), Violation> {
        if self.quiet {
            return Ok(());
        }
        self.tell(|w| w.told_act(act));
        match *act {
            Act::Create(i) => self.create(i),
            Act::Announce(i) => {
                let head = self.works.get(i).and_then(|w| w.heads.last().copied());
                let named = head.filter(|_| self.rng.chance(50));
                self.announce(i, named);
            }
            Act::AnnounceOldHead(i) => {
                let head = self.works.get(i).and_then(|w| w.heads.first().copied());
                self.announce(i, head);
            }
            Act::PushAgain(i) => self.push_again(i, false),
            Act::Mend(i) => {
                self.push_again(i, true);
                let ms = self.rng.range(0, 3_000);
                self.after(ms, Happening::Act(Act::Announce(i)));
            }
            Act::PushBack(i) => {
                let work = self.works.get(i);
                if let Some((branch, first)) = work.and_then(|w| Some((w.branch.clone(), *w.heads.first()?)))
                {
                    self.remote.branches.insert(branch, first);
                }
            }
            Act::Withdraw(i) => self.withdraw(i),
            Act::WithdrawByService(i) => return self.withdraw_by_service(i),
            Act::Delete(i) => {
                if let Some(branch) = self.works.get(i).map(|w| w.branch.clone()) {
                    self.remote.branches.remove(&branch);
                    self.count(Fault::BranchDeleted);
                    self.missing.insert(branch);
                }
            }
            Act::Garbage => self.garbage(),
            Act::Amend(i) => {
                let needs = self.some_needs(self.works.len());
                if let Some(work) = self.works.get_mut(i) {
                    work.depends_on = needs;
                }
                self.announce(i, None);
            }
            Act::Pause => return self.pause(),
            Act::Promote => return self.promote(),
            Act::Review(i) => self.review(i),
            Act::Rule => self.push_rules(),
        }
        Ok(())
    }

    fn create(&mut self, i: usize) {
        let Some((name, branch, target)) =
            self.works.get(i).map(|w| (w.name.clone(), w.branch.clone(), w.target.clone()))
        else {
            return;
        };
        let mut from = self.remote.branches.get(&target).copied();
        let other = self.rng.index(self.works.len());
        if self.rng.chance(8) {
            from = self.works.get(other).and_then(|w| w.heads.last().copied()).or(from);
        }
        let Some(from) = from else { return };
        let mut files = (*self.git.files(from)).clone();
        files.insert(change_region(&name), "1".to_owned());
        self.edit(&mut files, &name);
        let head = self.git.commit(&[from], files, &name);
        self.has_head(i, branch, head);
    }

    fn edit(&mut self, files: &mut Files, value: &str) {
        for _ in 0..2 {
            if self.rng.chance(30) {
                let region = format!("f{}:{}", self.rng.index(4), self.rng.index(3));
                files.insert(region, value.to_owned());
            }
        }
        if self.rng.chance(15) {
            let broken = self.rules.red.iter().filter(|n| n.starts_with('H'));
            files.extend(broken.map(|name| (fix_region(name), value.to_owned())));
        }
        if self.rng.chance(3) {
            files.insert(GATE_REGION.to_owned(), self.rng.range(1, 2).to_string());
        }
    }

    fn has_head(&mut self, i: usize, branch: BranchName, head: CommitId) {
        self.remote.branches.insert(branch, head);
        if let Some(work) = self.works.get_mut(i) {
            work.heads.push(head);
        }
    }

    /// A new head; mended: with the target merged into it and the change's fault taken out.
    fn push_again(&mut self, i: usize, mended: bool) {
        let Some(work) = self.works.get(i) else { return };
        let (Some(last), Some(tip)) =
            (work.heads.last().copied(), self.remote.branches.get(&work.target).copied())
        else {
            return;
        };
        let (name, branch, n) = (work.name.clone(), work.branch.clone(), work.heads.len() + 1);
        let mut parents = vec![last];
        let mut files = (*self.git.files(last)).clone();
        if mended {
            parents.push(tip);
            files = self.git.merge_files(last, tip).unwrap_or_else(|_| (*self.git.files(tip)).clone());
            files.insert(change_region(&name), "1".to_owned());
            files.insert(fix_region(&name), "1".to_owned());
        } else {
            self.edit(&mut files, &format!("{name}'{n}"));
            if self.rng.chance(50) {
                files.insert(fix_region(&name), "1".to_owned());
            }
        }
        let head = self.git.commit(&parents, files, &format!("{name}'{n}"));
        self.has_head(i, branch, head);
    }

    fn announce(&mut self, i: usize, commit: Option<CommitId>) {
        let Some(work) = self.works.get(i) else { return };
        let mut info = json!({
            "agent": work.agent, "branch": work.branch, "requirement": work.requirement,
            "depends_on": work.depends_on, "target": work.target,
        });
        if let (Some(commit), Value::Object(info)) = (commit, &mut info) {
            info.insert("commit".to_owned(), json!(commit));
        }
        if let (Some(priority), Value::Object(info)) = (work.priority, &mut info) {
            info.insert("priority".to_owned(), json!(priority));
        }
        let subject = announce_subject(&work.agent);
        if let (true, Value::Object(info)) = (self.rng.chance(30), &mut info) {
            let system = ["api", "web", "store"].get(self.rng.index(3)).copied().unwrap_or("api");
            info.insert("systems_touched".to_owned(), json!([system]));
        }
        self.send(subject, json!({"type": "ready_to_merge", "merge_info": info}).to_string());
    }

    fn withdraw(&mut self, i: usize) {
        let Some(work) = self.works.get(i) else { return };
        let info = json!({"agent": work.agent, "branch": work.branch});
        let subject = announce_subject(&work.agent);
        self.withdrawn.insert(work.branch.clone());
        self.send(subject, json!({"type": "withdraw", "merge_info": info}).to_string());
    }

    fn withdraw_by_service(&mut self, i: usize) -> Result<(), Violation> {
        let Some(work) = self.works.get(i) else { return Ok(()) };
        let branch = work.branch.clone();
        if !self.choose() {
            return Ok(());
        }
        let found = self.daemons.get(&self.acting).and_then(|d| d.queue.find(branch.as_str()));
        match found {
            Some(request) => {
                self.withdrawn.insert(branch);
                self.input(Input::Withdraw { request, by: "person".to_owned() })
            }
            None => Ok(()),
        }
    }

    /// An operator pauses a target, or lets it go on.
    fn pause(&mut self) -> Result<(), Violation> {
        if !self.choose() {
            return Ok(());
        }
        let targets: Vec<BranchName> = self.policy.targets.iter().cloned().collect();
        let Some(target) = targets.get(self.rng.index(targets.len())).cloned() else { return Ok(()) };
        let (who, why) = ("operator".to_owned(), "release".to_owned());
        let except = self.rng.chance(50).then_some(Priority::INFRASTRUCTURE);
        self.input(Input::Pause { target, who, why, except })?;
        let ms = self.rng.range(1_000, 60_000);
        self.after(ms, Happening::Resume);
        Ok(())
    }

    /// Every target goes on, as often as it takes.
    pub(crate) fn resume(&mut self) -> Result<(), Violation> {
        let left = |w: &World| w.daemons.get(&w.acting).map(|d| d.queue.clone());
        if self.is_out(Outage::Nats) || !self.choose() {
            self.after(1_000, Happening::Resume);
            return Ok(());
        }
        for target in self.policy.targets.clone() {
            let paused = left(self).is_some_and(|queue| queue.is_paused(&target));
            if paused {
                let (who, why) = ("operator".to_owned(), "done".to_owned());
                self.input(Input::Resume { target, who, why })?;
            }
        }
        if !self.ledger.paused.is_empty() {
            self.after(1_000, Happening::Resume);
        }
        Ok(())
    }

    fn garbage(&mut self) {
        let payload = match self.rng.index(4) {
            0 => "nonsense".to_owned(),
            1 => r#"{"type":"ready_to_merge","merge_info":{"agent":"roy"}}"#.to_owned(),
            2 => json!({"type": "ready_to_merge", "merge_info":
                {"agent": "roy", "branch": "roy/x", "requirement": "X", "target": "elsewhere"}})
            .to_string(),
            _ => json!({"type": "withdraw", "merge_info": {"agent": "roy", "branch": "nobody/nothing"}})
                .to_string(),
        };
        self.send("work.integration.roy".to_owned(), payload);
    }

    /// The stream takes a message, and gives it its sequence.
    pub(crate) fn say(&mut self, subject: String, payload: Vec<u8>) -> IntakeSeq {
        let (published, acked) = (self.server_clock(), false);
        self.stream.push(Message { subject, payload: Rc::new(payload), published, acked });
        IntakeSeq(u64::try_from(self.stream.len()).unwrap_or(u64::MAX))
    }

    fn send(&mut self, subject: String, payload: String) {
        let IntakeSeq(seq) = self.say(subject, payload.into_bytes());
        let late = self.rng.chance(20);
        if late {
            self.count(Fault::MessageLate);
        }
        let ms = if late { self.rng.range(0, 20_000) } else { self.rng.range(0, 20) };
        self.after(ms, Happening::Deliver { seq });
    }

    /// Who waits for a review gets one now and then.
    fn ask_a_reviewer(&mut self, event: &Event) {
        let (EventBody::MergeBlocked { blockers, .. }, Some(about)) = (&event.body, &event.about) else {
            return;
        };
        if blockers.iter().any(|b| matches!(b.kind, BlockerKind::Review | BlockerKind::Scope)) {
            self.count(Fault::Barred);
        }
        let waits = self.ruled && blockers.iter().any(|b| b.kind == BlockerKind::Review);
        let found = self.works.iter().position(|w| waits && w.branch == about.branch);
        if let Some(i) = found.filter(|_| self.rng.chance(80)) {
            let ms = self.rng.range(100, 20_000);
            self.after(ms, Happening::Act(Act::Review(i)));
        }
    }

    /// Agents read the events about their work, and some mend what failed.
    pub(crate) fn react_to(&mut self, step: &Step) {
        for projected in &step.events {
            self.ask_a_reviewer(&projected.event);
            let (EventBody::MergeFailed(_), Some(about)) = (&projected.event.body, &projected.event.about)
            else {
                continue;
            };
            let found = self.works.iter().position(|w| w.branch == about.branch && w.attempts < ATTEMPTS);
            if let Some(i) = found.filter(|_| self.rng.chance(60)) {
                self.works.iter_mut().skip(i).take(1).for_each(|w| w.attempts += 1);
                let ms = self.rng.range(500, 30_000);
                self.after(ms, Happening::Act(Act::Mend(i)));
            }
        }
    }
}
