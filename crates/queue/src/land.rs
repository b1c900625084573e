//! What may be pushed next: the green ones at the bottom, in order; and those that were tested together, beneath one
//! merge commit.

use yardmaster_protocol::{
    Assembly, BranchName, CommitId, Fact, Independence, Landing, Millis, RequestId, Rollup, TreeId,
};

use crate::policy::{Guarantee, Policy};
use crate::state::{Queue, Target};
use crate::step::Act;
use crate::walk::{Place, Standing, Walk};

/// Members whose line a batch's message has; all have their trailer.
const LINES: usize = 100;

/// A candidate that is ready, or beneath one that is.
#[derive(Clone, Copy)]
struct Made {
    request: RequestId,
    commit: CommitId,
    tree: TreeId,
}

fn made(place: &Place) -> Option<Made> {
    let (Standing::Green { commit, tree }
    | Standing::Untested { commit, tree }
    | Standing::RedTogether { commit, tree }) = place.standing
    else {
        return None;
    };
    Some(Made { request: place.request, commit, tree })
}

/// A batch, from the one above what lands by itself to the one that is tested for all.
struct Batch {
    base: CommitId,
    top: Made,
    members: Vec<Made>,
}

/// The stack as far as it could land; while a batch is being pushed, what will be above its merge commit.
struct Line<'a> {
    base: CommitId,
    places: Vec<(&'a Place, Made)>,
    /// So many land by themselves.
    single: usize,
    /// Somebody directly above those is decided as soon as they have landed.
    waits: bool,
}

impl Queue {
    fn line<'a>(target: &Target, walk: &'a Walk) -> Line<'a> {
        let batch = target.landing_batch();
        let goes = |p: &Place| p.is_apart() || (batch.is_some() && target.is_landing(p.request));
        let in_order: Vec<&Place> = walk.places.iter().filter(|p| !goes(p)).collect();
        let alone =
            |p: &&&Place| matches!(p.standing, Standing::Green { .. }) && p.ends_unit && p.mates_below == 0;
        let single = in_order.iter().take_while(alone).count();
        let waits = in_order.get(single).is_some_and(|p| !p.carries());
        let base = batch.map_or(walk.tip, |landing| landing.to);
        let mut top = base;
        let made = |place: &'a Place| {
            let made = if batch.is_some() { target.made_anew(top, place) } else { made(place) }?;
            top = made.commit;
            Some((place, made))
        };
        let places: Vec<_> = in_order.into_iter().filter(|p| p.carries()).map_while(made).collect();
        Line { base, single: single.min(places.len()), places, waits }
    }

    /// What lands together above what lands by itself, and whether it is green: up to the highest green one, which
    /// decides all beneath it; where there is none, the lowest that is being tested. Nobody who is marked `alone` is
    /// among them.
    fn batch(
        &self,
        name: &BranchName,
        walk: &Walk,
        line: &Line<'_>,
        policy: &Policy,
    ) -> Option<(Batch, bool)> {
        let target = self.targets.get(name)?;
        let above = line.places.get(line.single..).filter(|_| !line.waits)?;
        let is_alone = |id| self.live.get(&id).is_some_and(|r| r.announcement.alone);
        let together = above.iter().take_while(|(p, _)| !is_alone(p.request)).count();
        let above = above.get(..together)?;
        let is_green = |(p, _): &(&Place, Made)| p.ends_unit && matches!(p.standing, Standing::Green { .. });
        let is_decided = |(p, _): &(&Place, Made)| p.ends_unit && target.is_decided(p, walk);
        let shared = self.batch_max(name, policy) > 1;
        let end = if target.one_at_a_time {
            // Only those that land as one unit.
            above.iter().position(|(p, _)| p.ends_unit).filter(|i| above.get(*i).is_some_and(is_decided))
        } else {
            let highest = if shared { above.iter().rposition(is_green) } else { None };
            highest.or_else(|| above.iter().position(is_decided))
        }?;
        let members: Vec<Made> = above.get(..=end)?.iter().map(|(_, m)| *m).collect();
        if members.len() < 2 {
            return None;
        }
        let below = line.single.checked_sub(1).and_then(|i| Some(line.places.get(i)?.1.commit));
        let (top, _) = above.get(end).map(|(p, m)| (*m, p))?;
        let green = matches!(above.get(end)?.0.standing, Standing::Green { .. });
        Some((Batch { base: below.unwrap_or(line.base), top, members }, green))
    }

    /// The merge commit that the lowest batch will need, as long as it is not known.
    pub(crate) fn rollup_to_make(&self, name: &BranchName, walk: &Walk, policy: &Policy) -> Option<Rollup> {
        let target = self.targets.get(name)?;
        if policy.guarantee == Guarantee::EveryPush {
            return None;
        }
        let line = Self::line(target, walk);
        let (batch, _) = self.batch(name, walk, &line, policy)?;
        let known = target.rollups.contains_key(&(batch.base, batch.top.commit));
        (!known).then(|| self.rollup(&batch))
    }

    fn rollup(&self, batch: &Batch) -> Rollup {
        let mut lines = String::new();
        let mut trailers = String::new();
        let mut at = Millis::default();
        for (i, member) in batch.members.iter().enumerate() {
            let Some(live) = self.live.get(&member.request) else { continue };
            let a = &live.announcement;
            if i < LINES {
                lines.push_str(&format!("- {} from {} ({})\n", a.requirement, a.agent, member.request));
            }
            trailers.push_str(&format!("Request-Id: {}\n", member.request));
            at = at.max(live.published);
        }
        let count = batch.members.len();
        Rollup {
            base: batch.base,
            top: batch.top.commit,
            members: u32::try_from(count).unwrap_or(u32::MAX),
            message: format!("Merge {count} requests, tested together\n\n{lines}\n{trailers}"),
            at,
        }
    }

    /// The next push.
    fn to_land(&self, name: &BranchName, walk: &Walk, policy: &Policy) -> Option<Landing> {
        let target = self.targets.get(name)?;
        if target.independence() != Independence::None {
            return landing(walk.tip, &chain(target, walk));
        }
        let line = Self::line(target, walk);
        if policy.guarantee == Guarantee::EveryPush {
            // No merge commit is made for those that land together.
            let green = |(p, _): &(&Place, Made)| p.ends_unit && matches!(p.standing, Standing::Green { .. });
            let top = if target.one_at_a_time {
                let first = line.places.iter().position(|(p, _)| p.ends_unit);
                first.filter(|i| line.places.get(*i).is_some_and(green))
            } else {
                line.places.iter().rposition(green)
            };
            return landing(walk.tip, line.places.get(..=top?)?);
        }
        let single = if target.one_at_a_time { line.single.min(1) } else { line.single };
        let alone = line.places.get(..single)?;
        let is_whole = single == line.single && !(target.one_at_a_time && single > 0);
        let batch =
            self.batch(name, walk, &line, policy).filter(|(_, green)| *green && is_whole).map(|(b, _)| b);
        let Some(batch) = batch else { return landing(walk.tip, alone) };
        // Its merge commit is being made: a push of those beneath alone would take longer.
        let to = *target.rollups.get(&(batch.base, batch.top.commit))?;
        let all = line.places.get(..single + batch.members.len())?;
        let rollup = Some(self.rollup(&batch));
        Some(Landing { to, tree: batch.top.tree, rollup, ..landing(walk.tip, all)? })
    }
}

