use super::building::{Plan, Wish, Yard, live, number};
use super::outcome::Outcome;
use super::set::Set;
use super::world::World;

/// One by one where changes may conflict, side by side where they cannot (bors, in the words of the paper).
pub fn single_queue(world: &World, workers: usize) -> Outcome {
    live(world, workers, |yard| {
        let front = yard.pending.iter().filter(|j| yard.ahead(*j).next().is_none());
        let wish =
            |change: usize| Wish { change, key: yard.landed_keys[change], flipped: Vec::new(), value: 1.0 };
        Plan { likely: yard.landed.clone(), wishes: front.map(wish).take(yard.workers).collect() }
    })
}

/// Everybody on top of all that are ahead, as if they landed; when one fails, those above it begin again (Zuul).
pub fn optimistic(world: &World, workers: usize) -> Outcome {
    live(world, workers, |yard: &Yard<'_>| {
        let wish = |change: usize| {
            let key = yard.ahead(change).fold(yard.landed_keys[change], |key, i| key ^ number(i));
            Wish { change, key, flipped: Vec::new(), value: 1.0 }
        };
        let missing = |w: &Wish| !yard.finished.contains_key(&(w.change, w.key));
        let wishes = yard.pending.iter().map(wish).filter(missing).take(yard.workers).collect();
        Plan { likely: yard.landed.or(&yard.pending), wishes }
    })
}

/// These changes as a set.
pub(crate) fn all_of(world: &World, changes: &[usize]) -> Set {
    let mut set = Set::with_room(world.len());
    changes.iter().for_each(|i| set.insert(*i));
    set
}
