use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;
use yardmaster_bus::{Bus, Leader, Leadership};
use yardmaster_git::Mirror;
use yardmaster_protocol::rfc3339;
use yardmaster_queue::Queue;

use crate::serve::{Stage, first_look};
use crate::settings::Settings;
use crate::shutdown::Shutdown;
use crate::state_dir::StateDir;
use crate::{ServeError, clock};

const LOCK_PAUSE: Duration = Duration::from_millis(250);
/// How often a mirror that stands by is brought up to date at the most.
const REFRESH: Duration = Duration::from_secs(5);

/// The state directory, once no other process holds it; none when we were asked to stop before.
pub(crate) async fn state_dir(
    settings: &Settings,
    shutdown: &Shutdown,
    tell: &mut (impl FnMut(&Stage) + Send),
) -> Result<Option<StateDir>, ServeError> {
    let mut told = false;
    loop {
        match StateDir::open(settings.state_dir.as_deref(), &settings.remote, &settings.name) {
            // A server that somebody else has embedded is not to be shared.
            Err(ServeError::InUse { path }) if settings.nats.url.is_some() => {
                if !told {
                    told = true;
                    tracing::info!(path = %path.display(), "stands by: another process has the state directory");
                    tell(&Stage::StandingBy(format!("another process has {}", path.display())));
                }
                tokio::select! {
                    () = shutdown.asked() => return Ok(None),
                    () = sleep(LOCK_PAUSE) => {}
                }
            }
            opened => return opened.map(Some),
        }
    }
}

/// Waits until the lane is ours to serve; none when we were asked to stop before. Who has to wait looks
/// at the remote at once, so that what cannot work is said now, and again and again, so that a takeover
/// has little to fetch.
pub(crate) async fn until_leader(
    settings: &Settings,
    state: &StateDir,
    bus: &Bus,
    mirror: &Arc<Mirror>,
    shutdown: &Shutdown,
    tell: &mut (impl FnMut(&Stage) + Send),
) -> Result<Option<Leadership>, ServeError> {
    let candidacy = bus.candidacy(&state.identity()?, &place()).await?;
    let (told, mut leaders) = mpsc::unbounded_channel::<Leader>();
    let lead = candidacy.lead(clock::now, move |leader| drop(told.send(leader.clone())));
    tokio::pin!(lead);
    let mut refresh: Option<Refresh> = None;
    loop {
        tokio::select! {
            biased;
            () = shutdown.asked() => return Ok(None),
            leadership = &mut lead => return Ok(Some(leadership)),
            Some(leader) = leaders.recv() => {
                let since = rfc3339(leader.since);
                tracing::info!(leader = leader.place, since, "stands by");
                tell(&Stage::StandingBy(format!("{} leads since {since}", leader.place)));
                if refresh.is_none() {
                    first_look(settings, mirror, &Queue::new()).await?;
                    refresh = Some(Refresh::start(settings, mirror));
                }
            }
        }
    }
}

fn place() -> String {
    format!("{}/{}", host(), std::process::id())
}

/// The machine's name.
pub(crate) fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "local".to_owned());
    host.trim().to_owned()
}

/// Looks at the remote now and then, until it is dropped.
struct Refresh(JoinHandle<()>);

impl Refresh {
    fn start(settings: &Settings, mirror: &Arc<Mirror>) -> Refresh {
        let (mirror, pause) = (Arc::clone(mirror), settings.poll.max(REFRESH));
        let targets = settings.policy.targets.clone();
        Refresh(tokio::spawn(async move {
            loop {
                sleep(pause).await;
                for target in targets.clone() {
                    let at = Arc::clone(&mirror);
                    if let Ok(Err(why)) = spawn_blocking(move || at.look(&target, None, &[])).await {
                        tracing::warn!(%why, "the mirror that stands by is not brought up to date");
                    }
                }
            }
        }))
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        self.0.abort();
    }
}
