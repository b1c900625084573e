use std::sync::Arc;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::jetstream::consumer::DeliverPolicy;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use yardmaster_protocol::{
    AgentName, CheckReply, CheckRequest, ErrorBody, ErrorReply, Event, ExplainRequest, Explanation,
    FreezeReply, FreezeRequest, IntakeSeq, LogReply, LogRequest, Millis, ParallelReply, ParallelRequest,
    PauseReply, PauseRequest, PromoteReply, PromoteRequest, QueueReply, RequestView, STREAM_RELEASES,
    ServiceErrorCode, StatusReply, SubmitReply, WithdrawReply, WithdrawRequest, announce_subject,
    service_subject,
};

use crate::BusError;
use crate::bus::Inner;
use crate::replay::Replay;
use crate::retry::{Fault, PATIENCE, until};

/// How long a call waits that only looks.
const LOOK: Duration = Duration::from_secs(5);
/// How long a call waits that is worked out on copies of the queue, one after the other.
const WORKED_OUT: Duration = Duration::from_secs(20);
/// How long a call waits that changes something: the branch has to be fetched.
const ACT: Duration = Duration::from_secs(60);
/// For `EventStream::next`: a day without the server is for ever.
const FOREVER: Duration = Duration::from_secs(24 * 3_600);

/// Calls of the service and looks at the events.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

impl Client {
    pub(crate) fn new(inner: &Arc<Inner>) -> Client {
        Client { inner: Arc::clone(inner) }
    }

    /// Any verb, with its body as JSON.
    ///
    /// # Errors
    /// What the daemon answered; `Unreachable` when it does not answer within `patience`.
    pub async fn call(&self, verb: &str, body: &Value, patience: Duration) -> Result<Value, ErrorBody> {
        let request =
            async_nats::Request::new().payload(Bytes::from(body.to_string())).timeout(Some(patience));
        let reply = self.inner.client.send_request(service_subject(verb), request).await;
        let reply = reply.map_err(|error| self.unreachable(verb, patience, error.kind()))?;
        let value: Value = serde_json::from_slice(&reply.payload).map_err(|e| unexpected(verb, &e))?;
        if value.get("ok") == Some(&Value::Bool(false)) {
            let refused: ErrorReply = serde_json::from_value(value).map_err(|e| unexpected(verb, &e))?;
            return Err(refused.error);
        }
        Ok(value)
    }

