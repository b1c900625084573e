use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};

use crate::{
    Announcement, BaseMoved, CandidateRequest, CandidateStored, CheckReply, CheckRequest, ErrorReply, Event,
    ExplainRequest, Explanation, FreezeReply, FreezeRequest, GateJob, GatePassed, Intent, LogReply,
    LogRequest, ParallelReply, ParallelRequest, PauseReply, PauseRequest, PromoteReply, PromoteRequest,
    QueueReply, Rehearsal, RequestView, Review, RunReport, RunnerBeat, RunnerOrders, StatusReply,
    SubmitReply, WithdrawReply, WithdrawRequest, Withdrawal,
};

/// The message that offers a branch. This is the shape to write; what is read is more forgiving
/// (null is the same as missing, unknown fields are kept).
#[derive(Serialize, Deserialize, JsonSchema)]
struct ReadyToMerge {
    #[serde(rename = "type")]
    kind: ReadyToMergeType,
    merge_info: Announcement,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ReadyToMergeType {
    ReadyToMerge,
}

/// The message that takes a branch back.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Withdraw {
    #[serde(rename = "type")]
    kind: WithdrawType,
    merge_info: Withdrawal,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WithdrawType {
    Withdraw,
}

/// The message that says what a reviewer thinks of a head.
#[derive(Serialize, Deserialize, JsonSchema)]
struct ReviewMessage {
    #[serde(rename = "type")]
    kind: ReviewType,
    review: Review,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ReviewType {
    Review,
}

/// The message that says what an agent means to work on.
#[derive(Serialize, Deserialize, JsonSchema)]
struct IntentMessage {
    #[serde(rename = "type")]
    kind: IntentType,
    merge_info: Intent,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum IntentType {
    Intent,
}

/// The message that says that a gate has passed elsewhere.
#[derive(Serialize, Deserialize, JsonSchema)]
struct GatePassedMessage {
    #[serde(rename = "type")]
    kind: GatePassedType,
    merge_info: GatePassed,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum GatePassedType {
    GatePassed,
}

/// Every schema of the wire by file name; `docs/protocol/` holds them and a test holds them true.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("ready_to_merge", schema_for!(ReadyToMerge)),
        ("withdraw", schema_for!(Withdraw)),
        ("review", schema_for!(ReviewMessage)),
        ("intent", schema_for!(IntentMessage)),
        ("gate_passed", schema_for!(GatePassedMessage)),
        ("base_moved", schema_for!(BaseMoved)),
        ("event", schema_for!(Event)),
        ("error", schema_for!(ErrorReply)),
        ("submit_reply", schema_for!(SubmitReply)),
        ("withdraw_request", schema_for!(WithdrawRequest)),
        ("withdraw_reply", schema_for!(WithdrawReply)),
        ("freeze_request", schema_for!(FreezeRequest)),
        ("freeze_reply", schema_for!(FreezeReply)),
        ("pause_request", schema_for!(PauseRequest)),
        ("pause_reply", schema_for!(PauseReply)),
        ("promote_request", schema_for!(PromoteRequest)),
        ("promote_reply", schema_for!(PromoteReply)),
        ("queue_reply", schema_for!(QueueReply)),
        ("status_reply", schema_for!(StatusReply)),
        ("request_view", schema_for!(RequestView)),
        ("explain_request", schema_for!(ExplainRequest)),
        ("explain_reply", schema_for!(Explanation)),
        ("log_request", schema_for!(LogRequest)),
        ("log_reply", schema_for!(LogReply)),
        ("check_request", schema_for!(CheckRequest)),
        ("check_reply", schema_for!(CheckReply)),
        ("parallel_request", schema_for!(ParallelRequest)),
        ("parallel_reply", schema_for!(ParallelReply)),
        ("rehearsal", schema_for!(Rehearsal)),
        ("gate_job", schema_for!(GateJob)),
        ("run_report", schema_for!(RunReport)),
        ("runner_beat", schema_for!(RunnerBeat)),
        ("runner_orders", schema_for!(RunnerOrders)),
        ("candidate_request", schema_for!(CandidateRequest)),
        ("candidate_stored", schema_for!(CandidateStored)),
    ]
}
