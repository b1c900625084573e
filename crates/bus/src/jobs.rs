use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::DeleteMessageErrorKind;
use bytes::Bytes;
use futures_util::future::select_all;
use yardmaster_failpoint::{Point, hit};
use yardmaster_protocol::{GateJob, Label, Millis, RUNNER_WIRE, RunId, RunOutcome, RunReport};

use crate::bus::Inner;
use crate::error::away;
use crate::inbox::{answer, term};
use crate::lease::{self, Cancelled, JobLease};
use crate::names::{EPOCH_HEADER, WIRE_HEADER, token};
use crate::pull::{Pull, PullEnd};
use crate::retry::{Fault, PATIENCE, until};
use crate::{BusError, consumer, reports};

const CONSUMER: &str = "runners";
/// A runner that is silent for so long has lost its job.
const ACK_WAIT: Duration = Duration::from_secs(10);
const MAX_ACK_PENDING: i64 = 1_000;
/// Runners that may die of one job before it is reported as lost.
const MAX_DELIVERIES: i64 = 5;
/// Jobs and reports.
pub(crate) const MAX_JOB_BYTES: usize = 512 * 1024;
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Holds the place of a published job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobTicket {
    /// Sequence in the jobs' stream.
    pub stream_seq: u64,
    /// Its run.
    pub run: RunId,
}

pub(crate) async fn publish(inner: &Arc<Inner>, job: &GateJob, epoch: &str) -> Result<JobTicket, BusError> {
    let mut headers = HeaderMap::new();
    headers.insert(EPOCH_HEADER, epoch.chars().filter(char::is_ascii_graphic).collect::<String>());
    let payload = serde_json::to_vec(job).map_err(|e| away("encode a job", &e))?;
    headers.insert(WIRE_HEADER, RUNNER_WIRE.to_string());
    let needs = job.gate.needs();
    let stream_seq = send(inner, "publish a job", &inner.names.run_subject(&needs), headers, payload).await?;
    inner.learn_needs([needs]);
    Ok(JobTicket { stream_seq, run: job.run.clone() })
}

/// Publishes to the jobs' stream; a repeated try is recognised by the server.
pub(crate) async fn send(
    inner: &Inner,
    what: &'static str,
    subject: &str,
    mut headers: HeaderMap,
    payload: Vec<u8>,
) -> Result<u64, BusError> {
    if payload.len() > MAX_JOB_BYTES {
        return Err(BusError::TooLarge { what, bytes: payload.len(), limit: MAX_JOB_BYTES });
    }
    headers.insert("Nats-Msg-Id", inner.random_id());
    let payload = Bytes::from(payload);
    until(inner, what, PATIENCE, || async {
        let sent = inner.js.publish_with_headers(subject.to_owned(), headers.clone(), payload.clone()).await;
        let ack = sent.map_err(Fault::from)?.await.map_err(Fault::from)?;
        Ok(ack.sequence)
    })
    .await
}

/// First the message, then the word: whoever got the message before looks whether it is there after it listens.
pub(crate) async fn retract(inner: &Inner, ticket: &JobTicket) -> Result<(), BusError> {
    until(inner, "take a job back", PATIENCE, || async {
        let stream = inner.js.get_stream_no_info(&inner.names.jobs_stream).await.map_err(Fault::from)?;
        match stream.delete_message(ticket.stream_seq).await {
            Ok(_) => Ok(()),
            Err(error) => match error.kind() {
                DeleteMessageErrorKind::JetStream(_) => Ok(()),
                _ => Err(Fault::from(error)),
            },
        }
    })
    .await?;
    hit(Point::MidJobRetract);
    let subject = inner.names.cancel_run(&ticket.run);
    inner.client.publish(subject, Bytes::new()).await.map_err(|e| away("take a job back", &e))
}

pub(crate) async fn purge(inner: &Inner) -> Result<u64, BusError> {
    let purged = until(inner, "take all jobs back", PATIENCE, || async {
        let stream = inner.js.get_stream_no_info(&inner.names.jobs_stream).await.map_err(Fault::from)?;
        let plain = stream.purge().filter(inner.names.run_subject.clone()).await.map_err(Fault::from)?;
        let labelled = stream.purge().filter(format!("{}.*", inner.names.run_subject)).await;
        labelled.map(|answer| answer.purged + plain.purged).map_err(Fault::from)
    })
    .await?;
    let subject = inner.names.cancel_subject.clone();
    inner.client.publish(subject, Bytes::new()).await.map_err(|e| away("take all jobs back", &e))?;
    Ok(purged)
}

/// Gate jobs, one at a time: those that need nothing, and those that need nothing but what is there.
#[derive(Debug)]
pub struct JobSource {
    inner: Arc<Inner>,
    labels: BTreeSet<Label>,
    /// Losses of the connection after which each consumer was seen.
    seen: BTreeMap<BTreeSet<Label>, u64>,
}

impl JobSource {
    pub(crate) fn new(inner: &Arc<Inner>, labels: BTreeSet<Label>) -> JobSource {
        JobSource { inner: Arc::clone(inner), labels, seen: BTreeMap::new() }
    }

    /// Waits for the next job that is still wanted, through outages. Safe to drop at any point. A job that
    /// five runners died of is reported as lost and not given out any more.
    ///
    /// # Errors
    /// `ConsumerCannotServe`, `OtherWire`, or `Away` when the connection is closed for good.
    pub async fn next(&mut self) -> Result<(GateJob, JobLease, Cancelled), BusError> {
        Box::pin(self.next_wanted()).await
    }

