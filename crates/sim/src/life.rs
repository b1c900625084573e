use std::rc::Rc;

use yardmaster_protocol::{Entry, IntakeSeq};
use yardmaster_queue::{Input, Queue};

use crate::daemon::Daemon;
use crate::fault::Fault;
use crate::violation::Violation;
use crate::world::{ACK_WAIT, Happening, Lived, Outage, Own, Place, World};

impl World {
    pub(crate) fn deliver(&mut self, seq: u64) -> Result<(), Violation> {
        let found = usize::try_from(seq - 1).ok().and_then(|i| self.stream.get(i));
        let Some(message) = found else { return Ok(()) };
        let acked = message.acked;
        let input = Input::Message {
            intake: IntakeSeq(seq),
            subject: message.subject.clone(),
            published: message.published,
            traceparent: None,
            payload: message.payload.to_vec(),
        };
        if acked && !self.unlucky(10, Fault::MessageDoubled) {
            return Ok(());
        }
        self.after(ACK_WAIT, Happening::Deliver { seq });
        if self.is_out(Outage::Nats) || !self.choose() {
            return Ok(());
        }
        if let Some(daemon) = self.daemons.get_mut(&self.acting) {
            daemon.unacked.insert(seq);
        }
        if self.hit(Fault::AfterDelivery) {
            return Ok(());
        }
        self.input(input)
    }

    /// The acting daemon's process is gone, with everything that only it knew.
    pub(crate) fn crash(&mut self) {
        let Some(daemon) = self.daemons.remove(&self.acting) else { return };
        self.tell(|_| "the daemon is killed".to_owned());
        let written = self.journal.iter().skip(daemon.position).eq(daemon.news());
        let snapshot = daemon.queue.to_snapshot().ok().filter(|_| written);
        self.lived = snapshot.map(|snapshot| Lived {
            position: self.journal.len(),
            snapshot,
            plan: daemon.queue.plan(&daemon.policy),
            policy: daemon.policy,
        });
        let ms = self.rng.range(100, 10_000);
        self.after(ms, Happening::Start);
    }

    /// Its append was refused: somebody else has the journal. It goes, and has done nothing.
    pub(crate) fn fenced(&mut self) {
        self.tell(|_| "the journal belongs to another daemon: this one ends".to_owned());
        self.count(Fault::Fenced);
        self.daemons.remove(&self.acting);
        let ms = self.rng.range(100, 5_000);
        self.after(ms, Happening::Start);
    }

    /// A supervisor or a stand-by starts a daemon where none leads: none that is awake and has the whole
    /// journal.
    pub(crate) fn start(&mut self) -> Result<(), Violation> {
        let leads = |d: &Daemon| d.wakes_at <= self.now && d.position >= self.journal.len();
        if self.daemons.values().any(leads) { Ok(()) } else { self.start_daemon() }
    }

    /// The leader stands still; somebody else takes over meanwhile.
    pub(crate) fn sleep(&mut self) {
        if self.quiet || !self.choose() {
            return;
        }
        let (takeover, ms) = (self.rng.range(1_500, 6_000), self.rng.range(2_000, 60_000));
        self.count(Fault::Sleep);
        self.tell(|_| format!("the daemon sleeps for {ms} ms"));
        if let Some(daemon) = self.daemons.get_mut(&self.acting) {
            daemon.wakes_at = self.now + ms;
        }
        self.after(takeover, Happening::Start);
    }

