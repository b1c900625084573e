use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::interval;
use yardmaster_protocol::{
    DiskUse, ErrorBody, Label, RUNNER_WIRE, RunId, RunnerBeat, RunnerName, RunnerOffer, RunnerOrders,
    RunnerView, ServiceErrorCode,
};
use yardmaster_runner::Disk;

use crate::crew;
use crate::happening::Happening;
use crate::settings::Settings;

/// A runner that is silent for so long is lost; it speaks every two seconds.
const SILENCE: Duration = Duration::from_secs(7);
/// A lost one is shown for so long.
const REMEMBERED: Duration = Duration::from_secs(300);
const COUNT: Duration = Duration::from_millis(250);
const STAYS: Duration = Duration::from_secs(5);
/// Of each group of runners with the same labels so many are named.
const NAMED: usize = 3;
/// More are not kept in mind.
const MOST: usize = 4_096;

/// The runners elsewhere, as far as they say so themselves. What they run is kept by leases of the job stream:
/// this is for people, for labels and for the number of slots.
#[derive(Debug, Clone)]
pub(crate) struct Runners {
    known: Arc<Mutex<BTreeMap<RunnerName, Seen>>>,
    /// What the crew inside the daemon has; none: it has no slots.
    here: Option<RunnerOffer>,
    disk: Disk,
}

#[derive(Debug)]
struct Seen {
    beat: RunnerBeat,
    at: Instant,
}

impl Seen {
    fn is_lost(&self, now: Instant) -> bool {
        now.duration_since(self.at) > SILENCE
    }
}

impl Runners {
    pub(crate) fn new(settings: &Settings, disk: &Disk) -> Runners {
        let here = (settings.slots > 0).then(|| RunnerOffer {
            labels: crew::labels(settings.labels.clone()),
            cpu: Some(settings.host.cpu),
            mem_bytes: Some(settings.host.mem_bytes),
            runners: Vec::new(),
            here: true,
        });
        Runners { known: Arc::default(), here, disk: disk.clone() }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<RunnerName, Seen>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What checkouts and caches take here; none where nothing is tested here.
    pub(crate) fn disk(&self) -> Option<DiskUse> {
        self.here.as_ref().map(|_| self.disk.told())
    }

    /// Takes a runner's word. `needs` is what jobs have needed so far.
    pub(crate) fn beat(
        &self,
        beat: RunnerBeat,
        needs: Vec<BTreeSet<Label>>,
    ) -> Result<RunnerOrders, ErrorBody> {
        if beat.wire != RUNNER_WIRE {
            return Err(skewed(&beat));
        }
        let now = Instant::now();
        let mut known = self.known();
        if let Some(other) = known.get(&beat.runner).filter(|s| s.beat.life != beat.life && !s.is_lost(now)) {
            return Err(taken(&other.beat.runner));
        }
        if beat.leaving {
            known.remove(&beat.runner);
        } else if known.len() < MOST || known.contains_key(&beat.runner) {
            known.insert(beat.runner.clone(), Seen { beat, at: now });
        }
        known.retain(|_, seen| now.duration_since(seen.at) < REMEMBERED);
        Ok(RunnerOrders { wire: RUNNER_WIRE, version: env!("CARGO_PKG_VERSION").to_owned(), needs })
    }

    /// Those that spoke lately, by name.
    pub(crate) fn views(&self) -> Vec<RunnerView> {
        let now = Instant::now();
        let known = self.known();
        let view = |seen: &Seen| RunnerView {
            runner: seen.beat.runner.clone(),
            version: seen.beat.version.clone(),
            labels: seen.beat.labels.clone(),
            slots: seen.beat.slots,
            cpu: seen.beat.cpu,
            mem_bytes: seen.beat.mem_bytes,
            disk: seen.beat.disk.clone(),
            running: seen.beat.running.clone(),
            draining: seen.beat.draining,
            seen_ms: u64::try_from(now.duration_since(seen.at).as_millis()).unwrap_or(u64::MAX),
            lost: seen.is_lost(now),
        };
        known.values().map(view).collect()
    }

    /// Slots of those that are there and take something new.
    pub(crate) fn slots(&self) -> u32 {
        let now = Instant::now();
        let known = self.known();
        let there = known.values().filter(|seen| !seen.is_lost(now) && !seen.beat.draining);
        there.map(|seen| seen.beat.slots).fold(0, u32::saturating_add)
    }

    /// The runner that has said that it runs this.
    pub(crate) fn who_runs(&self, run: &RunId) -> Option<RunnerName> {
        let known = self.known();
        let found = known.values().find(|seen| seen.beat.running.contains(run));
        found.map(|seen| seen.beat.runner.clone())
    }

    /// What runs can be given to: those that are there, the same labels together. Who drains counts while it
    /// runs something.
    pub(crate) fn offers(&self) -> Vec<RunnerOffer> {
        let now = Instant::now();
        let mut groups: BTreeMap<BTreeSet<Label>, RunnerOffer> = BTreeMap::new();
        groups.extend(self.here.iter().map(|here| (here.labels.clone(), here.clone())));
        let known = self.known();
        let takes =
            |seen: &&Seen| !seen.is_lost(now) && (!seen.beat.draining || !seen.beat.running.is_empty());
        for beat in known.values().filter(takes).map(|seen| &seen.beat) {
            let group = groups.entry(beat.labels.clone()).or_insert_with(|| RunnerOffer {
                labels: beat.labels.clone(),
                cpu: beat.cpu,
                mem_bytes: beat.mem_bytes,
                runners: Vec::new(),
                here: false,
            });
            group.cpu = group.cpu.max(beat.cpu);
            group.mem_bytes = group.mem_bytes.max(beat.mem_bytes);
            if group.runners.len() < NAMED {
                group.runners.push(beat.runner.clone());
            }
        }
        groups.into_values().collect()
    }

    /// Tells the engine how many runs fit elsewhere and what runners have: at once where that grows, and where
    /// it shrinks only when it stays so, since a runner that starts anew is back in a moment.
    pub(crate) fn count(&self, sender: mpsc::Sender<Happening>) -> JoinHandle<()> {
        let runners = self.clone();
        tokio::spawn(async move {
            // At a start it takes a moment until everybody has spoken: nothing is said of who is there before.
            let (mut slots, mut offers) = (Told::new(0), Told::new(None));
            let mut ticks = interval(COUNT);
            loop {
                ticks.tick().await;
                let slots = slots.news(runners.slots(), |now, told| now >= told);
                let offers = offers.news(Some(runners.offers()), has_all);
                let offers = offers.flatten().map(Happening::Runners);
                let news = slots.map(Happening::Slots).into_iter().chain(offers);
                for happening in news {
                    if sender.send(happening).await.is_err() {
                        return;
                    }
                }
            }
        })
    }
}

/// Whether everything that was there still is. Nobody has said yet what was there: no.
fn has_all(now: &Option<Vec<RunnerOffer>>, told: &Option<Vec<RunnerOffer>>) -> bool {
    let has = |t: &RunnerOffer| now.iter().flatten().any(|n| n.labels == t.labels);
    told.as_ref().is_some_and(|told| told.iter().all(has))
}

/// What was told last of something that changes by itself.
struct Told<T> {
    told: T,
    less_since: Option<Instant>,
}

impl<T: PartialEq + Clone> Told<T> {
    fn new(told: T) -> Told<T> {
        Told { told, less_since: None }
    }

