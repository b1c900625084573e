use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::record::{Announced, Evidence, Expected};

/// What must always hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Every announced branch has a terminal event.
    NothingIsLost,
    /// No branch has two, and nothing is told after the first.
    NothingEndsTwice,
    /// Events have ids of their own and count from 1 without a gap.
    EventsAreWhole,
    /// No request is on the target twice.
    NothingLandsTwice,
    /// What is on the target was told, with the commit and the tree that are there.
    LandedIsTold,
    /// What was told to be on the target is there.
    ToldIsLanded,
    /// Every commit is green.
    NeverRed,
    /// What others pushed is still there.
    ForeignStays,
    /// What landed is in the files, and nothing else of the agents is.
    ContentStays,
    /// A landing takes away and adds the lines that its branch does, and no others.
    OnlyItsOwnChanges,
    /// Each branch ended as it had to.
    EndsAsItMust,
    /// Nothing is left behind.
    NothingLeftOver,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 12] = [
        Rule::NothingIsLost,
        Rule::NothingEndsTwice,
        Rule::EventsAreWhole,
        Rule::NothingLandsTwice,
        Rule::LandedIsTold,
        Rule::ToldIsLanded,
        Rule::NeverRed,
        Rule::ForeignStays,
        Rule::ContentStays,
        Rule::OnlyItsOwnChanges,
        Rule::EndsAsItMust,
        Rule::NothingLeftOver,
    ];
}

/// A rule that was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// What was seen, as a sentence.
    pub seen: String,
}

const TERMINAL: [&str; 4] = ["merge_complete", "merge_failed", "merge_withdrawn", "merge_superseded"];

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or_default()
}

fn is_terminal(event: &Value) -> bool {
    TERMINAL.contains(&text(event, "type"))
}

/// Holds what was seen against every rule; empty: all of them hold.
pub fn judge(evidence: &Evidence) -> Vec<Violation> {
    let mut court = Court { evidence, found: Vec::new() };
    court.events_are_whole();
    court.every_branch_ends_once();
    court.target_and_events_agree();
    court.target_is_green();
    court.content_stays();
    court.landings_change_only_their_own();
    court.ends_are_right();
    for left in &evidence.left_over {
        court.broken(Rule::NothingLeftOver, left.clone());
    }
    court.found
}

struct Court<'a> {
    evidence: &'a Evidence,
    found: Vec<Violation>,
}

impl<'a> Court<'a> {
    fn broken(&mut self, rule: Rule, seen: String) {
        self.found.push(Violation { rule, seen });
    }

