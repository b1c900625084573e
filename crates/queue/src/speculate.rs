//! Which candidates are worth a run: each run tests everything up to its place in the stack, so a few well chosen
//! ones can decide many requests. The next one is always the one that is likely to decide most, given those that
//! are under way; none is stopped for a better one.

use std::collections::{BTreeMap, BTreeSet};

use yardmaster_protocol::{BranchName, RequestId, TreeId};

use crate::policy::Policy;
use crate::state::{Queue, Target};
use crate::walk::{Place, Standing, Walk};

/// Gains below this are noise.
const LEAST_GAIN: f64 = 0.001;
/// More places are never looked at.
const MOST_PLACES: usize = 1_024;
/// Candidates that stand on things of their own and are merged though there is no room for their runs yet.
const MERGED_AHEAD: usize = 16;
/// A run that is more likely needed than not.
const LIKELY: f64 = 0.5;

/// What is known of everything up to one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Nothing,
    Running,
    Green,
    Red,
}

/// A place that others may stand on, as the choice sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    pub(crate) known: Known,
    /// The chance that this one passes if everything beneath it does.
    pub(crate) odds: f64,
    /// Not in the middle of what lands as one unit.
    pub(crate) ends: bool,
    /// May not share a run with others.
    pub(crate) alone: bool,
    /// Was red together with others: who was not shares no run with it.
    pub(crate) suspect: bool,
    /// May be chosen.
    pub(crate) free: bool,
}

/// The chance that everything up to each place passes, by what is known.
fn chances(spots: &[Spot]) -> Vec<f64> {
    let green = spots.iter().rposition(|s| s.known == Known::Green).map_or(0, |i| i + 1);
    let red = spots.iter().skip(green).position(|s| s.known == Known::Red).map(|i| green + i);
    let mut all = 1.0;
    let mut chances = vec![1.0; green];
    for spot in spots.iter().skip(green) {
        all *= spot.odds;
        chances.push(all);
    }
    if let Some(red) = red {
        // Somebody up to there is at fault: the more are left out, the likelier it is not among the rest.
        let every = chances.get(red).copied().unwrap_or(0.0);
        for (i, chance) in chances.iter_mut().enumerate().skip(green) {
            *chance = if i >= red { 0.0 } else { (*chance - every) / (1.0 - every).max(f64::EPSILON) };
        }
    }
    chances
}

/// The place whose run decides most, as far as can be foreseen.
pub(crate) fn best(spots: &[Spot], most: usize, least_chance: f64) -> Option<(f64, usize)> {
    let chances = chances(spots);
    let is_end = |s: &Spot| matches!(s.known, Known::Green | Known::Running);
    let mut above: Vec<f64> = vec![0.0; spots.len()];
    let mut next = 0.0;
    for (i, spot) in spots.iter().enumerate().rev() {
        above[i] = next;
        next = if is_end(spot) { chances[i] } else { next };
    }
    let mut found: Option<(f64, usize)> = None;
    let (mut below, mut from, mut lonely, mut units) = (1.0, 0, false, 0);
    for (i, spot) in spots.iter().enumerate() {
        let size = i + 1 - from;
        lonely |= spot.alone || spots.get(from).is_some_and(|first| first.suspect != spot.suspect);
        units += usize::from(spot.ends);
        let fits = spot.free && spot.ends && units <= most && (units == 1 || !lonely);
        if fits && spot.known == Known::Nothing && below >= least_chance {
            let landed = (chances[i] - above[i]) * size as f64;
            let told = if units == 1 { below - chances[i] } else { 0.0 };
            let gain = landed + told;
            if gain > LEAST_GAIN && found.is_none_or(|(best, _)| gain > best) {
                found = Some((gain, i));
            }
        }
        if is_end(spot) {
            (below, from, lonely, units) = (chances[i], i + 1, false, 0);
        }
    }
    found
}

impl Target {
    /// A run of this very tree is under way.
    pub(crate) fn is_running(&self, place: &Place, walk: &Walk) -> bool {
        let (Standing::Untested { tree, .. } | Standing::RedTogether { tree, .. }) = place.standing else {
            return false;
        };
        self.runs.values().any(|r| r.tree == tree && r.gate_id == walk.gate_id)
            || self.evidence.get(&place.request).is_some_and(|e| {
                e.behind == place.behind && e.gate == walk.gate_id && self.runs.contains_key(&e.run)
            })
    }
}

impl Queue {
    /// How many requests may share one run now.
    pub(crate) fn batch_max(&self, name: &BranchName, policy: &Policy) -> usize {
        let single = self.targets.get(name).is_none_or(|t| {
            t.one_at_a_time
                || t.stalled.is_some()
                || t.independence() != yardmaster_protocol::Independence::None
        });
        if single { 1 } else { policy.batch_max.max(1) as usize }
    }

