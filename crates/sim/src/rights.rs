//! Who may touch what and who has to approve: rules of some worlds, reviewers who speak, and the judge's own reading
//! of both, which shares no code with the queue's.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::json;
use yardmaster_protocol::{
    AgentName, CommitId, Fact, IntakeSeq, PROJECT_FILE, RequestId, Review, ReviewVerdict, review_subject,
};
use yardmaster_queue::Input;

use crate::fault::Fault;
use crate::git::Files;
use crate::ledger::{Ledger, Record, Truth};
use crate::rng::Rng;
use crate::violation::Violation;
use crate::work::Act;
use crate::world::{ACK_WAIT, Happening, Message, Outage, QUIET_AT, World};

/// Rules as a project says them, and once more as the judge reads them.
#[derive(Debug, Default)]
struct Rights {
    text: &'static str,
    protected: &'static [&'static str],
    allow: &'static [(&'static str, &'static [&'static str])],
    deny: &'static [(&'static str, &'static [&'static str])],
    /// Who is not listed may touch nothing.
    closed: bool,
    /// What needs an approval.
    review: &'static [&'static str],
    /// Whose verdicts count; nothing: everybody's.
    by: &'static [&'static str],
}

const NONE: Rights =
    Rights { text: "", protected: &[], allow: &[], deny: &[], closed: false, review: &[], by: &[] };
const OWN: &[&str] = &["changes/**", "fixes/**", "f3"];
const RULES: [Rights; 8] = [
    NONE,
    Rights { text: "scope.protected = [\"f0\", \"gate\"]", protected: &["f0", "gate"], ..NONE },
    Rights {
        text: "scope.protected = [\"f1\"]\nscope.agents.agent-1.allow = [\"**\"]",
        protected: &["f1"],
        allow: &[("agent-1", &["**"])],
        ..NONE
    },
    Rights {
        text: "scope.agents.agent-0.deny = [\"f2\"]\nscope.agents.agent-2.allow = [\"changes/**\", \"fixes/**\", \"f3\"]",
        allow: &[("agent-2", OWN)],
        deny: &[("agent-0", &["f2"])],
        ..NONE
    },
    Rights {
        text: "scope.default = \"deny\"\nscope.agents.agent-0.allow = [\"**\"]\nscope.agents.agent-1.deny = [\"f0\"]",
        allow: &[("agent-0", &["**"])],
        deny: &[("agent-1", &["f0"])],
        closed: true,
        ..NONE
    },
    Rights { text: "review.required = true", review: &["**"], ..NONE },
    Rights {
        text: "review.required = true\nreview.by = [\"agent-0\", \"eve\"]",
        review: &["**"],
        by: &["agent-0", "eve"],
        ..NONE
    },
    Rights {
        text: "scope.protected = [\"f2\"]\nreview.paths = [\"f0\", \"changes/C1\"]",
        protected: &["f2"],
        review: &["f0", "changes/C1"],
        ..NONE
    },
];

impl Rights {
    fn at(files: &Files) -> &'static Rights {
        let text = files.get(PROJECT_FILE).map(String::as_str).unwrap_or_default();
        RULES.iter().find(|rules| rules.text == text).unwrap_or(&RULES[0])
    }

    /// The first path that `agent` may not touch.
    fn forbids<'a>(&self, agent: &str, paths: &'a BTreeSet<String>) -> Option<&'a String> {
        let listed = |lists: &[(&str, &'static [&'static str])]| {
            lists.iter().find(|(name, _)| *name == agent).map(|(_, globs)| *globs)
        };
        let (allow, deny) = (listed(self.allow), listed(self.deny));
        let allow = if allow.is_none() && deny.is_none() && self.closed { Some(&[][..]) } else { allow };
        let deny = deny.unwrap_or_default();
        paths.iter().find(|path| {
            let named = allow.is_some_and(|globs| is_in(path, globs));
            let open = allow.is_none() && !is_in(path, self.protected);
            is_in(path, deny) || !(named || open)
        })
    }
}

fn is_in(path: &str, globs: &[&str]) -> bool {
    globs.iter().any(|glob| match glob.strip_suffix("**") {
        Some(folder) => path.starts_with(folder),
        None => path == *glob,
    })
}

