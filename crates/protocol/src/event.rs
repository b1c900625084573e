use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    Advice, AgentName, BranchName, CommitId, GateId, Pressure, Refusal, RequestId, Requirement, RunId,
    TreeId, UnreadNotice,
};

/// What `work.releases.*` carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// The request that it is about; none for events about a target or about a message.
    #[serde(flatten)]
    pub about: Option<About>,
    /// When, RFC 3339.
    pub time: String,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

/// Common to every event of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct About {
    /// The request.
    pub request: RequestId,
    /// Who announced it.
    pub agent: AgentName,
    /// Where its work is.
    pub branch: BranchName,
    /// What it is for.
    pub requirement: Requirement,
    /// Where it is to land.
    pub target: BranchName,
    /// The head in custody; none when no head was ever found.
    pub head: Option<CommitId>,
    /// Counts this request's events, from 1.
    pub seq: u32,
    /// Fields of the announcement that this version does not know.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventBody {
    /// The request is in the journal and its head in custody.
    MergeQueued {
        /// Place in the queue, from 1.
        position: u32,
        /// Where claims and git's own diff differ.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        declared_mismatch: Option<Mismatch>,
        /// What the agent should do about the length of the queue.
        #[serde(default)]
        pressure: Pressure,
        /// Requests that have not ended, this one among them; 0 from a daemon that did not say.
        #[serde(default)]
        pending: u32,
        /// Pending requests that it may break, or may be broken by, though all merge; at most 5.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        advice: Vec<Advice>,
        /// What of its source code was not read: it meets nobody there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_read: Option<UnreadNotice>,
    },
    /// It waits for something other than its turn. Never terminal.
    MergeBlocked {
        /// Sentences, one for each blocker.
        reason: Vec<String>,
        /// The same as data.
        blockers: Vec<Blocker>,
        /// Pending requests that it may break, or may be broken by, though all merge; at most 5. Nothing waits
        /// for these.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        advice: Vec<Advice>,
        /// What of its source code was not read: it meets nobody there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_read: Option<UnreadNotice>,
    },
    /// An operator moved it to the front.
    MergePromoted {
        /// Who.
        who: String,
        /// Why.
        why: String,
        /// It was moved because this one depends on it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        needed_by: Option<RequestId>,
    },
    /// A run of its candidate was asked for.
    MergeTesting {
        /// The run.
        run: RunId,
        /// The commit under test.
        candidate: CommitId,
        /// What it was assembled on.
        base: CommitId,
        /// The requests that it is tested on top of.
        behind: Vec<RequestId>,
        /// From 1.
        attempt: u32,
    },
    /// It is on the target.
    MergeComplete {
        /// Its commit; none when the target had it already.
        commit: Option<CommitId>,
        /// The landed tree, which is the tested tree.
        tree: TreeId,
        /// The tip that it was tested on.
        base: CommitId,
        /// The run behind it.
        gate: GateEvidence,
        /// It landed in a batch: the merge commit on the first-parent history, beneath which `commit` stands, and whose
        /// tree was tested.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rollup: Option<CommitId>,
    },
    /// It cannot land.
    MergeFailed(Failure),
    /// It was taken back.
    MergeWithdrawn {
        /// By whom.
        by: String,
    },
    /// A newer head of the same branch took its place.
    MergeSuperseded {
        /// The newer request.
        by: RequestId,
    },
    /// A message was not understood or not allowed; no request exists.
    RequestRejected {
        /// Why.
        why: Refusal,
        /// The subject it came on.
        subject: String,
        /// Its first KiB.
        payload: String,
    },
    /// The queue stopped by somebody's wish.
    Paused(Notice),
    /// The queue goes on.
    Resumed(Notice),
    /// The queue cannot go on by itself.
    Stalled(Notice),
    /// The target's own tip is red.
    TargetRed(Notice),
    /// The target's own tip is green again.
    TargetGreen(Notice),
    /// What agents should do about the length of the queue has changed.
    Pressure {
        /// What.
        pressure: Pressure,
        /// Requests that have not ended.
        pending: u32,
        /// The same as a sentence.
        why: String,
    },
}

/// Of an event that is about a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    /// A sentence.
    pub why: String,
    /// Who or what caused it.
    pub who: String,
}

