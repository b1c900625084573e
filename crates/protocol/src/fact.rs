use serde::{Deserialize, Serialize};

use crate::{
    AgentName, Announcement, Assembly, Blocker, BranchName, ChangeSize, CommitId, DefinitionMeeting, Event,
    Failure, Gate, GateEvidence, GatePassed, IntakeSeq, Intent, Millis, Movement, Pressure, Priority,
    Project, Refusal, RequestId, Review, RunId, RunOutcome, RunnerOffer, StepResult, TreeId, Unread,
};

/// What one input meant: facts that happened at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Millis,
    /// What, in order.
    pub facts: Vec<Fact>,
}

/// A push that was decided on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landing {
    /// The tip that was tested against.
    pub from: CommitId,
    /// The tip that it is to become.
    pub to: CommitId,
    /// The tree of `to`.
    pub tree: TreeId,
    /// What lands, lowest first, each with its commit.
    pub requests: Vec<(RequestId, CommitId)>,
    /// The tree of each of `requests`: what was tested for it, but for the members of a batch.
    #[serde(default)]
    pub trees: Vec<TreeId>,
    /// The last of `requests` land together, beneath one merge commit, which is `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollup: Option<Rollup>,
}

impl Landing {
    /// Whether `request` lands as a member of the batch.
    pub fn is_member(&self, request: RequestId) -> bool {
        let members = self.rollup.as_ref().map_or(0, |r| r.members as usize);
        let batch = self.requests.iter().rev().take(members);
        batch.map(|(member, _)| *member).any(|member| member == request)
    }
}

/// A merge commit that brings a whole batch onto the first-parent history: its tree was tested, and the
/// members' own merge commits are beneath it. Its id is a function of these values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollup {
    /// Its first parent.
    pub base: CommitId,
    /// Its second parent, the topmost member's commit; its tree is this one's.
    pub top: CommitId,
    /// So many of the landing's last requests are its members, at least 2.
    pub members: u32,
    /// The whole message.
    pub message: String,
    /// The earliest date; a later parent makes it later.
    pub at: Millis,
}

/// Two requests whose heads do not merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairConflict {
    /// The one.
    pub one: RequestId,
    /// And the other.
    pub other: RequestId,
    /// Where; a bounded number of paths.
    pub paths: Vec<String>,
}

/// A request whose head does not merge with the target's tip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TipConflict {
    /// Which.
    pub request: RequestId,
    /// Where; a bounded number of paths.
    pub paths: Vec<String>,
}

