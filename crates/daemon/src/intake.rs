use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use yardmaster_bus::{Bus, Delivery, Inbox, Reports};
use yardmaster_failpoint::{Point, hit};
use yardmaster_protocol::IntakeSeq;

use crate::happening::Happening;
use crate::shutdown::Shutdown;

const AT_ONCE: usize = 256;
/// More than can have been asked for.
const MOST: usize = 10_000;

/// Feeds messages, verdicts of reviewers and runners' reports to the engine until `shutdown`.
pub(crate) fn start(
    bus: &Bus,
    happenings: mpsc::Sender<Happening>,
    shutdown: Shutdown,
) -> [JoinHandle<()>; 3] {
    let announcements = messages(bus.inbox(), Happening::Delivered, happenings.clone(), shutdown.clone());
    let reviews = messages(bus.reviews(), Happening::Reviewed, happenings.clone(), shutdown.clone());
    let reports = reports(bus.reports(), happenings, shutdown);
    [tokio::spawn(announcements), tokio::spawn(reviews), tokio::spawn(reports)]
}

async fn messages(
    mut inbox: Inbox,
    happening: fn(Vec<Delivery>) -> Happening,
    happenings: mpsc::Sender<Happening>,
    shutdown: Shutdown,
) {
    loop {
        let first = tokio::select! {
            () = shutdown.asked() => return give_back(inbox.drain_ready(MOST)).await,
            next = inbox.next() => next,
        };
        match first {
            Err(why) => tracing::warn!(%why, "the inbox is read again"),
            Ok(first) => {
                let mut deliveries = vec![first];
                deliveries.extend(inbox.drain_ready(AT_ONCE));
                if let Err(unsent) = happenings.send(happening(deliveries)).await {
                    if let Happening::Delivered(deliveries) | Happening::Reviewed(deliveries) = unsent.0 {
                        give_back(deliveries).await;
                    }
                    return give_back(inbox.drain_ready(MOST)).await;
                }
            }
        }
    }
}

/// Whoever serves next gets them at once.
async fn give_back(deliveries: Vec<Delivery>) {
    for delivery in deliveries {
        let _ = delivery.give_back().await;
    }
}

async fn reports(mut reports: Reports, happenings: mpsc::Sender<Happening>, shutdown: Shutdown) {
    loop {
        let next = tokio::select! {
            () = shutdown.asked() => return,
            next = reports.next() => next,
        };
        match next {
            Err(why) => tracing::warn!(%why, "the runners' reports are read again"),
            Ok(reported) => {
                if happenings.send(Happening::Reported(Box::new(reported))).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Deliveries that wait for their acks.
#[derive(Debug)]
pub(crate) struct Unanswered {
    waiting: BTreeMap<IntakeSeq, Delivery>,
    acks: mpsc::UnboundedSender<(Delivery, Answer)>,
}

/// How a delivery is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Ack,
    Terminate(String),
}

impl Unanswered {
    pub(crate) fn start() -> Unanswered {
        let (acks, mut waiting) = mpsc::unbounded_channel::<(Delivery, Answer)>();
        tokio::spawn(async move {
            while let Some((delivery, answer)) = waiting.recv().await {
                hit(Point::BeforeAck);
                let done = match answer {
                    Answer::Ack => delivery.ack().await,
                    Answer::Terminate(why) => delivery.terminate(&why).await,
                };
                if let Err(why) = done {
                    tracing::debug!(%why, seq = delivery.seq.0, "an ack was lost: the message comes again and is recognised");
                }
                hit(Point::AfterAck);
            }
        });
        Unanswered { waiting: BTreeMap::new(), acks }
    }

    /// Remembers a delivery; a newer one of the same message replaces the older.
    pub(crate) fn hold(&mut self, delivery: Delivery) {
        self.waiting.insert(delivery.seq, delivery);
    }

    /// Ends a message that was refused.
    pub(crate) fn terminate(&mut self, seq: IntakeSeq, why: String) {
        if let Some(delivery) = self.waiting.remove(&seq) {
            let _ = self.acks.send((delivery, Answer::Terminate(why)));
        }
    }

    /// Gives back everything that waits.
    pub(crate) async fn give_back(self) {
        for delivery in self.waiting.into_values() {
            if let Err(why) = delivery.give_back().await {
                tracing::debug!(%why, "what is held comes again by itself");
            }
        }
    }

    /// Acks everything that `is_answered`.
    pub(crate) fn ack_answered(&mut self, is_answered: impl Fn(IntakeSeq) -> bool) {
        let ready: Vec<IntakeSeq> = self.waiting.keys().copied().filter(|seq| is_answered(*seq)).collect();
        for seq in ready {
            if let Some(delivery) = self.waiting.remove(&seq) {
                let _ = self.acks.send((delivery, Answer::Ack));
            }
        }
    }
}
