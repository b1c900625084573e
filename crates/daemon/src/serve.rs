use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use yardmaster_bus::server::{self, Embedded, EmbeddedOptions};
use yardmaster_bus::{Bus, BusOptions, Journal, Leadership};
use yardmaster_failpoint::{Point, hit};
use yardmaster_git::{CrossCheck, GitError, GitOptions, Mirror};
use yardmaster_protocol::{BranchName, Entry, Inspection, JournalPosition, RequestId, Sighting};
use yardmaster_queue::{GateRule, Queue};

use crate::advisor::Advisor;
use crate::api::Round;
use crate::candidates::Candidates;
use crate::compare::Matrices;
use crate::engine::{Engine, Start, append};
use crate::happening::{HAPPENINGS_WAITING, Happening};
use crate::in_hand::{InHand, Message};
use crate::logs::Logs;
use crate::outbox::{Outbox, Outgoing};
use crate::reload::Reload;
use crate::remote::RemoteReport;
use crate::runners::Runners;
use crate::service::Helpers;
use crate::settings::{CrossCheckSetting, Settings};
use crate::shutdown::Shutdown;
use crate::state_dir::StateDir;
use crate::{ServeError, clock, crew, custody, intake, logs, remote, service, standby};

/// Feeders may take so long to give back what they hold, after they were asked to stop;
const LAST_FEEDS: Duration = Duration::from_secs(1);
/// runs so long to end.
const LAST_RUNS: Duration = Duration::from_secs(7);

/// Servers that have lost one of them may take so long to agree on who leads a stream.
const ELECTION: Duration = Duration::from_secs(20);

/// What a serving daemon tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Where agents publish.
    pub nats_url: String,
    /// Where it lands.
    pub remote: String,
    /// The branches that it lands on.
    pub targets: Vec<BranchName>,
    /// Runs at the same time.
    pub slots: u32,
}

/// How far a daemon has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Somebody else serves; who, for people.
    StandingBy(String),
    /// Announcements are consumed.
    Ready(Ready),
}

/// Serves until `shutdown`, whenever nobody else does: one daemon leads, the others stand by. `tell` is
/// called at each change.
///
/// # Errors
/// Whatever keeps it from serving, with what to do about it.
pub async fn serve(
    settings: Settings,
    shutdown: Shutdown,
    reload: Reload,
    mut tell: impl FnMut(&Stage) + Send,
) -> Result<(), ServeError> {
    let Some(state) = standby::state_dir(&settings, &shutdown, &mut tell).await? else { return Ok(()) };
    let embedded = match settings.nats.url {
        Some(_) => None,
        None => Some(start_server(&state.nats()).await?),
    };
    let url = embedded
        .as_ref()
        .map_or_else(|| settings.nats.url.clone().unwrap_or_default(), |e| e.url().to_owned());
    if embedded.is_some() && settings.announce_url {
        state.publish_url(&url);
    }
    let served = serve_on(&settings, &state, &url, &shutdown, &reload, &mut tell).await;
    if let Some(server) = embedded {
        state.retract_url(&url);
        server.stop().await;
    }
    served
}

async fn start_server(store: &Path) -> Result<Embedded, ServeError> {
    let binary = spawn_blocking(|| server::find(None, &[]))
        .await
        .map_err(|e| server::ServerError::NotFound { notes: format!(" ({e})") })??;
    tracing::info!(version = %binary.version, path = %binary.path.display(), "starting an embedded nats-server");
    Ok(Embedded::start(&binary, store, EmbeddedOptions::default()).await?)
}

/// Leads and stands by in turns. Each time with a connection of its own: nothing that was known of the
/// streams counts after somebody else has led.
async fn serve_on(
    settings: &Settings,
    state: &StateDir,
    url: &str,
    shutdown: &Shutdown,
    reload: &Reload,
    tell: &mut (impl FnMut(&Stage) + Send),
) -> Result<(), ServeError> {
    let mirror = open_mirror(settings, state).await?;
    loop {
        let bus = Bus::connect(bus_options(settings, url)).await?;
        bus.ensure_streams().await?;
        tell_durability(settings);
        let waited = standby::until_leader(settings, state, &bus, &mirror, shutdown, tell).await?;
        let Some(leadership) = waited else { return Ok(()) };
        let settings = reload.applied_to(settings);
        let place = Place { settings: &settings, state, url, mirror: &mirror, bus: &bus, reload };
        let served = place.lead(&leadership, shutdown, tell).await;
        leadership.release().await;
        let _ = bus.flush().await;
        match served {
            Err(why) if why.is_deposed() => tracing::warn!(%why, "steps down and stands by"),
            served => return served,
        }
        if shutdown.is_asked() {
            return Ok(());
        }
    }
}

