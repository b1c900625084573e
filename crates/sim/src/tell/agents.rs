//! What agents, reviewers, operators and others at the remote do.

use serde_json::json;
use yardmaster_protocol::{CommitId, IntakeSeq, Millis, PROJECT_FILE};
use yardmaster_queue::Input;

use super::{Teller, branch};
use crate::gate::{change_region, fix_region};
use crate::git::Files;
use crate::story::{Change, Edit, Verb};

impl Teller {
    pub(super) fn agents_act(&mut self, verb: &Verb) -> Result<(), String> {
        match verb {
            Verb::Change(change) => self.change(change),
            Verb::Announce { names, head } => names.iter().try_for_each(|n| self.announce(n, *head)),
            Verb::Push { name, edits, fixed } => self.push_again(name, edits, *fixed),
            Verb::Delete(name) => {
                self.remote.branches.remove(&branch(&format!("work/{name}"))?);
                Ok(())
            }
            Verb::Withdraw(names) => names.iter().try_for_each(|name| {
                let agent = self.agent(name);
                let info = json!({"agent": agent, "branch": format!("work/{name}")});
                self.publish(&agent, json!({"type": "withdraw", "merge_info": info}).to_string())
            }),
            Verb::Promote(names) => {
                self.needs_life()?;
                let found = names.iter().filter_map(|name| self.queue.find(&format!("work/{name}")));
                let (requests, who, why) = (found.collect(), "operator".to_owned(), "urgent".to_owned());
                self.input(Input::Promote { requests, who, why });
                self.pump()
            }
            Verb::Rules(text) => {
                let tip = self.tip()?;
                let mut files = (*self.git.files(tip)).clone();
                files.insert(PROJECT_FILE.to_owned(), text.clone());
                let commit = self.git.commit(&[tip], files, "rules");
                self.remote.branches.insert(self.main.clone(), commit);
                Ok(())
            }
            Verb::Review { name, head, verdict, by } => self.review(name, *head, verdict, by),
            Verb::Hotfix { name, edits, merges, mends } => self.hotfix(name, edits, merges.as_deref(), mends),
            _ => Ok(()),
        }
    }

    fn agent(&self, name: &str) -> String {
        self.changes.get(name).and_then(|c| c.by.clone()).unwrap_or_else(|| "agent".to_owned())
    }

    fn change(&mut self, change: &Change) -> Result<(), String> {
        let (name, tip) = (&change.name, self.tip()?);
        let mut head = tip;
        if !change.empty {
            let mut files = (*self.git.files(tip)).clone();
            files.insert(change_region(name), name.clone());
            edit(&mut files, &change.edits, name);
            files.extend(change.mends.iter().map(|other| (fix_region(other), name.clone())));
            head = self.git.commit(&[tip], files, name);
        }
        self.remote.branches.insert(branch(&format!("work/{name}"))?, head);
        self.heads.insert(name.clone(), vec![head]);
        self.changes.insert(name.clone(), change.clone());
        Ok(())
    }

    fn push_again(&mut self, name: &str, edits: &[Edit], fixed: bool) -> Result<(), String> {
        let last = self.head(name)?;
        let heads = self.heads.entry(name.to_owned()).or_default();
        let called = format!("{name}'{}", heads.len() + 1);
        let mut files = (*self.git.files(last)).clone();
        files.insert(change_region(name), called.clone());
        edit(&mut files, edits, &called);
        if fixed {
            files.insert(fix_region(name), called.clone());
        }
        let head = self.git.commit(&[last], files, &called);
        heads.push(head);
        self.remote.branches.insert(branch(&format!("work/{name}"))?, head);
        Ok(())
    }

    fn hotfix(
        &mut self,
        name: &str,
        edits: &[Edit],
        merges: Option<&str>,
        mends: &[String],
    ) -> Result<(), String> {
        let tip = self.tip()?;
        let mut parents = vec![tip];
        let mut files = (*self.git.files(tip)).clone();
        if let Some(other) = merges {
            let head = self.head(other)?;
            parents.push(head);
            files = self.git.merge_files(tip, head).map_err(|paths| format!("conflict in {paths:?}"))?;
        }
        files.insert(change_region(name), name.to_owned());
        edit(&mut files, edits, name);
        files.extend(mends.iter().map(|other| (fix_region(other), name.to_owned())));
        let commit = self.git.commit(&parents, files, name);
        self.remote.branches.insert(self.main.clone(), commit);
        Ok(())
    }

    fn chosen(&self, name: &str, head: Option<usize>) -> Result<CommitId, String> {
        let heads = self.heads.get(name).map(Vec::as_slice).unwrap_or_default();
        let chosen = match head {
            Some(n) => n.checked_sub(1).and_then(|i| heads.get(i)),
            None => heads.last(),
        };
        chosen.copied().ok_or_else(|| format!("there is no such head of {name}"))
    }

    fn review(&mut self, name: &str, head: Option<usize>, verdict: &str, by: &str) -> Result<(), String> {
        self.needs_life()?;
        let review = json!({"reviewer": by, "head": self.chosen(name, head)?, "verdict": verdict});
        self.reviews += 1;
        let payload = json!({"type": "review", "review": review}).to_string().into_bytes();
        let (intake, subject) = (IntakeSeq(self.reviews), format!("work.reviews.{by}"));
        self.input(Input::Review { intake, subject, payload });
        self.pump()
    }

    fn announce(&mut self, name: &str, head: Option<usize>) -> Result<(), String> {
        let commit = self.chosen(name, head)?;
        let change = self.changes.get(name).cloned().unwrap_or_default();
        let agent = self.agent(name);
        let info = json!({
            "agent": agent, "branch": format!("work/{name}"), "commit": commit,
            "requirement": change.requirement.as_deref().unwrap_or(name),
            "depends_on": change.needs, "systems_touched": change.touches, "priority": change.priority,
        });
        self.publish(&agent, json!({"type": "ready_to_merge", "merge_info": info}).to_string())
    }

    fn publish(&mut self, agent: &str, payload: String) -> Result<(), String> {
        self.needs_life()?;
        self.messages += 1;
        let input = Input::Message {
            intake: IntakeSeq(self.messages),
            subject: format!("work.integration.{agent}"),
            published: Millis(self.now + self.messages),
            traceparent: None,
            payload: payload.into_bytes(),
        };
        self.input(input);
        self.pump()
    }
}

fn edit(files: &mut Files, edits: &[Edit], value: &str) {
    files.extend(edits.iter().map(|e| (format!("{}:{}", e.file, e.line), value.to_owned())));
}
