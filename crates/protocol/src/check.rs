use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Advice, AgentName, Blocker, BranchName, ChangeSize, CommitId, Failure, Pressure, Priority, Refusal,
    RequestId, Requirement, UnreadNotice,
};

/// Ask what would become of a branch if it were announced now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckRequest {
    /// The branch, pushed to the remote already.
    pub branch: BranchName,
    /// Who would announce it; without it the first part of the branch's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// What it would be for; without it the branch's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requirement: Option<Requirement>,
    /// Where it is to land; the default target without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<BranchName>,
    /// Its class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Requirements, branches or request ids that must land first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
}

/// Answer to `check`. Nothing was announced, and nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckReply {
    /// The branch.
    pub branch: BranchName,
    /// As whose work it was checked.
    pub agent: AgentName,
    /// Where it would land.
    pub target: BranchName,
    /// The branch's head on the remote.
    pub head: CommitId,
    /// The target's tip.
    pub tip: CommitId,
    /// In one word.
    pub verdict: CheckVerdict,
    /// Its place in the queue, from 1; none when it would not be queued.
    pub position: Option<u32>,
    /// Paths in conflict with the target itself.
    pub target_conflict: Vec<String>,
    /// Pending requests that it does not merge with, in landing order.
    pub conflicts: Vec<Met>,
    /// Pending requests that change the same paths and merge cleanly, in landing order.
    pub overlaps: Vec<Met>,
    /// Pending requests that were not compared, those that land last.
    pub not_compared: u32,
    /// Pending requests that it may break, or may be broken by, though all merge; at most 5. The branch itself is
    /// named by the id that it would get.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<Advice>,
    /// Not all definitions were read in time: there may be more advice. Ask again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub definitions_unread: bool,
    /// What of its source code is not read at all: it meets nobody there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_read: Option<UnreadNotice>,
    /// Real paths, cut at 100.
    pub files: Vec<String>,
    /// Real size.
    pub size: ChangeSize,
    /// The steps of the gate, in order; nothing where there is none.
    pub gate: Vec<String>,
    /// Why nothing can be tested or land now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// What it needs, one by one.
    pub dependencies: Vec<Needed>,
    /// What it would wait for besides its turn, as far as that shows at once.
    pub blockers: Vec<Blocker>,
    /// Why the announcement would be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// How it would fail at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The request that it is already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<RequestId>,
    /// Older requests of the branch that it would take the place of.
    pub supersedes: Vec<RequestId>,
    /// The target has all of it: there is nothing to merge.
    pub contained: bool,
    /// Whether to announce it now, as far as the length of the queue goes.
    pub pressure: Pressure,
}

/// What a check comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckVerdict {
    /// It merges with the target and with everything that is pending.
    Clean,
    /// It does not.
    Conflict,
    /// A rule would keep it out or have it wait: it may not touch what it touches, a review is missing, or
    /// it would be refused.
    Policy,
}

/// A pending request that a branch meets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Met {
    /// Which.
    pub request: RequestId,
    /// Whose.
    pub agent: AgentName,
    /// Where its work is.
    pub branch: BranchName,
    /// What for.
    pub requirement: Requirement,
    /// Where they meet, cut at 20.
    pub paths: Vec<String>,
    /// It lands first, as things are.
    pub ahead: bool,
}

/// Something that must land first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Needed {
    /// As it was named.
    pub name: String,
    /// What it stands for now.
    pub state: NeededState,
    /// The pending requests that it stands for.
    pub requests: Vec<RequestId>,
}

/// What a dependency's name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NeededState {
    /// It has landed.
    Landed,
    /// It is pending.
    Pending,
    /// Nobody has announced it, or it ended without landing.
    Unknown,
}