/// Something that happened. The journal is made of these and nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// Heads that wait were merged with each other and with the tip, to know who conflicts with whom.
    Compared {
        /// For which target.
        target: BranchName,
        /// Its tip then.
        tip: CommitId,
        /// Those that were compared with all others for the first time.
        requests: Vec<RequestId>,
        /// Pairs that do not merge, one of `requests` in each.
        conflicts: Vec<PairConflict>,
        /// Those that do not merge with `tip`: of all, where the tip is new, else of `requests`.
        with_tip: Vec<TipConflict>,
    },
    /// The source code of pending requests was read.
    DefinitionsRead {
        /// For which target.
        target: BranchName,
        /// Those that were held against all others for the first time, as far as they can be read.
        requests: Vec<RequestId>,
        /// Where pairs meet.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        meetings: Vec<DefinitionMeeting>,
        /// What of them was not read.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unread: Vec<Unread>,
    },
    /// Nobody gets a place on a target any more, but for who is urgent; what has one goes on.
    Paused {
        /// Which.
        target: BranchName,
        /// Who wanted it.
        who: String,
        /// Why.
        why: String,
        /// This class and better ones still get a place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        except: Option<Priority>,
    },
    /// A paused target goes on.
    Resumed {
        /// Which.
        target: BranchName,
        /// Who wanted it.
        who: String,
        /// Why.
        why: String,
    },
    /// An operator moved a request to the front.
    Promoted {
        /// Which.
        request: RequestId,
        /// Counts what operators moved: who was moved later goes in front of who was moved earlier.
        turn: u64,
        /// Its place among those that were moved at once, from 0.
        place: u32,
        /// Who wanted it.
        who: String,
        /// Why.
        why: String,
        /// It was moved because this one depends on it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        needed_by: Option<RequestId>,
    },
    /// A request gave up its place to one that was moved to the front, and that it is kept apart from.
    Displaced {
        /// Which.
        request: RequestId,
        /// For which.
        by: RequestId,
    },
    /// The same head was announced again, with other dependencies or another priority.
    Amended {
        /// Which.
        request: RequestId,
        /// The repetition.
        by: RequestId,
        /// When the server took that.
        published: Millis,
        /// What it depends on from now on.
        depends_on: Vec<String>,
        /// How urgent it is claimed to be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        priority: Option<Priority>,
    },
    /// A branch was announced and got an id; it is no request before it is pinned.
    Announced {
        /// The new id.
        request: RequestId,
        /// The message.
        intake: IntakeSeq,
        /// Where it is to land.
        target: BranchName,
        /// When the server took the message.
        published: Millis,
        /// The trace that the message belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        traceparent: Option<String>,
        /// What it said.
        announcement: Box<Announcement>,
    },
    /// A message could not be taken.
    Refused {
        /// The message.
        intake: IntakeSeq,
        /// Its subject.
        subject: String,
        /// Why.
        refusal: Refusal,
        /// The first KiB of it.
        payload: String,
    },
    /// A reviewer has said what they think of a head.
    Reviewed {
        /// The message, in the stream of reviews.
        intake: IntakeSeq,
        /// What was said.
        review: Box<Review>,
    },
    /// A message of the stream of reviews could not be taken.
    ReviewRefused {
        /// The message.
        intake: IntakeSeq,
        /// Its subject.
        subject: String,
        /// Why.
        refusal: Refusal,
        /// The first KiB of it.
        payload: String,
    },
    /// An announcement turned out to be one that was known.
    Repeated {
        /// The id that is dropped.
        request: RequestId,
        /// The request that it is.
        of: RequestId,
    },
    /// The head is in custody: now it is a request.
    Pinned {
        /// Which.
        request: RequestId,
        /// The head.
        head: CommitId,
        /// Where it left the target.
        merge_base: CommitId,
        /// Real size.
        size: ChangeSize,
        /// Real paths.
        files: Vec<String>,
        /// Place in the queue at that moment, from 1.
        position: u32,
    },
    /// The remote was looked at and something was new.
    TargetSeen {
        /// Which branch.
        target: BranchName,
        /// Its tip.
        tip: CommitId,
        /// The tip's tree.
        tree: TreeId,
        /// How it got there.
        movement: Movement,
        /// What `.yardmaster.toml` says there, or why it cannot be read.
        project: Result<Project, String>,
    },
    /// The remote stopped to answer.
    RemoteLost {
        /// What went wrong.
        why: String,
    },
    /// The remote answers again.
    RemoteBack,
    /// A request takes its place in the stack and keeps it.
    Stacked {
        /// Which.
        request: RequestId,
        /// It lands with others as one unit, or not at all: the unit's name is its lowest request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<RequestId>,
    },
    /// Requests were red together, and which of them is at fault is not known: they let the others in the stack
    /// pass, and are tested in smaller parts.
    Suspected {
        /// For which target.
        target: BranchName,
        /// The run that was red.
        run: RunId,
        /// One of these is at fault, in the order of the stack.
        requests: Vec<RequestId>,
        /// Those that depend on them, and let the others pass with them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        with: Vec<RequestId>,
    },
    /// A verdict counts for another candidate of its request too: what lies between them has nothing to do with
    /// it, by what the project declares.
    Carried {
        /// For which target.
        target: BranchName,
        /// Whose.
        request: RequestId,
        /// The run whose verdict it is.
        run: RunId,
        /// The candidate that it counts for now.
        candidate: CommitId,
        /// That one's tree.
        tree: TreeId,
    },
    /// The merge commit of a batch is known.
    RolledUp {
        /// For which target.
        target: BranchName,
        /// Its first parent.
        base: CommitId,
        /// Its second parent.
        top: CommitId,
        /// The commit.
        commit: CommitId,
    },
    /// A merge was worked out.
    Assembled {
        /// Whose.
        request: RequestId,
        /// On what.
        base: CommitId,
        /// How it came out.
        assembly: Assembly,
    },
    /// A run was asked for.
    Testing {
        /// Whose.
        request: RequestId,
        /// The run.
        run: RunId,
        /// Its commit.
        candidate: CommitId,
        /// Its tree.
        tree: TreeId,
        /// What it was assembled on.
        base: CommitId,
        /// Requests that it is tested on top of.
        behind: Vec<RequestId>,
        /// From 1.
        attempt: u32,
        /// What is run.
        gate: Gate,
    },
    /// A run's result is not needed any more.
    RunDropped {
        /// The run.
        run: RunId,
    },
    /// A run ended.
    RunEnded {
        /// The run.
        run: RunId,
        /// How.
        outcome: RunOutcome,
        /// How long it took, in milliseconds.
        ms: u64,
        /// The steps that it started.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        steps: Vec<StepResult>,
    },
    /// A push is about to be tried.
    LandingStarted {
        /// Which branch.
        target: BranchName,
        /// What.
        landing: Landing,
    },
    /// The push came to nothing.
    LandingEnded {
        /// Which branch.
        target: BranchName,
        /// Why.
        why: String,
        /// The remote's rules said no (and not: somebody was faster).
        declined: bool,
    },
    /// A request is on the target. Terminal.
    Landed {
        /// Which.
        request: RequestId,
        /// Its commit; none when there was nothing to merge.
        commit: Option<CommitId>,
        /// The tree of that commit, or of the target's tip.
        tree: TreeId,
        /// What it was tested on.
        base: CommitId,
        /// The run that it stands on.
        gate: GateEvidence,
        /// The merge commit on the first-parent history that brought it there with others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rollup: Option<CommitId>,
    },
    /// A request cannot land. Terminal.
    Failed {
        /// Which.
        request: RequestId,
        /// Why, and what to do.
        failure: Failure,
    },
    /// A request was taken back. Terminal.
    Withdrawn {
        /// Which.
        request: RequestId,
        /// By whom.
        by: String,
        /// The message that asked for it.
        intake: Option<IntakeSeq>,
    },
    /// A newer head of the same branch took its place. Terminal.
    Superseded {
        /// Which.
        request: RequestId,
        /// The newer request.
        by: RequestId,
    },
    /// What a request waits for has changed; none: nothing in particular any more.
    Blocked {
        /// Which.
        request: RequestId,
        /// Every reason.
        blockers: Vec<Blocker>,
    },
    /// How many may be tested at the same time has changed.
    WindowSet {
        /// Which branch.
        target: BranchName,
        /// The new width.
        window: u32,
    },
    /// A target was frozen: nothing lands on it and nothing is failed until it is unfrozen.
    Frozen {
        /// Which branch.
        target: BranchName,
        /// A person, `target` (history was rewritten) or `audit` (a push did not stay what it was).
        who: String,
        /// Why.
        why: String,
    },
    /// A frozen target goes on from where it is.
    Unfrozen {
        /// Which branch.
        target: BranchName,
        /// By whom.
        who: String,
        /// Why.
        why: String,
    },
    /// The target was moved back: requests that had landed are not on it any more.
    FellOff {
        /// Which branch.
        target: BranchName,
        /// The tip that had them all.
        from: CommitId,
        /// Which requests.
        requests: Vec<RequestId>,
    },
    /// Candidates that no mirror has any more: they are to be assembled again.
    CandidatesLost {
        /// Their commits.
        commits: Vec<CommitId>,
    },
    /// A run of the target's own tip was asked for.
    BaseTesting {
        /// Which branch.
        target: BranchName,
        /// The run.
        run: RunId,
        /// The tip.
        commit: CommitId,
        /// Its tree.
        tree: TreeId,
        /// From 1.
        attempt: u32,
        /// What is run.
        gate: Gate,
    },
    /// The gate says no to the target's own tip.
    TargetRed {
        /// Which branch.
        target: BranchName,
        /// The tip.
        commit: CommitId,
        /// The run that shows it.
        run: RunId,
        /// What is red, as a sentence.
        why: String,
    },
    /// The target was red, and the gate says yes to its tip now.
    TargetGreen {
        /// Which branch.
        target: BranchName,
        /// The tip.
        commit: CommitId,
    },
    /// Nothing has ended on a target for longer than it should take.
    Stalled {
        /// Which branch.
        target: BranchName,
        /// What stands still, as a sentence.
        why: String,
    },
    /// A target that was stalled goes on.
    WentOn {
        /// Which branch.
        target: BranchName,
    },
    /// An agent said what it means to work on; the older word for that branch does not count any more.
    Intended {
        /// The message.
        intake: IntakeSeq,
        /// Where it is to land.
        target: BranchName,
        /// What it said.
        intent: Box<Intent>,
    },
    /// Somebody who is trusted has run the gate elsewhere, and it was green.
    GatePassed {
        /// The message.
        intake: IntakeSeq,
        /// Of which branch's project the gate is.
        target: BranchName,
        /// What it said.
        passed: Box<GatePassed>,
    },
    /// An agent does not mean to work on it any more.
    IntentWithdrawn {
        /// The message.
        intake: IntakeSeq,
        /// Who meant to.
        agent: AgentName,
        /// On which branch.
        branch: BranchName,
    },
    /// What agents should do about the length of the queue has changed.
    PressureSet {
        /// What.
        pressure: Pressure,
        /// Requests that had not ended.
        pending: u32,
    },
    /// What runners have is not what it was.
    RunnersSeen {
        /// What those have that are there, in order; nothing: nobody is there.
        offers: Vec<RunnerOffer>,
    },
}

/// An event and where it comes from.
pub type Projected = (crate::JournalPosition, Event);
