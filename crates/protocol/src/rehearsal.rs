//! What would become of some branches, as `yardmaster rehearse --json` tells it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BranchName, CommitId, MeetingKind, UnreadNotice};

/// What came of a rehearsal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rehearsal {
    /// Where they would land.
    pub target: BranchName,
    /// Its tip.
    pub tip: CommitId,
    /// First those that land, in that order, then the rest.
    pub branches: Vec<Rehearsed>,
    /// Which two meet.
    pub pairs: Vec<RehearsedPair>,
    /// What definitions at which two meet count for.
    pub definitions_policy: DefinitionsPolicy,
    /// Where two meet at definitions, the most telling first, cut at 1,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub definitions: Vec<RehearsedMeeting>,
    /// Branches that were not held against the others in time: there may be more of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub definitions_unread: Vec<BranchName>,
    /// Why the settings were not read, where they are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_unread: Option<String>,
}

/// One branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rehearsed {
    /// Which.
    pub branch: BranchName,
    /// Its head.
    pub head: CommitId,
    /// What would become of it.
    pub outcome: RehearsedOutcome,
    /// Its place among those that land, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u32>,
    /// Why it does not land, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The paths in which it conflicts with what lands before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Those tried here with which it does not merge.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts_with: Vec<BranchName>,
    /// It does not merge with the target as it is now.
    pub conflicts_with_target: bool,
    /// Those tried here that it merges with, but meets at definitions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub meets: Vec<BranchName>,
    /// What of its source code was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_read: Option<UnreadNotice>,
}

/// What would become of a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RehearsedOutcome {
    /// It lands.
    Lands,
    /// The target has it already.
    Contained,
    /// It is refused or fails.
    Fails,
    /// It waits for something that does not come by itself, such as a review.
    Waits,
}

/// Two branches that meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RehearsedPair {
    /// The one.
    pub one: BranchName,
    /// The other.
    pub other: BranchName,
    /// They do not merge; otherwise both changed the paths, and merge.
    pub conflict: bool,
    /// Where, the first 20.
    pub paths: Vec<String>,
}

/// Two branches that may break each other though they merge. It is advice, read without resolving names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RehearsedMeeting {
    /// The one that altered it; where both did, either of them.
    pub one: BranchName,
    /// The other.
    pub other: BranchName,
    /// How they meet.
    pub meeting: MeetingKind,
    /// The definition: `Mirror::open`.
    pub symbol: String,
    /// Where it is, or was, and where it is newly used.
    pub paths: Vec<String>,
    /// The same as a sentence.
    pub sentence: String,
}

/// `queue.definitions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DefinitionsPolicy {
    /// Nothing is read.
    Off,
    /// It is told.
    Advise,
    /// The later of two that meet waits until the earlier one is decided.
    Enforce,
}
