use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AgentName, BranchName, CommitId, RequestId, Requirement};

/// What an agent means to work on, before there is anything to merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Intent {
    /// Who means to.
    pub agent: AgentName,
    /// The branch that the work will be on; a newer intent for it replaces the older.
    pub branch: BranchName,
    /// What the work is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requirement: Option<Requirement>,
    /// Where it is to land; missing: the configured branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<BranchName>,
    /// Likely paths, as globs from the root of the repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Likely systems, by the names that `.yardmaster.toml` has for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub systems: Vec<String>,
}

/// On `work.agents.<agent>` only: something that the agent is at has changed on a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BaseMoved {
    /// Always `base_moved`.
    #[serde(rename = "type")]
    pub kind: BaseMovedType,
    /// When, RFC 3339.
    pub time: String,
    /// Who is told.
    pub agent: AgentName,
    /// Which branch moved.
    pub target: BranchName,
    /// Where it is now: what to rebase on.
    pub tip: CommitId,
    /// What landed, lowest first, the last 20; nothing: somebody moved it around the queue.
    pub landed: Vec<LandedWork>,
    /// Changed paths that the agent is at, sorted, cut at 20.
    pub paths: Vec<String>,
    /// Paths that were cut off.
    pub more: u32,
    /// The agent's work that is concerned, cut at 20.
    pub concerns: Vec<Concern>,
}

/// The one type of [`BaseMoved`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BaseMovedType {
    /// The only one.
    BaseMoved,
}

/// A request that has just landed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LandedWork {
    /// Which.
    pub request: RequestId,
    /// Whose.
    pub agent: AgentName,
    /// Where it was worked on.
    pub branch: BranchName,
    /// What for.
    pub requirement: Requirement,
    /// Its commit on the target.
    pub commit: CommitId,
}

/// Work of an agent that a move of its target concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Concern {
    /// The pending request; none: an intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// Its branch.
    pub branch: BranchName,
    /// Systems by which an intent is concerned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub systems: Vec<String>,
}
