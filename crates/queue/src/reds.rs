//! Where requests have footings of their own: who is likely to be at fault for the runs that were red. Each red run
//! is held against all that were in it, by how likely each was to fail before (Bayes); several that have one request
//! in common point at it long before its own run has ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{BranchName, RequestId};

use crate::independent::LIKELY;
use crate::state::Queue;

/// Red runs that are remembered.
const RUNS_KEPT: usize = 64;
/// Who was tested on others may be red only together with one of them, and then it is the one that does not land.
const AGREES: f64 = 0.99;

/// The latest red run of a request, as long as it is not explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RedRun {
    of: RequestId,
    /// Those that were in it and can be at fault: itself, and who was never green nor has landed.
    among: Vec<RequestId>,
}

/// What `red`, oldest first, make of the chances that `before` tells.
fn weigh(red: &[RedRun], before: impl Fn(RequestId) -> f64) -> BTreeMap<RequestId, f64> {
    let mut odds: BTreeMap<RequestId, f64> = BTreeMap::new();
    for run in red {
        let mut all = 1.0;
        for id in &run.among {
            let p = odds.entry(*id).or_insert_with(|| before(*id));
            *p *= if *id == run.of { AGREES } else { 1.0 };
            all *= *p;
        }
        for id in &run.among {
            odds.entry(*id).and_modify(|p| *p = 1.0 - (1.0 - *p) / (1.0 - all).max(f64::EPSILON));
        }
    }
    odds
}

impl Queue {
    pub(crate) fn note_red(&mut self, name: &BranchName, of: RequestId, behind: &[RequestId]) {
        let open = |id: &RequestId| self.live.get(id).is_some_and(|r| !r.proved);
        let among = behind.iter().copied().filter(open).chain([of]).collect();
        let reds = &mut self.target(name).reds;
        reds.retain(|r| r.of != of);
        reds.push(RedRun { of, among });
        if reds.len() > RUNS_KEPT {
            reds.remove(0);
        }
        self.weigh_reds(name);
    }

    /// They were green, or have landed.
    pub(crate) fn clear_of_reds(&mut self, name: &BranchName, innocent: &[RequestId]) {
        let reds = &mut self.target(name).reds;
        if reds.is_empty() {
            return;
        }
        reds.iter_mut().for_each(|r| r.among.retain(|id| !innocent.contains(id)));
        reds.retain(|r| !r.among.is_empty());
        self.weigh_reds(name);
    }

    /// It has left: the red runs that it was in say nothing of the others.
    pub(crate) fn explain_reds(&mut self, name: &BranchName, gone: RequestId) {
        let reds = &mut self.target(name).reds;
        let known = reds.len();
        reds.retain(|r| !r.among.contains(&gone));
        if reds.len() != known {
            self.weigh_reds(name);
        }
    }

    /// It was red together with others, of whom one is likelier to be at fault.
    pub(crate) fn is_explained_by_others(&self, id: RequestId) -> bool {
        self.live.get(&id).is_some_and(|r| r.after_reds.is_some()) && self.odds(id) >= LIKELY
    }

    fn weigh_reds(&mut self, name: &BranchName) {
        let Some(target) = self.targets.get(name) else { return };
        let odds = weigh(&target.reds, |id| self.odds_before_reds(id));
        for id in &target.stack {
            if let Some(request) = self.live.get_mut(id) {
                request.after_reds = odds.get(id).map(|p| (p.clamp(0.0, 1.0) * 1_000.0).round() as u16);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn red(of: u64, among: &[u64]) -> RedRun {
        RedRun { of: RequestId(of), among: among.iter().copied().map(RequestId).collect() }
    }

    #[test]
    fn one_red_run_hardly_says_whose_fault_it_is_and_three_with_one_in_common_do() {
        let odds = weigh(&[red(4, &[1, 2, 3, 4])], |_| 0.99);
        assert!(odds.values().all(|p| *p > 0.55), "{odds:?}");
        let runs = [red(4, &[1, 2, 3, 4]), red(7, &[1, 5, 6, 7]), red(9, &[1, 8, 9])];
        let odds = weigh(&runs, |_| 0.99);
        assert!(odds[&RequestId(1)] < 0.1, "{odds:?}");
        assert!(odds.iter().all(|(id, p)| *id == RequestId(1) || *p > 0.55), "{odds:?}");
    }

    #[test]
    fn of_two_it_is_rather_the_upper_one() {
        let odds = weigh(&[red(2, &[1, 2])], |_| 0.97);
        assert!(odds[&RequestId(1)] > LIKELY && odds[&RequestId(2)] < LIKELY, "{odds:?}");
    }

    #[test]
    fn who_was_doubted_before_is_at_fault_and_who_is_left_alone_certainly() {
        let odds = weigh(&[red(3, &[1, 2, 3])], |id| if id == RequestId(3) { 0.4 } else { 0.99 });
        assert!(odds[&RequestId(3)] < 0.05 && odds[&RequestId(1)] > 0.9, "{odds:?}");
        assert!(weigh(&[red(3, &[3])], |_| 0.99)[&RequestId(3)] < 1e-9);
    }
}
