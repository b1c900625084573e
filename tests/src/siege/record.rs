use std::collections::BTreeMap;

use crate::Message;

/// What is known after a round, from git and from the stream of events alone.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// What agents offered, one for each branch.
    pub announced: Vec<Announced>,
    /// The whole stream, in order.
    pub events: Vec<Message>,
    /// The first-parent history of the target, oldest first.
    pub main: Vec<Commit>,
    /// What the files at the tip say.
    pub files: BTreeMap<String, String>,
    /// What others pushed, past the queue.
    pub foreign: Vec<Foreign>,
    /// How many pushes the remote's rules refused.
    pub declined: usize,
    /// Processes, locks and pins that nobody needs any more, each as a sentence.
    pub left_over: Vec<String>,
}

/// A branch that was announced.
#[derive(Debug, Clone)]
pub struct Announced {
    /// The branch.
    pub branch: String,
    /// A file that has `line` when the branch is on the target, and only then.
    pub path: String,
    /// What the branch writes there.
    pub line: String,
    /// How it has to end.
    pub expected: Expected,
}

/// How a branch has to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// It lands.
    Lands,
    /// It lands, after this branch.
    LandsAfter(String),
    /// It fails, for this cause.
    Fails(&'static str),
    /// Of this branch and it one lands, and the other fails for this cause.
    EitherOr(String, &'static str),
    /// It was taken back: it has been withdrawn, or it had landed by then.
    Withdrawn,
}

/// A commit of the target's first-parent history.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// Its id.
    pub id: String,
    /// Its tree.
    pub tree: String,
    /// The request that its message names.
    pub request: Option<String>,
    /// How the gate ended when it was run once more.
    pub green: bool,
    /// Lines that it took away and added, each behind its path and `-` or `+`; of requests only.
    pub changes: Vec<String>,
    /// The same of the branch that it landed, since that left the target.
    pub asked: Vec<String>,
    /// The commit of the first-parent history that it is beneath; none: it is one itself.
    pub rollup: Option<String>,
}

/// A commit that somebody else pushed.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// Its id.
    pub id: String,
    /// The file that it adds.
    pub path: String,
    /// What it adds there.
    pub line: String,
}
