use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BranchName, CommitId, Gate, Millis, RequestId, RunId, TreeId};

/// One run that a runner is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GateJob {
    /// The run's id, new for every attempt.
    pub run: RunId,
    /// Whose candidate it is; none: the target's own tip is tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// Where it would land.
    pub target: BranchName,
    /// The commit to check out.
    pub candidate: CommitId,
    /// Its tree: what the verdict will be about.
    pub tree: TreeId,
    /// What it was assembled on; of a tip: itself.
    pub base: CommitId,
    /// From 1.
    pub attempt: u32,
    /// What to run.
    pub gate: Gate,
    /// A commit that is known to be green by this gate: a step with `when` is left out where nothing that it
    /// names differs from there. None: every step runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<CommitId>,
    /// By a step's name: a shorter time than its own limit, learned from its runs. Who passes it is not red,
    /// but is repeated without it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub learned_ms: BTreeMap<String, u64>,
}

/// How a run went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum RunOutcome {
    /// Every step ended with 0.
    Green,
    /// A step ended with something else.
    Red {
        /// The step's name.
        step: String,
        /// Its exit code; none when a signal ended it.
        exit_code: Option<i32>,
        /// The last 4 KiB of its output.
        log_tail: String,
    },
    /// A step took too long and was ended.
    TimedOut {
        /// The step's name.
        step: String,
        /// The limit that it passed, in milliseconds.
        limit_ms: u64,
        /// The last 4 KiB of its output.
        log_tail: String,
    },
    /// Nobody wanted it any more.
    Cancelled,
    /// No verdict, and not by the candidate's fault: no disk, no process, no worktree.
    Lost {
        /// What went wrong.
        why: String,
    },
}

/// What one step did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepResult {
    /// The step's name.
    pub name: String,
    /// Wall time, in milliseconds.
    pub ms: u64,
    /// None when it did not end by itself.
    pub exit_code: Option<i32>,
}

/// A runner's report of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunReport {
    /// Which run.
    pub run: RunId,
    /// Who ran it, as `host/lane`.
    pub runner: String,
    /// How it went.
    pub outcome: RunOutcome,
    /// When it started.
    pub started: Millis,
    /// How long it took with everything, in milliseconds.
    pub ms: u64,
    /// The steps that were started, in the order in which they ended.
    pub steps: Vec<StepResult>,
    /// The steps that were left out, by their `when`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}