    /// `submit`: the announcement's whole message as JSON; on return the request is in custody.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub async fn submit(&self, announcement: &Value) -> Result<SubmitReply, ErrorBody> {
        self.typed("submit", announcement, ACT).await
    }

    /// `status` of all.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub async fn status(&self) -> Result<StatusReply, ErrorBody> {
        self.typed("status", &json!({}), LOOK).await
    }

    /// `status` of a request, by its id or branch: `{"what": …}`.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub async fn request_status(&self, what: &str) -> Result<RequestView, ErrorBody> {
        self.typed("status", &json!({ "what": what }), LOOK).await
    }

    /// `queue`.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub async fn queue(&self) -> Result<QueueReply, ErrorBody> {
        self.typed("queue", &json!({}), LOOK).await
    }

    /// `explain` of a request, by its id, branch or requirement.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub async fn explain(&self, what: &ExplainRequest) -> Result<Explanation, ErrorBody> {
        self.typed("explain", what, WORKED_OUT).await
    }

    /// `check`: what would become of a branch if it were announced now.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub async fn check(&self, asked: &CheckRequest) -> Result<CheckReply, ErrorBody> {
        self.typed("check", asked, ACT).await
    }

    /// `should_parallelize`: which requirements can be worked on side by side.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub async fn should_parallelize(&self, asked: &ParallelRequest) -> Result<ParallelReply, ErrorBody> {
        self.typed("should_parallelize", asked, ACT).await
    }

    /// `withdraw`.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub async fn withdraw(&self, what: &WithdrawRequest) -> Result<WithdrawReply, ErrorBody> {
        self.typed("withdraw", what, ACT).await
    }

    /// `freeze`, for operators.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub async fn freeze(&self, what: &FreezeRequest) -> Result<FreezeReply, ErrorBody> {
        self.typed("admin.freeze", what, ACT).await
    }

    /// `unfreeze`, for operators.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub async fn unfreeze(&self, what: &FreezeRequest) -> Result<FreezeReply, ErrorBody> {
        self.typed("admin.unfreeze", what, ACT).await
    }

    /// `pause`, for operators.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub async fn pause(&self, what: &PauseRequest) -> Result<PauseReply, ErrorBody> {
        self.typed("admin.pause", what, ACT).await
    }

    /// `resume`, for operators.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub async fn resume(&self, what: &PauseRequest) -> Result<PauseReply, ErrorBody> {
        self.typed("admin.resume", what, ACT).await
    }

    /// `promote`, for operators.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub async fn promote(&self, what: &PromoteRequest) -> Result<PromoteReply, ErrorBody> {
        self.typed("admin.promote", what, ACT).await
    }

    /// `logs`.
    ///
    /// # Errors
    /// See [`Client::call`].
    pub async fn logs(&self, what: &LogRequest) -> Result<LogReply, ErrorBody> {
        self.typed("logs", what, LOOK).await
    }

    async fn typed<T: DeserializeOwned>(
        &self,
        verb: &str,
        body: &(impl Serialize + Sync),
        patience: Duration,
    ) -> Result<T, ErrorBody> {
        let body = serde_json::to_value(body).map_err(|e| unexpected(verb, &e))?;
        let value = self.call(verb, &body, patience).await?;
        serde_json::from_value(value).map_err(|e| unexpected(verb, &e))
    }

    /// Events from the stream: those that are there and those that come. What is published after this
    /// returned is seen.
    ///
    /// # Errors
    /// `Unreachable` when there is no stream to read.
    pub async fn events(&self, from: EventStart) -> Result<EventStream, ErrorBody> {
        let policy = match from {
            EventStart::All | EventStart::Sequence(0) => DeliverPolicy::All,
            EventStart::New => DeliverPolicy::New,
            EventStart::Sequence(start_sequence) => DeliverPolicy::ByStartSequence { start_sequence },
            EventStart::Since(at) => since(at)?,
        };
        let mut replay = Replay::new(&self.inner, STREAM_RELEASES, policy, PATIENCE);
        replay.open().await.map_err(|error| self.away(&error))?;
        Ok(EventStream { replay: replay.patient(FOREVER), client: self.clone() })
    }

    /// Publishes straight to the stream, whether the daemon is there or not; returns the stream's sequence.
    ///
    /// # Errors
    /// `Unreachable` when the stream did not confirm it in time.
    pub async fn publish_announcement(
        &self,
        agent: &AgentName,
        payload: &[u8],
    ) -> Result<IntakeSeq, ErrorBody> {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", self.inner.random_id());
        let payload = Bytes::copy_from_slice(payload);
        let sent = until(&self.inner, "publish the announcement", PATIENCE, || async {
            let subject = announce_subject(agent);
            let sent = self.inner.js.publish_with_headers(subject, headers.clone(), payload.clone()).await;
            sent.map_err(Fault::from)?.await.map_err(Fault::from)
        });
        let ack = sent.await.map_err(|error| self.away(&error))?;
        Ok(IntakeSeq(ack.sequence))
    }

    fn unreachable(&self, verb: &str, patience: Duration, kind: RequestErrorKind) -> ErrorBody {
        let url = &self.inner.url;
        let message = match kind {
            RequestErrorKind::NoResponders => {
                format!("no yardmaster serves at {url}: NATS is there, the daemon is not")
            }
            RequestErrorKind::TimedOut
            | RequestErrorKind::InvalidSubject
            | RequestErrorKind::MaxPayloadExceeded
            | RequestErrorKind::Other => {
                let trouble = self.inner.connection.borrow().trouble.clone();
                let trouble = trouble.map(|t| format!(" ({t})")).unwrap_or_default();
                format!("`{verb}` got no answer from {url} within {} s{trouble}", patience.as_secs())
            }
        };
        unreachable_body(message)
    }

    fn away(&self, error: &BusError) -> ErrorBody {
        let trouble = self.inner.connection.borrow().trouble.clone();
        let trouble = trouble.map(|t| format!(" ({t})")).unwrap_or_default();
        unreachable_body(format!("failed to {error}{trouble}"))
    }
}

fn since(at: Millis) -> Result<DeliverPolicy, ErrorBody> {
    let nanos = i64::try_from(at.0).ok().and_then(|ms| ms.checked_mul(1_000_000));
    let start_time = nanos.and_then(|n| async_nats::datetime::from_nanos(n.into()).ok());
    match start_time {
        Some(start_time) => Ok(DeliverPolicy::ByStartTime { start_time }),
        None => Err(ErrorBody {
            code: ServiceErrorCode::Usage,
            message: format!("{} ms is no moment that events can begin at", at.0),
            retryable: false,
            next: Vec::new(),
        }),
    }
}

fn unreachable_body(message: String) -> ErrorBody {
    ErrorBody {
        code: ServiceErrorCode::Unreachable,
        message,
        retryable: true,
        next: vec!["yardmaster serve --remote URL-OR-PATH".into()],
    }
}

fn unexpected(verb: &str, error: &serde_json::Error) -> ErrorBody {
    ErrorBody {
        code: ServiceErrorCode::Unexpected,
        message: format!("the answer to `{verb}` is not what this version understands: {error}"),
        retryable: false,
        next: vec!["yardmaster --version".into()],
    }
}

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
    /// What it says, as far as this version understands it.
    pub event: Option<Event>,
    /// What it says, as it came; a string when it is no JSON.
    pub payload: Value,
}

/// Events, those that are there and those that come.
#[derive(Debug)]
pub struct EventStream {
    replay: Replay,
    client: Client,
}

impl EventStream {
    /// The next one; waits for it, through outages. Safe to drop at any point.
    ///
    /// # Errors
    /// `Unreachable` when the server is away for a day.
    pub async fn next(&mut self) -> Result<StreamedEvent, ErrorBody> {
        let (seq, message) = self.replay.next().await.map_err(|error| self.client.away(&error))?;
        let payload: Value = serde_json::from_slice(&message.payload)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&message.payload).into_owned()));
        let event = serde_json::from_slice(&message.payload).ok();
        Ok(StreamedEvent { seq, subject: message.subject.to_string(), event, payload })
    }
}
