use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CommitId, Millis, RequestId, TreeId};

/// How much a request changes, from its merge base, as git counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ChangeSize {
    /// Lines added and removed.
    pub lines: u64,
    /// Files touched.
    pub files: u32,
}

/// What fetching an announced branch found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "inspection", rename_all = "snake_case")]
pub enum Inspection {
    /// The head is pinned in our own repository.
    Pinned {
        /// The head that is in custody.
        head: CommitId,
        /// Where it left the target's history.
        merge_base: CommitId,
        /// Its real size.
        size: ChangeSize,
        /// Its real paths, sorted, cut at a limit (`size.files` has the full count).
        files: Vec<String>,
        /// The target's tip has it already: nothing to merge.
        contained: bool,
    },
    /// The remote has no such branch.
    BranchMissing,
    /// The branch points elsewhere than was announced.
    HeadMoved {
        /// What the remote has.
        found: CommitId,
    },
    /// The branch cannot be merged at all: no history in common, or not a commit.
    Unusable {
        /// Reads well after "because ".
        why: String,
    },
    /// The program failed on it.
    Crashed {
        /// What it said.
        why: String,
    },
}

/// Where the target went since it was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Movement {
    /// Nothing was known before.
    First,
    /// It has not moved.
    Same,
    /// The known tip is an ancestor of the new one.
    Forward,
    /// The new tip is an ancestor of the known one.
    Rewound,
    /// Neither: history was rewritten.
    Diverged,
}

/// What a look at the target on the remote found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The tip.
    pub tip: CommitId,
    /// The tip's tree.
    pub tree: TreeId,
    /// How it got there from the tip that was known.
    pub movement: Movement,
    /// Those of the asked-for commits that the tip contains, in the order in which they were asked.
    pub contains: Vec<CommitId>,
    /// The text of `.yardmaster.toml` at the tip, where it is there.
    pub project_file: Option<String>,
    /// Commits that the known tip contained and this one does not, newest first, cut at a limit.
    #[serde(default)]
    pub lost: Vec<CommitId>,
}

/// One line more for a changelog, made part of the merge commit's tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangelogEdit {
    /// The file, from the root.
    pub path: String,
    /// The lines to put in, with their newline.
    pub entry: String,
}

/// All that a candidate commit is made of, besides its base: the same values give the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateSpec {
    /// Whose candidate it is.
    pub request: RequestId,
    /// The second parent.
    pub head: CommitId,
    /// The whole message, trailers included.
    pub message: String,
    /// The author's name; the committer is always Yardmaster.
    pub author: String,
    /// The earliest date; a later parent makes it later.
    pub at: Millis,
    /// The changelog's line, where it is kept.
    pub changelog: Option<ChangelogEdit>,
    /// The target's own project file says how candidates are tested, so it must have a gate.
    pub needs_gate: bool,
}

/// Who worked a merge out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MergedBy {
    /// Our own walk over raw trees.
    Memory,
    /// `git merge-tree`.
    Git,
}

/// How one merge came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "merge", rename_all = "snake_case")]
pub enum Assembly {
    /// There is a candidate.
    Clean {
        /// The merge commit.
        commit: CommitId,
        /// What it contains.
        tree: TreeId,
        /// Who worked it out.
        by: MergedBy,
    },
    /// It does not merge.
    Conflict {
        /// Where, sorted, cut at a limit.
        paths: Vec<String>,
        /// Git's own words, cut at a limit.
        detail: String,
        /// The hunks in conflict with git's marks, cut at 2 KiB.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hunk: Option<String>,
    },
    /// It would merge, and by that take back landed work of others without saying so.
    TakesBack {
        /// The landing's commit on the target.
        of: CommitId,
        /// Its request, subject and agent as far as they are known.
        label: String,
        /// Where it is undone, cut at a limit.
        paths: Vec<String>,
        /// What undoes it, cut at 2 KiB.
        hunk: String,
    },
    /// It would merge, and nothing could land after it: the project file, or a file that it names, could not be used.
    BreaksProject {
        /// The project file, and the one that it names.
        paths: Vec<String>,
        /// What is wrong with it.
        why: String,
    },
}

impl Assembly {
    /// The merge commit and what it contains, where there is a candidate.
    pub fn candidate(&self) -> Option<(CommitId, TreeId)> {
        match self {
            Assembly::Clean { commit, tree, .. } => Some((*commit, *tree)),
            Assembly::Conflict { .. } | Assembly::TakesBack { .. } | Assembly::BreaksProject { .. } => None,
        }
    }

    /// Where it fails to be one.
    pub fn paths(&self) -> &[String] {
        match self {
            Assembly::Clean { .. } => &[],
            Assembly::Conflict { paths, .. }
            | Assembly::TakesBack { paths, .. }
            | Assembly::BreaksProject { paths, .. } => paths,
        }
    }
}

/// One step of assembling a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assembled {
    /// On top of this,
    pub base: CommitId,
    /// this request
    pub request: RequestId,
    /// came out so.
    pub assembly: Assembly,
}

/// How a push went, always after the remote was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "push", rename_all = "snake_case")]
pub enum LandOutcome {
    /// The remote has it, with the tested tree.
    Landed {
        /// What the remote has now.
        seen: Sighting,
    },
    /// The target had moved: nothing of ours was pushed by this push.
    Moved {
        /// What the remote has now.
        seen: Sighting,
    },
    /// The remote's own rules (a hook, a protected branch) said no.
    Declined {
        /// The remote's words, cut at a limit.
        why: String,
        /// What the remote has now.
        seen: Sighting,
    },
    /// Nobody knows yet: the push may or may not have arrived.
    Unknown {
        /// What went wrong.
        why: String,
    },
    /// The audit's alarm: what was to be pushed, or what became of a push that was taken, is not
    /// what was tested.
    Altered {
        /// What differs.
        why: String,
        /// What the remote has now.
        seen: Sighting,
    },
}
