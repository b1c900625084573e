use std::fmt;

use super::grid::{Cell, grid};
use super::planner::{Planner, Run};
use super::published::{P50, PER_HOUR, SINGLE_QUEUE, WORKERS};

/// One thing that has to hold before anything is claimed with the simulator.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// What should be so.
    pub wanted: String,
    /// What is so.
    pub found: String,
    /// Whether it is.
    pub holds: bool,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds { "holds" } else { "MISSED" };
        write!(f, "{verdict}: {}: {}", self.wanted, self.found)
    }
}

/// The simulator against the published tables, with the seeds from 0.
pub fn acceptance(seeds: u64, jobs: usize) -> Vec<Check> {
    let every =
        PER_HOUR.iter().flat_map(|rate| WORKERS.iter().map(move |n| (Planner::SubmitQueue, *rate, *n)));
    let submit_queue = grid(&every.collect::<Vec<_>>(), seeds, jobs);
    let mut checks = quick_acceptance(seeds, jobs);
    checks.extend(of_submit_queue(&submit_queue));
    checks
}

/// The part of it that takes no time.
pub fn quick_acceptance(seeds: u64, jobs: usize) -> Vec<Check> {
    let single = grid(&[(Planner::SingleQueue, 500, 500)], seeds, jobs);
    let rates = [500, 300, 100];
    let ends = rates.iter().flat_map(|rate| [100, 500].map(|n| (Planner::Optimistic, *rate, n)));
    let optimistic = grid(&ends.collect::<Vec<_>>(), seeds, jobs);
    let oracles = [(Planner::OracleWorkers, 100, 100), (Planner::OracleWorkers, 500, 100)];
    let oracles = grid(&oracles, seeds, jobs);
    let mut checks: Vec<Check> = single.iter().flat_map(of_single_queue).collect();
    checks.extend(of_optimistic(&optimistic));
    checks.extend(oracles.iter().map(of_oracle));
    checks
}

type Of = fn(&Run) -> f64;

fn of_single_queue(cell: &Cell) -> Vec<Check> {
    let shares: [(&str, Of); 3] = [("P50", |r| r.p50), ("P95", |r| r.p95), ("P99", |r| r.p99)];
    let check = |((name, of), published): ((&str, Of), f64)| {
        let found = cell.mean(of).value;
        Check {
            wanted: format!("Single-Queue at 500 an hour, {name} within 20 % of {published}"),
            found: format!("{found:.1}"),
            holds: (found / published - 1.0).abs() <= 0.2,
        }
    };
    shares.into_iter().zip(SINGLE_QUEUE).map(check).collect()
}

fn of_optimistic(cells: &[Cell]) -> Vec<Check> {
    let values: Vec<f64> = cells.iter().map(|c| c.mean(|r| r.p50).value).collect();
    let told: Vec<String> = values.iter().map(|v| format!("{v:.2}")).collect();
    let flat = values.chunks(2).all(|pair| matches!(pair, [few, many] if (few / many - 1.0).abs() <= 0.03));
    let check = |wanted: &str, holds| Check { wanted: wanted.to_owned(), found: told.join(", "), holds };
    vec![
        check("Optimistic, P50 from 6.5 to 10", values.iter().all(|v| (6.5..=10.0).contains(v))),
        check("Optimistic, flat within 3 % from 100 to 500 workers", flat),
    ]
}

fn of_oracle(cell: &Cell) -> Check {
    let found = cell.mean(|r| r.p50).value;
    let (wanted, within) = if cell.per_hour == 100 { (1.0, 0.005) } else { (1.45, 0.15) };
    Check {
        wanted: format!(
            "Oracle with {} workers over the unlimited one at {} an hour, {wanted} ± {within}",
            cell.workers, cell.per_hour
        ),
        found: format!("{found:.2}"),
        holds: (found - wanted).abs() <= within,
    }
}

/// The root of the mean square of the logarithm of what was found over what was published.
pub(crate) fn rms_log_error(cells: &[Cell]) -> f64 {
    let published = P50.iter().flatten();
    let errors = cells.iter().zip(published).map(|(cell, p)| (cell.mean(|r| r.p50).value / p).ln().powi(2));
    (errors.sum::<f64>() / cells.len().max(1) as f64).sqrt()
}

fn of_submit_queue(cells: &[Cell]) -> Vec<Check> {
    let error = rms_log_error(cells);
    let rows: Vec<Vec<f64>> = cells
        .chunks(WORKERS.len())
        .map(|row| row.iter().map(|c| c.mean(|r| r.p50).value).collect())
        .collect();
    let falls = |row: &Vec<f64>| row.windows(2).all(|w| matches!(w, [few, many] if many <= few));
    vec![
        Check {
            wanted: "SubmitQueue-2019, root mean square logarithmic error of P50 over 25 cells at most 0.20"
                .to_owned(),
            found: format!("{error:.3}"),
            holds: error <= 0.2,
        },
        Check {
            wanted: "SubmitQueue-2019, P50 never grows with workers".to_owned(),
            found: format!("{rows:.2?}"),
            holds: rows.iter().all(falls),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::{Planner, of_single_queue, quick_acceptance};
    use crate::experiment::{Parameters, World, grid, oracle, ours};

    /// What every build looks at; the rest is too slow without optimisation.
    #[test]
    fn one_world_gives_about_what_was_published() {
        let single = grid(&[(Planner::SingleQueue, 500, 500)], 1, 1);
        let missed: Vec<_> = single.iter().flat_map(of_single_queue).filter(|c| !c.holds).collect();
        assert!(missed.is_empty(), "{missed:#?}");
    }

    #[test]
    fn ours_is_not_far_from_who_knows_all_outcomes() {
        let few = Parameters { changes: 200, ..Parameters::published(300).known(0.1, 0.99) };
        let world = World::new(1, few);
        let (ours, best) = (ours(&world, 60, true), oracle(&world, None));
        assert!(ours.percentile(0.5) < 1.1 * best.percentile(0.5), "{}", ours.percentile(0.5));
        assert!(ours.percentile(0.99) < 1.3 * best.percentile(0.99), "{}", ours.percentile(0.99));
        assert!(ours.builds_per_change() < 1.2, "{}", ours.builds_per_change());
        assert_eq!((ours.repeated, ours.violations, ours.decided), (0, 0, 200));
    }

    #[test]
    #[ignore = "takes minutes without optimisation: cargo test --release -p yardmaster-sim -- --ignored published"]
    fn the_simulator_gives_what_was_published_where_that_is_quick() {
        let missed: Vec<String> =
            quick_acceptance(4, 2).iter().filter(|c| !c.holds).map(ToString::to_string).collect();
        assert!(missed.is_empty(), "{missed:#?}");
    }

    #[test]
    #[ignore = "takes minutes without optimisation: cargo test --release -p yardmaster-sim -- --ignored published"]
    fn the_simulator_gives_what_was_published() {
        let missed: Vec<String> =
            super::acceptance(10, 2).iter().filter(|c| !c.holds).map(ToString::to_string).collect();
        assert!(missed.is_empty(), "{missed:#?}");
    }
}
