use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, interval_at};
use yardmaster_bus::{AppendError, Bus, Delivery, Journal, ReportAck};
use yardmaster_failpoint::{Point, hit, taint};
use yardmaster_git::Mirror;
use yardmaster_protocol::{
    BaseMoved, BranchName, Fact, IntakeSeq, LandOutcome, Project, QueueReply, RequestId, StatusReply,
};
use yardmaster_queue::{Input, Moved, Policy, Queue, Step};

use crate::ServeError;
use crate::api::Round;
use crate::clock::{self, Wakefulness};
use crate::compare::{Comparison, Matrices};
use crate::custody::Lacking;
use crate::hands::Hands;
use crate::happening::Happening;
use crate::in_hand::{InHand, Message};
use crate::intake::Unanswered;
use crate::outbox::Outbox;
use crate::questions::{Question, Submissions, answer, freezing, pausing, promoted, promotion, withdrawal};
use crate::record::Packed;
use crate::remote::{RemoteReport, project, seen};
use crate::rules::Rules;
use crate::runners::Runners;
use crate::serve::fence;
use crate::shutdown::Shutdown;

/// The most that one batch takes together into the journal.
const BATCH: usize = 512;
/// A snapshot is taken after so many facts; often, where it is to be tried what a crash does to it.
const FACTS_PER_SNAPSHOT: usize = if cfg!(feature = "failpoints") { 30 } else { 20_000 };
/// How often the mirror is packed, when nothing is pending.
const TIDY: Duration = Duration::from_secs(3_600);
/// What is left to publish may take so long after that.
const LAST_EVENTS: Duration = Duration::from_secs(2);
/// A push under way may take so long after we were asked to stop.
const LAST_PUSH: Duration = Duration::from_secs(7);

/// Where inputs become facts, facts are journalled, and the plan is carried out. The only caller of
/// `step`.
pub(crate) struct Engine {
    pub(crate) queue: Queue,
    pub(crate) policy: Policy,
    pub(crate) journal: Journal,
    pub(crate) outbox: Outbox,
    pub(crate) hands: Hands,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) happenings: mpsc::Receiver<Happening>,
    pub(crate) poll: Duration,
    pub(crate) remote: String,
    pub(crate) slots: u32,
    pub(crate) runners: Runners,
    rules: Rules,
    slots_elsewhere: u32,
    unanswered: Unanswered,
    reviews: Unanswered,
    submissions: Submissions,
    reports: Vec<ReportAck>,
    deposed_by: Option<String>,
    facts_since_snapshot: usize,
    started: Instant,
    wakefulness: Wakefulness,
}

/// What an engine starts with.
pub(crate) struct Start {
    pub(crate) queue: Queue,
    pub(crate) rules: Rules,
    pub(crate) journal: Journal,
    pub(crate) bus: Bus,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) poll: Duration,
    pub(crate) remote: String,
    pub(crate) slots: u32,
    pub(crate) runners: Runners,
    pub(crate) outbox: Outbox,
    pub(crate) in_hand: InHand,
    pub(crate) matrices: Arc<Matrices>,
    pub(crate) facts_replayed: usize,
}

impl Engine {
    pub(crate) fn new(
        start: Start,
        sender: mpsc::Sender<Happening>,
        happenings: mpsc::Receiver<Happening>,
    ) -> Engine {
        Engine {
            hands: Hands::new(
                &start.bus,
                &start.mirror,
                start.queue.targets_at_work(&start.rules.policy),
                start.in_hand,
                start.matrices,
                sender,
            ),
            outbox: start.outbox,
            queue: start.queue,
            policy: start.rules.policy.clone(),
            rules: start.rules,
            slots_elsewhere: 0,
            journal: start.journal,
            mirror: start.mirror,
            happenings,
            poll: start.poll,
            remote: start.remote,
            slots: start.slots,
            runners: start.runners,
            unanswered: Unanswered::start(),
            reviews: Unanswered::start(),
            submissions: Submissions::default(),
            reports: Vec::new(),
            deposed_by: None,
            facts_since_snapshot: start.facts_replayed,
            started: Instant::now(),
            wakefulness: Wakefulness::asked_every(start.poll),
        }
    }

