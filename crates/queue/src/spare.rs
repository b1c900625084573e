//! What slots are used for that nothing in the stack needs: where some are likely to be at fault, those above them
//! are tested without them, too, so that it shows at once who is, and not one after the other.

use std::collections::BTreeSet;

use yardmaster_protocol::{BranchName, CommitId, RequestId, TreeId};

use crate::policy::Policy;
use crate::state::{Queue, Target};
use crate::walk::{Place, Standing, Walk};

/// Who is likelier than that to pass is not tested around.
const DOUBTFUL: f64 = 0.8;
/// So many are looked at together, from the lowest doubtful one on: of each all combinations beneath it.
const MOST: usize = 6;
/// Less likely ones are not worth a slot, even where it is free.
const LEAST_CHANCE: f64 = 0.1;
/// A run under way that is less likely to be needed is stopped.
const LEAST_KEPT: f64 = 0.02;

/// A candidate that the stack will have if some of those beneath it turn out to be at fault.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Variant {
    request: RequestId,
    /// From 0 to 1.
    chance: f64,
    /// What it stands on, as far as that is merged.
    base: CommitId,
    behind: Vec<RequestId>,
    /// What is left to be merged on `base`, in order, itself last; nothing where it is known.
    to_merge: Vec<RequestId>,
    made: Option<(CommitId, TreeId)>,
}

impl Variant {
    pub(crate) fn is(&self, tree: TreeId) -> bool {
        self.made.is_some_and(|(_, own)| own == tree)
    }
}

/// Those that are looked at.
struct Pool<'a> {
    lowest: &'a Place,
    places: Vec<&'a Place>,
    /// That all those beneath pass.
    chance: f64,
}

impl Queue {
    /// Of those within the window: while others are pushed the stack can be longer.
    fn pool<'a>(&self, name: &BranchName, walk: &'a Walk, policy: &Policy) -> Option<Pool<'a>> {
        let carrying = walk.places.iter().enumerate().filter(|(_, p)| p.carries());
        let end = carrying.map(|(i, _)| i).nth(self.places(name, policy)).unwrap_or(walk.places.len());
        let places = walk.places.get(..end)?;
        let is_open = |p: &Place| p.carries() && !matches!(p.standing, Standing::Green { .. });
        let first = places.iter().position(|p| is_open(p) && self.odds(p.request) < DOUBTFUL)?;
        let (beneath, rest) = places.split_at_checked(first)?;
        let is_single = |p: &&Place| p.ends_unit && p.mates_below == 0 && p.standing != Standing::Unassembled;
        let places: Vec<&Place> = rest
            .iter()
            .take_while(is_single)
            .filter(|p| p.carries() || matches!(p.standing, Standing::Red { .. }))
            .take(MOST)
            .collect();
        let decided = beneath.iter().rposition(|p| matches!(p.standing, Standing::Green { .. }));
        let open = beneath.get(decided.map_or(0, |i| i + 1)..).unwrap_or_default();
        let chance = open.iter().filter(|p| p.carries()).map(|p| self.odds(p.request)).product();
        Some(Pool { lowest: places.first()?, places, chance })
    }

    /// All that are likely enough, likeliest first.
    pub(crate) fn variants(&self, name: &BranchName, walk: &Walk, policy: &Policy) -> Vec<Variant> {
        let Some(target) = self.targets.get(name) else { return Vec::new() };
        if self.batch_max(name, policy) == 1 || target.one_at_a_time {
            return Vec::new();
        }
        let Some(pool) = self.pool(name, walk, policy) else { return Vec::new() };
        let mut found = Vec::new();
        for (i, place) in pool.places.iter().enumerate() {
            let beneath: Vec<RequestId> =
                pool.places.iter().take(i).filter(|p| p.carries()).map(|p| p.request).collect();
            for without in 1..1_usize << beneath.len() {
                let (stack, chance) = self.leaving_out(&beneath, without, place.request);
                let chance = pool.chance * chance;
                if chance >= LEAST_KEPT && !stack.is_empty() {
                    found.extend(target.variant(pool.lowest, &stack, chance));
                }
            }
        }
        found.sort_by(|a, b| b.chance.total_cmp(&a.chance));
        found
    }

    /// `beneath` but for those whose bit is set, and `request` on top; empty where one of them needs who is left
    /// out. And the chance that just those pass.
    fn leaving_out(
        &self,
        beneath: &[RequestId],
        left_out: usize,
        request: RequestId,
    ) -> (Vec<RequestId>, f64) {
        let (mut stack, mut gone, mut chance) = (Vec::new(), BTreeSet::new(), 1.0);
        for (bit, id) in beneath.iter().enumerate() {
            if left_out >> bit & 1 == 1 {
                chance *= 1.0 - self.odds(*id);
                gone.insert(*id);
            } else {
                chance *= self.odds(*id);
                stack.push(*id);
            }
        }
        stack.push(request);
        if stack.iter().any(|id| !self.pending_needs(*id).is_disjoint(&gone)) {
            stack.clear();
        }
        (stack, chance)
    }

    /// Those whose runs are worth asking for, likeliest first; one that is not merged yet has no place.
    pub(crate) fn open_variants(
        &self,
        name: &BranchName,
        walk: &Walk,
        policy: &Policy,
    ) -> Vec<(f64, Option<Place>)> {
        let Some(target) = self.targets.get(name) else { return Vec::new() };
        let is_open = |tree: TreeId| {
            !target.verdicts.contains_key(&(tree, walk.gate_id.clone()))
                && !target.runs.values().any(|r| r.tree == tree && r.gate_id == walk.gate_id)
        };
        let worth = |v: &Variant| v.chance >= LEAST_CHANCE && v.made.is_none_or(|(_, tree)| is_open(tree));
        let open = self.variants(name, walk, policy).into_iter().filter(worth);
        open.map(|v| {
            let place = v.made.map(|(commit, tree)| {
                let standing = Standing::Untested { commit, tree };
                let (request, base, behind) = (v.request, v.base, v.behind);
                Place { request, base, behind, standing, mates_below: 0, ends_unit: true }
            });
            (v.chance, place)
        })
        .collect()
    }

    /// What is to be merged for them: the base, and in order who on top of it.
    pub(crate) fn spare_merges(
        &self,
        name: &BranchName,
        walk: &Walk,
        policy: &Policy,
    ) -> Vec<(CommitId, Vec<RequestId>)> {
        let worth = |v: &Variant| v.chance >= LEAST_CHANCE && !v.to_merge.is_empty();
        let merges = self.variants(name, walk, policy).into_iter().filter(worth);
        merges.take(self.most_runs(name, policy)).map(|v| (v.base, v.to_merge)).collect()
    }
}

impl Target {
    /// `stack` on what the lowest one stands on; none where it is known not to merge.
    fn variant(&self, lowest: &Place, stack: &[RequestId], chance: f64) -> Option<Variant> {
        let (request, beneath) = stack.split_last()?;
        let (mut base, mut behind) = (lowest.base, lowest.behind.clone());
        let mut to_merge = Vec::new();
        let mut made = None;
        for id in stack {
            match self.assemblies.get(&(base, *id)) {
                _ if !to_merge.is_empty() => to_merge.push(*id),
                None => to_merge.push(*id),
                Some(assembly) if id == request => made = Some(assembly.candidate()?),
                Some(assembly) => base = assembly.candidate()?.0,
            }
        }
        behind.extend(beneath);
        Some(Variant { request: *request, chance, base, behind, to_merge, made })
    }
}
