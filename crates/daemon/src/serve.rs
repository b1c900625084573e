use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use yardmaster_bus::server::{self, Embedded, EmbeddedOptions};
use yardmaster_bus::{Bus, BusOptions, Journal};
use yardmaster_failpoint::{Point, hit};
use yardmaster_git::{CrossCheck, GitError, GitOptions, Mirror};
use yardmaster_protocol::{BranchName, Entry, JournalPosition, Sighting};
use yardmaster_queue::{GateRule, Queue};
use yardmaster_runner::LogStore;

use crate::engine::{Engine, Start, append};
use crate::happening::{HAPPENINGS_WAITING, Happening};
use crate::outbox::{Outbox, Outgoing};
use crate::remote::RemoteReport;
use crate::settings::{CrossCheckSetting, Settings};
use crate::shutdown::Shutdown;
use crate::state_dir::StateDir;
use crate::{ServeError, clock, crew, intake, remote, service};

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

/// Serves until `shutdown`; `ready` is called once, when announcements are consumed.
///
/// # Errors
/// Whatever keeps it from serving, with what to do about it.
pub async fn serve(
    settings: Settings,
    shutdown: Shutdown,
    ready: impl FnOnce(&Ready),
) -> Result<(), ServeError> {
    let state = StateDir::open(settings.state_dir.as_deref(), &settings.remote, &settings.name)?;
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
    let served = serve_on(&settings, &state, &url, shutdown, ready).await;
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

async fn serve_on(
    settings: &Settings,
    state: &StateDir,
    url: &str,
    shutdown: Shutdown,
    ready: impl FnOnce(&Ready),
) -> Result<(), ServeError> {
    let mirror = open_mirror(settings, state).await?;
    let bus = Bus::connect(bus_options(settings, url)).await?;
    bus.ensure_streams().await?;
    let mut journal = bus.journal().await?;
    let (queue, unpublished, facts_replayed) = recover(&bus, &mut journal).await?;
    hit(Point::AfterReplay);
    let first_looks = first_look(settings, &mirror, &queue).await?;
    state.claim_for(&settings.remote)?;
    sweep_pins(&mirror, &queue, state).await?;
    hit(Point::AfterPinSweep);
    depose_predecessor(&mut journal).await?;
    bus.purge_jobs().await?;
    hit(Point::AfterJobPurge);
    let lanes = crew::open_lanes(settings, state)?;

    let (sender, happenings) = mpsc::channel(HAPPENINGS_WAITING);
    for look in first_looks {
        let _ = sender.send(look).await;
    }
    let mut outbox = Outbox::start(bus.clone());
    outbox.send(unpublished).await;
    let start = Start {
        queue,
        policy: settings.policy.clone(),
        journal,
        bus: bus.clone(),
        mirror,
        poll: settings.poll,
        remote: settings.remote.clone(),
        slots: settings.slots,
        outbox,
        facts_replayed,
    };
    let engine = Engine::new(start, sender.clone(), happenings);
    let calls = bus.serve(service::VERBS).await?;
    let feeders = start_feeders(&bus, &sender, calls, state, &shutdown);
    let workers = crew::start(&bus, lanes, &shutdown);
    drop(sender);
    ready(&Ready {
        nats_url: url.to_owned(),
        remote: settings.remote.clone(),
        targets: settings.policy.targets.iter().cloned().collect(),
        slots: settings.slots,
    });
    let served = Box::pin(engine.run(&shutdown)).await;
    shutdown.ask();
    feeders.iter().for_each(JoinHandle::abort);
    let workers = workers.into_iter().map(|w| async move { drop(w.await) });
    let all_stopped = async {
        for worker in workers {
            worker.await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(7), all_stopped).await;
    let _ = bus.flush().await;
    served
}

fn start_feeders(
    bus: &Bus,
    sender: &mpsc::Sender<Happening>,
    calls: yardmaster_bus::ServiceRequests,
    state: &StateDir,
    shutdown: &Shutdown,
) -> Vec<JoinHandle<()>> {
    let logs = LogStore::new(state.logs());
    let mut feeders = vec![service::start(bus, calls, sender.clone(), logs, shutdown.clone())];
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
        ..GitOptions::default()
    };
    let (dir, remote) = (state.mirror(), settings.remote.clone());
    let opened = spawn_blocking(move || Mirror::open(&dir, &remote, options)).await;
    Ok(Arc::new(blocking(opened, state.path())??))
}

fn blocking<T>(done: Result<T, tokio::task::JoinError>, path: &Path) -> Result<T, ServeError> {
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
        ..BusOptions::default()
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
async fn first_look(
    settings: &Settings,
    mirror: &Arc<Mirror>,
    queue: &Queue,
) -> Result<Vec<Happening>, ServeError> {
    let mut looks = Vec::new();
    for target in &settings.policy.targets {
        let (known, asked) = (queue.tip(target), queue.landing_commits(target));
        let (at, of) = (Arc::clone(mirror), target.clone());
        let found = blocking(spawn_blocking(move || at.look(&of, known, &asked)).await, mirror.path())?;
        match found {
            Ok(sighting) => {
                check_gate(settings, target, &sighting)?;
                let report = RemoteReport::Looked { known, found: Ok(sighting) };
                looks.push(Happening::Remote(target.clone(), report));
            }
            Err(why @ GitError::Unreachable { .. }) if known.is_some() => {
                tracing::error!(%why, %target, "the remote does not answer: the queue is held until it does");
            }
            Err(why) => return Err(why.into()),
        }
    }
    Ok(looks)
}

fn check_gate(settings: &Settings, target: &BranchName, sighting: &Sighting) -> Result<(), ServeError> {
    if settings.policy.gate != GateRule::FromTarget {
        return Ok(());
    }
    let why = match remote::project(sighting) {
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
    append(journal, &[Entry { at: clock::now(), facts: Vec::new() }]).await?;
    Ok(())
}

/// Unpins what a crash left pinned. What the journal counts on must be there: without the heads a
/// takeover could neither test nor land, and would fail requests for no fault of theirs.
async fn sweep_pins(mirror: &Arc<Mirror>, queue: &Queue, state: &StateDir) -> Result<(), ServeError> {
    let keep: std::collections::BTreeSet<_> = queue.in_custody().collect();
    let at = Arc::clone(mirror);
    let pinned = blocking(spawn_blocking(move || at.pinned()).await, mirror.path())??;
    let missing: Vec<_> = queue.with_pinned_head().filter(|r| !pinned.contains(r)).collect();
    if let Some(first) = missing.first().copied() {
        let path = state.path().to_owned();
        return Err(ServeError::CustodyElsewhere { path, pending: missing.len(), first });
    }
    let at = Arc::clone(mirror);
    let stale: Vec<_> = pinned.into_iter().filter(|r| !keep.contains(r)).collect();
    blocking(spawn_blocking(move || at.unpin(&stale)).await, mirror.path())??;
    Ok(())
}
