use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use yardmaster_protocol::{BranchName, Entry, Fact, IntakeSeq, RequestId};
use yardmaster_queue::{Input, Policy, Queue, Step};

use crate::fault::Fault;
use crate::violation::Violation;
use crate::words::words;
use crate::world::{Outage, Own, Place, World};

const FACTS_PER_SNAPSHOT: usize = 60;
const RETRY: u64 = 200;

/// What dies with a daemon's process.
#[derive(Clone)]
pub(crate) struct Daemon {
    pub(crate) queue: Queue,
    pub(crate) policy: Rc<Policy>,
    /// Records of the journal that it knows.
    pub(crate) position: usize,
    /// Decided and not in the journal.
    pub(crate) batch: Vec<Decided>,
    /// An append is to be tried later.
    pub(crate) waits: bool,
    pub(crate) pinning: bool,
    pub(crate) assembling: BTreeSet<BranchName>,
    pub(crate) rolling: BTreeSet<BranchName>,
    pub(crate) comparing: BTreeSet<BranchName>,
    pub(crate) reading: BTreeSet<BranchName>,
    /// Targets with a look or a push under way.
    pub(crate) busy: BTreeSet<BranchName>,
    /// Delivered and not acked.
    pub(crate) unacked: BTreeSet<u64>,
    /// Reports in hand, by serial.
    pub(crate) reports: Vec<u64>,
    pub(crate) outbox: VecDeque<Place>,
    /// Ended requests whose heads are to be let go.
    pub(crate) ended: Vec<RequestId>,
    pub(crate) since_snapshot: usize,
    /// Until then it sleeps.
    pub(crate) wakes_at: u64,
}

/// One step that was decided.
#[derive(Clone)]
pub(crate) struct Decided {
    step: Step,
    adds: bool,
    policy: Rc<Policy>,
    told: String,
}

impl Daemon {
    /// What it has decided and does not know to be in the journal.
    pub(crate) fn news(&self) -> impl Iterator<Item = &Entry> {
        self.batch.iter().map(|d| &d.step.entry).filter(|entry| !entry.facts.is_empty())
    }
}

impl World {
    /// One input to the acting daemon: decided now, and journalled with the rest of its batch.
    pub(crate) fn input(&mut self, input: Input) -> Result<(), Violation> {
        let told = if self.story.is_some() { self.told_input(&input) } else { String::new() };
        let adds = matches!(input, Input::Message { .. } | Input::Inspected(_));
        let once = |input: &Input| {
            matches!(input, Input::Message { .. } | Input::Withdraw { .. } | Input::Pause { .. })
        };
        let again = !once(&input);
        if again && self.unlucky(2, Fault::AnswerDoubled) {
            let ms = self.rng.range(0, 10_000);
            self.own(ms, Own::Again { input: Box::new(input.clone()) });
        }
        let now = self.clock();
        let Some(daemon) = self.daemons.get_mut(&self.acting) else { return Ok(()) };
        let policy = Rc::clone(&daemon.policy);
        let step = daemon.queue.step(now, &policy, input);
        let rules = daemon.queue.check().and_then(|()| daemon.queue.check_quiet());
        rules.map_err(|why| Violation::new("the state's own rules", why))?;
        daemon.batch.push(Decided { step, adds, policy, told });
        let waits = daemon.waits;
        self.steps += 1;
        if !waits && self.rng.chance(10) {
            let ms = self.rng.range(0, 30);
            self.commit_in(ms);
        } else if !waits {
            self.commit()?;
        }
        Ok(())
    }

    fn commit_in(&mut self, ms: u64) {
        if let Some(daemon) = self.daemons.get_mut(&self.acting) {
            daemon.waits = true;
            self.own(ms, Own::Commit);
        }
    }

