use super::outcome::Outcome;
use super::peers::all_of;
use super::set::Set;
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

fn is_green(world: &World, part: &[usize], landed: &Set) -> bool {
    let all = landed.or(&all_of(world, part));
    part.iter().all(|j| world.passes(*j, &all))
}
