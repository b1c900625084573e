use std::collections::{BTreeMap, BTreeSet};

use crate::rng::mix;

use super::outcome::Outcome;
use super::set::Set;
use super::world::{MINUTE, World};

/// A build that is wanted: of a change, on top of what is likely to land and what it may conflict with, but for those outcomes
/// that are `flipped`. Others make no difference to it.
pub(crate) struct Wish {
    pub(crate) change: usize,
    /// Says the same of two builds of a change that are the same.
    pub(crate) key: u64,
    pub(crate) flipped: Vec<usize>,
    /// How likely it is to be needed.
    pub(crate) value: f64,
}

/// What a policy wants now.
pub(crate) struct Plan {
    /// Those that landed, and those that are taken to land.
    pub(crate) likely: Set,
    /// At most one for each worker; whatever else runs is aborted.
    pub(crate) wishes: Vec<Wish>,
}

/// A change, and a key of what it is built on.
pub(crate) type Build = (usize, u64);

/// A number for each change; the key of a set is all of its numbers by exclusive or.
pub(crate) fn number(change: usize) -> u64 {
    mix(change as u64 ^ 0x6a09_e667_f3bc_c908)
}

/// How far a change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Ahead,
    Pending,
    Landed,
    Failed,
}

/// One policy at work in one world: which builds run is its choice, what they mean is not.
pub(crate) struct Yard<'a> {
    pub(crate) world: &'a World,
    pub(crate) workers: usize,
    pub(crate) stage: Vec<Stage>,
    pub(crate) landed: Set,
    /// Pending ones.
    pub(crate) pending: Set,
    /// Of what has landed and each may conflict with.
    pub(crate) landed_keys: Vec<u64>,
    pub(crate) finished: BTreeMap<Build, bool>,
    /// When it ends, and how; and what it is built on.
    pub(crate) running: BTreeMap<Build, (u64, bool, Set)>,
    aborted: BTreeSet<Build>,
    decided_at: Vec<u64>,
    outcome: Outcome,
}

/// Lives through a world until everything is decided.
pub(crate) fn live(world: &World, workers: usize, mut plan: impl FnMut(&Yard<'_>) -> Plan) -> Outcome {
    let n = world.len();
    let mut yard = Yard {
        world,
        workers,
        stage: vec![Stage::Ahead; n],
        landed: Set::with_room(n),
        pending: Set::with_room(n),
        landed_keys: vec![0; n],
        finished: BTreeMap::new(),
        running: BTreeMap::new(),
        aborted: BTreeSet::new(),
        decided_at: vec![0; n],
        outcome: Outcome::default(),
    };
    let mut next = 0;
    loop {
        let arrival = world.arrivals.get(next).copied();
        let end = yard.running.values().map(|(end, _, _)| *end).min();
        let Some(now) = arrival.into_iter().chain(end).min() else { break };
        while world.arrivals.get(next).is_some_and(|at| *at <= now) {
            yard.stage[next] = Stage::Pending;
            yard.pending.insert(next);
            next += 1;
        }
        yard.finish(now);
        yard.decide(now);
        let plan = plan(&yard);
        yard.match_builds(now, plan);
    }
    yard.told()
}

impl Yard<'_> {
    /// Those ahead of `change` that it has to wait for.
    pub(crate) fn ahead(&self, change: usize) -> impl Iterator<Item = usize> + '_ {
        self.world.believed[change].iter_and(&self.pending)
    }

    fn finish(&mut self, now: u64) {
        let over: Vec<Build> =
            self.running.iter().filter(|(_, (end, _, _))| *end <= now).map(|(b, _)| *b).collect();
        for build in over {
            self.finished.extend(self.running.remove(&build).map(|(_, passes, _)| (build, passes)));
        }
    }

    /// Whoever has nothing undecided ahead of it, and a build on exactly what has landed, is decided.
    fn decide(&mut self, now: u64) {
        let pending: Vec<usize> = self.pending.iter().collect();
        for j in pending {
            let passes = self.finished.get(&(j, self.landed_keys[j])).copied();
            if let Some(passes) = passes.filter(|_| self.ahead(j).next().is_none()) {
                self.settle(j, passes, now);
            }
        }
    }

    fn settle(&mut self, change: usize, passes: bool, now: u64) {
        self.pending.remove(change);
        self.decided_at[change] = now;
        self.stage[change] = if passes { Stage::Landed } else { Stage::Failed };
        if passes {
            let breaks = !self.world.passes(change, &self.landed);
            self.outcome.violations += usize::from(breaks);
            self.landed.insert(change);
            for (j, key) in self.landed_keys.iter_mut().enumerate().skip(change + 1) {
                *key ^= if self.world.believed[j].contains(change) { number(change) } else { 0 };
            }
        }
    }

    fn match_builds(&mut self, now: u64, plan: Plan) {
        let mut wanted: BTreeMap<Build, Vec<usize>> = BTreeMap::new();
        let missing = plan.wishes.into_iter().filter(|w| !self.finished.contains_key(&(w.change, w.key)));
        wanted.extend(missing.map(|w| ((w.change, w.key), w.flipped)));
        assert!(wanted.len() <= self.workers, "more builds than workers");
        let gone: Vec<Build> = self.running.keys().filter(|b| !wanted.contains_key(*b)).copied().collect();
        for build in gone {
            self.running.remove(&build);
            self.outcome.aborted += 1;
            self.aborted.insert(build);
        }
        for (build, flipped) in wanted {
            if !self.running.contains_key(&build) {
                self.outcome.builds += 1;
                self.outcome.repeated += usize::from(self.aborted.contains(&build));
                let mut on = self.world.believed[build.0].and(&plan.likely);
                flipped.into_iter().for_each(|i| on.flip(i));
                let passes = self.world.passes(build.0, &on);
                self.running.insert(build, (now + self.world.durations[build.0], passes, on));
            }
        }
    }

    fn told(mut self) -> Outcome {
        let landed = (0..self.world.len()).filter(|j| self.stage[*j] == Stage::Landed);
        let minutes = |j: usize| (self.decided_at[j] - self.world.arrivals[j]) as f64 / MINUTE as f64;
        self.outcome.turnarounds = landed.map(minutes).collect();
        self.outcome.turnarounds.sort_by(f64::total_cmp);
        self.outcome.decided =
            self.stage.iter().filter(|s| matches!(s, Stage::Landed | Stage::Failed)).count();
        self.outcome
    }
}
