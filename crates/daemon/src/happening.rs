use std::sync::Arc;

use yardmaster_bus::{Delivery, ReportAck};
use yardmaster_git::GitError;
use yardmaster_protocol::{
    Assembled, BranchName, CommitId, Inspection, RequestId, RunId, RunReport, RunnerOffer,
};

use crate::api::Round;
use crate::compare::Comparison;
use crate::custody::Lacking;
use crate::questions::Question;
use crate::remote::RemoteReport;
use crate::rules::Rules;

/// Things that happen and have not been looked at.
pub(crate) const HAPPENINGS_WAITING: usize = 4_096;

/// Everything that reaches the engine.
#[derive(Debug)]
pub(crate) enum Happening {
    Delivered(Vec<Delivery>),
    Reviewed(Vec<Delivery>),
    Reported(Box<(RunReport, ReportAck)>),
    /// With what was read of them meanwhile.
    Pinned(BranchName, Result<Vec<(RequestId, Inspection)>, GitError>, Round),
    Assembled(BranchName, Result<Vec<Assembled>, GitError>),
    /// The merge commit of a batch, with its parents.
    RolledUp(BranchName, CommitId, CommitId, Result<CommitId, GitError>),
    Compared(BranchName, Result<Comparison, GitError>),
    DefinitionsRead(BranchName, Round),
    Remote(BranchName, RemoteReport),
    /// Jobs that are not in the stream any more.
    JobsGone(Vec<RunId>),
    Asked(Question),
    /// What this mirror does not have.
    Lacking(Lacking),
    /// The configuration was read again.
    Reloaded(Arc<Rules>),
    /// So many runs fit at the same time in runners elsewhere.
    Slots(u32),
    /// What runners have, here and elsewhere.
    Runners(Vec<RunnerOffer>),
    /// Somebody else leads; who.
    LeaseLost(String),
}
