use serde_json::Value;
use std::time::Duration;
use yardmaster_protocol::{
    AgentName, ErrorBody, Event, IntakeSeq, LogReply, LogRequest, Millis, QueueReply, RequestView,
    StatusReply, SubmitReply, WithdrawReply, WithdrawRequest,
};

/// Calls of the service and looks at the events.
#[derive(Debug, Clone)]
pub struct Client {}

/// Where a look at the events begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventStart {
    /// The first that is kept.
    All,
    /// What comes from now on.
    New,
    /// This stream sequence.
    Sequence(u64),
    /// The first at or after this moment.
    Since(Millis),
}

/// An event as it stands in the stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamedEvent {
    /// Its stream sequence.
    pub seq: u64,
    /// Its subject.
    pub subject: String,
    /// What it says, as this version understands it.
    pub event: Option<Event>,
    /// What it says, as it came.
    pub payload: Value,
}

/// Events, those that are there and those that come.
#[derive(Debug)]
pub struct EventStream {}

impl EventStream {
    /// The next one; waits for it.
    pub async fn next(&mut self) -> Result<StreamedEvent, ErrorBody> {
        unimplemented!()
    }
}

impl Client {
    /// Any verb.
    pub async fn call(&self, verb: &str, body: &Value, patience: Duration) -> Result<Value, ErrorBody> {
        unimplemented!()
    }
    /// `submit`: the announcement's message as JSON.
    pub async fn submit(&self, announcement: &Value) -> Result<SubmitReply, ErrorBody> {
        unimplemented!()
    }
    /// `status` of all.
    pub async fn status(&self) -> Result<StatusReply, ErrorBody> {
        unimplemented!()
    }
    /// `status` of a request, by its id or branch.
    pub async fn request_status(&self, what: &str) -> Result<RequestView, ErrorBody> {
        unimplemented!()
    }
    /// `queue`.
    pub async fn queue(&self) -> Result<QueueReply, ErrorBody> {
        unimplemented!()
    }
    /// `withdraw`.
    pub async fn withdraw(&self, what: &WithdrawRequest) -> Result<WithdrawReply, ErrorBody> {
        unimplemented!()
    }
    /// `logs`.
    pub async fn logs(&self, what: &LogRequest) -> Result<LogReply, ErrorBody> {
        unimplemented!()
    }
    /// Events from the stream.
    pub async fn events(&self, from: EventStart) -> Result<EventStream, ErrorBody> {
        unimplemented!()
    }
    /// Publishes straight to the stream, without asking whether the daemon is there.
    pub async fn publish_announcement(
        &self,
        agent: &AgentName,
        payload: &[u8],
    ) -> Result<IntakeSeq, ErrorBody> {
        unimplemented!()
    }
}
