use super::outcome::Outcome;
use super::world::{MINUTE, World};

/// Knows how everything ends, builds each change once, and decides in order where changes may conflict by
/// the dense published graph: with unlimited `workers`, or with so many, which take changes as they arrive.
pub fn oracle(world: &World, workers: Option<usize>) -> Outcome {
    let n = world.len();
    let mut free = std::collections::BinaryHeap::new();
    (0..workers.unwrap_or(0)).for_each(|_| free.push(std::cmp::Reverse(0)));
    let mut decided: Vec<u64> = Vec::with_capacity(n);
    for j in 0..n {
        let mut start = world.arrivals[j];
        if let Some(std::cmp::Reverse(at)) = free.pop() {
            start = start.max(at);
            free.push(std::cmp::Reverse(start + world.durations[j]));
        }
        let ahead = world.dense[j].iter().map(|i| decided[i]).max().unwrap_or(0);
        decided.push(ahead.max(start + world.durations[j]));
    }
    let landed = (0..n).filter(|j| world.lands[*j]);
    let mut turnarounds: Vec<f64> =
        landed.map(|j| (decided[j] - world.arrivals[j]) as f64 / MINUTE as f64).collect();
    turnarounds.sort_by(f64::total_cmp);
    Outcome { turnarounds, decided: n, builds: n, ..Outcome::default() }
}
