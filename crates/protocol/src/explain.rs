//! Why a request has not landed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    BlockerKind, BranchName, CommitId, DefinitionMeeting, RequestId, RequestRow, RunId, UnreadNotice,
};

/// Ask why a request has not landed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainRequest {
    /// A request id, a branch or a requirement.
    pub what: String,
}

/// Answer to `explain`: at most 16 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The request as a line of the queue.
    #[serde(flatten)]
    pub row: RequestRow,
    /// Where it is to land.
    pub target: BranchName,
    /// Why it has not landed, or how it ended, in one sentence.
    pub sentence: String,
    /// From the request back to something that can be acted on; each link is the reason for the one before it.
    /// At most 12.
    pub chain: Vec<Link>,
    /// What helps, the most useful first. At most 8.
    pub actions: Vec<Action>,
    /// What would change its place, worked out by the planner on a copy of the queue. At most 6.
    pub counterfactuals: Vec<Counterfactual>,
    /// Where it meets others at a definition, which may break though all merge cleanly. Advice, at most 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub definitions: Vec<DefinitionMeeting>,
    /// What of its source code was not read: it meets nobody there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_read: Option<UnreadNotice>,
    /// When it is likely to be decided; none while something has to happen first of which nobody knows when, or
    /// while no run of the gate was seen.
    pub estimate: Option<Estimate>,
}

/// One reason, and what ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// Whose; none for what is about the target itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// What sort of reason.
    pub kind: LinkKind,
    /// In words, at most 300 characters.
    pub sentence: String,
    /// The other request, requirement or branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// Where the two meet, cut at 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// The run to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// What ends it; none when it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// What sort of reason a link is: a stage of the way to the target, something about the target, or a blocker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// Its head is being fetched.
    Arriving,
    /// Others come before it, and there is no free place.
    Turn,
    /// It is being merged onto what is below it.
    Merging,
    /// Its candidate is being tested, or is about to be.
    Testing,
    /// Its candidate is red directly on the target: the target is looked at, or it is about to be failed.
    Suspected,
    /// It is green, and those below it have to land first.
    Ahead,
    /// It is being pushed.
    Landing,
    /// It has ended.
    Ended,
    /// Somebody froze the target.
    Frozen,
    /// The remote does not answer.
    RemoteLost,
    /// The target has not been seen, or its gate cannot be read.
    TargetUnusable,
    /// Something that it waits for beside its turn.
    #[serde(untagged)]
    Blocked(BlockerKind),
}

/// Something that helps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Action {
    /// What sort of thing.
    pub kind: ActionKind,
    /// What to type; words in capitals are to be filled in.
    pub command: String,
    /// What it is good for.
    pub why: String,
}

/// What sort of thing helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// Change the branch and announce it again.
    Mend,
    /// Announce what is missing.
    Announce,
    /// Take a request back.
    Withdraw,
    /// Let the target go on.
    Unfreeze,
    /// Mend the machinery: the remote, the gate, the target.
    Repair,
    /// Read what a gate printed.
    Read,
    /// Nothing but to wait.
    Wait,
}

/// Where the request would be if something were different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counterfactual {
    /// What would be different.
    #[serde(flatten)]
    pub change: Change,
    /// In words.
    pub sentence: String,
    /// Its place then, from 1; at the latest so after a rebase, which may change its size.
    pub position: u32,
    /// It would still wait for something beside its turn.
    pub blocked: bool,
    /// Nothing would land on the target before it, if it is green.
    pub lands_next: bool,
    /// What to type; words in capitals are to be filled in.
    pub command: String,
}

/// What could be different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// Another request is taken back.
    Withdraw {
        /// Which.
        withdrawn: RequestId,
    },
    /// It is taken back and announced again with another priority.
    Priority {
        /// Which.
        priority: u8,
    },
    /// An operator moves it to the front.
    Promote,
    /// It is merged with what it conflicts with and announced again, depending on that.
    Rebase {
        /// The head that it is to contain.
        over: CommitId,
        /// Whose head that is.
        of: RequestId,
    },
}

/// From now until a request is decided, if nothing else is announced, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// If all goes well.
    pub low_ms: u64,
    /// As things usually go.
    pub likely_ms: u64,
    /// If runs take long and some of those ahead are red.
    pub high_ms: u64,
    /// What it is worked out from.
    pub basis: String,
}
