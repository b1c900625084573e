use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull;
use bytes::Bytes;
use yardmaster_protocol::{IntakeSeq, Millis, STREAM_INTEGRATION, STREAM_REVIEWS};

use crate::BusError;
use crate::bus::Inner;
use crate::consumer::Durable;
use crate::error::away;
use crate::names::TRACE_HEADER;

const CONSUMER: &str = "release-manager";
const BATCH: usize = 500;
const ACK_WAIT: Duration = Duration::from_secs(300);
const MAX_ACK_PENDING: i64 = 20_000;
const MAX_REASON_CHARS: usize = 200;
const MAX_TRACE_BYTES: usize = 256;

/// What agents announce or reviewers say, each message until it is acked. One inbox at a time for an account.
#[derive(Debug)]
pub struct Inbox {
    source: Durable,
}

impl Inbox {
    pub(crate) fn announcements(inner: &Arc<Inner>) -> Inbox {
        Inbox::of(inner, STREAM_INTEGRATION)
    }

    pub(crate) fn reviews(inner: &Arc<Inner>) -> Inbox {
        Inbox::of(inner, STREAM_REVIEWS)
    }

    fn of(inner: &Arc<Inner>, stream: &str) -> Inbox {
        let config =
            pull::Config { ack_wait: ACK_WAIT, max_ack_pending: MAX_ACK_PENDING, ..pull::Config::default() };
        Inbox { source: Durable::new(inner, stream, CONSUMER, BATCH, config) }
    }

    /// The next message; waits through outages. What an earlier process left un-acked comes within a second;
    /// after a lost connection, what is still held here comes again (the same `seq`). Safe to drop at any point.
    ///
    /// # Errors
    /// `ConsumerCannotServe`, when somebody made a consumer of that name that loses messages.
    pub async fn next(&mut self) -> Result<Delivery, BusError> {
        loop {
            let message = self.source.next().await?;
            if let Some(delivery) = Delivery::of(message) {
                return Ok(delivery);
            }
        }
    }

    /// What has arrived, at most `max`, without waiting.
    pub fn drain_ready(&mut self, max: usize) -> Vec<Delivery> {
        let source = std::iter::from_fn(|| self.source.ready());
        source.filter_map(Delivery::of).take(max).collect()
    }
}

/// One message in our hands. Dropped without an ack it comes again after five minutes, or with the next start.
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
    message: Arc<Message>,
}

impl Delivery {
    /// None for what no consumer delivered.
    fn of(message: Message) -> Option<Delivery> {
        let info = message.info().ok()?;
        let millis = info.published.unix_timestamp_nanos() / 1_000_000;
        let header = message.headers.as_ref().and_then(|headers| headers.get(TRACE_HEADER));
        let traceparent = header.map(ToString::to_string).filter(|text| text.len() <= MAX_TRACE_BYTES);
        Some(Delivery {
            seq: IntakeSeq(info.stream_sequence),
            subject: message.subject.to_string(),
            payload: message.payload.clone(),
            published: Millis(u64::try_from(millis).unwrap_or_default()),
            traceparent,
            deliveries: u64::try_from(info.delivered).unwrap_or(1),
            message: Arc::new(message),
        })
    }

    /// It is in custody. Not durable at once: a server killed right after it may deliver the message again.
    ///
    /// # Errors
    /// `Away` when the connection is closed for good.
    pub async fn ack(&self) -> Result<(), BusError> {
        self.answer(Bytes::from_static(b"+ACK")).await
    }

    /// It will never be taken; `reason` stands in the server's advisory.
    ///
    /// # Errors
    /// `Away` when the connection is closed for good.
    pub async fn terminate(&self, reason: &str) -> Result<(), BusError> {
        self.answer(term(reason)).await
    }

    /// Somebody else is to have it, now.
    ///
    /// # Errors
    /// `Away` when the connection is closed for good.
    pub async fn give_back(&self) -> Result<(), BusError> {
        self.answer(Bytes::from_static(b"-NAK")).await
    }

    /// It needs more time: another five minutes.
    ///
    /// # Errors
    /// `Away` when the connection is closed for good.
    pub async fn in_progress(&self) -> Result<(), BusError> {
        self.answer(Bytes::from_static(b"+WPI")).await
    }

    async fn answer(&self, word: Bytes) -> Result<(), BusError> {
        answer(&self.message, word).await
    }
}

pub(crate) async fn answer(message: &Message, word: Bytes) -> Result<(), BusError> {
    let Some(reply) = message.reply.clone() else { return Ok(()) };
    message.context.client().publish(reply, word).await.map_err(|e| away("answer a message", &e))
}

/// `+TERM reason` on one line; the client's own has no room for the reason.
pub(crate) fn term(reason: &str) -> Bytes {
    let line: String =
        reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON_CHARS).collect();
    Bytes::from(format!("+TERM {line}"))
}
