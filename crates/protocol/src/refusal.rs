use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a message was not taken, as data that an agent can act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The kind of trouble.
    pub code: RefusalCode,
    /// A sentence for people: what is wrong and what to send instead.
    pub message: String,
    /// The field that is wrong, where one is, as a path such as `merge_info.branch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// The kinds of trouble that end a message before it becomes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The payload is not JSON, or not a JSON object.
    NotJson,
    /// The payload is over the limit.
    TooLarge,
    /// `type` is missing or is no type that this page knows.
    UnknownType,
    /// A required field is missing.
    MissingField,
    /// A field has the wrong type.
    WrongType,
    /// A field has a value that cannot be used, such as a branch name that git refuses.
    BadValue,
    /// The subject's agent is not the agent that the message names.
    NotTheAgent,
    /// The target is not served here.
    UnknownTarget,
    /// Nothing pending fits what is to be withdrawn.
    NothingToWithdraw,
    /// The queue is full.
    QueueFull,
    /// A message that this daemon died on more than once.
    Poison,
    /// The agent has as many requests pending as one may have.
    QuotaExceeded,
    /// The agent's word on what a gate says does not count here.
    NotTrusted,
}

impl Refusal {
    /// A refusal that is about the message as a whole.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None }
    }

    /// A refusal that is about one field.
    pub fn field(code: RefusalCode, field: &str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: Some(field.to_owned()) }
    }
}
