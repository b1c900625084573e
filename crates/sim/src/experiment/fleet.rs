//! A fleet of agents on few slots: work comes at a given load or in bursts, fails, is mended and announced again.

use std::fmt::Write as _;

use yardmaster_protocol::Project;

use crate::rng::Rng;

use super::ours::policy;
use super::outcome::{Mean, Outcome};
use super::product::{Site, live};
use super::random::{Purpose, stream};
use super::set::Set;
use super::trace::Change;
use super::world::MINUTE;

/// How work comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Coming {
    /// Poisson: so many slots' worth of runs for each slot.
    Load(f64),
    /// So many at once, at a load of 0.8.
    Bursts(usize),
}

/// One such world.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fleet {
    /// Gates at the same time.
    pub slots: usize,
    /// How work comes.
    pub coming: Coming,
    /// Pieces of work, each announced once or more often.
    pub changes: usize,
    /// Of a change, to fail alone.
    pub fails: f64,
    /// Of a green run, to be told red.
    pub flake: f64,
}

/// How the queue is set in such a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// One after the other.
    Single,
    /// As many as there are slots, each on top of the one before; none shares a run.
    Window,
    /// Batches of so many, one after the other, split in halves when red: not the product.
    Batch(usize),
    /// As it is by default.
    Default,
}

/// Fitted to nothing: a guess at how agents work.
const MEDIAN_MINUTES: f64 = 6.0;
const SIGMA: f64 = 0.8;
const LONGEST_MINUTES: f64 = 45.0;
const AGENTS: u64 = 50;
const FILES: f64 = 200.0;
/// So many announcements apart two pieces of work can be in each other's way.
const REACH: usize = 30;
const TEXTUAL: f64 = 0.2;
const SEMANTIC: f64 = 0.005;
const MENDED: f64 = 0.8;
const MENDING_MINUTES: f64 = 10.0;
/// The daemon's default.
const BATCH: u32 = 32;
/// The share of failures and successes that just go on.
const STREAK: f64 = 0.5;

/// Who makes how many mistakes, and how it went last.
struct Agents(Vec<(f64, Option<bool>)>);

impl Agents {
    /// Success rates are Beta(8, 1.5), moved so that the given share fails.
    fn new(rng: &mut Rng, fails: f64) -> Agents {
        let rate = |rng: &mut Rng| {
            let (good, bad) = (gamma(rng, 8.0), gamma(rng, 1.5));
            (fails * (bad / (good + bad)) / (1.5 / 9.5)).min(1.0)
        };
        Agents((0..AGENTS).map(|_| (rate(rng), None)).collect())
    }

    fn is_good(&mut self, agent: usize, rng: &mut Rng) -> bool {
        let Some((fails, last)) = self.0.get_mut(agent) else { return true };
        let good = last.filter(|_| rng.happens(STREAK)).unwrap_or_else(|| !rng.happens(*fails));
        *last = Some(good);
        good
    }
}

