use std::rc::Rc;

use yardmaster_protocol::{BranchName, CommitId, Fact, Gate};
use yardmaster_queue::{Definitions, GateRule, Input, Overlap};

use crate::fault::Fault;
use crate::gate::{GATE_REGION, change_region, fix_region};
use crate::git::Files;
use crate::violation::Violation;
use crate::work::Act;
use crate::world::{Happening, Outage, Outside, World};

const HOUR: i64 = 3_600_000;

impl World {
    /// What others do to the remote and to the house.
    pub(crate) fn outside(&mut self, what: Outside) -> Result<(), Violation> {
        if self.quiet {
            return Ok(());
        }
        let targets: Vec<BranchName> = self.policy.targets.iter().cloned().collect();
        let Some(target) = targets.get(self.rng.index(targets.len())).cloned() else { return Ok(()) };
        match what {
            Outside::Foreign => self.foreign_push(&target),
            Outside::Rewind => self.rewind(&target),
            Outside::TargetGone => self.delete_target(target),
            Outside::TargetBack { target, tip } => {
                self.tell(|_| format!("somebody restores {target}"));
                self.remote.branches.entry(target).or_insert(tip);
            }
            Outside::Begins(outage) => {
                self.tell(|_| format!("{outage:?} is away"));
                self.set_out(outage, true);
                let ms = self.rng.range(1_000, 30_000);
                self.after(ms, Happening::Outside(Outside::Ends(outage)));
            }
            Outside::Ends(outage) => {
                self.tell(|_| format!("{outage:?} is back"));
                self.set_out(outage, false);
                return self.everybody_goes_on();
            }
            Outside::ClockJump => {
                let hours = i64::try_from(self.rng.range(0, 12)).unwrap_or(0) - 6;
                self.skew = hours * HOUR;
                self.count(Fault::ClockJump);
                self.tell(|_| format!("the clock is {hours} h ahead"));
            }
            Outside::Reload => return self.reload(),
        }
        Ok(())
    }

    pub(crate) fn set_out(&mut self, outage: Outage, away: bool) {
        if outage == Outage::Remote {
            self.remote.silent = away;
        }
        if !away {
            self.out.remove(&outage);
        } else if self.out.insert(outage) {
            self.count(match outage {
                Outage::Remote => Fault::RemoteAway,
                Outage::Nats => Fault::NatsAway,
                Outage::Journal => Fault::JournalFull,
                Outage::Mirror => Fault::MirrorFull,
            });
        }
    }

    /// Every daemon that is awake does what could not be done.
    fn everybody_goes_on(&mut self) -> Result<(), Violation> {
        for epoch in self.awake() {
            self.acting = epoch;
            self.publish()?;
            self.carry_out()?;
        }
        Ok(())
    }

    fn awake(&self) -> Vec<u32> {
        let awake = self.daemons.iter().filter(|(_, d)| d.wakes_at <= self.now && !d.waits);
        awake.map(|(epoch, _)| *epoch).collect()
    }

    fn delete_target(&mut self, target: BranchName) {
        if let Some(tip) = self.remote.branches.remove(&target) {
            self.count(Fault::TargetGone);
            self.tell(|_| format!("somebody deletes {target}"));
            let ms = self.rng.range(1_000, 40_000);
            self.after(ms, Happening::Outside(Outside::TargetBack { target, tip }));
        }
    }

    /// Another configuration takes effect at once, with everything under way.
    fn reload(&mut self) -> Result<(), Violation> {
        let mut policy = (*self.policy).clone();
        policy.window_max = u32::try_from(self.rng.range(1, 6)).unwrap_or(1);
        policy.ageing_ms = self.rng.range(0, 3) * 40_000;
        policy.max_lost_runs = u32::try_from(self.rng.range(1, 4)).unwrap_or(1);
        if self.rng.chance(40) {
            policy.gate = match self.rng.index(3) {
                0 => GateRule::FromTarget,
                1 => GateRule::Fixed(Gate::command("gate fixed")),
                _ => GateRule::Fixed(Gate::command("gate fixed 2")),
            };
        }
        if self.rng.chance(20) {
            policy.overlap =
                if policy.overlap == Overlap::Textual { Overlap::Files } else { Overlap::Textual };
        }
        if self.rng.chance(20) {
            policy.definitions = match policy.definitions {
                Definitions::Off => Definitions::Advise,
                Definitions::Advise => Definitions::Enforce,
                Definitions::Enforce => Definitions::Off,
            };
        }
        self.ledger.reloads += 1;
        self.count(Fault::Reload);
        self.tell(|_| format!("the policy is now {policy:?}"));
        self.policy = Rc::new(policy);
        for daemon in self.daemons.values_mut() {
            daemon.policy = Rc::clone(&self.policy);
        }
        for epoch in self.awake() {
            self.acting = epoch;
            self.input(Input::PolicyChanged)?;
        }
        Ok(())
    }

