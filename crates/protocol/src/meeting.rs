use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AgentName, BranchName, RequestId};

/// Two requests that meet at a definition: they may merge cleanly and break each other all the same. It is
/// advice, read from source code without resolving names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DefinitionMeeting {
    /// The one that altered it; where both did, either of them.
    pub one: RequestId,
    /// The other.
    pub other: RequestId,
    /// How they meet.
    pub meeting: MeetingKind,
    /// The definition: `Mirror::open`.
    pub symbol: String,
    /// A file in which it is, or was.
    pub path: String,
    /// The first file in which `other` newly uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_in: Option<String>,
}

/// How two requests meet at a definition, the most telling first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MeetingKind {
    /// One removes or renames what the other newly uses.
    RemovedAndUsed,
    /// Both add it, differently.
    BothAdded,
    /// One changes what users see of it, the other newly uses it.
    ChangedAndUsed,
    /// Both change it, differently; one of them may remove it.
    BothChanged,
}

/// What an event tells of a meeting with another request. The two merge; whether they work together nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Advice {
    /// The other request.
    pub with: RequestId,
    /// Who announced that.
    pub agent: AgentName,
    /// Where its work is.
    pub branch: BranchName,
    /// How they meet.
    pub meeting: MeetingKind,
    /// The definition: `Mirror::open`.
    pub symbol: String,
    /// Where it is, or was, and where it is newly used.
    pub paths: Vec<String>,
    /// The same as a sentence.
    pub sentence: String,
}

impl fmt::Display for DefinitionMeeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DefinitionMeeting { one, other, symbol, path, .. } = self;
        let using = self.used_in.as_deref().unwrap_or("its files");
        match self.meeting {
            MeetingKind::RemovedAndUsed => {
                write!(f, "{one} removes `{symbol}` from {path}, and {other} newly uses it in {using}")
            }
            MeetingKind::ChangedAndUsed => {
                write!(
                    f,
                    "{one} changes the signature of `{symbol}` in {path}, and {other} newly uses it in {using}"
                )
            }
            MeetingKind::BothAdded => write!(f, "{one} and {other} both add `{symbol}` in {path}"),
            MeetingKind::BothChanged => write!(f, "{one} and {other} both change `{symbol}` in {path}"),
        }
    }
}
