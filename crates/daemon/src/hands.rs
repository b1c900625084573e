use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use yardmaster_bus::{Bus, JobTicket};
use yardmaster_failpoint::{Point, hit};
use yardmaster_git::{GitError, Mirror};
use yardmaster_protocol::{
    BranchName, CandidateSpec, CommitId, GateJob, Landing, RequestId, Rollup, RunId, RunOutcome,
};
use yardmaster_queue::{Definitions, Order, PinAsk, Policy, Queue};

use crate::api::Round;
use crate::caught;
use crate::clock;
use crate::compare::{self, Matrices, Question};
use crate::happening::Happening;
use crate::in_hand::InHand;
use crate::read_definitions::Readings;
use crate::remote::{self, RemoteOrder};
use crate::vanished::Vanished;

/// Announcements that come within this time of one another are fetched and ordered together,
const GATHER: Duration = Duration::from_millis(25);
/// for as long as this after the first: a server that syncs every message spreads a burst out.
const LONGEST_GATHER: Duration = Duration::from_millis(250);
/// So many are enough to start at once.
const GATHERED: usize = 100;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// After a comparison the next one waits so many times as long as that took.
const COMPARE_PAUSE: u32 = 4;
const NEVER: Duration = Duration::from_secs(3_600);

/// What is in progress, held against the plan: what is missing is started, what is gone is stopped.
pub(crate) struct Hands {
    bus: Bus,
    mirror: Arc<Mirror>,
    sender: mpsc::Sender<Happening>,
    pub(crate) in_hand: InHand,
    /// Job messages of an earlier life have another epoch.
    epoch: String,
    remotes: BTreeMap<BranchName, mpsc::Sender<RemoteOrder>>,
    looking: BTreeSet<BranchName>,
    pushing: BTreeSet<BranchName>,
    pinning: BTreeSet<BranchName>,
    assembling: BTreeSet<BranchName>,
    rolling: BTreeSet<BranchName>,
    comparing: BTreeMap<BranchName, Instant>,
    matrices: Arc<Matrices>,
    /// Comparing takes a part of the time only, and waits after trouble; it holds nothing else up.
    compare_again: Option<Instant>,
    readings: Readings,
    reading: BTreeMap<BranchName, Instant>,
    /// So does reading source code.
    read_again: Option<Instant>,
    gathering: BTreeMap<BranchName, Gathering>,
    jobs: BTreeMap<RunId, JobTicket>,
    vanished: Vanished,
    /// After trouble with the remote or the mirror.
    pause: Option<(Instant, Duration)>,
    wake: Option<Instant>,
}

/// Announcements that are coming in.
struct Gathering {
    asks: usize,
    until: Instant,
    latest: Instant,
}

impl Hands {
    pub(crate) fn new(
        bus: &Bus,
        mirror: &Arc<Mirror>,
        targets: BTreeSet<BranchName>,
        in_hand: InHand,
        matrices: Arc<Matrices>,
        sender: mpsc::Sender<Happening>,
    ) -> Hands {
        let remotes = targets
            .into_iter()
            .map(|t| (t.clone(), remote::start(Arc::clone(mirror), t, sender.clone())))
            .collect();
        Hands {
            bus: bus.clone(),
            mirror: Arc::clone(mirror),
            sender,
            in_hand,
            epoch: format!("{:x}-{:x}", crate::clock::now().0, std::process::id()),
            remotes,
            looking: BTreeSet::new(),
            pushing: BTreeSet::new(),
            pinning: BTreeSet::new(),
            assembling: BTreeSet::new(),
            rolling: BTreeSet::new(),
            comparing: BTreeMap::new(),
            matrices,
            compare_again: None,
            readings: Readings::default(),
            reading: BTreeMap::new(),
            read_again: None,
            gathering: BTreeMap::new(),
            jobs: BTreeMap::new(),
            vanished: Vanished::default(),
            pause: None,
            wake: None,
        }
    }

    /// When to look at the plan again even if nothing happens.
    pub(crate) fn next_wake(&self) -> Instant {
        self.wake.unwrap_or_else(|| Instant::now() + NEVER)
    }

    pub(crate) fn is_pushing(&self) -> bool {
        !self.pushing.is_empty()
    }

