use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};

use crate::BusError;
use crate::bus::Inner;
use crate::error::away;
use crate::pull::{Pull, PullEnd};
use crate::retry::{Fault, until};

const INACTIVE: Duration = Duration::from_secs(30);
const BATCH: usize = 2_000;

/// Reads a stream in order, each message once, through outages; keeps nothing on the server.
#[derive(Debug)]
pub(crate) struct Replay {
    inner: Arc<Inner>,
    stream: String,
    from: DeliverPolicy,
    headers_only: bool,
    patience: Duration,
    pull: Option<(Pull, String)>,
    /// Delivered by the present consumer.
    delivered: u64,
    /// Behind the latest message.
    pending: u64,
}

impl Replay {
    /// `patience`: how long the server may be away before `next` gives up.
    pub(crate) fn new(inner: &Arc<Inner>, stream: &str, from: DeliverPolicy, patience: Duration) -> Replay {
        Replay {
            inner: Arc::clone(inner),
            stream: stream.to_owned(),
            from,
            headers_only: false,
            patience,
            pull: None,
            delivered: 0,
            pending: 0,
        }
    }

    pub(crate) fn headers_only(self) -> Replay {
        Replay { headers_only: true, ..self }
    }

    pub(crate) fn patient(self, patience: Duration) -> Replay {
        Replay { patience, ..self }
    }

    /// Makes the consumer, so that what is published from now on is seen.
    pub(crate) async fn open(&mut self) -> Result<(), BusError> {
        let config = pull::Config {
            deliver_policy: self.from,
            ack_policy: AckPolicy::None,
            inactive_threshold: INACTIVE,
            memory_storage: true,
            num_replicas: 1,
            headers_only: self.headers_only,
            ..pull::Config::default()
        };
        let created = until(&self.inner, "read a stream", self.patience, || async {
            // Another name each time: a cluster may give a consumer to a node that has just died, and the same name
            // would be given to it again until that comes back.
            let name = Some(format!("replay-{}", self.inner.random_id()));
            let config = pull::Config { name, ..config.clone() };
            let created = self.inner.js.create_consumer_on_stream(config, self.stream.as_str()).await;
            created.map(|consumer| consumer.cached_info().clone()).map_err(Fault::from)
        })
        .await?;
        if self.from == DeliverPolicy::New {
            let start_sequence = created.delivered.stream_sequence + 1;
            self.from = DeliverPolicy::ByStartSequence { start_sequence };
        }
        let pull = Pull::new(&self.inner, &self.stream, &created.name, BATCH).await;
        let pull = pull.map_err(|_| away("read a stream", &"the connection is closed"))?;
        self.pull = Some((pull, created.name.clone()));
        self.delivered = 0;
        self.pending = created.num_pending;
        Ok(())
    }

    /// The next message and its stream sequence. Safe to drop at any point.
    pub(crate) async fn next(&mut self) -> Result<(u64, Message), BusError> {
        loop {
            let Some((pull, _)) = &mut self.pull else {
                self.open().await?;
                continue;
            };
            let message = match pull.next().await {
                Ok(message) => message,
                Err(PullEnd::Closed) => return Err(away("read a stream", &"the connection is closed")),
                Err(PullEnd::Lost(_)) => {
                    self.pull = None;
                    continue;
                }
            };
            let Ok(info) = message.info() else { continue };
            let (seq, nth) = (info.stream_sequence, info.consumer_sequence);
            if nth <= self.delivered {
                continue;
            }
            if nth != self.delivered + 1 {
                self.pull = None;
                continue;
            }
            self.delivered = nth;
            self.pending = info.pending;
            self.from = DeliverPolicy::ByStartSequence { start_sequence: seq + 1 };
            return Ok((seq, message));
        }
    }

    /// The next message that is there; none at the end of the stream.
    pub(crate) async fn next_to_end(&mut self) -> Result<Option<(u64, Message)>, BusError> {
        if self.pull.is_none() {
            self.open().await?;
        }
        if self.pending == 0 {
            return Ok(None);
        }
        self.next().await.map(Some)
    }

    /// Removes the consumer now instead of half a minute later.
    pub(crate) async fn close(mut self) {
        if let Some((_, name)) = self.pull.take() {
            let _ = self.inner.js.delete_consumer_from_stream(name, self.stream.as_str()).await;
        }
    }
}
