use yardmaster_protocol::{BranchName, CommitId, Fact};
use yardmaster_queue::Input;

use crate::gate::{GATE_REGION, change_region, fix_region};
use crate::git::Files;
use crate::work::Act;
use crate::world::{Happening, World};

impl World {
    /// What others do to the remote.
    pub(crate) fn outside(&mut self, happening: &Happening) {
        if self.quiet {
            return;
        }
        let targets: Vec<BranchName> = self.policy.targets.iter().cloned().collect();
        let Some(target) = targets.get(self.rng.index(targets.len())).cloned() else { return };
        match happening {
            Happening::Foreign => self.foreign_push(&target),
            Happening::Rewind => self.rewind(&target),
            Happening::Silence => {
                self.remote.silent = true;
                let ms = self.rng.range(1_000, 30_000);
                self.after(ms, Happening::Speech);
                self.tell(|_| "the remote falls silent".to_owned());
            }
            Happening::Speech => {
                self.remote.silent = false;
                self.tell(|_| "the remote answers again".to_owned());
            }
            _ => {}
        }
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
        }
    }

    fn rewind(&mut self, target: &BranchName) {
        let tip = self.remote.branches.get(target).copied();
        let history: Vec<CommitId> = tip.map(|t| self.git.first_parents(t, None)).unwrap_or_default();
        if let Some(back) = history.get(self.rng.index(3)).copied().filter(|b| Some(*b) != tip) {
            self.rewound = true;
            self.remote.branches.insert(target.clone(), back);
            self.tip_moved(target);
            self.tell(|w| format!("somebody rewinds {target} to {}", w.git.name(back)));
        }
    }

    pub(crate) fn told_act(&self, act: &Act) -> String {
        match act {
            Act::Garbage => "somebody sends garbage".to_owned(),
            Act::Create(i)
            | Act::Announce(i)
            | Act::AnnounceOldHead(i)
            | Act::PushAgain(i)
            | Act::PushBack(i)
            | Act::Mend(i)
            | Act::Withdraw(i)
            | Act::WithdrawByService(i)
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