    /// Holds the plan against what is in progress.
    pub(crate) async fn reconcile(&mut self, queue: &Queue, policy: &Policy) {
        self.wake = None;
        let now = Instant::now();
        let paused = self.pause.is_some_and(|(until, _)| until > now);
        if let Some((until, _)) = self.pause.filter(|_| paused) {
            self.wake_at(until);
        }
        let mut wanted: BTreeSet<RunId> = BTreeSet::new();
        let mut missing: Vec<GateJob> = Vec::new();
        let mut pins: BTreeSet<BranchName> = BTreeSet::new();
        for order in queue.plan(policy).orders {
            match order {
                Order::Pin { target, tip, asks } => {
                    pins.insert(target.clone());
                    if !paused {
                        let heads = (policy.definitions != Definitions::Off).then(|| queue.heads(&target));
                        self.pin(target, tip, asks, heads, now);
                    }
                }
                Order::Assemble { target, base, specs } if !paused => self.assemble(target, base, specs),
                Order::Land { target, landing } if !paused => self.land(target, landing),
                Order::RollUp { target, rollup } if !paused => self.roll_up(target, rollup),
                Order::Assemble { .. } | Order::RollUp { .. } | Order::Land { .. } => {}
                Order::Compare { target, tip, requests } => self.compare(queue, target, tip, requests, now),
                Order::ReadDefinitions { target, tip, requests } => {
                    self.read_definitions(queue, target, tip, requests, now);
                }
                Order::Test(job) => {
                    wanted.insert(job.run.clone());
                    if !self.jobs.contains_key(&job.run) {
                        missing.push(job);
                    }
                }
            }
        }
        if let Some(at) = queue.look_again() {
            self.wake_at(now + Duration::from_millis(at.since(clock::now())));
        }
        self.gathering.retain(|target, _| pins.contains(target));
        self.vanished.keep(&wanted);
        self.retract_all_but(&wanted);
        self.ask_for(missing).await;
    }

