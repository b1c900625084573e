use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CommitId, Label, RunId, RunnerName};

/// What daemon and runners say to each other. Both must be of the same number.
pub const RUNNER_WIRE: u32 = 1;
/// The most commits that a runner names as known.
pub const MAX_KNOWN: usize = 64;

/// What a runner says of itself, every few seconds and at every change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunnerBeat {
    /// [`RUNNER_WIRE`] of the runner.
    pub wire: u32,
    /// Its program's version, for people.
    pub version: String,
    /// Its name; two with the same name are told apart by `life`.
    pub runner: RunnerName,
    /// Another one after each start.
    pub life: String,
    /// What it has.
    #[serde(default)]
    pub labels: BTreeSet<Label>,
    /// How many runs it takes at the same time.
    pub slots: u32,
    /// Processors that steps may take together; none where that is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Bytes of memory that steps may take together; none where that is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_bytes: Option<u64>,
    /// What its checkouts and caches take of its disk; none where that is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskUse>,
    /// What it runs now.
    #[serde(default)]
    pub running: Vec<RunId>,
    /// It takes nothing new, and ends when what it runs has ended.
    #[serde(default)]
    pub draining: bool,
    /// Its last word.
    #[serde(default)]
    pub leaving: bool,
}

/// Answer to a beat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunnerOrders {
    /// [`RUNNER_WIRE`] of the daemon.
    pub wire: u32,
    /// The daemon's version, for people.
    pub version: String,
    /// Every set of labels that jobs have needed so far.
    #[serde(default)]
    pub needs: Vec<BTreeSet<Label>>,
}

/// What checkouts and build caches take of a runner's disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiskUse {
    /// So many bytes at the last look.
    pub bytes: u64,
    /// The most that they may take; above it the least recently used go.
    pub most_bytes: u64,
    /// How many have gone since the start.
    pub evicted: u64,
    /// The last one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
}

/// What living runners have: those with the same labels together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunnerOffer {
    /// The labels of each of them.
    pub labels: BTreeSet<Label>,
    /// The most processors that one of them gives to its steps; none where nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// The most bytes of memory that one of them gives to its steps; none where nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_bytes: Option<u64>,
    /// Some of their names, the first ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runners: Vec<RunnerName>,
    /// The daemon's own slots are among them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub here: bool,
}

/// A runner as the daemon knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunnerView {
    /// Its name.
    pub runner: RunnerName,
    /// Its program's version.
    pub version: String,
    /// What it has.
    pub labels: BTreeSet<Label>,
    /// How many runs it takes at the same time.
    pub slots: u32,
    /// Processors that steps may take together; none where that is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Bytes of memory that steps may take together; none where that is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_bytes: Option<u64>,
    /// What its checkouts and caches take of its disk; none where that is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskUse>,
    /// What it runs.
    pub running: Vec<RunId>,
    /// It takes nothing new.
    pub draining: bool,
    /// Milliseconds since its last word.
    pub seen_ms: u64,
    /// Too long ago: what it ran is given to others.
    pub lost: bool,
}

/// Ask the daemon for the objects of a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CandidateRequest {
    /// The commit.
    pub candidate: CommitId,
    /// Commits that the runner has with everything beneath them, at most [`MAX_KNOWN`].
    #[serde(default)]
    pub known: Vec<CommitId>,
}

/// Answer to a [`CandidateRequest`] whose pack is too large for a message. A small one comes as the answer's
/// payload itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CandidateStored {
    /// The object in the bucket of candidates; it is kept for some minutes.
    pub object: String,
    /// Its size.
    pub bytes: u64,
}