    /// Works until `shutdown`, or until the journal belongs to another daemon.
    pub(crate) async fn run(mut self, shutdown: &Shutdown) -> Result<(), ServeError> {
        let served = match self.work(shutdown).await {
            Ok(()) => self.last_pushes().await,
            Err(why) => Err(why),
        };
        match &served {
            Ok(()) => self.outbox.close(LAST_EVENTS).await,
            Err(_) => self.give_back().await,
        }
        served
    }

    async fn work(&mut self, shutdown: &Shutdown) -> Result<(), ServeError> {
        let mut poll = interval(self.poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tidy = interval_at(tokio::time::Instant::now() + TIDY, TIDY);
        loop {
            let wake = self.hands.next_wake();
            tokio::select! {
                () = shutdown.asked() => return Ok(()),
                happening = self.happenings.recv() => {
                    let Some(first) = happening else { return Ok(()) };
                    self.take_in(first).await?;
                }
                _ = poll.tick() => {
                    self.hands.look_everywhere(&self.queue);
                    self.hands.look_for_jobs();
                    self.watch().await?;
                }
                _ = tidy.tick(), if self.queue.pending() == 0 => self.hands.tidy(),
                () = tokio::time::sleep_until(wake) => self.watch().await?,
            }
            self.hands.reconcile(&self.queue, &self.policy).await;
        }
    }

    /// Waits for pushes under way: their outcome is worth the wait.
    async fn last_pushes(&mut self) -> Result<(), ServeError> {
        let deadline = tokio::time::Instant::now() + LAST_PUSH;
        while self.hands.is_pushing() {
            let next = tokio::time::timeout_at(deadline, self.happenings.recv()).await;
            let Ok(Some(happening)) = next else { break };
            self.take_in(happening).await?;
        }
        Ok(())
    }

    /// What we hold goes to whoever leads now, and does not wait until its ack is overdue. Events that
    /// are not out yet are published by that one.
    async fn give_back(mut self) {
        self.outbox.abort();
        self.happenings.close();
        while let Ok(happening) = self.happenings.try_recv() {
            match happening {
                Happening::Delivered(deliveries) => {
                    deliveries.into_iter().for_each(|d| self.unanswered.hold(d));
                }
                Happening::Reviewed(deliveries) => {
                    deliveries.into_iter().for_each(|d| self.reviews.hold(d));
                }
                _ => {}
            }
        }
        self.unanswered.give_back().await;
        self.reviews.give_back().await;
    }

    /// One batch: step for step, journalled together, then acted on, then acked.
    async fn take_in(&mut self, first: Happening) -> Result<(), ServeError> {
        let mut steps = Vec::new();
        let mut questions = Vec::new();
        self.happened(first, &mut steps, &mut questions);
        for _ in 1..BATCH {
            let Ok(next) = self.happenings.try_recv() else { break };
            self.happened(next, &mut steps, &mut questions);
        }
        if let Some(leader) = self.deposed_by.take() {
            return Err(ServeError::LeaseLost { leader });
        }
        self.commit(steps).await?;
        for question in questions {
            self.answer(question).await?;
        }
        Ok(())
    }

    fn happened(&mut self, happening: Happening, steps: &mut Vec<Step>, questions: &mut Vec<Question>) {
        let mut inputs = Vec::new();
        match happening {
            Happening::Delivered(deliveries) => {
                hit(Point::AfterDelivery);
                return self.delivered(deliveries, Message::Announcement, steps);
            }
            Happening::Reviewed(deliveries) => return self.delivered(deliveries, Message::Review, steps),
            Happening::Reported(reported) => {
                hit(Point::BeforeReportTaken);
                let (report, ack) = *reported;
                self.hands.run_ended(&report.run, &report.outcome);
                self.reports.push(ack);
                inputs.push(Input::RunEnded(report));
            }
            Happening::Pinned(target, found, Round { requests, meetings, unread }) => {
                self.hands.pinned(&target, found.as_ref().err());
                // Before their heads are in custody, so that `queued` tells it.
                if !requests.is_empty() {
                    inputs.push(Input::DefinitionsRead { target, requests, meetings, unread });
                }
                inputs.push(match found {
                    Ok(found) => Input::Inspected(found),
                    Err(why) => Input::RemoteSilent { why: why.to_string() },
                });
            }
            Happening::Assembled(target, merges) => {
                self.hands.assembled(&target, merges.as_ref().err());
                if let Ok(merges) = merges {
                    inputs.push(Input::Assembled { target, merges });
                }
            }
            Happening::RolledUp(target, base, top, made) => {
                self.hands.rolled_up(&target, made.as_ref().err());
                if let Ok(commit) = made {
                    inputs.push(Input::RolledUp { target, base, top, commit });
                }
            }
            Happening::Remote(target, report) => return steps.push(self.remote_report(target, report)),
            Happening::Compared(target, found) => {
                self.hands.compared(&target, found.as_ref().err());
                if let Ok(Comparison { tip, requests, conflicts, with_tip }) = found {
                    inputs.push(Input::Compared { target, tip, requests, conflicts, with_tip });
                }
            }
            Happening::DefinitionsRead(target, Round { requests, meetings, unread }) => {
                self.hands.definitions_read(&target);
                inputs.push(Input::DefinitionsRead { target, requests, meetings, unread });
            }
            Happening::JobsGone(gone) => self.hands.jobs_gone(gone),
            Happening::Asked(question) => questions.push(question),
            Happening::Lacking(Lacking { heads, candidates }) => {
                inputs.push(Input::Lacking { heads, candidates });
            }
            Happening::Slots(elsewhere) => {
                self.slots_elsewhere = elsewhere;
                inputs.push(self.policy_changed());
            }
            Happening::Runners(offers) => inputs.push(Input::Runners(offers)),
            Happening::Reloaded(rules) => {
                self.rules = Rules::clone(&rules);
                inputs.push(self.policy_changed());
                self.hands.serve_targets(&self.queue, &self.policy);
            }
            Happening::LeaseLost(leader) => self.deposed_by = Some(leader),
        }
        let now = clock::now();
        steps.extend(inputs.into_iter().map(|input| self.queue.step(now, &self.policy, input)));
    }

    fn policy_changed(&mut self) -> Input {
        self.policy = self.rules.at(self.slots.saturating_add(self.slots_elsewhere));
        Input::PolicyChanged
    }

    /// Messages are in hand while they are looked at; those that a process may have died of are looked at
    /// alone.
    fn delivered(&mut self, deliveries: Vec<Delivery>, on: fn(IntakeSeq) -> Message, steps: &mut Vec<Step>) {
        let (suspects, plain): (Vec<_>, Vec<_>) =
            deliveries.into_iter().partition(|d| self.hands.in_hand.suspects_message(on(d.seq)));
        let groups = std::iter::once(plain).chain(suspects.into_iter().map(|d| vec![d]));
        for group in groups.filter(|g| !g.is_empty()) {
            let taken: Vec<Message> = group.iter().map(|d| on(d.seq)).collect();
            self.hands.in_hand.take_messages(&taken);
            for delivery in group {
                let taken = on(delivery.seq);
                let input = input(&delivery, taken, self.hands.in_hand.condemns_message(taken));
                match taken {
                    Message::Announcement(_) => self.unanswered.hold(delivery),
                    Message::Review(_) => self.reviews.hold(delivery),
                }
                steps.push(self.queue.step(clock::now(), &self.policy, input));
            }
        }
    }

    /// Lets the watchdog look whether something should have ended by now.
    async fn watch(&mut self) -> Result<(), ServeError> {
        let now = clock::now();
        let awake = self.wakefulness.since(now, Instant::now());
        let step = self.queue.step(now, &self.policy, Input::Tick { awake });
        if !step.entry.facts.is_empty() {
            self.commit(vec![step]).await?;
        }
        Ok(())
    }

    fn remote_report(&mut self, target: BranchName, report: RemoteReport) -> Step {
        let at = target.clone();
        let (input, around) = match report {
            RemoteReport::Looked { known, found, around } => {
                self.hands.looked(&target, found.as_ref().err());
                let input = match found {
                    Ok(sighting) => {
                        let project = project(&self.mirror, &sighting);
                        Input::Seen { target, known, sighting, project }
                    }
                    Err(why) => Input::RemoteSilent { why: why.to_string() },
                };
                (input, around)
            }
            RemoteReport::Pushed { to, outcome, around } => {
                self.hands.pushed(&target, matches!(outcome, LandOutcome::Unknown { .. }));
                let project = seen(&outcome).map_or(Ok(Project::default()), |s| project(&self.mirror, s));
                (Input::LandEnded { target, to, outcome, project }, around)
            }
        };
        let mut step = self.queue.step(clock::now(), &self.policy, input);
        self.tell_of_moves_around(&at, around, &mut step);
        step
    }

    /// Who is to be told that somebody moved `target` around the queue. What a look finds together with
    /// landings of ours has been told with them.
    fn tell_of_moves_around(&self, target: &BranchName, around: Vec<String>, step: &mut Step) {
        let is_news = step.entry.facts.iter().any(|f| matches!(f, Fact::TargetSeen { .. }));
        if let (true, true, Some(tip)) = (is_news, !around.is_empty(), self.queue.tip(target)) {
            let moved = Moved { landed: Vec::new(), paths: around.into_iter().collect() };
            step.told.extend(self.queue.base_moved(step.entry.at, target, tip, &moved));
        }
    }

    /// Append, then act, then ack. A report that says nothing new is acked only after an empty record: who was
    /// deposed in its sleep finds that out here, and the report stays for whoever knows its run.
    async fn commit(&mut self, mut steps: Vec<Step>) -> Result<(), ServeError> {
        let told: Vec<BaseMoved> = steps.iter_mut().flat_map(|s| std::mem::take(&mut s.told)).collect();
        let mut packed = Packed::new(steps);
        if packed.records.is_empty() && !self.reports.is_empty() {
            packed.records.push(vec![fence()]);
        }
        self.hands.in_hand.take_messages(&[]);
        let mut sequences = Vec::with_capacity(packed.records.len());
        for record in &packed.records {
            hit(Point::BeforeJournalAppend);
            sequences.push(append(&mut self.journal, record).await?);
            hit(Point::AfterJournalAppend);
        }
        let mut ended = Vec::new();
        for fact in packed.records.iter().flatten().flat_map(|e| &e.facts) {
            crate::telemetry::tell(fact);
            self.submissions.look_at(fact, &self.queue, &self.policy);
            match fact {
                Fact::Refused { intake, refusal, .. } => {
                    self.unanswered.terminate(*intake, refusal.message.clone());
                }
                Fact::ReviewRefused { intake, refusal, .. } => {
                    self.reviews.terminate(*intake, refusal.message.clone());
                }
                Fact::Landed { request, .. }
                | Fact::Failed { request, .. }
                | Fact::Withdrawn { request, .. }
                | Fact::Superseded { request, .. }
                | Fact::Repeated { request, .. } => ended.push(*request),
                _ => {}
            }
        }
        self.facts_since_snapshot += packed.facts();
        self.outbox.send(packed.events(&sequences)).await;
        self.outbox.tell(told);
        self.hands.release(ended);
        let queue = &self.queue;
        self.unanswered.ack_answered(|seq| queue.is_answered(seq));
        self.reviews.ack_answered(|seq| queue.is_review_answered(seq));
        for ack in self.reports.drain(..) {
            hit(Point::AfterReportTaken);
            tokio::spawn(async move {
                if let Err(why) = ack.ack().await {
                    tracing::debug!(%why, "a report's ack was lost: it comes again as late news");
                }
                hit(Point::AfterReportAck);
            });
        }
        self.snapshot().await;
        Ok(())
    }

    /// Writes the state down now and then, so that the journal stays short. Only what is published
    /// may go: events are found again from the facts.
    async fn snapshot(&mut self) {
        if self.facts_since_snapshot < FACTS_PER_SNAPSHOT {
            return;
        }
        self.facts_since_snapshot = 0;
        if !self.outbox.is_empty_within(Duration::from_secs(5)).await {
            tracing::warn!("no snapshot this time: events are waiting for NATS");
            return;
        }
        let seq = self.journal.last();
        hit(Point::BeforeSnapshotStore);
        let stored = match self.queue.to_snapshot() {
            Ok(bytes) => self.journal.store_snapshot(seq, &bytes).await.map_err(|e| e.to_string()),
            Err(why) => Err(why.to_string()),
        };
        match stored {
            Ok(()) => tracing::info!(seq, "snapshot taken, older journal records purged"),
            Err(why) => tracing::warn!(%why, "no snapshot this time; the journal keeps everything"),
        }
    }

    async fn answer(&mut self, question: Question) -> Result<(), ServeError> {
        let status = || self.status();
        let runners = |queue: QueueReply| QueueReply { runners: self.runners.views(), ..queue };
        match answer(question, &self.queue, &self.policy, runners, status) {
            None => {}
            Some(Question::Outcome(seq, reply)) => self.submissions.wait(seq, reply),
            Some(Question::Withdraw { what, by, reply }) => match withdrawal(&self.queue, &what, &by) {
                Err(why) => drop(reply.send(Err(why))),
                Ok((request, input)) => {
                    let step = self.queue.step(clock::now(), &self.policy, input);
                    let happened = !step.entry.facts.is_empty();
                    self.commit(vec![step]).await?;
                    let outcome = if happened {
                        Ok(yardmaster_protocol::WithdrawReply { request })
                    } else {
                        Err(too_late(request))
                    };
                    drop(reply.send(outcome));
                }
            },
            Some(Question::Pause { asked, pause, reply }) => match pausing(&self.policy, asked, pause) {
                Err(why) => drop(reply.send(Err(why))),
                Ok((target, input)) => {
                    let changed = self.decide(input).await?;
                    let paused = self.queue.is_paused(&target);
                    drop(reply.send(Ok(yardmaster_protocol::PauseReply { target, paused, changed })));
                }
            },
            Some(Question::Promote(asked, reply)) => match promotion(&self.queue, &asked) {
                Err(why) => drop(reply.send(Err(why))),
                Ok((requests, input)) => {
                    let line = self.queue.to_promote(&requests).unwrap_or_default();
                    let changed = self.decide(input).await?;
                    drop(reply.send(Ok(promoted(&self.queue, &self.policy, line, changed))));
                }
            },
            Some(Question::Freeze { asked, freeze, reply }) => match freezing(&self.policy, asked, freeze) {
                Err(why) => drop(reply.send(Err(why))),
                Ok((target, input)) => {
                    let changed = self.decide(input).await?;
                    let frozen = self.queue.is_frozen(&target);
                    drop(reply.send(Ok(yardmaster_protocol::FreezeReply { target, frozen, changed })));
                }
            },
            Some(_) => {}
        }
        Ok(())
    }

    /// Takes one input in; whether it was news.
    async fn decide(&mut self, input: Input) -> Result<bool, ServeError> {
        let step = self.queue.step(clock::now(), &self.policy, input);
        let is_news = !step.entry.facts.is_empty();
        self.commit(vec![step]).await?;
        Ok(is_news)
    }

    fn status(&self) -> StatusReply {
        let (landed, failed) = self.queue.totals();
        StatusReply {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.started.elapsed().as_secs(),
            remote: self.remote.clone(),
            slots: self.slots,
            disk: self.runners.disk(),
            runner_slots: self.runners.slots(),
            runners: self.runners.views(),
            targets: self.queue.target_views(&self.policy),
            journal: self.journal.last(),
            landed,
            failed,
            merge_disagreements: self.mirror.disagreements(),
        }
    }
}

fn input(delivery: &Delivery, message: Message, poison: bool) -> Input {
    let (intake, subject, payload) = (delivery.seq, delivery.subject.clone(), delivery.payload.to_vec());
    match message {
        Message::Announcement(_) if poison => Input::Poison { intake, subject, payload },
        Message::Review(_) if poison => Input::PoisonReview { intake, subject, payload },
        Message::Announcement(_) => {
            taint("message", &payload);
            let traceparent = delivery.traceparent.clone();
            Input::Message { intake, subject, published: delivery.published, traceparent, payload }
        }
        Message::Review(_) => {
            taint("review", &payload);
            Input::Review { intake, subject, payload }
        }
    }
}

fn too_late(request: RequestId) -> yardmaster_protocol::ErrorBody {
    yardmaster_protocol::ErrorBody {
        code: yardmaster_protocol::ServiceErrorCode::Conflict,
        message: format!("{request} is being pushed at this moment: it is too late to withdraw it"),
        retryable: false,
        next: vec![format!("yardmaster wait {request}")],
    }
}

/// Tries until the record is in the journal: nothing may be done about facts that are not.
pub(crate) async fn append(
    journal: &mut Journal,
    record: &[yardmaster_protocol::Entry],
) -> Result<u64, AppendError> {
    loop {
        match journal.append(record).await {
            Err(AppendError::Away { why }) => {
                tracing::warn!(%why, "the journal waits for NATS; nothing is decided until it is back");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            outcome => return outcome,
        }
    }
}
