use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::interval;
use yardmaster_protocol::{
    BranchName, ErrorBody, Label, RUNNER_WIRE, RunId, RunnerBeat, RunnerName, RunnerOrders, RunnerView,
    ServiceErrorCode, TargetView,
};

use crate::crew;
use crate::happening::Happening;
use crate::settings::Settings;

/// A runner that is silent for so long is lost; it speaks every two seconds.
const SILENCE: Duration = Duration::from_secs(7);
/// A lost one is shown for so long.
const REMEMBERED: Duration = Duration::from_secs(300);
const COUNT: Duration = Duration::from_millis(250);
const STAYS: Duration = Duration::from_secs(5);
/// More are not kept in mind.
const MOST: usize = 4_096;

/// The runners elsewhere, as far as they say so themselves. What they run is kept by leases of the job stream:
/// this is for people, for labels and for the number of slots.
#[derive(Debug, Clone)]
pub(crate) struct Runners {
    known: Arc<Mutex<BTreeMap<RunnerName, Seen>>>,
    /// What the crew inside the daemon has; none: it has no slots.
    here: Option<BTreeSet<Label>>,
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
    pub(crate) fn new(settings: &Settings) -> Runners {
        let here = (settings.slots > 0).then(|| crew::labels(settings.labels.clone()));
        Runners { known: Arc::default(), here }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<RunnerName, Seen>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// `targets` with a note where something is asked for that no runner can take.
    pub(crate) fn noted(
        &self,
        mut targets: Vec<TargetView>,
        asked_for: &BTreeSet<(BranchName, BTreeSet<Label>)>,
    ) -> Vec<TargetView> {
        for target in &mut targets {
            let needs = asked_for.iter().filter(|(name, _)| *name == target.target).map(|(_, needs)| needs);
            target.runner_note = needs.filter_map(|needs| self.lacking(needs)).next();
        }
        targets
    }

    /// Why nobody takes a job that needs these; none where somebody does.
    fn lacking(&self, needs: &BTreeSet<Label>) -> Option<String> {
        let now = Instant::now();
        let known = self.known();
        let there: Vec<&BTreeSet<Label>> = known
            .values()
            .filter(|seen| !seen.is_lost(now) && !seen.beat.draining)
            .map(|seen| &seen.beat.labels)
            .chain(self.here.as_ref())
            .collect();
        if there.iter().any(|has| needs.is_subset(has)) {
            return None;
        }
        if there.is_empty() {
            return Some("no runner is there: start one with `yardmaster work`".to_owned());
        }
        let nobody = |label: &&Label| !there.iter().any(|has| has.contains(*label));
        let missing: Vec<&str> = needs.iter().filter(nobody).map(Label::as_str).collect();
        let what = |labels: &[&str]| {
            format!("label{} {}", if labels.len() > 1 { "s" } else { "" }, labels.join(", "))
        };
        Some(if missing.is_empty() {
            let all: Vec<&str> = needs.iter().map(Label::as_str).collect();
            format!("no runner has {} together", what(&all))
        } else {
            format!("no runner has {}", what(&missing))
        })
    }

    /// Tells the engine how many runs fit elsewhere: at once where that grows, and where it shrinks only when it
    /// stays so, since a runner that starts anew is back in a moment.
    pub(crate) fn count(&self, sender: mpsc::Sender<Happening>) -> JoinHandle<()> {
        let runners = self.clone();
        tokio::spawn(async move {
            let (mut told, mut less_since) = (0, None);
            let mut ticks = interval(COUNT);
            loop {
                ticks.tick().await;
                let slots = runners.slots();
                let since = *less_since.get_or_insert_with(Instant::now);
                if slots >= told {
                    less_since = None;
                }
                if slots > told || (slots < told && since.elapsed() > STAYS) {
                    (told, less_since) = (slots, None);
                    if sender.send(Happening::Slots(slots)).await.is_err() {
                        return;
                    }
                }
            }
        })
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
