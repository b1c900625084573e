use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AgentName, Blocker, BranchName, CommitId, DiskUse, GateId, Priority, RequestId, Requirement, RunId,
    RunnerView,
};

/// How an answer of the service looks when it could not be given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorReply {
    /// Always false.
    pub ok: bool,
    /// What went wrong.
    pub error: ErrorBody,
}

/// What went wrong, for programs and people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}")]
pub struct ErrorBody {
    /// The kind.
    pub code: ServiceErrorCode,
    /// A sentence.
    pub message: String,
    /// Whether the same call can succeed later.
    pub retryable: bool,
    /// Commands that help.
    pub next: Vec<String>,
}

/// The kinds of trouble of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceErrorCode {
    /// Not foreseen.
    Unexpected,
    /// The call itself is wrong.
    Usage,
    /// No such request, branch or log.
    NotFound,
    /// The message was refused.
    Refused,
    /// NATS or the daemon does not answer.
    Unreachable,
    /// The time is over and the request is still queued.
    TimedOut,
    /// Something that is there is in the way.
    Conflict,
}

impl ServiceErrorCode {
    /// The exit code of a command that ends with it.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Conflict => 5,
            Self::Refused => 7,
            Self::Unreachable => 9,
            Self::TimedOut => 124,
        }
    }
}

/// Answer to `submit`; the request is in custody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubmitReply {
    /// The request.
    pub request: RequestId,
    /// `queued`, or the state of the request that it already is: `landed`, `testing`, …
    pub state: String,
    /// The same work had been announced before.
    pub repeated: bool,
    /// Place in the queue, from 1; none when it has ended.
    pub position: Option<u32>,
}

/// Ask for a request to be taken back, by its id or its branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WithdrawRequest {
    /// A request id or a branch.
    pub what: String,
    /// Who asks.
    pub by: String,
}

/// Answer to `withdraw`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WithdrawReply {
    /// What was taken back.
    pub request: RequestId,
}

/// Ask for a target to stand still, or to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FreezeRequest {
    /// Which branch; the default target without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<BranchName>,
    /// Who asks.
    pub who: String,
    /// Why, for those who wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Answer to `freeze` and `unfreeze`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FreezeReply {
    /// Which branch.
    pub target: BranchName,
    /// Whether it stands still now.
    pub frozen: bool,
    /// False: it was so already.
    pub changed: bool,
}

/// Ask for a target to give nobody a place any more, or to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PauseRequest {
    /// Which branch; the default target without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<BranchName>,
    /// Who asks.
    pub who: String,
    /// Why, for those who wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// This priority and more urgent ones still get a place; nobody does without it. Not looked at by `resume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub except: Option<Priority>,
}

/// Answer to `pause` and `resume`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PauseReply {
    /// Which branch.
    pub target: BranchName,
    /// Whether it is paused now.
    pub paused: bool,
    /// False: it was so already.
    pub changed: bool,
}

/// Ask for requests to be moved to the front, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PromoteRequest {
    /// Request ids, branches or requirements; at most 100, with what they depend on.
    pub what: Vec<String>,
    /// Who asks.
    pub who: String,
    /// Why, for those who wait longer for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Answer to `promote`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PromoteReply {
    /// Those that were moved, in their order, with what they depend on.
    pub requests: Vec<PromotedRow>,
    /// False: they were in front already, and nothing is different.
    pub changed: bool,
}

/// One request that was moved to the front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PromotedRow {
    /// The line.
    #[serde(flatten)]
    pub row: RequestRow,
    /// It was moved because this one depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_by: Option<RequestId>,
}

/// Who moved a request to the front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Promotion {
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
}

/// How full the queue is and what an agent should do about it, from little to much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pressure {
    /// Go on.
    #[default]
    Steady,
    /// Finish what is started before starting more.
    Slow,
    /// Skip a turn.
    Stop,
}

/// One request as a line of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestRow {
    /// The request.
    pub request: RequestId,
    /// Who.
    pub agent: AgentName,
    /// Where.
    pub branch: BranchName,
    /// What for.
    pub requirement: Requirement,
    /// `arriving`, `queued`, `blocked`, `assembling`, `testing`, `green`, `landing`, `landed`,
    /// `failed`, `withdrawn`, `superseded`.
    pub state: String,
    /// Place in the queue, from 1; none once ended.
    pub position: Option<u32>,
    /// Why it is in that state, in one line.
    pub note: String,
    /// Milliseconds in that queue so far, or until its end.
    pub waited_ms: u64,
    /// An operator moved it to the front.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Promotion>,
}

