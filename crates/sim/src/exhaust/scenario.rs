use std::collections::BTreeSet;

use serde_json::json;
use yardmaster_protocol::{BranchName, CommitId, Gate, announce_subject};
use yardmaster_queue::{BaseRed, GateRule, Policy};

use crate::gate::{GateRules, change_region};
use crate::git::{Files, Git};

/// What the agents want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// One change that lands.
    One,
    /// Two changes that land.
    Two,
    /// The second change is red by itself.
    SecondRed,
    /// Each is green alone, both together are red.
    RedTogether,
    /// Both change the same lines.
    Conflict,
    /// The first is taken back.
    Withdrawn,
    /// A hook of the remote keeps the second out.
    Declined,
    /// One change, and a remote of which nobody knows what it will decline.
    Moody,
}

/// How a change may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) may_land: bool,
    pub(super) may_fail: bool,
    pub(super) may_be_withdrawn: bool,
}

/// A message of the stream.
pub(super) struct Message {
    pub(super) subject: String,
    pub(super) payload: Vec<u8>,
}

/// What a scenario begins with.
pub(super) struct Setting {
    pub(super) git: Git,
    pub(super) root: CommitId,
    pub(super) target: BranchName,
    pub(super) policy: Policy,
    pub(super) gate: Gate,
    pub(super) rules: GateRules,
    pub(super) messages: Vec<Message>,
    /// Names of the changes; their branches are called `roy/<name>`.
    pub(super) changes: Vec<&'static str>,
    pub(super) fates: Vec<Fate>,
    pub(super) declined: BTreeSet<&'static str>,
    pub(super) heads: Vec<(BranchName, CommitId)>,
}

const LANDS: Fate = Fate { may_land: true, may_fail: false, may_be_withdrawn: false };
const FAILS: Fate = Fate { may_land: false, may_fail: true, may_be_withdrawn: false };
const EITHER: Fate = Fate { may_land: true, may_fail: true, may_be_withdrawn: false };
const OPEN: Fate = Fate { may_land: true, may_fail: false, may_be_withdrawn: true };

impl Scenario {
    /// Every one.
    pub const ALL: [Scenario; 8] = [
        Scenario::One,
        Scenario::Two,
        Scenario::SecondRed,
        Scenario::RedTogether,
        Scenario::Conflict,
        Scenario::Withdrawn,
        Scenario::Declined,
        Scenario::Moody,
    ];

    /// One line about it.
    pub fn told(self) -> &'static str {
        match self {
            Scenario::One => "one change",
            Scenario::Two => "two changes",
            Scenario::SecondRed => "the second is red",
            Scenario::RedTogether => "red together",
            Scenario::Conflict => "in conflict",
            Scenario::Withdrawn => "one is withdrawn",
            Scenario::Declined => "a hook declines one",
            Scenario::Moody => "a hook that changes its mind",
        }
    }

    fn fates(self) -> Vec<Fate> {
        match self {
            Scenario::One => vec![LANDS],
            Scenario::Moody => vec![EITHER],
            Scenario::Two => vec![LANDS, LANDS],
            Scenario::SecondRed | Scenario::Declined => vec![LANDS, FAILS],
            Scenario::RedTogether | Scenario::Conflict => vec![EITHER, EITHER],
            Scenario::Withdrawn => vec![OPEN, LANDS],
        }
    }

    pub(super) fn setting(self) -> Result<Setting, String> {
        let target = branch("main")?;
        let mut policy = Policy::new(target.clone());
        let gate = Gate::command("gate");
        policy.gate = GateRule::Fixed(gate.clone());
        (policy.window_min, policy.window_max) = (2, 2);
        // A run of the tip beside everything else multiplies the states and lands nothing.
        policy.base_red = BaseRed::Ignore;
        let mut git = Git::default();
        let root = git.commit(&[], Files::from([("shared".to_owned(), "0".to_owned())]), "root");
        let fates = self.fates();
        let changes: Vec<&'static str> = ["A", "B"].into_iter().take(fates.len()).collect();
        let mut rules = GateRules::default();
        match self {
            Scenario::SecondRed => drop(rules.red.insert("B".to_owned())),
            Scenario::RedTogether => drop(rules.together.insert(("A".to_owned(), "B".to_owned()))),
            Scenario::One
            | Scenario::Moody
            | Scenario::Two
            | Scenario::Conflict
            | Scenario::Withdrawn
            | Scenario::Declined => {}
        }
        let mut heads = Vec::new();
        let mut messages = Vec::new();
        for name in &changes {
            let mut files = (*git.files(root)).clone();
            files.insert(change_region(name), "1".to_owned());
            if self == Scenario::Conflict {
                files.insert("shared".to_owned(), (*name).to_owned());
            }
            heads.push((branch(&format!("roy/{name}"))?, git.commit(&[root], files, name)));
            messages.push(message("ready_to_merge", name)?);
        }
        if self == Scenario::Withdrawn {
            messages.push(message("withdraw", "A")?);
        }
        let declined = if self == Scenario::Declined { BTreeSet::from(["B"]) } else { BTreeSet::new() };
        Ok(Setting { git, root, target, policy, gate, rules, messages, changes, fates, declined, heads })
    }
}

fn branch(name: &str) -> Result<BranchName, String> {
    BranchName::new(name).map_err(|e| e.to_string())
}

fn message(kind: &str, name: &str) -> Result<Message, String> {
    let agent = yardmaster_protocol::AgentName::new("roy").map_err(|e| e.to_string())?;
    let info = json!({"agent": "roy", "branch": format!("roy/{name}"), "requirement": name});
    let payload = json!({"type": kind, "merge_info": info}).to_string().into_bytes();
    Ok(Message { subject: announce_subject(&agent), payload })
}