/// What a confirmed message outlasts, as far as anybody can know from here: a server does not tell its clients.
fn tell_durability(settings: &Settings) {
    let replicas = settings.nats.replicas;
    match settings.nats.url {
        None => {
            tracing::info!("durability: the embedded nats-server syncs every message before it confirms it");
        }
        Some(_) if replicas > 1 => tracing::info!(
            replicas,
            "durability: a confirmed message is on most of the servers; set `sync_interval: always` in each one's \
             `jetstream` block unless they lose power separately"
        ),
        Some(_) => tracing::warn!(
            "durability: whether the nats-server syncs what it confirms cannot be seen from here; set \
             `sync_interval: always` in its `jetstream` block, or a power cut can take confirmed work with it"
        ),
    }
}

/// Where a leader works.
struct Place<'a> {
    settings: &'a Settings,
    state: &'a StateDir,
    url: &'a str,
    mirror: &'a Arc<Mirror>,
    bus: &'a Bus,
    reload: &'a Reload,
}

impl Place<'_> {
    /// Serves until `shutdown`, or until somebody else leads.
    async fn lead(
        &self,
        leadership: &Leadership,
        shutdown: &Shutdown,
        tell: &mut (impl FnMut(&Stage) + Send),
    ) -> Result<(), ServeError> {
        let Place { settings, state, mirror, bus, .. } = self;
        let mut journal = bus.journal().await?;
        let (queue, unpublished, facts_replayed) = recover(bus, &mut journal).await?;
        hit(Point::AfterReplay);
        let first_looks = first_look(settings, mirror, &queue).await?;
        state.claim_for(&settings.remote)?;
        let lacking = custody::take(mirror, &queue, &settings.policy, shutdown).await?;
        hit(Point::AfterPinSweep);
        depose_predecessor(&mut journal).await?;
        bus.purge_jobs().await?;
        hit(Point::AfterJobPurge);
        let (lanes, disk) = crew::open_lanes(settings, state)?;

        let (sender, happenings) = mpsc::channel(HAPPENINGS_WAITING);
        for look in first_looks {
            let _ = sender.send(look).await;
        }
        let in_hand = self.in_hand(&queue, &sender).await;
        if lacking != custody::Lacking::default() {
            let _ = sender.send(Happening::Lacking(lacking)).await;
        }
        let mut outbox = Outbox::start((*bus).clone());
        outbox.send(unpublished).await;
        let runners = Runners::new(settings, &disk);
        let matrices = Arc::new(Matrices::default());
        let start = Start {
            queue,
            rules: settings.rules(),
            journal,
            bus: (*bus).clone(),
            mirror: Arc::clone(mirror),
            poll: settings.poll,
            remote: settings.remote.clone(),
            slots: settings.slots,
            runners: runners.clone(),
            outbox,
            in_hand,
            matrices: Arc::clone(&matrices),
            facts_replayed,
        };
        let engine = Engine::new(start, sender.clone(), happenings);
        let calls = bus.serve(service::VERBS).await?;
        let helpers = self.helpers(&runners, &matrices);
        let life = shutdown.part();
        let lost = report_loss(leadership, &sender);
        let reloads = self.reload.feed(sender.clone());
        let counting = runners.count(sender.clone());
        let evicting = [logs::evict_now_and_then(bus), crew::keep(&disk)];
        let feeders = start_feeders(bus, &sender, calls, helpers, &life);
        let workers = crew::start(bus, lanes, &crew::labels(settings.labels.clone()), &life);
        drop(sender);
        tell(&Stage::Ready(self.ready()));
        let served = Box::pin(engine.run(&life)).await;
        life.ask();
        lost.abort();
        reloads.abort();
        counting.abort();
        evicting.iter().for_each(JoinHandle::abort);
        all_stopped(feeders, LAST_FEEDS).await;
        all_stopped(workers, LAST_RUNS).await;
        served
    }

    /// What daemons died of, without what is settled by now; pins that are given up are told as they were found.
    async fn in_hand(&self, queue: &Queue, sender: &mpsc::Sender<Happening>) -> InHand {
        let mut in_hand = InHand::open(self.state.path(), self.settings.poison_after);
        let arriving: BTreeMap<RequestId, BranchName> = queue.arriving();
        in_hand.forget(
            |message| match message {
                Message::Announcement(seq) => queue.is_answered(seq),
                Message::Review(seq) => queue.is_review_answered(seq),
            },
            |request| arriving.contains_key(&request),
        );
        for request in in_hand.condemned_pins() {
            if let Some(target) = arriving.get(&request).cloned() {
                let why = "the daemon died of it again and again".to_owned();
                let found = vec![(request, Inspection::Crashed { why })];
                let _ = sender.send(Happening::Pinned(target, Ok(found), Round::default())).await;
            }
        }
        in_hand
    }

    fn helpers(&self, runners: &Runners, matrices: &Arc<Matrices>) -> Helpers {
        let Place { state, mirror, bus, .. } = self;
        Helpers {
            logs: Logs::new(bus, runners, state),
            advisor: Advisor::new(mirror, matrices),
            runners: runners.clone(),
            candidates: Candidates::new(bus, mirror, state.packs()),
        }
    }

    fn ready(&self) -> Ready {
        Ready {
            nats_url: self.url.to_owned(),
            remote: self.settings.remote.clone(),
            targets: self.settings.policy.targets.iter().cloned().collect(),
            slots: self.settings.slots,
        }
    }
}

