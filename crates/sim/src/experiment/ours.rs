use yardmaster_protocol::{BranchName, Gate, Independence, Project};
use yardmaster_queue::{GateRule, Policy};

use super::outcome::Outcome;
use super::product::{Site, live};
use super::random::{Purpose, stream};
use super::trace::of_world;
use super::world::World;

/// Our planner as it is in the product, in a published world; `declared`: the project says that changes without a common file
/// are independent.
///
/// # Panics
/// When the product's words for a branch or a project are not understood: a bug.
pub fn ours(world: &World, workers: usize, declared: bool) -> Outcome {
    let mut policy = policy();
    let slots = u32::try_from(workers).unwrap_or(u32::MAX);
    let window = u32::try_from(world.len()).unwrap_or(u32::MAX);
    (policy.slots, policy.window_min, policy.window_max) = (slots, window, window);
    let independence = if declared { Independence::Files } else { Independence::None };
    let project = Project { independence, ..Project::default() };
    let site = Site { policy, project, slots: workers, flake: 0.0, flakes: stream(0, Purpose::Flakes) };
    live(of_world(world), world.len(), site, &mut |_, _, _| None)
}

pub(crate) fn policy() -> Policy {
    let target = BranchName::new("main".to_owned()).unwrap_or_else(|e| panic!("main is a branch: {e}"));
    Policy { gate: GateRule::Fixed(Gate::command("gate")), ageing_ms: u64::MAX, ..Policy::new(target) }
}

#[cfg(test)]
mod tests {
    use super::ours;
    use crate::experiment::{Parameters, World};

    #[test]
    fn with_more_workers_than_are_ever_busy_it_goes_the_same() {
        let world = World::new(3, Parameters { changes: 80, ..Parameters::published(200) }.known(0.17, 0.97));
        let enough = ours(&world, 500, true);
        assert!(enough.peak > 20 && enough.peak < 80, "{}", enough.peak);
        assert_eq!(ours(&world, enough.peak + 1, true), enough);
        assert!(ours(&world, enough.peak / 2, true) != enough);
    }
}