    fn ends_of(&self, branch: &str) -> Vec<&'a Value> {
        let events = self.evidence.events.iter().map(|m| &m.event);
        events.filter(|e| is_terminal(e) && text(e, "branch") == branch).collect()
    }

    fn events_are_whole(&mut self) {
        let mut ids = BTreeSet::new();
        let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
        let mut ended = BTreeSet::new();
        for message in &self.evidence.events {
            let id = message.headers.get("Nats-Msg-Id").map(String::as_str);
            if id.is_none_or(|id| !ids.insert(id)) {
                self.broken(Rule::EventsAreWhole, format!("event id {id:?} is missing or came twice"));
            }
            let request = text(&message.event, "request");
            if request.is_empty() {
                self.only_withdrawals_are_rejected(&message.event);
                continue;
            }
            let count = counted.entry(request).or_default();
            *count += 1;
            if message.event["seq"].as_u64() != Some(*count) {
                let seen = format!("event {count} of {request} says that it is {}", message.event["seq"]);
                self.broken(Rule::EventsAreWhole, seen);
            }
            if ended.contains(request) {
                self.broken(Rule::NothingEndsTwice, format!("{} comes after an end", message.event));
            }
            if is_terminal(&message.event) {
                ended.insert(request);
            }
        }
    }

    /// Agents say nothing wrong here; a withdrawal may come too late.
    fn only_withdrawals_are_rejected(&mut self, event: &Value) {
        let is_late = text(event, "payload").contains("\"withdraw\"");
        if text(event, "type") == "request_rejected" && !is_late {
            self.broken(Rule::EndsAsItMust, format!("{event} rejects what was right"));
        }
    }

    fn every_branch_ends_once(&mut self) {
        for announced in &self.evidence.announced {
            let branch = &announced.branch;
            match self.ends_of(branch).len() {
                0 => self.broken(Rule::NothingIsLost, format!("{branch} has no end")),
                1 => {}
                n => self.broken(Rule::NothingEndsTwice, format!("{branch} has {n} ends")),
            }
        }
    }

    fn target_and_events_agree(&mut self) {
        let mut told: BTreeMap<&str, &Value> = BTreeMap::new();
        let events = self.evidence.events.iter().map(|m| &m.event);
        for event in events.filter(|e| text(e, "type") == "merge_complete") {
            told.insert(text(event, "request"), event);
        }
        let mut landed = BTreeSet::new();
        for commit in &self.evidence.main {
            let Some(request) = commit.request.as_deref() else { continue };
            if !landed.insert(request) {
                self.broken(Rule::NothingLandsTwice, format!("{request} is on the target twice"));
            }
            let rollup = commit.rollup.as_deref().unwrap_or_default();
            let is_as_told = |e: &&Value| {
                text(e, "commit") == commit.id
                    && text(e, "tree") == commit.tree
                    && text(e, "rollup") == rollup
            };
            if !told.get(request).is_some_and(is_as_told) {
                let seen =
                    format!("{request} is on the target as {}, told is {:?}", commit.id, told.get(request));
                self.broken(Rule::LandedIsTold, seen);
            }
        }
        for (request, event) in told {
            if !landed.contains(request) {
                self.broken(Rule::ToldIsLanded, format!("{event} is not on the target"));
            }
        }
    }

    fn target_is_green(&mut self) {
        // Of a batch the commit that brought it was tested, not each member.
        for commit in self.evidence.main.iter().filter(|c| !c.green && c.rollup.is_none()) {
            self.broken(Rule::NeverRed, format!("{} ({:?}) is red", commit.id, commit.request));
        }
    }

    fn has_line(&self, path: &str, line: &str) -> bool {
        self.evidence.files.get(path).is_some_and(|text| text.lines().any(|l| l == line))
    }

    fn content_stays(&mut self) {
        for foreign in &self.evidence.foreign {
            let is_there = self.evidence.main.iter().any(|c| c.id == foreign.id);
            if !is_there || !self.has_line(&foreign.path, &foreign.line) {
                let seen =
                    format!("{} that somebody else pushed is gone (commit there: {is_there})", foreign.id);
                self.broken(Rule::ForeignStays, seen);
            }
        }
        for announced in &self.evidence.announced {
            let landed = self.ends_of(&announced.branch).iter().any(|e| text(e, "type") == "merge_complete");
            if landed != self.has_line(&announced.path, &announced.line) {
                let is = if landed { "landed and is not in" } else { "did not land and is in" };
                self.broken(Rule::ContentStays, format!("{} {is} {}", announced.branch, announced.path));
            }
        }
    }

    /// Whoever changes a line of somebody else's in passing takes landed work back.
    fn landings_change_only_their_own(&mut self) {
        for commit in self.evidence.main.iter().filter(|c| c.request.is_some()) {
            let (mut did, mut asked) = (commit.changes.clone(), commit.asked.clone());
            did.sort_unstable();
            asked.sort_unstable();
            if did != asked {
                let seen = format!("{} ({:?}) did {did:?}, asked was {asked:?}", commit.id, commit.request);
                self.broken(Rule::OnlyItsOwnChanges, seen);
            }
        }
    }

    /// The type without `merge_`, and the cause of a failure.
    fn end(&self, branch: &str) -> (&'a str, &'a str) {
        let ends = self.ends_of(branch);
        let Some(end) = ends.first() else { return ("", "") };
        (text(end, "type").trim_start_matches("merge_"), text(end, "cause"))
    }

    fn ends_are_right(&mut self) {
        let mut excused = self.evidence.declined;
        for announced in &self.evidence.announced {
            let end = self.end(&announced.branch);
            // A remote that refuses a push is believed, as often as it did.
            if end == ("failed", "push_refused") && excused > 0 {
                excused -= 1;
                continue;
            }
            if !self.is_right(announced, end) {
                let seen = format!("{} ended as {end:?}, not {:?}", announced.branch, announced.expected);
                self.broken(Rule::EndsAsItMust, seen);
            }
        }
    }

    fn is_right(&self, announced: &Announced, end: (&str, &str)) -> bool {
        let place = |branch: &str| {
            let request = text(self.ends_of(branch).first()?, "request");
            self.evidence.main.iter().position(|c| c.request.as_deref() == Some(request))
        };
        match &announced.expected {
            Expected::Lands => end.0 == "complete",
            Expected::LandsAfter(first) => match end {
                ("complete", _) => place(first) < place(&announced.branch),
                ("failed", "dependency_failed") => self.end(first).0 == "failed",
                _ => false,
            },
            Expected::Fails(cause) => end == ("failed", cause),
            Expected::EitherOr(other, cause) => match self.end(other).0 {
                "complete" => end == ("failed", cause),
                _ => end.0 == "complete",
            },
            Expected::Withdrawn => ["withdrawn", "complete"].contains(&end.0),
        }
    }
}
