use yardmaster_queue::{Input, Queue};

use crate::violation::Violation;
use crate::world::{ACK_WAIT, Daemon, Happening, Lived, World};

impl World {
    pub(crate) fn deliver(&mut self, seq: u64) -> Result<(), Violation> {
        let found = usize::try_from(seq - 1).ok().and_then(|i| self.stream.get(i));
        let Some(message) = found else { return Ok(()) };
        let input = Input::Message {
            intake: yardmaster_protocol::IntakeSeq(seq),
            subject: message.subject.clone(),
            published: message.published,
            traceparent: None,
            payload: message.payload.clone(),
        };
        if !message.acked || self.unlucky(10) {
            if let Some(daemon) = &mut self.daemon {
                daemon.unacked.insert(seq);
            }
            self.input(input)?;
            self.after(ACK_WAIT, Happening::Deliver { seq });
        }
        Ok(())
    }

    /// The daemon's process is gone, with everything that only it knew.
    pub(crate) fn crash(&mut self) {
        let Some(daemon) = self.daemon.take() else { return };
        self.tell(|_| "the daemon is killed".to_owned());
        self.lived = daemon
            .queue
            .to_snapshot()
            .ok()
            .map(|snapshot| Lived { snapshot, plan: daemon.queue.plan(&self.policy) });
        self.epoch += 1;
        let ms = self.rng.range(100, 10_000);
        self.after(ms, Happening::Start);
    }

    pub(crate) fn start_daemon(&mut self) -> Result<(), Violation> {
        let queue = self.replayed()?;
        self.tell(|w| format!("the daemon starts with {} records", w.journal.len()));
        self.daemon = Some(Daemon {
            queue,
            pinning: false,
            assembling: Default::default(),
            busy: Default::default(),
            unacked: Default::default(),
        });
        if self.unlucky(10) {
            self.policy.window_max = u32::try_from(self.rng.range(1, 6)).unwrap_or(1);
        }
        for target in self.policy.targets.clone() {
            let epoch = self.epoch;
            self.after(0, Happening::LookDue { epoch, target, periodic: true });
        }
        Ok(())
    }

    /// The state from the journal, by way of a snapshot in the middle, compared with what was lived.
    fn replayed(&mut self) -> Result<Queue, Violation> {
        let half = self.rng.index(self.journal.len() + 1);
        let mut first = Queue::new();
        self.journal.iter().take(half).for_each(|e| drop(first.replay(e)));
        let bytes =
            first.to_snapshot().map_err(|e| Violation::new("a state can be written", e.to_string()))?;
        let mut queue = Queue::from_snapshot(&bytes)
            .map_err(|e| Violation::new("a snapshot can be read", e.to_string()))?;
        self.journal.iter().skip(half).for_each(|e| drop(queue.replay(e)));
        if let Some(lived) = self.lived.take() {
            let snapshot = queue.to_snapshot().unwrap_or_default();
            Violation::unless(snapshot == lived.snapshot, "replay gives the state that was lived", || {
                let (a, b) = (String::from_utf8_lossy(&snapshot), String::from_utf8_lossy(&lived.snapshot));
                format!("replayed {a}\nlived {b}")
            })?;
            let plan = queue.plan(&self.policy);
            Violation::unless(plan == lived.plan, "the same journal gives the same plan", || {
                format!("replayed {plan:?}\nlived {:?}", lived.plan)
            })?;
        }
        Ok(queue)
    }
}
