use super::random::{Purpose, stream};
use super::set::Set;

/// Milliseconds of a minute.
pub(crate) const MINUTE: u64 = 60_000;

/// What a world is drawn from. *Fitted* values were found by matching published tables; nobody published them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// Changes of the trace.
    pub changes: usize,
    /// Poisson.
    pub per_hour: f64,
    /// Of the lognormal build durations, in minutes; fitted.
    pub median_minutes: f64,
    /// Of their logarithm; fitted.
    pub sigma: f64,
    /// No build is shorter, in minutes; fitted.
    pub shortest_minutes: f64,
    /// No build is longer, in minutes; fitted.
    pub longest_minutes: f64,
    /// Of a change and one before it, to be a potential conflict; fitted.
    pub potential: f64,
    /// Of a change, to fail alone; fitted.
    pub fails_alone: f64,
    /// Of a change, to fail because of one that landed before it; fitted.
    pub fails_by_another: f64,
    /// Only so far back are there real conflicts; fitted.
    pub reach: usize,
    /// How often the predictor is right.
    pub accuracy: f64,
    /// The share of potential conflicts that are not real and are believed all the same.
    pub false_edges: f64,
}

impl Parameters {
    /// The world that matches the published tables at that many changes an hour.
    pub fn published(per_hour: u32) -> Parameters {
        Parameters {
            changes: 550,
            per_hour: f64::from(per_hour),
            median_minutes: 36.0,
            sigma: 0.5,
            shortest_minutes: 2.0,
            longest_minutes: 120.0,
            potential: 0.65,
            fails_alone: 0.033,
            fails_by_another: 0.008,
            reach: 100,
            accuracy: 0.97,
            false_edges: 1.0,
        }
    }

    /// The same world, known better or worse.
    #[must_use]
    pub fn known(self, false_edges: f64, accuracy: f64) -> Parameters {
        Parameters { false_edges, accuracy, ..self }
    }
}

/// What happens in one world, whoever plans in it. Changes are numbered in the order of their arrival.
#[derive(Debug, Clone)]
pub struct World {
    /// What it was drawn from.
    pub parameters: Parameters,
    /// When each change arrives, in milliseconds.
    pub arrivals: Vec<u64>,
    /// How long every build of it takes, in milliseconds.
    pub durations: Vec<u64>,
    /// Whether it passes on top of nothing.
    pub(crate) good: Vec<bool>,
    /// Those before it that it potentially conflicts with, as the dense published graph has it.
    pub(crate) dense: Vec<Set>,
    /// Those of them that are believed: every real one, and a share of the false ones.
    pub(crate) believed: Vec<Set>,
    /// Those that it really fails with.
    pub(crate) real: Vec<Set>,
    /// Whether it lands, when the order is kept.
    pub(crate) lands: Vec<bool>,
    /// What the predictor says of it: the probability that it lands.
    pub(crate) predicted: Vec<f64>,
}

