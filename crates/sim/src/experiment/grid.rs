use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use super::outcome::Mean;
use super::planner::{Planner, Run};

/// One planner at one rate with so many workers, in the worlds of several seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Who plans.
    pub planner: Planner,
    /// Changes an hour.
    pub per_hour: u32,
    /// Builds at the same time.
    pub workers: usize,
    /// By seed, from 0.
    pub runs: Vec<Run>,
}

impl Cell {
    /// Over the seeds.
    pub fn mean(&self, of: impl Fn(&Run) -> f64) -> Mean {
        Mean::of(&self.runs.iter().map(of).collect::<Vec<_>>())
    }
}

/// All cells that are asked for, each with the seeds from 0, on so many threads.
pub fn grid(asked: &[(Planner, u32, usize)], seeds: u64, jobs: usize) -> Vec<Cell> {
    let work: Vec<(usize, u64)> =
        (0..asked.len()).flat_map(|i| (0..seeds).map(move |seed| (i, seed))).collect();
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, u64, Run)>> = Mutex::new(Vec::new());
    let worker = || {
        while let Some(&(i, seed)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Some(&(planner, per_hour, workers)) = asked.get(i) else { return };
            let run = planner.run(seed, per_hour, workers);
            if let Ok(mut done) = done.lock() {
                done.push((i, seed, run));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(worker);
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(i, seed, _)| (*i, *seed));
    let cell = |(i, &(planner, per_hour, workers)): (usize, &(Planner, u32, usize))| {
        let runs = done.iter().filter(|(of, _, _)| *of == i).map(|(_, _, run)| *run).collect();
        Cell { planner, per_hour, workers, runs }
    };
    asked.iter().enumerate().map(cell).collect()
}
