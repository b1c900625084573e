use crate::{BusError, Cancelled, JobLease};
use yardmaster_protocol::{GateJob, RunId};

/// Holds the place of a published job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobTicket {
    /// Sequence in the jobs' stream.
    pub stream_seq: u64,
    /// Its run.
    pub run: RunId,
}

/// Gate jobs, one at a time.
#[derive(Debug)]
pub struct JobSource {}

impl JobSource {
    /// Waits for the next job that is still wanted. Safe to drop at any point.
    pub async fn next(&mut self) -> Result<(GateJob, JobLease, Cancelled), BusError> {
        unimplemented!()
    }
}
