use std::fmt;

use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use super::world::{Parameters, World};
use super::{batch, optimistic, oracle, ours, patient, single_queue, speculate_all, submit_queue};

/// Who plans.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Planner {
    /// One by one.
    SingleQueue,
    /// Everybody on everybody ahead.
    Optimistic,
    /// Every combination.
    SpeculateAll,
    /// As published in 2019.
    SubmitQueue,
    /// A planner for the same odds that is patient, told what ours is told: what can be had with that knowledge.
    Patient(Knowledge),
    /// Batches of so many, one after the other.
    Batch(usize),
    /// Knows all outcomes, and has the same workers.
    OracleWorkers,
    /// Ours, as it is in the product, with what it is told.
    Ours(Knowledge),
}

/// What our planner is told of a world.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Knowledge {
    /// The share of the false edges that it believes, where the project declares that changes without a common file are
    /// independent; none: nothing is declared, and everything may conflict with everything.
    pub false_edges: Option<f64>,
    /// Of the predictor, whose word each change brings along.
    pub accuracy: f64,
}

/// One planner in one world, beside both Oracles in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Median turnaround, over that of the Oracle with unlimited workers.
    pub p50: f64,
    /// 95th percentile over the same Oracle's.
    pub p95: f64,
    /// 99th percentile over the same Oracle's.
    pub p99: f64,
    /// Median turnaround, over that of the Oracle with the same workers.
    pub p50_same: f64,
    /// 99th percentile over the same Oracle's.
    pub p99_same: f64,
    /// Builds for each change.
    pub builds: f64,
    /// Builds that were stopped, for each change.
    pub aborted: f64,
    /// Builds that were stopped and started again on the same tree.
    pub repeated: usize,
    /// Landings that broke the target.
    pub violations: usize,
    /// Changes that were not decided.
    pub undecided: usize,
    /// Builds at the same time, at most; 0 where nobody counts.
    #[serde(default)]
    pub peak: usize,
}

impl Planner {
    /// What it makes of the world of a seed.
    pub fn run(self, seed: u64, per_hour: u32, workers: usize) -> Run {
        let parameters = Parameters::published(per_hour);
        let world = World::new(seed, parameters);
        let outcome = match self {
            Planner::SingleQueue => single_queue(&world, workers),
            Planner::Optimistic => optimistic(&world, workers),
            Planner::SpeculateAll => speculate_all(&world, workers),
            Planner::SubmitQueue => submit_queue(&world, workers),
            Planner::Patient(Knowledge { false_edges, accuracy }) => {
                let known = parameters.known(false_edges.unwrap_or(1.0), accuracy);
                patient(&World::new(seed, known), workers, 0.05)
            }
            Planner::Batch(most) => batch(&world, most),
            Planner::OracleWorkers => oracle(&world, Some(workers)),
            Planner::Ours(Knowledge { false_edges, accuracy }) => {
                let known = parameters.known(false_edges.unwrap_or(1.0), accuracy);
                ours(&World::new(seed, known), workers, false_edges.is_some())
            }
        };
        Run::new(&world, workers, &outcome)
    }

    /// What tables and pictures call it.
    pub fn name(self) -> String {
        match self {
            Planner::SingleQueue => "Single-Queue".to_owned(),
            Planner::Optimistic => "Optimistic".to_owned(),
            Planner::SpeculateAll => "Speculate-all".to_owned(),
            Planner::SubmitQueue => "SubmitQueue-2019".to_owned(),
            Planner::Batch(most) => format!("Batch-{most}"),
            Planner::OracleWorkers => "Oracle, same workers".to_owned(),
            Planner::Patient(knowledge) => format!("Patient, {knowledge}"),
            Planner::Ours(knowledge) => format!("Yardmaster, {knowledge}"),
        }
    }
}

impl fmt::Display for Knowledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.false_edges {
            Some(share) => write!(f, "{:.0} % of the false edges", share * 100.0)?,
            None => write!(f, "nothing declared")?,
        }
        write!(f, ", predictor {:.0} %", self.accuracy * 100.0)
    }
}

impl Run {
    fn new(world: &World, workers: usize, outcome: &Outcome) -> Run {
        let (best, same) = (oracle(world, None), oracle(world, Some(workers)));
        let over = |other: &Outcome, share: f64| outcome.percentile(share) / other.percentile(share);
        let per_change = |count: usize| count as f64 / outcome.decided.max(1) as f64;
        Run {
            p50: over(&best, 0.5),
            p95: over(&best, 0.95),
            p99: over(&best, 0.99),
            p50_same: over(&same, 0.5),
            p99_same: over(&same, 0.99),
            builds: outcome.builds_per_change(),
            aborted: per_change(outcome.aborted),
            repeated: outcome.repeated,
            violations: outcome.violations,
            undecided: world.len() - outcome.decided,
            peak: outcome.peak,
        }
    }

    /// How it goes with more workers, where not all were ever busy: the same, beside another Oracle.
    pub(crate) fn with_more(self, seed: u64, per_hour: u32, workers: usize) -> Run {
        let world = World::new(seed, Parameters::published(per_hour));
        let (best, same) = (oracle(&world, None), oracle(&world, Some(workers)));
        let over = |share: f64| best.percentile(share) / same.percentile(share);
        Run { p50_same: self.p50 * over(0.5), p99_same: self.p99 * over(0.99), ..self }
    }
}
