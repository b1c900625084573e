use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use yardmaster_bus::Bus;
use yardmaster_failpoint::{Point, hit};
use yardmaster_protocol::{BaseMoved, Event, JournalPosition};

/// What is to be published, with its place in the journal and its trace.
pub(crate) type Outgoing = (JournalPosition, Event, Option<String>);

const BATCHES_WAITING: usize = 1_024;

/// Publishes events in the order of the journal, each for as long as it takes.
#[derive(Debug)]
pub(crate) struct Outbox {
    bus: Bus,
    batches: mpsc::Sender<Vec<Outgoing>>,
    sent: u64,
    published: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Outbox {
    pub(crate) fn start(bus: Bus) -> Outbox {
        let (batches, waiting) = mpsc::channel(BATCHES_WAITING);
        let (done, published) = watch::channel(0);
        let task = tokio::spawn(publish_all(bus.clone(), waiting, done));
        Outbox { bus, batches, sent: 0, published, task }
    }

    pub(crate) async fn send(&mut self, events: Vec<Outgoing>) {
        if !events.is_empty() && self.batches.send(events).await.is_ok() {
            self.sent += 1;
        }
    }

    /// Tells single agents what no stream keeps: at most once, whoever listens.
    pub(crate) fn tell(&self, told: Vec<BaseMoved>) {
        if !told.is_empty() {
            let bus = self.bus.clone();
            tokio::spawn(async move { bus.tell_agents(&told).await });
        }
    }

    /// Whether everything sent so far is published within `longest`.
    pub(crate) async fn is_empty_within(&mut self, longest: Duration) -> bool {
        let wanted = self.sent;
        let all = self.published.wait_for(|published| *published >= wanted);
        tokio::time::timeout(longest, all).await.is_ok_and(|seen| seen.is_ok())
    }

    /// Publishes nothing more.
    pub(crate) fn abort(self) {
        self.task.abort();
    }

    /// Publishes the rest, within `longest`; what is left is found again from the journal.
    pub(crate) async fn close(self, longest: Duration) {
        drop(self.batches);
        let mut task = self.task;
        if tokio::time::timeout(longest, &mut task).await.is_err() {
            task.abort();
        }
    }
}

async fn publish_all(bus: Bus, mut waiting: mpsc::Receiver<Vec<Outgoing>>, done: watch::Sender<u64>) {
    while let Some(mut events) = waiting.recv().await {
        let mut batches = 1;
        while events.len() < 1_000 {
            let Ok(more) = waiting.try_recv() else { break };
            events.extend(more);
            batches += 1;
        }
        let mut pause = Duration::from_millis(100);
        hit(Point::BeforeEventPublish);
        while let Err(why) = bus.publish_events(&events).await {
            tracing::warn!(%why, events = events.len(), "events wait for NATS");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
        hit(Point::AfterEventPublish);
        done.send_modify(|published| *published += batches);
    }
}
