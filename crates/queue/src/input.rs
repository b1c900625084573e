use yardmaster_protocol::{
    Assembled, BranchName, CommitId, DefinitionMeeting, Inspection, IntakeSeq, LandOutcome, Millis,
    PairConflict, Priority, Project, RequestId, RunReport, RunnerOffer, Sighting, TipConflict, Unread,
};

/// Everything that can happen to the queue. Any of them may come late, twice or never.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A message of the INTEGRATION stream.
    Message {
        /// Its sequence.
        intake: IntakeSeq,
        /// Its subject.
        subject: String,
        /// When the server took it.
        published: Millis,
        /// The trace that it belongs to.
        traceparent: Option<String>,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// A message that daemons died of: it is not looked at any more.
    Poison {
        /// Its sequence.
        intake: IntakeSeq,
        /// Its subject.
        subject: String,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// A message of the stream of reviews.
    Review {
        /// Its sequence there.
        intake: IntakeSeq,
        /// Its subject.
        subject: String,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// A message of the stream of reviews that daemons died of: it is not looked at any more.
    PoisonReview {
        /// Its sequence there.
        intake: IntakeSeq,
        /// Its subject.
        subject: String,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// The policy is another one from now on.
    PolicyChanged,
    /// A person or program takes one request back.
    Withdraw {
        /// Which.
        request: RequestId,
        /// Who.
        by: String,
    },
    /// Announced branches were fetched.
    Inspected(Vec<(RequestId, Inspection)>),
    /// The target was looked at.
    Seen {
        /// Which.
        target: BranchName,
        /// The tip that was known when the look began; another one by now: the look is stale.
        known: Option<CommitId>,
        /// What was there.
        sighting: Sighting,
        /// What its project file says.
        project: Result<Project, String>,
    },
    /// The remote did not answer.
    RemoteSilent {
        /// What went wrong.
        why: String,
    },
    /// Nobody is to get a place on a target, but for who is urgent.
    Pause {
        /// Which.
        target: BranchName,
        /// Who wants it.
        who: String,
        /// Why.
        why: String,
        /// This class and better ones still get a place.
        except: Option<Priority>,
    },
    /// A paused target is to go on.
    Resume {
        /// Which.
        target: BranchName,
        /// Who wants it.
        who: String,
        /// Why.
        why: String,
    },
    /// Requests are to be moved to the front, with what they depend on.
    Promote {
        /// Which, in this order.
        requests: Vec<RequestId>,
        /// Who wants it.
        who: String,
        /// Why.
        why: String,
    },
    /// Heads were merged with each other and with the tip.
    Compared {
        /// For which target.
        target: BranchName,
        /// Its tip then.
        tip: CommitId,
        /// Those that were asked for.
        requests: Vec<RequestId>,
        /// Pairs that do not merge.
        conflicts: Vec<PairConflict>,
        /// Those that do not merge with `tip`.
        with_tip: Vec<TipConflict>,
    },
    /// Source code was read.
    DefinitionsRead {
        /// For which target.
        target: BranchName,
        /// Whose, held against all others.
        requests: Vec<RequestId>,
        /// Where pairs meet.
        meetings: Vec<DefinitionMeeting>,
        /// What of theirs was not read.
        unread: Vec<Unread>,
    },
    /// Merges were worked out.
    Assembled {
        /// For which target.
        target: BranchName,
        /// Each one.
        merges: Vec<Assembled>,
    },
    /// The merge commit of a batch was made.
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
    /// A runner reports.
    RunEnded(RunReport),
    /// A push was tried.
    LandEnded {
        /// For which target.
        target: BranchName,
        /// The tip that was pushed.
        to: CommitId,
        /// How it went.
        outcome: LandOutcome,
        /// What the project file says at the tip that was seen.
        project: Result<Project, String>,
    },
    /// Somebody has a target stand still.
    Freeze {
        /// Which.
        target: BranchName,
        /// Who.
        who: String,
        /// Why.
        why: String,
    },
    /// Somebody has it go on.
    Unfreeze {
        /// Which.
        target: BranchName,
        /// Who.
        who: String,
        /// Why.
        why: String,
    },
    /// A daemon took over, and its mirror has not all that the journal counts on.
    Lacking {
        /// Requests whose heads cannot be had any more.
        heads: Vec<RequestId>,
        /// Candidates that cannot be made again.
        candidates: Vec<CommitId>,
    },
    /// What runners have, those with the same labels together.
    Runners(Vec<RunnerOffer>),
    /// Time has passed.
    Tick {
        /// Since when the daemon has worked without interruption.
        awake: Millis,
    },
}