    /// What is to be told now, if anything. `is_growth` compares what is with what was told.
    fn news(&mut self, now: T, is_growth: impl FnOnce(&T, &T) -> bool) -> Option<T> {
        let since = *self.less_since.get_or_insert_with(Instant::now);
        let grows = is_growth(&now, &self.told);
        if grows || now == self.told {
            self.less_since = None;
        }
        if now == self.told || !(grows || since.elapsed() > STAYS) {
            return None;
        }
        (self.told, self.less_since) = (now.clone(), None);
        Some(now)
    }
}

/// Which of the two is to be replaced.
fn skewed(beat: &RunnerBeat) -> ErrorBody {
    let ours = env!("CARGO_PKG_VERSION");
    let (runner, theirs) = (&beat.runner, &beat.version);
    let what = if beat.wire < RUNNER_WIRE {
        format!("install yardmaster {ours} where runner `{runner}` (yardmaster {theirs}) works")
    } else {
        format!("upgrade the daemon (yardmaster {ours}) to {theirs}, which runner `{runner}` has")
    };
    ErrorBody {
        code: ServiceErrorCode::Refused,
        message: format!(
            "daemon and runner speak different versions of the wire ({RUNNER_WIRE} and {}): {what}",
            beat.wire
        ),
        retryable: false,
        next: vec!["yardmaster --version".to_owned()],
    }
}

fn taken(name: &RunnerName) -> ErrorBody {
    ErrorBody {
        code: ServiceErrorCode::Conflict,
        message: format!("another runner is called `{name}`: give this one a name of its own"),
        retryable: true,
        next: vec!["yardmaster work --name NAME".to_owned()],
    }
}