    async fn next_wanted(&mut self) -> Result<(GateJob, JobLease, Cancelled), BusError> {
        loop {
            let message = self.fetch().await?;
            let Ok(info) = message.info() else { continue };
            let (seq, deliveries) = (info.stream_sequence, info.delivered);
            if let Some(theirs) = other_wire(&message) {
                answer(&message, Bytes::from_static(b"-NAK")).await?;
                return Err(BusError::OtherWire { theirs, ours: RUNNER_WIRE });
            }
            let job: GateJob = match serde_json::from_slice(&message.payload) {
                Ok(job) => job,
                Err(error) => {
                    tracing::warn!(seq, %error, "a job cannot be understood");
                    answer(&message, term(&format!("not a job: {error}"))).await?;
                    continue;
                }
            };
            if deliveries > MAX_DELIVERIES {
                self.give_up(&job, &message).await?;
                continue;
            }
            let (lease, cancelled) = lease::hold(&self.inner, seq, &job.run, message).await?;
            // Taken back while it was on its way to us: the lease listens already, so it cannot be missed.
            if matches!(lease::is_there(&self.inner, seq).await, Some(false)) {
                lease.ack().await?;
                continue;
            }
            return Ok((job, lease, cancelled));
        }
    }

    /// One message, from the consumer that has one first. Each set of labels has a consumer of its own, shared
    /// by all runners that have them, so that nobody is handed what they would only have to give back.
    async fn fetch(&mut self) -> Result<Message, BusError> {
        let mut known = self.inner.needs.subscribe();
        loop {
            let mut wanted: Vec<_> =
                known.borrow_and_update().iter().filter(|n| n.is_subset(&self.labels)).cloned().collect();
            // Who needs most can be served by the fewest.
            wanted.sort_by_key(|needs| std::cmp::Reverse(needs.len()));
            let mut lines = Vec::with_capacity(wanted.len());
            for needs in wanted {
                lines.push(Line::open(&self.inner, self.seen.get(&needs).copied(), needs).await?);
            }
            let waiting = lines.iter_mut().map(|line| Box::pin(line.next()));
            let taken = tokio::select! {
                (taken, _, _) = select_all(waiting) => Some(taken),
                _ = known.changed() => None,
            };
            for line in lines {
                if let Some(seen) = line.seen {
                    self.seen.insert(line.needs.clone(), seen);
                }
                line.pull.close();
            }
            if let Some(taken) = taken {
                return taken;
            }
        }
    }

    async fn give_up(&self, job: &GateJob, message: &Message) -> Result<(), BusError> {
        let why = format!("{MAX_DELIVERIES} runners were lost with this job");
        tracing::warn!(run = %job.run, why, "gives a job up");
        let report = RunReport {
            run: job.run.clone(),
            runner: "none".into(),
            outcome: RunOutcome::Lost { why },
            started: Millis(0),
            ms: 0,
            steps: Vec::new(),
            skipped: Vec::new(),
        };
        reports::publish(&self.inner, &report).await?;
        answer(message, Bytes::from_static(b"+ACK")).await
    }
}

fn other_wire(message: &Message) -> Option<u32> {
    let header = message.headers.as_ref()?.get(WIRE_HEADER)?;
    header.as_str().parse().ok().filter(|wire| *wire != RUNNER_WIRE)
}

/// One consumer that is asked for one message.
struct Line {
    inner: Arc<Inner>,
    needs: BTreeSet<Label>,
    consumer: String,
    config: pull::Config,
    pull: Pull,
    seen: Option<u64>,
}

fn closed() -> BusError {
    away("fetch a job", &"the connection is closed")
}

impl Line {
    /// A request with a subscription of its own: what is asked for and not taken goes back to the others.
    async fn open(inner: &Arc<Inner>, seen: Option<u64>, needs: BTreeSet<Label>) -> Result<Line, BusError> {
        let consumer =
            if needs.is_empty() { CONSUMER.to_owned() } else { format!("{CONSUMER}-{}", token(&needs)) };
        let config = pull::Config {
            durable_name: Some(consumer.clone()),
            filter_subject: inner.names.run_subject(&needs),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_deliver: -1,
            max_ack_pending: MAX_ACK_PENDING,
            ..pull::Config::default()
        };
        let pull = Pull::new(inner, &inner.names.jobs_stream, &consumer, 1).await.map_err(|_| closed())?;
        Ok(Line { inner: Arc::clone(inner), needs, consumer, config, pull, seen })
    }

    /// Waits for a message, through outages. Safe to drop at any point.
    async fn next(&mut self) -> Result<Message, BusError> {
        let stream = &self.inner.names.jobs_stream;
        loop {
            let now = self.inner.connection.borrow().losses;
            if self.seen != Some(now) {
                match consumer::ensure(&self.inner, stream, &self.consumer, &self.config).await {
                    Ok(_) => self.seen = Some(now),
                    Err(Fault::Final(error)) => return Err(error),
                    Err(Fault::Passing(why)) => {
                        tracing::debug!(why, "waits for the jobs' stream");
                        tokio::time::sleep(RETRY_PAUSE).await;
                        continue;
                    }
                }
            }
            let mut connection = self.inner.connection.clone();
            tokio::select! {
                biased;
                end = self.pull.next() => match end {
                    Ok(message) => return Ok(message),
                    Err(PullEnd::Closed) => return Err(closed()),
                    Err(PullEnd::Lost(_)) => self.seen = None,
                },
                _ = connection.wait_for(|c| c.up && c.losses != now) => {}
            }
            self.pull.ask_again();
        }
    }
}