    fn wake_at(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// `heads` are those that definitions are held against.
    fn pin(
        &mut self,
        target: BranchName,
        tip: CommitId,
        asks: Vec<PinAsk>,
        heads: Option<Vec<(RequestId, CommitId)>>,
        now: Instant,
    ) {
        if self.pinning.contains(&target) {
            return;
        }
        let first = Gathering { asks: 0, until: now, latest: now + LONGEST_GATHER };
        let gathering = self.gathering.entry(target.clone()).or_insert(first);
        if asks.len() > gathering.asks {
            gathering.asks = asks.len();
            gathering.until = (now + GATHER).min(gathering.latest);
        }
        let until = gathering.until;
        if now < until && asks.len() < GATHERED {
            self.wake_at(until);
            return;
        }
        self.gathering.remove(&target);
        self.pinning.insert(target.clone());
        let asks: Vec<yardmaster_git::PinAsk> = asks
            .into_iter()
            .map(|a| yardmaster_git::PinAsk { request: a.request, branch: a.branch, commit: a.commit })
            .collect();
        let asks = self.without_suspects(asks);
        self.in_hand.take_pins(&target, asks.iter().map(|ask| ask.request).collect());
        let mirror = Arc::clone(&self.mirror);
        let reading = heads.map(|heads| (self.readings.of(&target), heads));
        self.in_background(move || {
            let found = caught::pin(&mirror, &asks, tip);
            let read = match (reading, &found) {
                (Some((reading, heads)), Ok(found)) => reading.of_newcomers(&mirror, tip, heads, found),
                _ => Round::default(),
            };
            Happening::Pinned(target, found, read)
        });
    }

    /// What a process may have died of is served when nothing else is left, one at a time, and first what
    /// was in hand at the fewest deaths: somebody who kills daemons at random soon misses the innocent.
    fn without_suspects(&self, asks: Vec<yardmaster_git::PinAsk>) -> Vec<yardmaster_git::PinAsk> {
        let deaths = |ask: &yardmaster_git::PinAsk| self.in_hand.deaths_of_pin(ask.request);
        let (suspects, plain): (Vec<_>, Vec<_>) = asks.into_iter().partition(|ask| deaths(ask).is_some());
        let next = suspects.into_iter().min_by_key(deaths);
        if plain.is_empty() { next.into_iter().collect() } else { plain }
    }

    fn assemble(&mut self, target: BranchName, base: CommitId, specs: Vec<CandidateSpec>) {
        if self.assembling.insert(target.clone()) {
            let mirror = Arc::clone(&self.mirror);
            self.in_background(move || {
                hit(Point::BeforeAssemble);
                let assembled = caught::assemble(&mirror, base, &specs);
                hit(Point::AfterAssemble);
                Happening::Assembled(target, assembled)
            });
        }
    }

    fn roll_up(&mut self, target: BranchName, rollup: Rollup) {
        if self.rolling.insert(target.clone()) {
            let mirror = Arc::clone(&self.mirror);
            self.in_background(move || {
                let made = mirror.roll_up(&rollup);
                Happening::RolledUp(target, rollup.base, rollup.top, made)
            });
        }
    }

    fn compare(
        &mut self,
        queue: &Queue,
        target: BranchName,
        tip: CommitId,
        new: Vec<RequestId>,
        now: Instant,
    ) {
        if let Some(again) = self.compare_again.filter(|again| *again > now) {
            self.wake_at(again);
            return;
        }
        if !self.comparing.contains_key(&target) {
            self.comparing.insert(target.clone(), now);
            let (mirror, matrix) = (Arc::clone(&self.mirror), self.matrices.of(&target));
            let question = Question { tip, new, heads: queue.heads(&target) };
            self.in_background(move || {
                let found = compare::compare(&mirror, &matrix, question);
                Happening::Compared(target, found)
            });
        }
    }

    fn read_definitions(
        &mut self,
        queue: &Queue,
        target: BranchName,
        tip: CommitId,
        wanted: Vec<RequestId>,
        now: Instant,
    ) {
        if let Some(again) = self.read_again.filter(|again| *again > now) {
            self.wake_at(again);
            return;
        }
        if !self.reading.contains_key(&target) {
            self.reading.insert(target.clone(), now);
            let (mirror, reading) = (Arc::clone(&self.mirror), self.readings.of(&target));
            let heads = queue.heads(&target);
            self.in_background(move || {
                Happening::DefinitionsRead(target, reading.of_waiting(&mirror, tip, &heads, &wanted))
            });
        }
    }

    pub(crate) fn definitions_read(&mut self, target: &BranchName) {
        let now = Instant::now();
        let took = self.reading.remove(target).map_or(Duration::ZERO, |since| now - since);
        self.read_again = Some(now + (took * COMPARE_PAUSE).min(LONGEST_PAUSE));
    }

    fn land(&mut self, target: BranchName, landing: Landing) {
        if self.pushing.contains(&target) {
            return;
        }
        let hand = self.remotes.get(&target);
        if hand.is_some_and(|hand| hand.try_send(RemoteOrder::Land(landing)).is_ok()) {
            self.pushing.insert(target);
        }
    }

    /// Starts a hand at each target that has none, and looks there. Who works at one that is not served any
    /// more stays until the end: a push may be on its way.
    pub(crate) fn serve_targets(&mut self, queue: &Queue, policy: &Policy) {
        for target in &policy.targets {
            let start = || remote::start(Arc::clone(&self.mirror), target.clone(), self.sender.clone());
            self.remotes.entry(target.clone()).or_insert_with(start);
        }
        self.look_everywhere(queue);
    }

    /// Looks at every target that nobody looks at or pushes to.
    pub(crate) fn look_everywhere(&mut self, queue: &Queue) {
        for (target, hand) in &self.remotes {
            if self.looking.contains(target) || self.pushing.contains(target) {
                continue;
            }
            let order = RemoteOrder::Look { known: queue.tip(target), asked: queue.landing_commits(target) };
            if hand.try_send(order).is_ok() {
                self.looking.insert(target.clone());
            }
        }
    }

    /// Looks whether the jobs that were asked for are still in the stream: somebody may have purged it.
    pub(crate) fn look_for_jobs(&self) {
        if self.jobs.is_empty() {
            return;
        }
        let (bus, sender) = (self.bus.clone(), self.sender.clone());
        let tickets: Vec<JobTicket> = self.jobs.values().cloned().collect();
        tokio::spawn(async move {
            let mut gone = Vec::new();
            for ticket in tickets {
                if bus.has_job(&ticket).await == Some(false) {
                    gone.push(ticket.run);
                }
            }
            let _ = sender.send(Happening::JobsGone(gone)).await;
        });
    }

    pub(crate) fn jobs_gone(&mut self, gone: Vec<RunId>) {
        let gone = gone.into_iter().filter(|run| self.jobs.contains_key(run)).collect();
        for run in self.vanished.ask_again(gone, Instant::now()) {
            tracing::warn!(%run, "a job vanished from the stream; it is asked for again");
            self.jobs.remove(&run);
        }
    }

    fn in_background(&self, work: impl FnOnce() -> Happening + Send + 'static) {
        let sender = self.sender.clone();
        tokio::spawn(async move {
            if let Ok(happening) = spawn_blocking(work).await {
                let _ = sender.send(happening).await;
            }
        });
    }

    async fn ask_for(&mut self, missing: Vec<GateJob>) {
        for job in missing {
            hit(Point::BeforeJobPublish);
            match self.bus.publish_job(&job, &self.epoch).await {
                Ok(ticket) => {
                    hit(Point::AfterJobPublish);
                    self.jobs.insert(job.run, ticket);
                }
                Err(why) => {
                    tracing::warn!(%why, run = %job.run, "a job waits for NATS");
                    self.wake_at(Instant::now() + FIRST_PAUSE);
                    return;
                }
            }
        }
    }

    fn retract_all_but(&mut self, wanted: &BTreeSet<RunId>) {
        let gone: Vec<RunId> = self.jobs.keys().filter(|run| !wanted.contains(*run)).cloned().collect();
        for run in gone {
            if let Some(ticket) = self.jobs.remove(&run) {
                self.retract(ticket);
            }
        }
    }

    /// Heads that need no custody any more.
    pub(crate) fn release(&self, ended: Vec<RequestId>) {
        if ended.is_empty() {
            return;
        }
        let mirror = Arc::clone(&self.mirror);
        tokio::spawn(async move {
            let released = spawn_blocking(move || {
                hit(Point::BeforeUnpin);
                mirror.unpin(&ended)?;
                hit(Point::AfterUnpin);
                Ok::<_, GitError>(())
            })
            .await;
            if let Ok(Err(why)) = released {
                tracing::warn!(%why, "some pins stay until the next start");
            }
        });
    }

    /// Packs the mirror, in the background.
    pub(crate) fn tidy(&self) {
        let mirror = Arc::clone(&self.mirror);
        tokio::spawn(async move {
            if let Ok(Err(why)) = spawn_blocking(move || mirror.tidy()).await {
                tracing::warn!(%why, "the mirror was not packed");
            }
        });
    }

    /// A run that was cut short may have been asked for twice, when its job had vanished: the second
    /// asking is taken back.
    pub(crate) fn run_ended(&mut self, run: &RunId, outcome: &RunOutcome) {
        let ticket = self.jobs.remove(run);
        if let (Some(ticket), RunOutcome::Cancelled | RunOutcome::Lost { .. }) = (ticket, outcome) {
            self.retract(ticket);
        }
    }

    fn retract(&self, ticket: JobTicket) {
        let bus = self.bus.clone();
        tokio::spawn(async move {
            hit(Point::BeforeJobRetract);
            if let Err(why) = bus.retract_job(&ticket).await {
                tracing::warn!(%why, run = %ticket.run, "a run could not be called off; its report will be late news");
            }
            hit(Point::AfterJobRetract);
        });
    }

    pub(crate) fn pinned(&mut self, target: &BranchName, trouble: Option<&GitError>) {
        self.pinning.remove(target);
        self.in_hand.take_pins(target, Vec::new());
        self.after("fetch announced branches", trouble);
    }

    pub(crate) fn assembled(&mut self, target: &BranchName, trouble: Option<&GitError>) {
        self.assembling.remove(target);
        self.after("assemble", trouble);
    }

    pub(crate) fn rolled_up(&mut self, target: &BranchName, trouble: Option<&GitError>) {
        self.rolling.remove(target);
        self.after("make the merge commit of a batch", trouble);
    }

    pub(crate) fn compared(&mut self, target: &BranchName, trouble: Option<&GitError>) {
        let now = Instant::now();
        let took = self.comparing.remove(target).map_or(Duration::ZERO, |since| now - since);
        let pause = match trouble {
            None => (took * COMPARE_PAUSE).min(LONGEST_PAUSE),
            Some(why) => {
                tracing::warn!(%why, "failed to compare what waits; it is tried again");
                LONGEST_PAUSE
            }
        };
        self.compare_again = Some(now + pause);
    }

    pub(crate) fn looked(&mut self, target: &BranchName, trouble: Option<&GitError>) {
        self.looking.remove(target);
        self.after("look at the target", trouble);
    }

    pub(crate) fn pushed(&mut self, target: &BranchName, unknown: bool) {
        self.pushing.remove(target);
        if unknown { self.slow_down() } else { self.pause = None }
    }

    fn after(&mut self, what: &str, trouble: Option<&GitError>) {
        match trouble {
            None => self.pause = None,
            Some(why) => {
                tracing::warn!(%why, "failed to {what}; it is tried again");
                self.slow_down();
            }
        }
    }

    fn slow_down(&mut self) {
        let last = self.pause.map_or(FIRST_PAUSE / 2, |(_, pause)| pause);
        let pause = (last * 2).min(LONGEST_PAUSE);
        self.pause = Some((Instant::now() + pause, pause));
    }
}