    /// How many may have a place in the stack and carry others: enough for the runs there may be.
    pub(crate) fn places(&self, name: &BranchName, policy: &Policy) -> usize {
        let Some(target) = self.targets.get(name) else { return 1 };
        let window = target.window(policy) as usize;
        let most = self.batch_max(name, policy);
        if most == 1 {
            return window;
        }
        let worth = (2.0 / (1.0 - self.passing(name)).max(0.004)).ceil() as usize;
        worth.clamp(window, window.saturating_mul(most)).min(MOST_PLACES)
    }

    /// So many runs of requests there may be at a time.
    pub(crate) fn most_runs(&self, name: &BranchName, policy: &Policy) -> usize {
        let Some(target) = self.targets.get(name) else { return 0 };
        let window = target.window(policy) as usize;
        let apart = target.independence() != yardmaster_protocol::Independence::None;
        let batches = self.batch_max(name, policy) > 1;
        let slots = match policy.slots as usize {
            0 => window,
            slots if apart || batches => window.min(slots),
            _ => window,
        };
        // Only where a slot that stays empty keeps nobody from being decided.
        let gate = target.gate(policy).ok().filter(|_| batches);
        gate.and_then(|gate| target.pace.most(&gate.id())).map_or(slots, |most| slots.min(most))
    }

    /// So many more runs may be asked for now.
    pub(crate) fn room(&self, name: &BranchName, policy: &Policy) -> usize {
        let runs = self.targets.get(name).map(|t| t.runs.values().filter(|r| r.request.is_some()).count());
        self.most_runs(name, policy).saturating_sub(runs.unwrap_or(0))
    }

    /// Places whose runs are worth asking for now, best first.
    pub(crate) fn worth_testing(&self, name: &BranchName, walk: &Walk, policy: &Policy) -> Vec<Place> {
        let Some(target) = self.targets.get(name) else { return Vec::new() };
        let most = self.batch_max(name, policy);
        let apart = target.independence() != yardmaster_protocol::Independence::None;
        let mut room = self.room(name, policy);
        if apart {
            let wanted = self.wanted_apart(name, target, walk, policy);
            let merged = |p: &&Place| matches!(p.standing, Standing::Untested { .. });
            return wanted.into_iter().take(room).filter(merged).cloned().collect();
        }
        if room == 0 {
            return Vec::new();
        }
        let places = self.places(name, policy);
        let carrying: Vec<&Place> = walk
            .places
            .iter()
            .filter(|p| p.carries())
            .enumerate()
            .take_while(|(i, p)| (*i < places || p.mates_below > 0) && p.standing != Standing::Unassembled)
            .map(|(_, p)| p)
            .collect();
        let mut spots: Vec<Spot> = carrying.iter().map(|p| self.spot(target, walk, p)).collect();
        if target.one_at_a_time {
            // What is green above somebody untested does not spare that one its own run.
            let first = spots.iter().position(|s| s.known != Known::Green).unwrap_or(spots.len());
            spots.iter_mut().skip(first).filter(|s| s.known == Known::Green).for_each(|s| s.free = false);
            spots.iter_mut().skip(first).for_each(|s| {
                if s.known == Known::Green {
                    s.known = Known::Nothing;
                }
            });
        }
        let least = f64::from(policy.least_chance) / 1_000.0;
        let mut chosen = Vec::new();
        let mut variants = self.open_variants(name, walk, policy).into_iter().peekable();
        while room > 0 {
            let around = variants.peek().map_or(0.0, |(chance, _)| *chance);
            if let Some((_, next)) = best(&spots, most, least).filter(|(gain, _)| *gain >= around) {
                spots[next].known = Known::Running;
                chosen.extend(carrying.get(next).copied().cloned());
            } else if let Some((_, place)) = variants.next() {
                // One that is still to be merged keeps its slot.
                chosen.extend(place);
            } else {
                break;
            }
            room -= 1;
        }
        chosen
    }

    fn spot(&self, target: &Target, walk: &Walk, place: &Place) -> Spot {
        let known = match place.standing {
            Standing::Green { .. } => Known::Green,
            Standing::RedTogether { .. } => Known::Red,
            _ if target.is_running(place, walk) => Known::Running,
            _ => Known::Nothing,
        };
        let live = self.live.get(&place.request);
        let alone = live.is_some_and(|r| r.announcement.alone);
        let suspect = live.is_some_and(|r| r.suspicion.is_some());
        Spot { known, odds: self.odds(place.request), ends: place.ends_unit, alone, suspect, free: true }
    }

