use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::{StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, timeout_at};

use crate::bus::Inner;
use crate::inbox::answer;

/// Short, because a request that got lost with its server is only noticed by its silence.
pub(crate) const EXPIRES: Duration = Duration::from_secs(4);
const HEARTBEAT: Duration = Duration::from_millis(700);
const SILENCE: Duration = Duration::from_millis(1_600);
/// So that a batch cannot fill the memory.
const MAX_BATCH_BYTES: usize = 16 * 1024 * 1024;

/// Why nothing comes any more.
#[derive(Debug)]
pub(crate) enum PullEnd {
    /// The consumer or the server is gone, or silent for too long: look for the consumer, then ask again.
    Lost(&'static str),
    /// The client is closed for good.
    Closed,
}

/// Pulls from one consumer. The subscription outlives requests, reconnects and the consumer itself: a
/// rebuilt subscription would lose what is on its way to the old one until the ack wait is over.
#[derive(Debug)]
pub(crate) struct Pull {
    inner: Arc<Inner>,
    api_subject: String,
    inbox: String,
    messages: Subscriber,
    batch: usize,
    /// Messages that the open request may still bring; 0: ask again.
    open: usize,
    request: u64,
    came: bool,
    limit_bytes: bool,
    heard: Instant,
    silences: u32,
}

impl Pull {
    pub(crate) async fn new(
        inner: &Arc<Inner>,
        stream: &str,
        consumer: &str,
        batch: usize,
    ) -> Result<Pull, PullEnd> {
        let inbox = inner.client.new_inbox();
        let messages = inner.client.subscribe(format!("{inbox}.*")).await.map_err(|_| PullEnd::Closed)?;
        Ok(Pull {
            inner: Arc::clone(inner),
            api_subject: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
            inbox,
            messages,
            batch,
            open: 0,
            request: 0,
            came: true,
            limit_bytes: true,
            heard: Instant::now(),
            silences: 0,
        })
    }

    /// The open request is dead: the next call asks again.
    pub(crate) fn ask_again(&mut self) {
        self.open = 0;
        self.silences = 0;
    }

    /// Asks for nothing any more; what is on its way already goes to somebody else.
    pub(crate) fn close(mut self) {
        tokio::spawn(async move {
            if self.messages.drain().await.is_err() {
                return;
            }
            while let Ok(Some(message)) = timeout_at(Instant::now() + SILENCE, self.messages.next()).await {
                if let Ok(Some(message)) = self.sort(message) {
                    let _ = answer(&message, Bytes::from_static(b"-NAK")).await;
                }
            }
        });
    }

    /// The next message. Safe to drop at any point.
    pub(crate) async fn next(&mut self) -> Result<Message, PullEnd> {
        loop {
            if self.open == 0 {
                self.ask().await?;
            }
            match timeout_at(self.heard + SILENCE, self.messages.next()).await {
                Ok(None) => return Err(PullEnd::Closed),
                Ok(Some(message)) => {
                    self.heard = Instant::now();
                    self.silences = 0;
                    if let Some(message) = self.sort(message)? {
                        return Ok(message);
                    }
                }
                Err(_) => {
                    self.open = 0;
                    self.silences += 1;
                    if self.silences >= 2 {
                        self.silences = 0;
                        return Err(PullEnd::Lost("silent"));
                    }
                }
            }
        }
    }

    /// A message that has arrived already.
    pub(crate) fn ready(&mut self) -> Option<Message> {
        loop {
            let message = self.messages.next().now_or_never().flatten()?;
            self.heard = Instant::now();
            if let Ok(Some(message)) = self.sort(message) {
                return Some(message);
            }
        }
    }

    async fn ask(&mut self) -> Result<(), PullEnd> {
        self.limit_bytes = self.came || !self.limit_bytes;
        let mut request = serde_json::json!({
            "batch": self.batch,
            "expires": nanos(EXPIRES),
            "idle_heartbeat": nanos(HEARTBEAT),
        });
        if self.limit_bytes
            && let Some(fields) = request.as_object_mut()
        {
            fields.insert("max_bytes".into(), MAX_BATCH_BYTES.into());
        }
        let reply = format!("{}.{}", self.inbox, self.request + 1);
        let payload = Bytes::from(request.to_string());
        let sent = self.inner.client.publish_with_reply(self.api_subject.clone(), reply, payload).await;
        sent.map_err(|_| PullEnd::Closed)?;
        self.request += 1;
        self.open = self.batch;
        self.came = false;
        self.heard = Instant::now();
        Ok(())
    }

    /// A real message, or what a status says about the open request.
    fn sort(&mut self, message: async_nats::Message) -> Result<Option<Message>, PullEnd> {
        match message.status {
            None | Some(StatusCode::OK) => {
                self.open = self.open.saturating_sub(1);
                self.came = true;
                return Ok(Some(Message { message, context: self.inner.js.clone() }));
            }
            Some(StatusCode::IDLE_HEARTBEAT) => return Ok(None),
            Some(StatusCode::NO_RESPONDERS) => {
                self.open = 0;
                return Err(PullEnd::Lost("no such consumer"));
            }
            Some(_) => {}
        }
        let current = message.subject.rsplit('.').next() == Some(self.request.to_string().as_str());
        let words = message.description.as_deref().unwrap_or_default();
        if words == "Consumer Deleted" || words == "Consumer is push based" {
            self.open = 0;
            return Err(PullEnd::Lost("consumer deleted"));
        }
        if current {
            if !words.contains("MaxBytes") {
                self.came = true;
            }
            self.open = 0;
        }
        Ok(None)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