fn report_loss(leadership: &Leadership, sender: &mpsc::Sender<Happening>) -> JoinHandle<()> {
    let (lost, sender) = (leadership.lost(), sender.clone());
    tokio::spawn(async move {
        let leader = lost.await;
        let _ = sender.send(Happening::LeaseLost(leader.place)).await;
    })
}

/// Waits for the ends of tasks that were asked to stop, and ends what is left after `longest`.
async fn all_stopped(tasks: Vec<JoinHandle<()>>, longest: Duration) {
    let deadline = tokio::time::Instant::now() + longest;
    for mut task in tasks {
        if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
            task.abort();
        }
    }
}

fn start_feeders(
    bus: &Bus,
    sender: &mpsc::Sender<Happening>,
    calls: yardmaster_bus::ServiceRequests,
    helpers: Helpers,
    shutdown: &Shutdown,
) -> Vec<JoinHandle<()>> {
    let mut feeders = vec![service::start(bus, calls, sender.clone(), helpers, shutdown.clone())];
    feeders.extend(intake::start(bus, sender.clone(), shutdown.clone()));
    feeders
}

async fn open_mirror(settings: &Settings, state: &StateDir) -> Result<Arc<Mirror>, ServeError> {
    let options = GitOptions {
        cross_check: match settings.cross_check {
            CrossCheckSetting::All => CrossCheck::All,
            CrossCheckSetting::Sampled(n) => CrossCheck::Sampled(n),
            CrossCheckSetting::Off => CrossCheck::Off,
        },
        ssh_command: settings.ssh_command.clone(),
        guard: settings.refuse_takes_back,
        ..GitOptions::default()
    };
    let (dir, remote) = (state.mirror(), settings.remote.clone());
    let opened = spawn_blocking(move || Mirror::open(&dir, &remote, options)).await;
    Ok(Arc::new(blocking(opened, state.path())??))
}

pub(crate) fn blocking<T>(done: Result<T, tokio::task::JoinError>, path: &Path) -> Result<T, ServeError> {
    done.map_err(|e| ServeError::StateDir { path: path.to_owned(), why: e.to_string() })
}

