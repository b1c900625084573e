use yardmaster_protocol::{BlockerKind, Estimate, Gate, Link, LinkKind, RequestId, RunOutcome};

use super::chain::Reading;
use super::needs_a_hand;
use crate::state::{Request, Target, Verdict};
use crate::walk::{Place, Standing, Walk};

/// The latest runs that are looked at.
const RUNS: usize = 100;

/// How long runs of a gate took, from asking to verdict, in milliseconds.
struct Seen {
    /// Sorted.
    took_ms: Vec<u64>,
    red: u64,
}

impl Seen {
    fn of(target: &Target, gate: &Gate) -> Option<Seen> {
        let gate_id = gate.id();
        let decided = |v: &&Verdict| !matches!(v.outcome, RunOutcome::Lost { .. } | RunOutcome::Cancelled);
        let of_gate = target.verdicts.iter().filter(|((_, id), _)| *id == gate_id);
        let mut runs: Vec<&Verdict> = of_gate.map(|(_, v)| v).filter(decided).collect();
        runs.sort_by_key(|v| std::cmp::Reverse((v.at, v.run.clone())));
        runs.truncate(RUNS);
        // With more runs than slots, those wait that were asked for: that time counts too.
        let took = |v: &&Verdict| v.asked.map_or(0, |asked| v.at.since(asked)).max(v.ms);
        let mut took_ms: Vec<u64> = runs.iter().map(took).collect();
        took_ms.sort_unstable();
        let of_requests = runs.iter().filter(|v| v.request.is_some() && v.outcome != RunOutcome::Green);
        let red = u64::try_from(of_requests.count()).unwrap_or(u64::MAX);
        (!took_ms.is_empty()).then_some(Seen { took_ms, red })
    }

    fn quantile(&self, percent: usize) -> u64 {
        let last = self.took_ms.len().saturating_sub(1);
        self.took_ms.get((last * percent + 50) / 100).copied().unwrap_or_default()
    }

    fn told(&self, ahead: u64, window: u64) -> String {
        let (runs, short, long) = (self.runs(), self.quantile(10) / 1_000, self.quantile(90) / 1_000);
        let runs = if runs == 1 { "1 run".to_owned() } else { format!("{runs} runs") };
        format!(
            "{runs} of this gate took {short} s to {long} s (10 % to 90 %), {} of them red; {ahead} undecided ahead, \
             {window} at a time",
            self.red
        )
    }

    fn runs(&self) -> u64 {
        u64::try_from(self.took_ms.len()).unwrap_or(u64::MAX)
    }

    /// How many of so many ahead are red, rounded to the nearest: each means one more run for those above it.
    fn red_of(&self, ahead: u64) -> u64 {
        let runs = self.runs();
        self.red.saturating_mul(ahead).saturating_add(runs / 2).checked_div(runs).unwrap_or_default()
    }
}

impl Reading<'_> {
    /// When the request is likely to be decided if nothing else is announced. A model, not a promise: those ahead
    /// are tested side by side in the window, and each red one among them costs one more round.
    pub(super) fn estimate(&self, id: RequestId, live: &Request, chain: &[Link]) -> Option<Estimate> {
        let endless = |l: &Link| needs_a_hand(l.kind) || self.is_of_nobody(l);
        if chain.iter().any(endless) {
            return None;
        }
        let target = self.queue.targets.get(&live.target)?;
        let gate = target.gate(self.policy).ok().filter(|gate| !gate.steps.is_empty())?;
        let (seen, walk) = (Seen::of(target, &gate)?, self.walk()?);
        let window = u64::from(target.window(self.policy)).max(1);
        let index = self.order.iter().position(|r| *r == id).unwrap_or(self.order.len());
        let stacked = walk.places.len();
        let rounds = match index.checked_sub(stacked) {
            Some(waiting) => u64::try_from(waiting).unwrap_or(u64::MAX) / window + 1,
            None => 0,
        };
        let places = walk.places.get(..=index).unwrap_or(&walk.places);
        let open = places.iter().filter(|p| p.request != id && !is_green(p)).count();
        let ahead = u64::try_from(open + index.saturating_sub(stacked)).unwrap_or(u64::MAX);
        let (usual, most) = (seen.red_of(ahead), (2 * seen.red_of(ahead) + seen.red.min(1)).min(ahead));
        let total = |percent: usize, more: u64| {
            let run = seen.quantile(percent);
            self.rest_of(target, walk, places, run).saturating_add(run.saturating_mul(rounds + more))
        };
        Some(Estimate {
            low_ms: total(10, 0),
            likely_ms: total(50, usual),
            high_ms: total(90, most),
            basis: seen.told(ahead, window),
        })
    }

    /// It waits for something that nobody has announced.
    fn is_of_nobody(&self, link: &Link) -> bool {
        let is_pending = || {
            link.with
                .as_ref()
                .and_then(|w| w.parse().ok())
                .is_some_and(|id| self.queue.live.contains_key(&id))
        };
        link.kind == LinkKind::Blocked(BlockerKind::Dependency) && !is_pending()
    }

    /// How long the slowest of `places` still takes, if a run takes `run_ms`.
    fn rest_of(&self, target: &Target, walk: &Walk, places: &[Place], run_ms: u64) -> u64 {
        let rest = |place: &Place| {
            if is_green(place) {
                return 0;
            }
            let own =
                target.runs.values().find(|r| r.request == Some(place.request) && r.gate_id == walk.gate_id);
            let elapsed = own.and_then(|r| r.asked).map_or(0, |at| self.now.since(at));
            run_ms.saturating_sub(elapsed)
        };
        places.iter().map(rest).max().unwrap_or_default()
    }
}

fn is_green(place: &Place) -> bool {
    matches!(place.standing, Standing::Green { .. })
}
