use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;
use yardmaster_bus::{Bus, JobSource};
use yardmaster_failpoint::{Point, hit};
use yardmaster_protocol::{Label, RunReport};
use yardmaster_runner::{Host, Lane, LaneConfig, RunLimits, RunnerError};

use crate::ServeError;
use crate::settings::Settings;
use crate::shutdown::Shutdown;
use crate::state_dir::StateDir;

/// Runners inside this process; they get their jobs from the same stream as any other.
pub(crate) fn open_lanes(settings: &Settings, state: &StateDir) -> Result<Vec<Lane>, ServeError> {
    let host = crate::standby::host();
    let shared = Host::new(settings.host);
    let cache_dir = settings.cache_dir.as_deref().map(make_cache).transpose()?;
    let lane = |number: u32| {
        Lane::open(LaneConfig {
            name: format!("{}/{number}", host),
            number,
            dir: state.lane(number),
            mirror: state.mirror(),
            logs: state.logs(),
            limits: RunLimits::default(),
            pass_env: settings.pass_env.clone(),
            host: shared.clone(),
            cache_dir: cache_dir.clone(),
        })
        .map_err(ServeError::from)
    };
    (1..=settings.slots).map(lane).collect()
}

/// The directory as gates see it, wherever they are.
pub(crate) fn make_cache(dir: &Path) -> Result<PathBuf, RunnerError> {
    let made = std::fs::create_dir_all(dir).and_then(|()| dir.canonicalize());
    made.map_err(|source| RunnerError::Directory { path: dir.to_owned(), source })
}

/// Puts every lane to work until `shutdown`.
pub(crate) fn start(
    bus: &Bus,
    lanes: Vec<Lane>,
    labels: &BTreeSet<Label>,
    shutdown: &Shutdown,
) -> Vec<JoinHandle<()>> {
    let work = |lane: Lane| tokio::spawn(work(bus.clone(), bus.jobs_for(labels), lane, shutdown.clone()));
    lanes.into_iter().map(work).collect()
}

/// What a runner on this machine has, besides what it is said to have.
pub(crate) fn labels(mut given: BTreeSet<Label>) -> BTreeSet<Label> {
    use std::env::consts::{ARCH, OS};
    given
        .extend([("os", OS), ("arch", ARCH)].iter().filter_map(|(k, v)| Label::new(format!("{k}={v}")).ok()));
    given
}

async fn work(bus: Bus, mut jobs: JobSource, mut lane: Lane, shutdown: Shutdown) {
    loop {
        let next = tokio::select! {
            () = shutdown.asked() => return,
            next = jobs.next() => next,
        };
        let (job, lease, mut cancelled) = match next {
            Ok(next) => next,
            Err(why) => {
                tracing::warn!(%why, "the job stream is read again");
                continue;
            }
        };
        let nobody_wants_it = async {
            tokio::select! {
                () = cancelled.cancelled() => {}
                () = shutdown.asked() => {}
            }
        };
        hit(Point::AfterJobTaken);
        let report = lane.run(&job, nobody_wants_it).await;
        if shutdown.is_asked() {
            // Dropping the lease gives the job back.
            return;
        }
        hit(Point::BeforeReportPublish);
        deliver(&bus, &report).await;
        hit(Point::AfterReportPublish);
        if let Err(why) = lease.ack().await {
            tracing::debug!(%why, run = %job.run, "a job's ack was lost: its second report will be late news");
        }
        hit(Point::AfterJobAck);
    }
}

/// Tells how a run went, through outages.
pub(crate) async fn deliver(bus: &Bus, report: &RunReport) {
    let mut pause = Duration::from_millis(100);
    while let Err(why) = bus.report(report).await {
        tracing::warn!(%why, run = %report.run, "a report waits for NATS");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}