/// Marsaglia and Tsang, for shapes of at least one.
fn gamma(rng: &mut Rng, shape: f64) -> f64 {
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = rng.normal();
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && rng.unit().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

impl Fleet {
    fn room(&self) -> usize {
        self.changes * 4
    }

    fn arrivals(&self, rng: &mut Rng) -> Vec<u64> {
        let mean = MEDIAN_MINUTES * (SIGMA * SIGMA / 2.0).exp();
        let (load, size) = match self.coming {
            Coming::Load(load) => (load, 1),
            Coming::Bursts(size) => (0.8, size.max(1)),
        };
        let gap = mean / (load * self.slots as f64) * size as f64;
        let mut at = 0.0;
        let mut arrivals = Vec::with_capacity(self.changes);
        while arrivals.len() < self.changes {
            at += rng.exponential(gap);
            let burst = size.min(self.changes - arrivals.len());
            arrivals.extend(std::iter::repeat_n((at * MINUTE as f64) as u64, burst));
        }
        arrivals
    }

    fn trace(&self, seed: u64, agents: &mut Agents) -> Vec<Change> {
        let arrivals = self.arrivals(&mut stream(seed, Purpose::Arrivals));
        let mut durations = stream(seed, Purpose::Durations);
        let mut goodness = stream(seed, Purpose::Goodness);
        let mut edges = stream(seed, Purpose::Edges);
        let change = |(j, at): (usize, u64)| {
            let agent = usize::try_from(edges.range(0, AGENTS - 1)).unwrap_or_default();
            // Few files are touched often, most seldom.
            let count = edges.range(1, 3);
            let mut files: Vec<String> =
                (0..count).map(|_| format!("src/{:.0}", (FILES * edges.unit().powi(2)).ceil())).collect();
            files.push(format!("own/{j}"));
            files.sort_unstable();
            files.dedup();
            let minutes = durations.lognormal(MEDIAN_MINUTES, SIGMA).min(LONGEST_MINUTES);
            Change {
                at,
                first: at,
                duration: (minutes * MINUTE as f64) as u64,
                agent,
                confidence: None,
                files,
                good: agents.is_good(agent, &mut goodness),
                red_with: Set::with_room(self.room()),
                unmergeable: Set::with_room(self.room()),
            }
        };
        let mut changes: Vec<Change> = arrivals.into_iter().enumerate().map(change).collect();
        clash(&mut changes, &mut stream(seed, Purpose::Conflicts));
        changes
    }

    /// What a setting makes of the world of a seed.
    pub fn run(&self, seed: u64, setting: Setting) -> Outcome {
        let mut agents = Agents::new(&mut stream(seed, Purpose::Predictor), self.fails);
        let changes = self.trace(seed, &mut agents);
        let (mut goodness, room) = (stream(seed ^ 1, Purpose::Goodness), self.room());
        // What is mended is made anew on what has landed: it is in nobody's way.
        let mut mend = |change: &Change, _: usize, now: u64| {
            let again = goodness.happens(MENDED);
            let later = (goodness.exponential(MENDING_MINUTES) * MINUTE as f64) as u64;
            again.then(|| Change {
                at: now + later,
                good: agents.is_good(change.agent, &mut goodness),
                red_with: Set::with_room(room),
                unmergeable: Set::with_room(room),
                ..change.clone()
            })
        };
        if let Setting::Batch(most) = setting {
            return super::batch::of_fleet(changes, most, room, (self.flake, seed), &mut mend);
        }
        let mut policy = policy();
        let slots = if setting == Setting::Single { 1 } else { self.slots };
        policy.slots = u32::try_from(slots).unwrap_or(u32::MAX);
        (policy.window_min, policy.window_max) = match setting {
            Setting::Default => (policy.slots, policy.slots * 2),
            _ => (policy.slots, policy.slots),
        };
        policy.batch_max = if setting == Setting::Default { BATCH } else { 1 };
        policy.max_pending_per_agent = usize::MAX;
        let flakes = stream(seed, Purpose::Flakes);
        let site = Site { policy, project: Project::default(), slots, flake: self.flake, flakes };
        live(changes, room, site, &mut mend)
    }
}

/// Who does not merge with whom, and who is red with whom.
fn clash(changes: &mut [Change], rng: &mut Rng) {
    for j in 0..changes.len() {
        for i in j.saturating_sub(REACH)..j {
            let share = changes[i].files.iter().any(|f| changes[j].files.contains(f));
            if rng.happens(TEXTUAL) && share {
                changes[i].unmergeable.insert(j);
                changes[j].unmergeable.insert(i);
            }
            if rng.happens(SEMANTIC) {
                changes[i].red_with.insert(j);
                changes[j].red_with.insert(i);
            }
        }
    }
}

/// The settings in some worlds, as a table in Markdown: P50 and P95 in minutes, and runs for each that landed.
pub fn fleets(fleets: &[Fleet], seeds: u64) -> String {
    let settings = [Setting::Single, Setting::Batch(8), Setting::Window, Setting::Default];
    let mut text = String::from(
        "| slots | work comes | one by one | batches of 8 | window | Yardmaster |\n| ---: | --- | ---: | ---: | ---: | ---: |\n",
    );
    let mut broken = 0;
    for fleet in fleets {
        let coming = match fleet.coming {
            Coming::Load(load) => format!("load {load}"),
            Coming::Bursts(size) => format!("{size} at once, load 0.8"),
        };
        let _ = write!(text, "| {} | {coming} |", fleet.slots);
        for setting in settings {
            let outcomes: Vec<Outcome> = (0..seeds).map(|seed| fleet.run(seed, setting)).collect();
            let mean = |of: &dyn Fn(&Outcome) -> f64| Mean::of(&outcomes.iter().map(of).collect::<Vec<_>>());
            let (half, most) = (mean(&|o| o.percentile(0.5)), mean(&|o| o.percentile(0.95)).value);
            let runs = mean(&|o| o.builds as f64 / o.turnarounds.len().max(1) as f64).value;
            let _ = write!(text, " {:.0} ± {:.0}, {most:.0}; {runs:.1} |", half.value, half.half);
            broken += outcomes.iter().map(|o| o.violations).sum::<usize>();
        }
        text.push('\n');
    }
    let _ = writeln!(text, "\nLandings that broke the target: {broken}.");
    text
}

#[cfg(test)]
mod tests {
    use super::{Coming, Fleet, Setting};

    #[test]
    fn a_fleet_is_served_by_every_setting_and_breaks_nothing() {
        let fleet = Fleet { slots: 4, coming: Coming::Load(1.0), changes: 60, fails: 0.08, flake: 0.005 };
        let run = |setting| fleet.run(0, setting);
        let (single, ours) = (run(Setting::Single), run(Setting::Default));
        for outcome in [&single, &ours, &run(Setting::Window), &run(Setting::Batch(8))] {
            assert!(outcome.violations == 0 && outcome.turnarounds.len() > 40, "{outcome:?}");
        }
        assert!(ours.percentile(0.5) < 0.5 * single.percentile(0.5), "{ours:?}");
    }
}