fn bus_options(settings: &Settings, url: &str) -> BusOptions {
    BusOptions {
        url: url.to_owned(),
        name: settings.name.clone(),
        credentials: settings.nats.credentials.clone(),
        user: settings.nats.user.clone(),
        password: settings.nats.password.clone(),
        token: settings.nats.token.clone(),
        replicas: settings.nats.replicas,
        patience: if settings.nats.replicas > 1 { ELECTION } else { BusOptions::default().patience },
    }
}

/// The state from the journal, and the events that were never published.
async fn recover(bus: &Bus, journal: &mut Journal) -> Result<(Queue, Vec<Outgoing>, usize), ServeError> {
    let published = bus.last_published().await?;
    let (mut queue, after) = match journal.load_snapshot(None).await? {
        None => (Queue::new(), 0),
        Some(snapshot) => {
            let queue = Queue::from_snapshot(&snapshot.bytes)
                .map_err(|why| ServeError::Snapshot { seq: snapshot.seq, why: why.to_string() })?;
            (queue, snapshot.seq)
        }
    };
    let mut unpublished: Vec<Outgoing> = Vec::new();
    let mut facts = 0;
    journal
        .read(after, |record| {
            let mut start = 0;
            for entry in &record.entries {
                for projected in queue.replay(entry) {
                    let position = JournalPosition { record: record.seq, index: start + projected.index };
                    if published.is_none_or(|last| position > last) {
                        unpublished.push((position, projected.event, projected.traceparent));
                    }
                }
                start += u32::try_from(entry.facts.len()).unwrap_or(u32::MAX);
            }
            facts += start as usize;
        })
        .await?;
    tracing::info!(facts, pending = queue.pending(), unpublished = unpublished.len(), "the journal is read");
    Ok((queue, unpublished, facts))
}

/// Sees each target once, so that what cannot work is said before anything is consumed; what was seen
/// is what the engine begins with. A remote that is only silent is no reason not to start where it has
/// been seen before.
pub(crate) async fn first_look(
    settings: &Settings,
    mirror: &Arc<Mirror>,
    queue: &Queue,
) -> Result<Vec<Happening>, ServeError> {
    let mut looks = Vec::new();
    for target in queue.targets_at_work(&settings.policy) {
        let served = settings.policy.targets.contains(&target);
        let (known, asked) = (queue.tip(&target), queue.landing_commits(&target));
        let (at, of) = (Arc::clone(mirror), target.clone());
        let found = blocking(spawn_blocking(move || at.look(&of, known, &asked)).await, mirror.path())?;
        match found {
            Ok(sighting) => {
                if served {
                    check_gate(settings, mirror, &target, &sighting)?;
                }
                let report = RemoteReport::Looked { known, found: Ok(sighting), around: Vec::new() };
                looks.push(Happening::Remote(target, report));
            }
            Err(why @ GitError::Unreachable { .. }) if known.is_some() => {
                tracing::error!(%why, %target, "the remote does not answer: the queue is held until it does");
            }
            Err(why) if !served => {
                tracing::warn!(%why, %target, "how a push ended is not known, and the target cannot be seen");
            }
            Err(why) => return Err(why.into()),
        }
    }
    Ok(looks)
}

fn check_gate(
    settings: &Settings,
    mirror: &Mirror,
    target: &BranchName,
    sighting: &Sighting,
) -> Result<(), ServeError> {
    if settings.policy.gate != GateRule::FromTarget {
        return Ok(());
    }
    let why = match remote::project(mirror, sighting) {
        Ok(project) if project.gate.is_some() => return Ok(()),
        Ok(_) => match sighting.project_file {
            Some(_) => "its .yardmaster.toml has no [gate]".to_owned(),
            None => "it has no .yardmaster.toml".to_owned(),
        },
        Err(why) => why,
    };
    Err(ServeError::NoGate { target: target.clone(), why })
}

/// An empty record, so that a daemon that still lives elsewhere cannot write any more. Only then may its
/// jobs be taken from it: one that does not know would wait for their reports for ever.
async fn depose_predecessor(journal: &mut Journal) -> Result<(), ServeError> {
    append(journal, &[fence()]).await?;
    Ok(())
}

/// Says nothing, and is taken only from who writes the journal.
pub(crate) fn fence() -> Entry {
    Entry { at: clock::now(), facts: Vec::new() }
}
