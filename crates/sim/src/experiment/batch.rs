use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::outcome::Outcome;
use super::peers::all_of;
use super::product::Mend;
use super::random::{Purpose, stream};
use super::set::Set;
use super::trace::Change;
use super::world::{MINUTE, World};

/// Batches of up to `most` changes as they arrived, one after the other: a green one lands whole, a red one is split in
/// halves, of which each is tested again. A run takes as long as the longest build of its members.
pub fn batch(world: &World, most: usize) -> Outcome {
    let mut landed = Set::with_room(world.len());
    let mut outcome = Outcome::default();
    let (mut now, mut next) = (0, 0);
    while next < world.len() {
        now = now.max(world.arrivals[next]);
        let here = world.arrivals[next..].iter().take(most.max(1)).take_while(|at| **at <= now).count();
        let members: Vec<usize> = (next..next + here).collect();
        next += here;
        let mut parts = vec![members];
        while let Some(part) = parts.pop() {
            now += part.iter().map(|j| world.durations[*j]).max().unwrap_or(0);
            outcome.builds += 1;
            if is_green(world, &part, &landed) {
                landed = landed.or(&all_of(world, &part));
                outcome
                    .turnarounds
                    .extend(part.iter().map(|j| (now - world.arrivals[*j]) as f64 / MINUTE as f64));
                outcome.decided += part.len();
            } else if part.len() == 1 {
                outcome.decided += 1;
            } else {
                let (first, second) = part.split_at(part.len() / 2);
                parts.push(second.to_vec());
                parts.push(first.to_vec());
            }
        }
    }
    outcome.turnarounds.sort_by(f64::total_cmp);
    outcome
}

/// The same with a fleet of agents, whose runs may be told red though they are green (with a chance, and a seed). A member that does
/// not merge with what landed, or with those before it in its batch, fails without a run; a run takes as long as its last member's.
pub(crate) fn of_fleet(
    mut changes: Vec<Change>,
    most: usize,
    room: usize,
    (flake, seed): (f64, u64),
    mend: &mut Mend<'_>,
) -> Outcome {
    let mut flakes = stream(seed, Purpose::Flakes);
    let mut waiting: BinaryHeap<Reverse<(u64, usize)>> =
        changes.iter().enumerate().map(|(j, c)| Reverse((c.at, j))).collect();
    let mut landed = Set::with_room(room);
    let mut outcome = Outcome::default();
    let mut now = 0;
    while let Some(Reverse((at, _))) = waiting.peek() {
        now = now.max(*at);
        let (mut members, mut over) = (Vec::new(), Vec::new());
        let mut on = landed.clone();
        while members.len() < most.max(1) && waiting.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((_, j))) = waiting.pop() else { break };
            let merges = !changes[j].unmergeable.meets(&on);
            on.insert(j);
            if merges { members.push(j) } else { over.push(j) }
        }
        let mut parts = vec![members];
        while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
            now += part.last().map_or(0, |j| changes[*j].duration);
            outcome.builds += 1;
            let mut all = landed.clone();
            part.iter().for_each(|j| all.insert(*j));
            let green = part.iter().all(|j| changes[*j].good && !changes[*j].red_with.meets(&all));
            if green && !flakes.happens(flake) {
                landed = all;
                let minutes = |j: &usize| (now - changes[*j].first) as f64 / MINUTE as f64;
                outcome.turnarounds.extend(part.iter().map(minutes));
                outcome.decided += part.len();
            } else if part.len() == 1 {
                over.extend(part);
            } else {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second.to_vec(), first.to_vec()]);
            }
        }
        for j in over {
            outcome.decided += 1;
            if let Some(more) = mend(&changes[j], j, now).filter(|_| changes.len() < room) {
                waiting.push(Reverse((more.at, changes.len())));
                changes.push(more);
            }
        }
    }
    outcome.turnarounds.sort_by(f64::total_cmp);
    outcome
}

fn is_green(world: &World, part: &[usize], landed: &Set) -> bool {
    let all = landed.or(&all_of(world, part));
    part.iter().all(|j| world.passes(*j, &all))
}
