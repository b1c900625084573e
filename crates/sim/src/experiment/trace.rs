use super::set::Set;
use super::world::World;

/// A change as the product meets it: announced by an agent, with files of its own.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// When it is announced, in milliseconds.
    pub(crate) at: u64,
    /// When its work was announced first: earlier, if it was sent back and mended.
    pub(crate) first: u64,
    /// How long a run of its candidate takes, in milliseconds.
    pub(crate) duration: u64,
    pub(crate) agent: usize,
    /// The chance that it passes, as its agent tells it; none: it tells nothing.
    pub(crate) confidence: Option<f64>,
    /// Sorted.
    pub(crate) files: Vec<String>,
    /// It passes on top of nothing.
    pub(crate) good: bool,
    /// Those that it is red together with, before and after it.
    pub(crate) red_with: Set,
    /// Those that it does not merge with, before and after it.
    pub(crate) unmergeable: Set,
}

/// The published world for the product: a believed edge is a file that exactly these two touch.
pub(crate) fn of_world(world: &World) -> Vec<Change> {
    let n = world.len();
    let mut files: Vec<Vec<String>> = (0..n).map(|j| vec![format!("own/{j}")]).collect();
    let mut red_with = world.real.clone();
    for j in 0..n {
        for i in world.believed[j].iter() {
            let shared = format!("edge/{i}-{j}");
            files[i].push(shared.clone());
            files[j].push(shared);
        }
        for i in world.real[j].iter() {
            red_with[i].insert(j);
        }
    }
    let changes = files.into_iter().zip(red_with).enumerate();
    let change = |(j, (mut files, red_with)): (usize, (Vec<String>, Set))| {
        files.sort_unstable();
        Change {
            at: world.arrivals[j],
            first: world.arrivals[j],
            duration: world.durations[j],
            agent: j % 40,
            confidence: Some(world.predicted[j]),
            files,
            good: world.good[j],
            red_with,
            unmergeable: Set::with_room(n),
        }
    };
    changes.map(change).collect()
}