    /// Somebody pushes to the target by hand: a hotfix, or an announced head merged past the queue.
    fn foreign_push(&mut self, target: &BranchName) {
        let Some(tip) = self.remote.branches.get(target).copied() else { return };
        let name = format!("H{}", self.now);
        let some = self.rng.index(self.works.len());
        let head = self.works.get(some).and_then(|w| w.heads.last().copied()).filter(|_| self.rng.chance(30));
        let mut parents = vec![tip];
        let mut files = (*self.git.files(tip)).clone();
        if let Some((head, merged)) = head.and_then(|h| Some((h, self.git.merge_files(tip, h).ok()?))) {
            parents.push(head);
            files = merged;
        } else {
            files.insert(change_region(&name), "1".to_owned());
            self.break_or_mend(&name, &mut files);
            if self.rng.chance(40) {
                files.insert(format!("f{}:{}", self.rng.index(4), self.rng.index(3)), name.clone());
            }
            if self.rng.chance(15) {
                files.insert(GATE_REGION.to_owned(), self.rng.range(1, 2).to_string());
            }
        }
        let commit = self.git.commit(&parents, files, &name);
        self.remote.branches.insert(target.clone(), commit);
        self.tip_moved(target);
        self.count(Fault::Foreign);
        self.tell(|_| format!("somebody pushes {name} to {target}"));
    }

    /// Now and then a push from outside makes the target red, or mends what an earlier one broke.
    fn break_or_mend(&mut self, name: &str, files: &mut Files) {
        if self.rng.chance(50) {
            let broken: Vec<String> = self.rules.red.iter().filter(|n| n.starts_with('H')).cloned().collect();
            files.extend(broken.iter().map(|name| (fix_region(name), "1".to_owned())));
        }
        if self.rng.chance(25) {
            self.rules.red.insert(name.to_owned());
            self.count(Fault::ForeignRed);
        }
    }

    fn rewind(&mut self, target: &BranchName) {
        let tip = self.remote.branches.get(target).copied();
        let history: Vec<CommitId> = tip.map(|t| self.git.first_parents(t, None)).unwrap_or_default();
        if let Some(back) = history.get(self.rng.index(3)).copied().filter(|b| Some(*b) != tip) {
            self.rewound = true;
            self.count(Fault::Rewind);
            self.remote.branches.insert(target.clone(), back);
            self.tip_moved(target);
            self.tell(|w| format!("somebody rewinds {target} to {}", w.git.name(back)));
        }
    }

    pub(crate) fn told_act(&self, act: &Act) -> String {
        match act {
            Act::Garbage => "somebody sends garbage".to_owned(),
            Act::Rule => "somebody pushes other rules".to_owned(),
            Act::Pause => "an operator pauses a target".to_owned(),
            Act::Promote => "an operator moves some to the front".to_owned(),
            Act::Create(i)
            | Act::Announce(i)
            | Act::AnnounceOldHead(i)
            | Act::PushAgain(i)
            | Act::PushBack(i)
            | Act::Mend(i)
            | Act::Withdraw(i)
            | Act::WithdrawByService(i)
            | Act::Amend(i)
            | Act::Review(i)
            | Act::Delete(i) => {
                let work = self.works.get(*i);
                let rest = work.map(|w| format!("{} {} needs {:?}", w.branch, w.requirement, w.depends_on));
                format!("agent: {act:?} {}", rest.unwrap_or_default())
            }
        }
    }

    pub(crate) fn told_input(&self, input: &Input) -> String {
        match input {
            Input::Message { intake, payload, .. } => {
                format!("> message {}: {}", intake.0, String::from_utf8_lossy(payload))
            }
            Input::RunEnded(report) => format!("> run {} ended: {:?}", report.run, report.outcome),
            other => format!("> {}", self.with_names(format!("{other:?}"))),
        }
    }

    pub(crate) fn told_fact(&self, fact: &Fact) -> String {
        let mut text = self.with_names(format!("{fact:?}"));
        if text.len() > 400 {
            text = text.chars().take(400).collect::<String>() + "…";
        }
        format!("    {text}")
    }

    /// Names instead of the ids of commits.
    fn with_names(&self, mut text: String) -> String {
        for commit in self.git.all() {
            let id = commit.to_string();
            if text.contains(&id) {
                text = text.replace(&id, &format!("<{} {}>", self.git.name(commit), commit.short()));
            }
        }
        text
    }
}