/// What reviewers have said of each head, the latest word of each.
pub(crate) type Said = BTreeMap<CommitId, BTreeMap<AgentName, (IntakeSeq, ReviewVerdict)>>;

impl Ledger {
    /// A message of the stream of reviews was answered.
    pub(crate) fn reviewed(&mut self, fact: &Fact) -> Result<(), Violation> {
        let (Fact::Reviewed { intake, .. } | Fact::ReviewRefused { intake, .. }) = fact else {
            return Ok(());
        };
        if let Fact::Reviewed { review, .. } = fact {
            let Review { reviewer, head, verdict, .. } = &**review;
            let latest = self.said.entry(*head).or_default().entry(reviewer.clone());
            let latest = latest.or_insert((*intake, *verdict));
            if latest.0 < *intake {
                *latest = (*intake, *verdict);
            }
        }
        let first = self.reviews_answered.insert(*intake);
        Violation::unless(first, "a review is answered once", || format!("review {}", intake.0))
    }

    /// What keeps a request from landing on top of `tip`, by the rules that are there.
    pub(crate) fn bar(
        &self,
        truth: &Truth,
        request: RequestId,
        tip: CommitId,
    ) -> Option<(&'static str, String)> {
        let record = self.requests.get(&request)?;
        let rights = Rights::at(&truth.git.files(tip));
        if let Some(path) = rights.forbids(record.announcement.agent.as_str(), &record.files) {
            return Some(("nobody lands outside their scope", format!("{request} touches {path}")));
        }
        let lack = self.lacks_review(rights, record)?;
        Some(("nothing lands without an approval that names its head", format!("{request} {lack}")))
    }

    /// Whether the agent of `new` may do what keeps `pending` out.
    pub(crate) fn may_take_over(&self, truth: &Truth, new: &Record, pending: &Record) -> bool {
        let Some(tip) = self.tips.get(&pending.target) else { return false };
        let rights = Rights::at(&truth.git.files(*tip));
        let forbids = |r: &Record| rights.forbids(r.announcement.agent.as_str(), &pending.files).is_some();
        forbids(pending) && !forbids(new)
    }

    fn lacks_review(&self, rights: &Rights, record: &Record) -> Option<String> {
        let counts = |who: &AgentName| {
            *who != record.announcement.agent && (rights.by.is_empty() || rights.by.contains(&who.as_str()))
        };
        let said = self.said.get(&record.head?).into_iter().flatten();
        let said: Vec<_> = said.filter(|(who, _)| counts(who)).collect();
        let objects = said.iter().find(|(_, (_, verdict))| *verdict != ReviewVerdict::Approved);
        if let Some((who, _)) = objects {
            return Some(format!("has an objection of {who}"));
        }
        let needed = record.files.iter().any(|path| is_in(path, rights.review));
        (needed && said.is_empty()).then(|| "has no approval".to_owned())
    }

    /// Whether the rules at the tip keep a request out now.
    pub(crate) fn is_barred(&self, truth: &Truth, request: RequestId) -> bool {
        let tip = self.requests.get(&request).and_then(|r| self.tips.get(&r.target));
        tip.is_some_and(|tip| self.bar(truth, request, *tip).is_some())
    }
}

impl World {
    /// Some worlds have rules, and reviewers. Drawn aside: the others are what they were.
    pub(crate) fn some_rights(&mut self, works: usize, files: &mut Files, mut rng: Rng) {
        if !rng.chance(35) {
            return;
        }
        let rules = RULES.get(rng.index(RULES.len())).unwrap_or(&NONE);
        if !rules.text.is_empty() {
            files.insert(PROJECT_FILE.to_owned(), rules.text.to_owned());
        }
        self.ruled = true;
        for i in 0..works {
            for _ in 0..rng.range(0, 3) {
                let at = rng.range(0, QUIET_AT);
                self.after(at, Happening::Act(Act::Review(i)));
            }
        }
        for _ in 0..rng.range(0, 3) {
            let at = rng.range(0, QUIET_AT);
            self.after(at, Happening::Act(Act::Rule));
        }
    }