    /// Where requests do not stand on each other: those that are to be merged now, because they are to be tested next
    /// or could land.
    pub(crate) fn worth_merging_apart<'w>(
        &self,
        name: &BranchName,
        target: &Target,
        walk: &'w Walk,
        policy: &Policy,
    ) -> Vec<&'w Place> {
        let wanted = self.wanted_apart(name, target, walk, policy);
        let next = wanted.into_iter().take(self.room(name, policy) + MERGED_AHEAD);
        let open = |p: &&Place| p.standing == Standing::Unassembled;
        let known = walk.places.iter().filter(open);
        let known = known.filter(|p| target.by_evidence(p, &walk.gate_id).is_some());
        known.chain(next.filter(open)).filter(|p| target.lacks_a_merge(walk.tip, p)).collect()
    }

    /// Where requests do not stand on each other, each is worth as much as what it stands on is likely to pass.
    fn wanted_apart<'w>(
        &self,
        name: &BranchName,
        target: &Target,
        walk: &'w Walk,
        policy: &Policy,
    ) -> Vec<&'w Place> {
        let least = f64::from(policy.least_chance) / 1_000.0;
        let places = self.places(name, policy);
        let running: BTreeSet<TreeId> =
            target.runs.values().filter(|r| r.gate_id == walk.gate_id).map(|r| r.tree).collect();
        let carrying = walk.places.iter().filter(|p| p.carries()).enumerate();
        let carrying: Vec<&Place> =
            carrying.take_while(|(i, p)| *i < places || p.mates_below > 0).map(|(_, p)| p).collect();
        let odds: BTreeMap<RequestId, f64> =
            carrying.iter().map(|p| (p.request, self.odds(p.request))).collect();
        let mut worth: Vec<(f64, usize)> = Vec::new();
        for (i, place) in carrying.iter().enumerate() {
            let known = target.by_evidence(place, &walk.gate_id);
            let wanted = match place.standing {
                Standing::Untested { tree, .. } => {
                    !running.contains(&tree) && !matches!(known, Some(Standing::Untested { .. }))
                }
                Standing::Unassembled => known.is_none(),
                _ => false,
            };
            if !wanted {
                continue;
            }
            let chance: f64 = place.behind.iter().filter_map(|r| odds.get(r)).product();
            if chance >= least || place.behind.is_empty() {
                worth.push((chance, i));
            }
        }
        // Among those that are likely to be needed the oldest first, then by how likely.
        let rank = |chance: f64| if chance >= LIKELY { 1.0 } else { chance };
        worth.sort_by(|(a, i), (b, j)| rank(*b).total_cmp(&rank(*a)).then(i.cmp(j)));
        worth.into_iter().filter_map(|(_, i)| carrying.get(i).copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(odds: f64, count: usize) -> Vec<Spot> {
        vec![
            Spot { known: Known::Nothing, odds, ends: true, alone: false, suspect: false, free: true };
            count
        ]
    }

    fn chosen(spots: &mut [Spot], runs: usize, most: usize) -> Vec<usize> {
        let mut found = Vec::new();
        for _ in 0..runs {
            let Some((_, i)) = best(spots, most, 0.05) else { break };
            spots[i].known = Known::Running;
            found.push(i + 1);
        }
        found
    }

    #[test]
    fn without_batches_the_lowest_come_first() {
        assert_eq!(chosen(&mut open(0.9, 5), 9, 1), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn nothing_is_started_on_what_will_hardly_pass() {
        assert_eq!(chosen(&mut open(0.2, 9), 9, 1), [1, 2]);
    }

    #[test]
    fn one_run_decides_as_many_as_are_likely_to_pass_together() {
        assert_eq!(chosen(&mut open(0.95, 100), 1, 64), [19]);
        assert_eq!(chosen(&mut open(0.5, 100), 1, 64), [1]);
        assert_eq!(chosen(&mut open(0.95, 100), 1, 8), [8]);
        assert_eq!(chosen(&mut open(0.95, 3), 1, 8), [3]);
    }

    #[test]
    fn several_runs_share_the_stack_among_themselves() {
        let mut spots = open(0.95, 30);
        let mut ends = chosen(&mut spots, 8, 32);
        ends.sort_unstable();
        assert!(ends.windows(2).all(|w| w[1] - w[0] <= 12), "{ends:?}");
        assert_eq!(ends.last(), Some(&30), "{ends:?}");
    }

    #[test]
    fn what_is_red_together_is_halved_and_its_last_one_is_not_tried_again() {
        let mut spots = open(0.95, 8);
        spots[7].known = Known::Red;
        assert_eq!(chosen(&mut spots, 1, 8), [4]);
        let mut spots = open(0.95, 8);
        (spots[6].known, spots[7].known) = (Known::Green, Known::Red);
        assert_eq!(chosen(&mut spots, 3, 8), [0usize; 0]);
    }

    #[test]
    fn who_is_marked_alone_shares_no_run() {
        let mut spots = open(0.95, 9);
        spots[4].alone = true;
        let mut ends = chosen(&mut spots, 3, 9);
        ends.sort_unstable();
        assert_eq!(ends, [4, 5, 9]);
    }
}