impl World {
    /// The world of a seed. Another rate, predictor or share of false edges leaves all that they do not concern as it is.
    pub fn new(seed: u64, parameters: Parameters) -> World {
        let p = parameters;
        let n = p.changes;
        let mut rng = stream(seed, Purpose::Arrivals);
        let mut at = 0.0;
        let arrivals = (0..n)
            .map(|_| {
                at += rng.exponential(60.0 / p.per_hour);
                in_ms(at)
            })
            .collect();
        let mut rng = stream(seed, Purpose::Durations);
        let durations = (0..n)
            .map(|_| {
                in_ms(rng.lognormal(p.median_minutes, p.sigma).clamp(p.shortest_minutes, p.longest_minutes))
            })
            .collect();
        let mut rng = stream(seed, Purpose::Goodness);
        let good: Vec<bool> = (0..n).map(|_| !rng.happens(p.fails_alone)).collect();
        let (dense, real) = edges(seed, &p);
        let believed = known_edges(seed, &p, &dense, &real);
        let mut landed = Set::with_room(n);
        let lands: Vec<bool> = (0..n)
            .map(|j| {
                let lands = good[j] && !real[j].meets(&landed);
                if lands {
                    landed.insert(j);
                }
                lands
            })
            .collect();
        let predicted = predict(seed, &p, &lands);
        World { parameters, arrivals, durations, good, dense, believed, real, lands, predicted }
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.arrivals.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// Whether a build of `change` on top of `others` passes.
    pub(crate) fn passes(&self, change: usize, others: &Set) -> bool {
        self.good[change] && !self.real[change].meets(others)
    }

    /// The share of all pairs that are believed to conflict.
    pub fn density(&self) -> f64 {
        let believed: usize = self.believed.iter().map(|set| set.iter().count()).sum();
        let n = self.len();
        believed as f64 / (n * n.saturating_sub(1) / 2).max(1) as f64
    }
}

fn in_ms(minutes: f64) -> u64 {
    // From 0 to some 10^9: exact.
    (minutes * MINUTE as f64).round() as u64
}

fn edges(seed: u64, p: &Parameters) -> (Vec<Set>, Vec<Set>) {
    let mut potential = stream(seed, Purpose::Edges);
    let mut conflicts = stream(seed, Purpose::Conflicts);
    let passing = 1.0 - p.fails_alone - p.fails_by_another;
    let share = p.fails_by_another / (p.potential * p.reach as f64 * passing);
    let mut dense = vec![Set::with_room(p.changes); p.changes];
    let mut real = dense.clone();
    for j in 0..p.changes {
        for i in 0..j {
            let is_real = conflicts.happens(share) && j - i <= p.reach;
            if potential.happens(p.potential) {
                dense[j].insert(i);
                if is_real {
                    real[j].insert(i);
                }
            }
        }
    }
    (dense, real)
}

fn known_edges(seed: u64, p: &Parameters, dense: &[Set], real: &[Set]) -> Vec<Set> {
    let mut rng = stream(seed, Purpose::Knowledge);
    let known = |(dense, real): (&Set, &Set)| {
        let mut known = real.clone();
        dense.iter().filter(|_| rng.happens(p.false_edges)).for_each(|i| known.insert(i));
        known
    };
    dense.iter().zip(real).map(known).collect()
}

/// A predictor that is right of what lands and of what fails in the same share of cases, and says how sure that makes it: calibrated.
fn predict(seed: u64, p: &Parameters, lands: &[bool]) -> Vec<f64> {
    let landing = 1.0 - p.fails_alone - p.fails_by_another;
    let of_those = |right: f64, wrong: f64| landing * right / (landing * right + (1.0 - landing) * wrong);
    let (cleared, flagged) = (of_those(p.accuracy, 1.0 - p.accuracy), of_those(1.0 - p.accuracy, p.accuracy));
    let mut rng = stream(seed, Purpose::Predictor);
    let says = |lands: &bool| if rng.happens(p.accuracy) == *lands { cleared } else { flagged };
    lands.iter().map(says).collect()
}

#[cfg(test)]
mod tests {
    use super::{Parameters, World};

    fn share(of: impl Iterator<Item = bool>) -> f64 {
        let (mut yes, mut all) = (0.0, 0.0);
        for one in of {
            all += 1.0;
            yes += if one { 1.0 } else { 0.0 };
        }
        yes / all
    }

    #[test]
    fn a_world_is_what_its_parameters_say() {
        let worlds: Vec<World> = (0..20).map(|seed| World::new(seed, Parameters::published(500))).collect();
        let failing = share(worlds.iter().flat_map(|w| w.lands.iter().map(|l| !l)));
        assert!((failing - 0.041).abs() < 0.005, "{failing}");
        let right =
            worlds.iter().flat_map(|w| w.lands.iter().zip(&w.predicted).map(|(l, p)| *l == (*p > 0.5)));
        let right = share(right);
        assert!((right - 0.97).abs() < 0.005, "{right}");
        let density = worlds[0].density();
        assert!((density - 0.65).abs() < 0.01, "{density}");
    }

    #[test]
    fn what_is_known_changes_nothing_of_what_happens() {
        let dense = World::new(7, Parameters::published(500));
        let known = World::new(7, Parameters::published(500).known(0.1, 0.99));
        assert_eq!(
            (&dense.arrivals, &dense.durations, &dense.lands),
            (&known.arrivals, &known.durations, &known.lands)
        );
        assert!(known.density() < 0.08, "{}", known.density());
        assert!(known.real.iter().zip(&known.believed).all(|(real, believed)| real.and(believed) == *real));
        let slow = World::new(7, Parameters::published(100));
        assert_eq!((&dense.lands, &dense.durations), (&slow.lands, &slow.durations));
    }
}
