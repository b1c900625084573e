//! Exists so that every other room uses the same words: ids, requests, reports, facts, events,
//! subjects and their schemas. It does nothing: no runtime, no git, no NATS.

mod check;
mod codeowners;
mod event;
mod explain;
mod fact;
mod gate;
mod globs;
mod ids;
mod incoming;
mod job;
mod meeting;
mod moved;
mod parallel;
mod project;
mod refname;
mod refusal;
mod rehearsal;
mod report;
mod review;
mod runner;
mod schema;
mod service;
mod subject;
mod time;

pub use check::{CheckReply, CheckRequest, CheckVerdict, Met, Needed, NeededState};
pub use codeowners::{OwnerRule, Owners};
pub use event::{
    About, Blame, Blocker, BlockerKind, Cause, Event, EventBody, Evidence, Failure, GateEvidence, Mismatch,
    Notice,
};
pub use explain::{
    Action, ActionKind, Change, Counterfactual, Estimate, ExplainRequest, Explanation, Link, LinkKind,
};
pub use fact::{Entry, Fact, Landing, PairConflict, Projected, Rollup, TipConflict};
pub use gate::{DEFAULT_STEP_TIMEOUT_MS, Gate, GateError, MAX_STEPS, PROJECT_FILE, Step};
pub use globs::{Globs, MAX_GLOB_BYTES, MAX_GLOBS, PathFilter};
pub use ids::{
    AgentName, BadId, BranchName, CommitId, GateId, IntakeSeq, JournalPosition, Label, ObjectId, RequestId,
    Requirement, RunId, RunnerName, TreeId,
};
pub use incoming::{Announcement, GatePassed, Incoming, MAX_PAYLOAD_BYTES, Priority, Withdrawal};
pub use job::{GateJob, RunOutcome, RunReport, StepResult};
pub use meeting::{Advice, DefinitionMeeting, MeetingKind, NotRead, Unread, UnreadNotice, UnreadWhy};
pub use moved::{BaseMoved, BaseMovedType, Concern, Intent, LandedWork};
pub use parallel::{Ahead, ParallelReply, ParallelRequest, Planned, Tie, TieKind};
pub use project::{Access, AgentScope, Independence, MAX_PROJECT_BYTES, Project, ReviewRule, Scope, System};
pub use refname::BadRefName;
pub use refusal::{Refusal, RefusalCode};
pub use rehearsal::{
    DefinitionsPolicy, Rehearsal, Rehearsed, RehearsedMeeting, RehearsedOutcome, RehearsedPair,
};
pub use report::{
    Assembled, Assembly, CandidateSpec, ChangeSize, ChangelogEdit, Inspection, LandOutcome, MergedBy,
    Movement, Sighting,
};
pub use review::{Review, ReviewVerdict};
pub use runner::{
    CandidateRequest, CandidateStored, DiskUse, MAX_KNOWN, RUNNER_WIRE, RunnerBeat, RunnerOffer,
    RunnerOrders, RunnerView,
};
pub use schema::schemas;
pub use service::{
    ErrorBody, ErrorReply, Flaky, FreezeReply, FreezeRequest, LogReply, LogRequest, PauseReply, PauseRequest,
    Pressure, PromoteReply, PromoteRequest, PromotedRow, Promotion, QueueReply, RequestRow, RequestView,
    ServiceErrorCode, StatusReply, SubmitReply, TargetView, TipHealth, WithdrawReply, WithdrawRequest,
};
pub use subject::{
    ADMIN_PREFIX, ADMIN_VERB, INTEGRATION_PREFIX, RELEASES_PREFIX, REVIEWS_PREFIX, RUNNER_PREFIX,
    RUNNER_VERB, SERVICE_NAME, SERVICE_PREFIX, STREAM_INTEGRATION, STREAM_RELEASES, STREAM_REVIEWS,
    agent_copy_subject, agent_of_subject, announce_subject, event_subject, review_subject,
    reviewer_of_subject, service_subject,
};
pub use time::{Millis, parse_bytes, parse_duration_ms, rfc3339};
