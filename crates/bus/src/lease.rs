use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use async_nats::jetstream::stream::RawMessageErrorKind;
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use yardmaster_protocol::RunId;

use crate::BusError;
use crate::bus::{Inner, REQUEST_TIMEOUT};
use crate::error::away;
use crate::inbox::answer;

/// A third of the ack wait.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
const ACK_TRIES: u32 = 3;

/// Keeps a job ours until it is settled; dropped, the job goes to somebody else at once.
#[derive(Debug)]
pub struct JobLease {
    settle: oneshot::Sender<Settle>,
}

#[derive(Debug)]
enum Settle {
    Ack(oneshot::Sender<Result<(), BusError>>),
    Nak(oneshot::Sender<Result<(), BusError>>),
}

impl JobLease {
    /// The job is done and reported.
    ///
    /// # Errors
    /// `Away`: somebody may get the job again.
    pub async fn ack(self) -> Result<(), BusError> {
        self.settle(Settle::Ack).await
    }

    /// Somebody else shall do it, now.
    ///
    /// # Errors
    /// `Away`: somebody gets the job after the ack wait.
    pub async fn nak(self) -> Result<(), BusError> {
        self.settle(Settle::Nak).await
    }

    async fn settle(
        self,
        how: impl FnOnce(oneshot::Sender<Result<(), BusError>>) -> Settle,
    ) -> Result<(), BusError> {
        let (done, outcome) = oneshot::channel();
        let gone = || away("settle a job", &"the runtime ends");
        self.settle.send(how(done)).map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

/// Tells when a job is not wanted any more.
#[derive(Debug, Clone)]
pub struct Cancelled {
    state: watch::Receiver<bool>,
}

impl Cancelled {
    /// Whether it has been cancelled.
    pub fn is_cancelled(&self) -> bool {
        *self.state.borrow()
    }

    /// Resolves when it is cancelled; never otherwise.
    pub async fn cancelled(&mut self) {
        if self.state.wait_for(|cancelled| *cancelled).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Whether the job is in the stream: none when nobody can tell now.
pub(crate) async fn is_there(inner: &Inner, seq: u64) -> Option<bool> {
    let stream = inner.js.get_stream_no_info(&inner.names.jobs_stream).await.ok()?;
    match timeout(REQUEST_TIMEOUT, stream.get_raw_message(seq)).await.ok()? {
        Ok(_) => Some(true),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Some(false),
        Err(_) => None,
    }
}

pub(crate) async fn hold(
    inner: &Arc<Inner>,
    seq: u64,
    run: &RunId,
    message: Message,
) -> Result<(JobLease, Cancelled), BusError> {
    let listen = async |subject: String| {
        inner.client.subscribe(subject).await.map_err(|e| away("listen for cancelled jobs", &e))
    };
    let one = listen(inner.names.cancel_run(run)).await?;
    let all = listen(inner.names.cancel_subject.clone()).await?;
    let (settle, settled) = oneshot::channel();
    let (cancel, state) = watch::channel(false);
    let holder = Holder { inner: Arc::clone(inner), seq, message, cancel };
    tokio::spawn(holder.run(settled, one, all));
    Ok((JobLease { settle }, Cancelled { state }))
}

struct Holder {
    inner: Arc<Inner>,
    seq: u64,
    message: Message,
    cancel: watch::Sender<bool>,
}

impl Holder {
    async fn run(self, mut settled: oneshot::Receiver<Settle>, mut one: Subscriber, mut all: Subscriber) {
        let mut tick = interval(KEEP_ALIVE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.tick().await;
        loop {
            tokio::select! {
                biased;
                how = &mut settled => return self.end(how).await,
                Some(_) = one.next() => self.cancelled(),
                Some(_) = all.next() => self.cancelled(),
                _ = tick.tick() => self.keep().await,
            }
        }
    }

    /// A cancel that was said while the connection was down shows in the message that is gone.
    async fn keep(&self) {
        let _ = answer(&self.message, Bytes::from_static(b"+WPI")).await;
        if is_there(&self.inner, self.seq).await == Some(false) {
            self.cancelled();
        }
    }

    fn cancelled(&self) {
        self.cancel.send_replace(true);
    }

    async fn end(&self, how: Result<Settle, oneshot::error::RecvError>) {
        match how {
            Ok(Settle::Ack(done)) => {
                let _ = done.send(self.ack().await);
            }
            Ok(Settle::Nak(done)) => {
                let _ = done.send(self.nak().await);
            }
            Err(_) => {
                let _ = self.nak().await;
            }
        }
    }

    async fn ack(&self) -> Result<(), BusError> {
        let mut why = String::new();
        for _ in 0..ACK_TRIES {
            match self.message.double_ack_with(AckKind::Ack).await {
                Ok(()) => return Ok(()),
                Err(error) => why = error.to_string(),
            }
            self.inner.connected(REQUEST_TIMEOUT).await;
        }
        Err(away("ack a job", &why))
    }

    async fn nak(&self) -> Result<(), BusError> {
        answer(&self.message, Bytes::from_static(b"-NAK")).await?;
        let flushed = timeout(REQUEST_TIMEOUT, self.inner.client.flush()).await;
        flushed.map_err(|_| away("give a job back", &"no answer"))?.map_err(|e| away("give a job back", &e))
    }
}
