use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;
use yardmaster_bus::{Bus, JobSource};
use yardmaster_failpoint::{Point, hit};
use yardmaster_protocol::{Label, RunReport};
use yardmaster_runner::{Disk, DiskLimits, Host, Lane, LaneConfig, RunLimits, RunnerError};

use crate::ServeError;
use crate::settings::Settings;
use crate::shutdown::Shutdown;
use crate::state_dir::StateDir;

/// Runners inside this process; they get their jobs from the same stream as any other.
pub(crate) fn open_lanes(settings: &Settings, state: &StateDir) -> Result<(Vec<Lane>, Disk), ServeError> {
    let host = crate::standby::host();
    let shared = Host::new(settings.host);
    let cache_dir = settings.cache_dir.as_deref().map(make_cache).transpose()?;
    let disk = disk(state.lanes(), cache_dir.clone(), settings.disk_bytes);
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
            disk: disk.clone(),
        })
        .map_err(ServeError::from)
    };
    let lanes = (1..=settings.slots).map(lane).collect::<Result<_, _>>()?;
    Ok((lanes, disk))
}

/// What lanes and caches may take; half of the disk, where nobody says.
pub(crate) fn disk(lanes: PathBuf, cache_dir: Option<PathBuf>, most_bytes: Option<u64>) -> Disk {
    // The nearest one that is there is on the same disk.
    let there = lanes.ancestors().find(|dir| dir.is_dir()).unwrap_or(&lanes);
    let most_bytes = most_bytes.unwrap_or_else(|| DiskLimits::half_of(there));
    Disk::new(DiskLimits { most_bytes, lanes, cache_dir })
}

/// Keeps that bound until it is aborted.
pub(crate) fn keep(disk: &Disk) -> JoinHandle<()> {
    let disk = disk.clone();
    tokio::spawn(async move { disk.keep().await })
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
