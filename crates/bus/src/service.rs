use bytes::Bytes;
use serde_json::Value;
use yardmaster_protocol::ErrorBody;
/// Calls that wait for an answer; bounded: what does not fit is told to come back.
#[derive(Debug)]
pub struct ServiceRequests {}

impl ServiceRequests {
    /// The next call; none once the connection is closed.
    pub async fn next(&mut self) -> Option<ServiceCall> {
        unimplemented!()
    }
}
/// One call.
#[derive(Debug)]
pub struct ServiceCall {
    /// The last token of its subject.
    pub verb: String,
    /// What it says.
    pub payload: Bytes,
}

impl ServiceCall {
    /// Answers it.
    pub async fn respond(self, answer: Result<Value, ErrorBody>) {
        unimplemented!()
    }
}
