use crate::BusError;
/// Keeps a job ours until it is settled; dropped, the job goes to somebody else at once.
#[derive(Debug)]
pub struct JobLease {}

impl JobLease {
    /// The job is done and reported.
    pub async fn ack(self) -> Result<(), BusError> {
        unimplemented!()
    }
    /// Somebody else shall do it.
    pub async fn nak(self) -> Result<(), BusError> {
        unimplemented!()
    }
}

/// Tells when a job is not wanted any more.
#[derive(Debug, Clone)]
pub struct Cancelled {}

impl Cancelled {
    /// Whether it has been cancelled.
    pub fn is_cancelled(&self) -> bool {
        unimplemented!()
    }
    /// Resolves when it is cancelled; never otherwise.
    pub async fn cancelled(&mut self) {
        unimplemented!()
    }
}