    pub(crate) fn start_daemon(&mut self) -> Result<(), Violation> {
        if self.is_out(Outage::Nats) || self.is_out(Outage::Journal) {
            let ms = self.rng.range(500, 3_000);
            self.after(ms, Happening::Start);
            return Ok(());
        }
        let queue = self.replayed()?;
        self.awake = self.clock();
        self.epochs += 1;
        self.acting = self.epochs;
        self.tell(|w| format!("a daemon starts with {} records", w.journal.len()));
        let alone = self.daemons.is_empty();
        let unpublished = self.unpublished();
        let daemon = Daemon {
            queue,
            policy: Rc::clone(&self.policy),
            position: self.journal.len() + 1,
            batch: Vec::new(),
            waits: false,
            pinning: false,
            assembling: Default::default(),
            rolling: Default::default(),
            comparing: Default::default(),
            reading: Default::default(),
            busy: Default::default(),
            unacked: Default::default(),
            reports: Vec::new(),
            outbox: unpublished.into(),
            ended: Vec::new(),
            since_snapshot: 0,
            wakes_at: 0,
        };
        self.daemons.insert(self.acting, daemon);
        if self.hit(Fault::AfterReplay) {
            return Ok(());
        }
        if alone {
            self.sweep();
        }
        // From here on nobody who started earlier can write.
        self.journal.push(Entry { at: self.clock(), facts: Vec::new() });
        self.purge_jobs();
        for target in self.policy.targets.clone() {
            self.own(0, Own::LookDue { target, periodic: true });
        }
        self.publish()
    }

    fn unpublished(&self) -> Vec<Place> {
        let last = self.released.last();
        let after = last.map_or(0, |last| self.due.partition_point(|place| place <= last));
        self.due.iter().skip(after).copied().collect()
    }

    /// Lets go of heads that a crash left pinned.
    pub(crate) fn sweep(&mut self) {
        let Some(daemon) = self.daemons.get(&self.acting) else { return };
        let keep: std::collections::BTreeSet<_> = daemon.queue.in_custody().collect();
        self.pins.retain(|request| keep.contains(request));
    }

    /// Jobs of earlier lives are taken back; some were done all the same.
    fn purge_jobs(&mut self) {
        let others: Vec<_> = self.running.keys().cloned().collect();
        for run in others {
            if self.rng.chance(70) {
                self.stop(&run);
            } else if let Some(running) = self.running.get_mut(&run) {
                running.epoch = self.acting;
            }
        }
    }

    /// The state from the journal, by way of a snapshot, compared with what was lived.
    pub(crate) fn replayed(&mut self) -> Result<Queue, Violation> {
        let stored = self.snapshot.clone().filter(|_| self.rng.chance(50));
        let (from, mut queue) = match stored {
            Some((position, bytes)) => (position, read(&bytes)?),
            None => (0, Queue::new()),
        };
        let half = from + self.rng.index(self.journal.len() + 1 - from);
        self.journal.iter().take(half).skip(from).for_each(|e| drop(queue.replay(e)));
        let bytes =
            queue.to_snapshot().map_err(|e| Violation::new("a state can be written", e.to_string()))?;
        let mut queue = read(&bytes)?;
        self.journal.iter().skip(half).for_each(|e| drop(queue.replay(e)));
        let len = self.journal.len();
        if let Some(lived) = self.lived.take().filter(|lived| lived.position == len) {
            same_as_lived(&queue, &lived)?;
        }
        Ok(queue)
    }
}

fn read(bytes: &[u8]) -> Result<Queue, Violation> {
    Queue::from_snapshot(bytes).map_err(|e| Violation::new("a snapshot can be read", e.to_string()))
}

/// The journal alone gives the state, the plan and the next decisions of the one who wrote it.
pub(crate) fn same_as_lived(queue: &Queue, lived: &Lived) -> Result<(), Violation> {
    let snapshot = queue.to_snapshot().unwrap_or_default();
    Violation::unless(snapshot == lived.snapshot, "replay gives the state that was lived", || {
        let (a, b) = (String::from_utf8_lossy(&snapshot), String::from_utf8_lossy(&lived.snapshot));
        format!("replayed {a}\nlived {b}")
    })?;
    let plan = queue.plan(&lived.policy);
    let bytes = |plan| serde_json::to_vec(plan).unwrap_or_default();
    Violation::unless(bytes(&plan) == bytes(&lived.plan), "the same journal gives the same plan", || {
        format!("replayed {plan:?}\nlived {:?}", lived.plan)
    })
}