impl EventBody {
    /// The last token of the subject.
    pub fn token(&self) -> &'static str {
        match self {
            Self::MergeQueued { .. } => "queued",
            Self::MergeBlocked { .. } => "blocked",
            Self::MergePromoted { .. } => "promoted",
            Self::MergeTesting { .. } => "testing",
            Self::MergeComplete { .. } => "complete",
            Self::MergeFailed(_) => "failed",
            Self::MergeWithdrawn { .. } => "withdrawn",
            Self::MergeSuperseded { .. } => "superseded",
            Self::RequestRejected { .. } => "rejected",
            Self::Paused(_) => "paused",
            Self::Resumed(_) => "resumed",
            Self::Stalled(_) => "stalled",
            Self::TargetRed(_) => "target_red",
            Self::TargetGreen(_) => "target_green",
            Self::Pressure { .. } => "pressure",
        }
    }

    /// Whether a request ends with it.
    pub fn is_terminal(&self) -> bool {
        match self {
            Self::MergeComplete { .. }
            | Self::MergeFailed(_)
            | Self::MergeWithdrawn { .. }
            | Self::MergeSuperseded { .. } => true,
            Self::MergeQueued { .. }
            | Self::MergeBlocked { .. }
            | Self::MergePromoted { .. }
            | Self::MergeTesting { .. }
            | Self::RequestRejected { .. }
            | Self::Paused(_)
            | Self::Resumed(_)
            | Self::Stalled(_)
            | Self::TargetRed(_)
            | Self::TargetGreen(_)
            | Self::Pressure { .. } => false,
        }
    }
}

/// Claims that git's own diff does not bear out. Lists are cut at 50.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mismatch {
    /// Changed, but not declared.
    pub undeclared: Vec<String>,
    /// Declared, but not changed.
    pub unchanged: Vec<String>,
    /// Systems that are touched, but were not declared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undeclared_systems: Vec<String>,
    /// Systems that were declared, but are not touched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untouched_systems: Vec<String>,
}

/// One thing that a request waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Blocker {
    /// What sort of thing.
    pub kind: BlockerKind,
    /// The other request, requirement or branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// Where the two meet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// What ends the wait, as a sentence.
    pub until: String,
    /// Why, as a sentence.
    pub reason: String,
}

/// What sort of thing a request can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlockerKind {
    /// The two do not merge.
    TextualConflict,
    /// The two merge, but the gate is red on both together.
    SemanticConflict,
    /// The two touch the same files or systems, and the policy keeps them apart.
    Overlap,
    /// Something else must land first.
    Dependency,
    /// It needs itself to land first.
    Cycle,
    /// It touches what its author may not.
    Scope,
    /// A review is missing.
    Review,
    /// The target itself is red.
    TargetRed,
    /// The queue or the target stands still.
    Hold,
    /// No runner has what its gate needs.
    Runner,
}

/// Why a request failed, whose fault it was, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// What happened.
    pub cause: Cause,
    /// Whose fault it was.
    pub blame: Blame,
    /// What shows it.
    pub evidence: Evidence,
    /// Commands that mend it, in order.
    pub next: Vec<String>,
}

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It does not merge.
    Conflict,
    /// The gate said no.
    GateRed,
    /// The gate did not end in time.
    GateTimeout,
    /// The remote has no such branch.
    BranchMissing,
    /// The branch was not at the announced commit.
    HeadChanged,
    /// The remote's rules refused the push.
    PushRefused,
    /// What it depends on failed.
    DependencyFailed,
    /// A rule of the queue.
    Policy,
}

/// Whose fault a failure was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// The request's own.
    Own,
    /// The target's as it was.
    Base,
    /// A request that landed ahead of it.
    Ahead,
    /// Nobody's who writes code: runners, disks, networks.
    Infra,
    /// The gate's: it says different things of the same tree.
    Flake,
}

/// What shows that a request failed. Everything is bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// A sentence.
    pub message: String,
    /// Conflicting paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// The other side of a conflict or the dependency, as `r7 (roy/req-7 by roy)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<String>,
    /// The tip that it was tried on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<CommitId>,
    /// The candidate that was tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CommitId>,
    /// The step that was red.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Its exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The last 4 KiB of its output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_tail: Option<String>,
    /// The run, for `yardmaster logs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<RunId>,
    /// The head that was announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<CommitId>,
    /// The head that was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<CommitId>,
    /// The change that would take back what has landed, cut at 2 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hunk: Option<String>,
}

/// The run that a landed tree stands on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateEvidence {
    /// The run; none with a gate of `none`, or when there was nothing to merge.
    pub run: Option<RunId>,
    /// Which definition was run.
    pub gate: Option<GateId>,
    /// How long it took.
    pub seconds: f64,
    /// The verdict had been there before: the same tree was tested under another candidate.
    pub reused: bool,
    /// Steps that were red in an earlier run of this very tree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flaky: Vec<String>,
}
