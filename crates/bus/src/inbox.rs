use crate::BusError;
use bytes::Bytes;
use yardmaster_protocol::{IntakeSeq, Millis};

/// What agents announce, each message until it is acked.
#[derive(Debug)]
pub struct Inbox {}

impl Inbox {
    /// The next message; waits through outages, and ends only when the consumer cannot serve.
    pub async fn next(&mut self) -> Result<Delivery, BusError> {
        unimplemented!()
    }
    /// What has arrived, at most `max`, without waiting.
    pub fn drain_ready(&mut self, max: usize) -> Vec<Delivery> {
        unimplemented!()
    }
}

/// One message in our hands.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its identity.
    pub seq: IntakeSeq,
    /// Where it came.
    pub subject: String,
    /// What it says.
    pub payload: Bytes,
    /// When the server took it.
    pub published: Millis,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
    /// How often it was delivered, from 1.
    pub deliveries: u64,
}

impl Delivery {
    /// It is in custody.
    pub async fn ack(&self) -> Result<(), BusError> {
        unimplemented!()
    }
    /// It will never be taken.
    pub async fn terminate(&self, reason: &str) -> Result<(), BusError> {
        unimplemented!()
    }
    /// It needs more time.
    pub async fn in_progress(&self) -> Result<(), BusError> {
        unimplemented!()
    }
}