    /// A reviewer speaks of a head; often the newest, and often well.
    pub(crate) fn review(&mut self, i: usize) {
        let newest = self.rng.chance(80);
        let heads = self.works.get(i).map(|w| w.heads.as_slice()).unwrap_or_default();
        let Some(head) = (if newest { heads.last() } else { heads.first() }).copied() else { return };
        let who = ["agent-0", "agent-1", "agent-2", "eve", "eve"];
        let reviewer = who.get(self.rng.index(who.len())).copied().unwrap_or("eve");
        let verdict = match self.rng.index(10) {
            0 => "blocked",
            1 | 2 => "changes_requested",
            _ => "approved",
        };
        let Ok(agent) = AgentName::new(reviewer) else { return };
        let review = json!({"reviewer": reviewer, "head": head, "verdict": verdict});
        let payload = json!({"type": "review", "review": review}).to_string().into_bytes();
        self.count(Fault::Review);
        let (published, acked) = (self.server_clock(), false);
        self.reviews.push(Message {
            subject: review_subject(&agent),
            payload: Rc::new(payload),
            published,
            acked,
        });
        let seq = u64::try_from(self.reviews.len()).unwrap_or(u64::MAX);
        let longest = if self.rng.chance(20) { 20_000 } else { 20 };
        let ms = self.rng.range(0, longest);
        self.after(ms, Happening::DeliverReview { seq });
    }

    /// A verdict comes until it is answered, and sometimes again.
    pub(crate) fn deliver_review(&mut self, seq: u64) -> Result<(), Violation> {
        let answered = self.ledger.reviews_answered.contains(&IntakeSeq(seq));
        let found = usize::try_from(seq - 1).ok().and_then(|i| self.reviews.get_mut(i));
        let Some(message) = found else { return Ok(()) };
        message.acked = answered;
        let (subject, payload) = (message.subject.clone(), message.payload.to_vec());
        if answered && !self.rng.chance(10) {
            return Ok(());
        }
        self.after(ACK_WAIT, Happening::DeliverReview { seq });
        if self.is_out(Outage::Nats) || !self.choose() {
            return Ok(());
        }
        self.input(Input::Review { intake: IntakeSeq(seq), subject, payload })
    }

    /// Somebody pushes other rules to a target.
    pub(crate) fn push_rules(&mut self) {
        let targets: Vec<_> = self.policy.targets.iter().cloned().collect();
        let Some(target) = targets.get(self.rng.index(targets.len())) else { return };
        let Some(tip) = self.remote.branches.get(target).copied() else { return };
        let rules = RULES.get(self.rng.index(RULES.len())).unwrap_or(&NONE);
        let mut files = (*self.git.files(tip)).clone();
        files.insert(PROJECT_FILE.to_owned(), rules.text.to_owned());
        let commit = self.git.commit(&[tip], files, &format!("R{}", self.now));
        self.remote.branches.insert(target.clone(), commit);
        self.tip_moved(target);
        self.count(Fault::Rules);
    }
}

#[cfg(test)]
mod tests {
    use yardmaster_protocol::Project;

    use super::*;

    #[test]
    fn every_rule_can_be_read_by_the_product_too() {
        for rules in &RULES {
            let project = Project::parse(rules.text).expect(rules.text);
            assert_eq!(project.scope.protected, rules.protected, "{}", rules.text);
            assert_eq!(project.review.paths, rules.review, "{}", rules.text);
        }
    }

    #[test]
    fn who_may_touch_what() {
        let paths = |path: &str| BTreeSet::from([path.to_owned()]);
        let forbidden = |n: usize, agent: &str, path: &str| RULES[n].forbids(agent, &paths(path)).is_some();
        assert!(forbidden(1, "agent-0", "f0") && !forbidden(1, "agent-0", "f1"));
        assert!(forbidden(2, "agent-0", "f1") && !forbidden(2, "agent-1", "f1"));
        assert!(forbidden(3, "agent-0", "f2") && !forbidden(3, "agent-0", "f1"));
        assert!(forbidden(3, "agent-2", "f1") && !forbidden(3, "agent-2", "fixes/C1"));
        assert!(forbidden(4, "agent-2", "f1") && forbidden(4, "agent-1", "f0"));
        assert!(!forbidden(4, "agent-1", "f1") && !forbidden(4, "agent-0", "f0"));
    }
}
