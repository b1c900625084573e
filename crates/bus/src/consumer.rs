use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, Info, pull};
use async_nats::jetstream::stream::ConsumerCreateStrictErrorKind;
use tokio::time::{Instant, sleep_until};

use crate::BusError;
use crate::bus::Inner;
use crate::error::away;
use crate::pull::{EXPIRES, Pull, PullEnd};
use crate::retry::Fault;
use crate::unreadable::unreadable;

/// Shortens the ack wait for a moment; a value that nobody else chooses, so that a crash in that moment is
/// recognised and undone.
const HURRY: Duration = Duration::from_millis(251);
const HURRY_PAUSE: Duration = Duration::from_millis(500);
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// A predecessor that stands still gets messages until its last request has run out.
const OUTLIVED: Duration = Duration::from_secs(EXPIRES.as_secs() + 2);
/// A warning each that many tries.
const WARN_EVERY: u32 = 50;

/// A durable pull consumer that outlives servers, connections and its own deletion.
#[derive(Debug)]
pub(crate) struct Durable {
    inner: Arc<Inner>,
    stream: String,
    name: &'static str,
    wanted: pull::Config,
    batch: usize,
    pull: Option<Pull>,
    /// Losses of the connection after which everything un-acked was asked for again; none: not opened yet.
    swept: Option<u64>,
    /// Losses of the connection after which was looked for a message that causes them.
    searched: u64,
    unreadable: VecDeque<Message>,
    /// When that is done once more, for what the server sent meanwhile to a predecessor that only slept.
    again: Option<Instant>,
}

impl Durable {
    pub(crate) fn new(
        inner: &Arc<Inner>,
        stream: &str,
        name: &'static str,
        batch: usize,
        config: pull::Config,
    ) -> Self {
        let wanted = pull::Config {
            durable_name: Some(name.to_owned()),
            ack_policy: AckPolicy::Explicit,
            max_deliver: -1,
            ..config
        };
        let (inner, stream) = (Arc::clone(inner), stream.to_owned());
        let (searched, unreadable) = (inner.connection.borrow().losses, VecDeque::new());
        Self {
            inner,
            stream,
            name,
            wanted,
            batch,
            pull: None,
            swept: None,
            again: None,
            searched,
            unreadable,
        }
    }

    /// The next message; waits through outages. Safe to drop at any point.
    pub(crate) async fn next(&mut self) -> Result<Message, BusError> {
        loop {
            if let Some(message) = self.unreadable.pop_front() {
                return Ok(message);
            }
            let losses = self.inner.connection.borrow().losses;
            if self.swept != Some(losses) || self.again.is_some_and(|at| at <= Instant::now()) {
                let succeeds = self.swept.is_none() && self.inner.succeeds.load(Ordering::Relaxed);
                self.again = succeeds.then(|| Instant::now() + OUTLIVED);
                self.open().await?;
                if self.searched != losses {
                    self.search(losses).await;
                    continue;
                }
                self.sweep(losses).await;
            }
            let again = self.again.unwrap_or_else(|| Instant::now() + EXPIRES);
            if self.pull.is_none() {
                self.pull = Some(self.subscribe().await?);
            }
            let Some(pull) = self.pull.as_mut() else { continue };
            let mut connection = self.inner.connection.clone();
            let end = tokio::select! {
                biased;
                end = pull.next() => Some(end),
                _ = connection.wait_for(|c| c.up && c.losses != losses) => None,
                () = sleep_until(again), if self.again.is_some() => continue,
            };
            match end {
                Some(Ok(message)) => return Ok(message),
                Some(Err(PullEnd::Closed)) => return Err(away("read a stream", &"the connection is closed")),
                Some(Err(PullEnd::Lost(why))) => {
                    tracing::debug!(consumer = self.name, why, "looks for its consumer again");
                    pull.ask_again();
                    self.open().await?;
                }
                None => pull.ask_again(),
            }
        }
    }

    /// What may have broken the connection is taken from the stream by another way, before it is delivered again.
    async fn search(&mut self, losses: u64) {
        if let Ok(info) = ensure(&self.inner, &self.stream, self.name, &self.wanted).await {
            self.unreadable = unreadable(&self.inner, &self.stream, &info).await.into();
        }
        self.searched = losses;
    }

    /// A message that has arrived already.
    pub(crate) fn ready(&mut self) -> Option<Message> {
        self.pull.as_mut()?.ready()
    }

    async fn subscribe(&self) -> Result<Pull, BusError> {
        Pull::new(&self.inner, &self.stream, self.name, self.batch)
            .await
            .map_err(|_| away("read a stream", &"the connection is closed"))
    }