    /// Append, then act, then ack.
    pub(crate) fn commit(&mut self) -> Result<(), Violation> {
        if let Some(daemon) = self.daemons.get_mut(&self.acting) {
            daemon.waits = false;
        }
        if !self.append()? || self.hit(Fault::AfterAppend) {
            return Ok(());
        }
        self.taken_in();
        for stage in
            [Self::publish, Self::release, Self::ack, Self::ack_reports, Self::take_snapshot, Self::carry_out]
        {
            stage(self)?;
            if !self.lives() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the batch is in the journal, and the daemon knows.
    fn append(&mut self) -> Result<bool, Violation> {
        let Some(daemon) = self.daemons.get(&self.acting) else { return Ok(false) };
        let news: Vec<Decided> =
            daemon.batch.iter().filter(|d| !d.step.entry.facts.is_empty()).cloned().collect();
        if news.is_empty() {
            return Ok(daemon.reports.is_empty() || self.append_nothing());
        }
        let known = daemon.position;
        if self.hit(Fault::BeforeAppend) {
            return Ok(false);
        }
        if self.is_out(Outage::Nats) {
            self.commit_in(RETRY);
            return Ok(false);
        }
        if self.is_out(Outage::Journal) {
            self.tell(|_| "the journal's disk is full: the daemon ends".to_owned());
            self.crash();
            return Ok(false);
        }
        let there = self.journal.iter().skip(known);
        let own = there.zip(&news).take_while(|(there, own)| **there == own.step.entry).count();
        if known + own != self.journal.len() {
            self.fenced();
            return Ok(false);
        }
        for (n, decided) in news.iter().enumerate().skip(own) {
            if n > 0 && self.hit(Fault::MidAppend) {
                return Ok(false);
            }
            self.write(decided)?;
        }
        if own == 0 && self.unlucky(1, Fault::AppendUnheard) {
            self.commit_in(RETRY);
            return Ok(false);
        }
        Ok(true)
    }

    /// A record that says nothing, before a report is acked that told nothing new: who was deposed finds it
    /// out, and the report stays for whoever knows its run.
    fn append_nothing(&mut self) -> bool {
        let (now, whole) = (self.clock(), self.journal.len());
        if self.is_out(Outage::Nats) {
            self.commit_in(RETRY);
            return false;
        }
        let Some(daemon) = self.daemons.get_mut(&self.acting) else { return false };
        if daemon.position != whole {
            self.fenced();
            return false;
        }
        daemon.position += 1;
        self.journal.push(Entry { at: now, facts: Vec::new() });
        true
    }

    /// The journal takes a record, and everybody who checks takes note of it.
    fn write(&mut self, decided: &Decided) -> Result<(), Violation> {
        let Decided { step, adds, policy, told } = decided;
        let record = self.journal.len();
        self.journal.push(step.entry.clone());
        self.due.extend(step.events.iter().map(|e| (record, e.index)));
        self.tell(|_| told.clone());
        for fact in &step.entry.facts {
            self.tell(|w| w.told_fact(fact));
        }
        let mut ledger = std::mem::take(&mut self.ledger);
        let observed = ledger.observe(&self.truth(policy), *adds, step);
        self.ledger = ledger;
        observed?;
        self.words.extend(step.events.iter().flat_map(|e| words(&e.event)));
        self.react_to(step);
        Ok(())
    }

    /// The batch is in the journal: what it means may be done.
    fn taken_in(&mut self) {
        let Some(daemon) = self.daemons.get_mut(&self.acting) else { return };
        for decided in std::mem::take(&mut daemon.batch) {
            let entry = &decided.step.entry;
            if entry.facts.is_empty() {
                continue;
            }
            let record = daemon.position;
            daemon.position += 1;
            daemon.since_snapshot += entry.facts.len();
            daemon.outbox.extend(decided.step.events.iter().map(|e| (record, e.index)));
            daemon.ended.extend(entry.facts.iter().filter_map(ended));
        }
    }

    /// Publishes events in the order of the journal.
    pub(crate) fn publish(&mut self) -> Result<(), Violation> {
        let waiting = self.daemons.get(&self.acting).is_some_and(|d| !d.outbox.is_empty());
        if !waiting || self.is_out(Outage::Nats) || self.hit(Fault::BeforeEvent) {
            return Ok(());
        }
        let mut sent = 0;
        while let Some(event) = self.daemons.get_mut(&self.acting).and_then(|d| d.outbox.pop_front()) {
            if sent > 0 && self.hit(Fault::MidEvent) {
                return Ok(());
            }
            sent += 1;
            match self.released.last() {
                Some(last) if event <= *last => {
                    let known = self.released.binary_search(&event).is_ok();
                    Violation::unless(known, "no event is left out", || format!("{event:?}"))?;
                }
                _ => self.released.push(event),
            }
        }
        self.hit(Fault::AfterEvent);
        Ok(())
    }

    /// Lets go of the heads of what has ended.
    fn release(&mut self) -> Result<(), Violation> {
        let Some(daemon) = self.daemons.get_mut(&self.acting) else { return Ok(()) };
        let ended = std::mem::take(&mut daemon.ended);
        if ended.is_empty() || self.hit(Fault::BeforeUnpin) {
            return Ok(());
        }
        for request in ended {
            self.pins.remove(&request);
        }
        self.hit(Fault::AfterUnpin);
        Ok(())
    }

    /// Acks what is answered, and only that.
    fn ack(&mut self) -> Result<(), Violation> {
        let Some(daemon) = self.daemons.get(&self.acting) else { return Ok(()) };
        let answered: Vec<u64> =
            daemon.unacked.iter().copied().filter(|seq| daemon.queue.is_answered(IntakeSeq(*seq))).collect();
        if answered.is_empty() || self.hit(Fault::BeforeAck) {
            return Ok(());
        }
        for seq in answered {
            let held = self.ledger.is_held(IntakeSeq(seq), &self.pins);
            let rule = "acked only what is in custody or answered";
            Violation::unless(held, rule, || format!("message {seq}"))?;
            let lost = self.is_out(Outage::Nats) || self.unlucky(2, Fault::AckLost);
            if let Some(daemon) = self.daemons.get_mut(&self.acting) {
                daemon.unacked.remove(&seq);
            }
            let message = usize::try_from(seq - 1).ok().and_then(|i| self.stream.get_mut(i));
            if let Some(message) = message.filter(|_| !lost) {
                message.acked = true;
            }
        }
        self.hit(Fault::AfterAck);
        Ok(())
    }

    fn ack_reports(&mut self) -> Result<(), Violation> {
        let Some(daemon) = self.daemons.get_mut(&self.acting) else { return Ok(()) };
        let taken = std::mem::take(&mut daemon.reports);
        if taken.is_empty() || self.is_out(Outage::Nats) || self.hit(Fault::BeforeReportAck) {
            return Ok(());
        }
        for serial in taken {
            if let Some(report) = self.reports.remove(&serial)
                && self.running.get(&report.run).is_some_and(|r| r.serial == serial)
            {
                self.running.remove(&report.run);
            }
        }
        self.hit(Fault::AfterReportAck);
        Ok(())
    }

    /// Writes the state down now and then; only what is published may be forgotten.
    fn take_snapshot(&mut self) -> Result<(), Violation> {
        let Some(daemon) = self.daemons.get_mut(&self.acting) else { return Ok(()) };
        let due = daemon.since_snapshot >= FACTS_PER_SNAPSHOT && daemon.outbox.is_empty();
        if !due || self.is_out(Outage::Nats) || self.hit(Fault::BeforeSnapshot) {
            return Ok(());
        }
        let Some(daemon) = self.daemons.get_mut(&self.acting) else { return Ok(()) };
        daemon.since_snapshot = 0;
        let bytes = daemon.queue.to_snapshot();
        let bytes = bytes.map_err(|e| Violation::new("a state can be written", e.to_string()))?;
        self.snapshot = Some((daemon.position, Rc::new(bytes)));
        self.hit(Fault::AfterSnapshot);
        Ok(())
    }
}

fn ended(fact: &Fact) -> Option<RequestId> {
    match fact {
        Fact::Landed { request, .. }
        | Fact::Failed { request, .. }
        | Fact::Withdrawn { request, .. }
        | Fact::Superseded { request, .. }
        | Fact::Repeated { request, .. } => Some(*request),
        _ => None,
    }
}