impl Target {
    /// The batch that is being pushed.
    fn landing_batch(&self) -> Option<&Landing> {
        self.landing.as_ref().filter(|landing| landing.rollup.is_some())
    }

    fn made_anew(&self, base: CommitId, place: &Place) -> Option<Made> {
        let (commit, tree) = self.assemblies.get(&(base, place.request))?.candidate()?;
        Some(Made { request: place.request, commit, tree })
    }

    /// What is to be merged anew above the merge commit of a batch while that is being pushed, and on what: so that
    /// nobody has to wait for it afterwards.
    pub(crate) fn to_make_anew(&self, walk: &Walk) -> Option<(CommitId, Vec<RequestId>)> {
        let mut top = self.landing_batch()?.to;
        let mut missing = Vec::new();
        let stays = |p: &&Place| p.carries() && !self.is_landing(p.request);
        for place in walk.places.iter().filter(stays) {
            match self.assemblies.get(&(top, place.request)) {
                Some(known) if missing.is_empty() => {
                    top = known.candidate().map_or(top, |(commit, _)| commit);
                }
                _ => missing.push(place.request),
            }
        }
        (!missing.is_empty()).then_some((top, missing))
    }
}

/// Where requests need not stand on each other: the first that stands on nobody undecided, and those that stand on
/// exactly that. Whoever else is ready is taken over to the new tip and lands next.
fn chain<'w>(target: &Target, walk: &'w Walk) -> Vec<(&'w Place, Made)> {
    let (mut base, mut chain) = (walk.tip, Vec::new());
    let green = |p: &&Place| !p.is_apart() && matches!(p.standing, Standing::Green { .. });
    for place in walk.places.iter().filter(green) {
        let on_all = place.behind.iter().eq(chain.iter().map(|(p, _): &(&Place, Made)| &p.request));
        let is_merged = |made: &Made| match target.assemblies.get(&(base, place.request)) {
            Some(Assembly::Clean { commit, .. }) => *commit == made.commit,
            _ => false,
        };
        if let Some(made) = made(place).filter(|made| on_all && is_merged(made)) {
            base = made.commit;
            chain.push((place, made));
        }
    }
    chain
}

fn landing(from: CommitId, places: &[(&Place, Made)]) -> Option<Landing> {
    let (_, top) = places.last()?;
    Some(Landing {
        from,
        to: top.commit,
        tree: top.tree,
        requests: places.iter().map(|(_, m)| (m.request, m.commit)).collect(),
        trees: places.iter().map(|(_, m)| m.tree).collect(),
        rollup: None,
    })
}

impl Act<'_> {
    /// Decides on the next push.
    pub(crate) fn start_landing(&mut self, name: &BranchName) {
        self.queue.index.pushed_at.remove(name);
        let Some(target) = self.queue.targets.get(name) else { return };
        if target.landing.is_some() || target.frozen.is_some() || self.queue.remote_lost.is_some() {
            return;
        }
        let Some(walk) = self.walk(name) else { return };
        let Some(landing) = self.queue.to_land(name, &walk, self.policy) else { return };
        if landing.to == walk.tip {
            for (request, commit) in landing.requests {
                self.land(name, request, commit, walk.tip);
            }
            return;
        }
        let due = |now| self.queue.more_is_due(name, &walk, &landing, self.policy, now);
        if let Some(until) = self.clock().and_then(due) {
            self.queue.index.pushed_at.insert(name.clone(), until);
            return;
        }
        self.emit(Fact::LandingStarted { target: name.clone(), landing });
    }

    pub(crate) fn rolled_up(&mut self, name: &BranchName, base: CommitId, top: CommitId, commit: CommitId) {
        let known = self.queue.targets.get(name).is_none_or(|t| t.rollups.contains_key(&(base, top)));
        if !known {
            self.emit(Fact::RolledUp { target: name.clone(), base, top, commit });
        }
    }
}