    async fn open(&mut self) -> Result<(), BusError> {
        let mut tries = 0u32;
        loop {
            match ensure(&self.inner, &self.stream, self.name, &self.wanted).await {
                Ok(_) => return Ok(()),
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Passing(why)) => {
                    tries += 1;
                    if tries.is_multiple_of(WARN_EVERY) {
                        tracing::warn!(
                            stream = self.stream,
                            consumer = self.name,
                            why,
                            "waits for JetStream"
                        );
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// What was delivered to a process or a connection that is gone would come again only after the ack
    /// wait; a wait that is short for a moment makes the server deliver it now. What this process still
    /// holds comes twice: its sequence tells.
    async fn sweep(&mut self, losses: u64) {
        let Ok(info) = ensure(&self.inner, &self.stream, self.name, &self.wanted).await else { return };
        if info.num_ack_pending > 0 && info.config.backoff.is_empty() {
            let usual = pull::Config { ack_wait: info.config.ack_wait, ..effective(&info, &self.wanted) };
            let hurried = pull::Config { ack_wait: HURRY, ..usual.clone() };
            if self.inner.js.update_consumer_on_stream(hurried, self.stream.as_str()).await.is_ok() {
                tokio::time::sleep(HURRY_PAUSE).await;
            }
            if let Err(error) = self.inner.js.update_consumer_on_stream(usual, self.stream.as_str()).await {
                tracing::warn!(consumer = self.name, %error, "could not set the ack wait back; tries again");
                return;
            }
        }
        self.swept = Some(losses);
    }
}

fn effective(info: &Info, wanted: &pull::Config) -> pull::Config {
    pull::Config {
        max_ack_pending: info.config.max_ack_pending,
        filter_subject: info.config.filter_subject.clone(),
        filter_subjects: info.config.filter_subjects.clone(),
        description: info.config.description.clone(),
        metadata: Default::default(),
        num_replicas: info.config.num_replicas,
        max_waiting: info.config.max_waiting,
        inactive_threshold: info.config.inactive_threshold,
        memory_storage: info.config.memory_storage,
        ..wanted.clone()
    }
}

/// Creates the consumer or looks at the one that is there; never overwrites it.
pub(crate) async fn ensure(
    inner: &Inner,
    stream: &str,
    name: &str,
    wanted: &pull::Config,
) -> Result<Info, Fault> {
    let created = inner.js.create_consumer_strict_on_stream(wanted.clone(), stream).await;
    match created {
        Ok(consumer) => return Ok(consumer.cached_info().clone()),
        Err(error) if error.kind() == ConsumerCreateStrictErrorKind::AlreadyExists => {}
        Err(error) => return Err(Fault::from(error)),
    }
    let found: Consumer<pull::Config> = match inner.js.get_consumer_from_stream(name, stream).await {
        Ok(found) => found,
        Err(error) if error.to_string().contains("consumer type") => {
            return Err(refuse(stream, name, "it pushes; a pull consumer is needed".into()));
        }
        Err(error) => return Err(Fault::from(error)),
    };
    let info = found.cached_info().clone();
    check(stream, name, wanted, &info)?;
    if info.config.ack_wait == HURRY {
        let usual = pull::Config { ack_wait: wanted.ack_wait, ..effective(&info, wanted) };
        let updated = inner.js.update_consumer_on_stream(usual, stream).await.map_err(Fault::from)?;
        return Ok(updated.cached_info().clone());
    }
    Ok(info)
}

fn check(stream: &str, name: &str, wanted: &pull::Config, info: &Info) -> Result<(), Fault> {
    let found = &info.config;
    if found.deliver_subject.is_some() {
        return Err(refuse(stream, name, "it pushes; a pull consumer is needed".into()));
    }
    if found.ack_policy != AckPolicy::Explicit {
        return Err(refuse(stream, name, format!("its ack policy is {:?}, not explicit", found.ack_policy)));
    }
    if found.max_deliver > 0 {
        let why = format!("it gives a message up after {} deliveries", found.max_deliver);
        return Err(refuse(stream, name, why));
    }
    let all = found.filter_subject.is_empty() && found.filter_subjects.is_empty();
    if !all && found.filter_subject != wanted.filter_subject && !found.filter_subject.ends_with(".>") {
        return Err(refuse(stream, name, "it filters subjects".into()));
    }
    if found.headers_only {
        return Err(refuse(stream, name, "it delivers headers only".into()));
    }
    Ok(())
}

fn refuse(stream: &str, name: &str, why: String) -> Fault {
    Fault::Final(BusError::ConsumerCannotServe {
        stream: stream.to_owned(),
        consumer: name.to_owned(),
        why,
        mend: format!("nats consumer rm {stream} {name}, then start yardmaster again"),
    })
}
