use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AgentName, BranchName, RequestId, Requirement};

/// Ask which requirements can be worked on side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParallelRequest {
    /// Where the work is to land; the default target without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<BranchName>,
    /// At most 64, in the order in which they would be done one after the other.
    pub requirements: Vec<Planned>,
}

/// Work that nobody has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Planned {
    /// What for.
    pub requirement: Requirement,
    /// Likely paths, as globs from the root of the repository; at most 100.
    #[serde(default)]
    pub files: Vec<String>,
    /// Likely systems; without them those that `files` belong to. At most 64.
    #[serde(default)]
    pub systems: Vec<String>,
}

/// Answer to `should_parallelize`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParallelReply {
    /// No file and no system is named twice: all of them can run side by side.
    pub parallel: bool,
    /// Who is tied to each other, directly or through others: each is best done as a sequence, in this
    /// order, and all of them side by side.
    pub sequences: Vec<Vec<Requirement>>,
    /// The same as rounds: nobody in a round is tied to anybody else in it.
    pub rounds: Vec<Vec<Requirement>>,
    /// What ties two of them, strongest kind first.
    pub ties: Vec<Tie>,
    /// Pending requests that change what is named here: start after they have landed, or on top of them.
    pub pending: Vec<Ahead>,
    /// First-parent commits of the target that were read for the history.
    pub commits: u32,
}

/// Why two requirements are not for the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tie {
    /// What sort of reason.
    pub kind: TieKind,
    /// The two.
    pub between: [Requirement; 2],
    /// The files or systems, cut at 20; of history the two files that changed together most often.
    pub what: Vec<String>,
    /// As a sentence, with the evidence.
    pub reason: String,
}

/// What ties two requirements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TieKind {
    /// Both name the same file.
    Files,
    /// Both name the same system.
    Systems,
    /// Their files used to change together. Does not make `parallel` false.
    History,
}

/// A pending request on the files of a requirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ahead {
    /// The requirement.
    pub requirement: Requirement,
    /// The pending request.
    pub request: RequestId,
    /// Whose it is.
    pub agent: AgentName,
    /// Where its work is.
    pub branch: BranchName,
    /// Real paths that it changes, cut at 20.
    pub paths: Vec<String>,
}
