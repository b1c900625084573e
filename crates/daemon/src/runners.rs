use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use yardmaster_protocol::{
    ErrorBody, RUNNER_WIRE, RunnerBeat, RunnerName, RunnerOrders, RunnerView, ServiceErrorCode,
};

/// A runner that is silent for so long is lost; it speaks every two seconds.
const SILENCE: Duration = Duration::from_secs(7);
/// A lost one is shown for so long.
const REMEMBERED: Duration = Duration::from_secs(300);
/// More are not kept in mind.
const MOST: usize = 4_096;

/// The runners elsewhere, as far as they say so themselves. What they run is kept by leases of the job stream:
/// this is for people, for labels and for the number of slots.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runners(Arc<Mutex<BTreeMap<RunnerName, Seen>>>);

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
    /// Takes a runner's word.
    pub(crate) fn beat(&self, beat: RunnerBeat) -> Result<RunnerOrders, ErrorBody> {
        if beat.wire != RUNNER_WIRE {
            return Err(skewed(&beat));
        }
        let now = Instant::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = known.get(&beat.runner).filter(|s| s.beat.life != beat.life && !s.is_lost(now)) {
            return Err(taken(&other.beat.runner));
        }
        if beat.leaving {
            known.remove(&beat.runner);
        } else if known.len() < MOST || known.contains_key(&beat.runner) {
            known.insert(beat.runner.clone(), Seen { beat, at: now });
        }
        known.retain(|_, seen| now.duration_since(seen.at) < REMEMBERED);
        Ok(RunnerOrders {
            wire: RUNNER_WIRE,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            needs: Vec::new(),
        })
    }

    /// Those that spoke lately, by name.
    pub(crate) fn views(&self) -> Vec<RunnerView> {
        let now = Instant::now();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let there = known.values().filter(|seen| !seen.is_lost(now) && !seen.beat.draining);
        there.map(|seen| seen.beat.slots).fold(0, u32::saturating_add)
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