/// Answer to `status REQUEST`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestView {
    /// The line.
    #[serde(flatten)]
    pub row: RequestRow,
    /// Where it is to land.
    pub target: BranchName,
    /// The head in custody.
    pub head: Option<CommitId>,
    /// Real paths, cut at 100.
    pub files: Vec<String>,
    /// What it waits for.
    pub blockers: Vec<Blocker>,
    /// The candidate that is or was tested last.
    pub candidate: Option<CommitId>,
    /// The latest run.
    pub run: Option<RunId>,
    /// On the target as this commit.
    pub commit: Option<CommitId>,
    /// Why it failed.
    pub failure: Option<crate::Failure>,
}

/// One target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetView {
    /// The branch.
    pub target: BranchName,
    /// Its tip.
    pub tip: Option<CommitId>,
    /// The gate in force, by what it does and where; none where it cannot be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateId>,
    /// How many may be tested at the same time.
    pub window: u32,
    /// Requests that have not ended.
    pub pending: u32,
    /// Runs that are asked for.
    pub testing: u32,
    /// Why nothing can land now; none when it can.
    pub hold: Option<String>,
    /// What the gate says of the tip itself.
    #[serde(default)]
    pub tip_health: TipHealth,
    /// In a sentence, with the run to read; none while there is nothing to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tip_note: Option<String>,
    /// What is asked for and no runner can take, in a sentence; none while there is nothing to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_note: Option<String>,
    /// Steps that were red and then green on the same tree, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flaky: Vec<Flaky>,
}

/// A step that does not always say the same of the same tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Flaky {
    /// The step.
    pub step: String,
    /// What it said last when it was red, without what differs from run to run.
    pub said: String,
    /// How often that was seen.
    pub times: u32,
    /// When it was seen last.
    pub last: String,
}

/// What the gate says of a target's own tip.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TipHealth {
    /// There is no verdict, or nobody asks for one.
    #[default]
    Unknown,
    /// A run of it is under way.
    Testing,
    /// It passes.
    Green,
    /// It does not.
    Red,
}

/// Answer to `queue`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueReply {
    /// Every target.
    pub targets: Vec<TargetView>,
    /// In the order in which they are to land, cut at 1,000.
    pub requests: Vec<RequestRow>,
    /// Lately ended ones, newest first, cut at 20.
    pub ended: Vec<RequestRow>,
    /// What agents should do.
    pub pressure: Pressure,
    /// Runners elsewhere, those that were lost lately among them.
    #[serde(default)]
    pub runners: Vec<RunnerView>,
}

/// Answer to `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusReply {
    /// The program's version.
    pub version: String,
    /// Seconds since it started to serve.
    pub uptime_s: u64,
    /// Where it lands.
    pub remote: String,
    /// How many runs fit at the same time inside the daemon.
    pub slots: u32,
    /// What checkouts and caches of these slots take of the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskUse>,
    /// How many fit at the same time in runners elsewhere that are there.
    #[serde(default)]
    pub runner_slots: u32,
    /// Runners elsewhere, those that were lost lately among them.
    #[serde(default)]
    pub runners: Vec<RunnerView>,
    /// Every target.
    pub targets: Vec<TargetView>,
    /// Position of the journal.
    pub journal: u64,
    /// Ended since the journal began, by kind: landed, failed, withdrawn, superseded, rejected.
    pub landed: u64,
    /// See `landed`.
    pub failed: u64,
    /// Merges that our own walk and git saw differently; every one counted as a conflict.
    pub merge_disagreements: u64,
}

/// Ask for the log of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogRequest {
    /// A run id, or a request id or branch for its latest run.
    pub what: String,
    /// From this byte on.
    pub offset: u64,
}

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogReply {
    /// The run.
    pub run: RunId,
    /// The bytes, as text with replacement characters where they are none; at most 256 KiB.
    pub text: String,
    /// Where the next piece starts.
    pub next: u64,
    /// The run has ended and there is no more.
    pub done: bool,
}
