//! Whether a push waits a moment: for runs that are about to decide more, never longer than a push takes.

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{BranchName, Landing, Millis};

use crate::policy::Policy;
use crate::state::{Queue, Target};
use crate::walk::{Standing, Walk};

/// A push takes so long, in milliseconds, until one has been seen.
const FIRST_MS: u64 = 100;
/// A push that took longer counts as one of so long: it met an outage, or nobody was there.
const LONGEST_MS: u64 = 10_000;
/// A run is due once it has taken so many quarters of the time of the one that has just ended.
const QUARTERS: u64 = 5;

/// How long pushes take, from the decision until it is known that they arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pushes {
    /// When the one that is under way began.
    #[serde(default)]
    since: Option<Millis>,
    /// The latest ones, in milliseconds: each counts half as much as the next.
    #[serde(default)]
    ms: Option<u64>,
}

impl Pushes {
    pub(crate) fn started(&mut self, at: Millis) {
        self.since = Some(at);
    }

    pub(crate) fn landed(&mut self, at: Millis) {
        if let Some(since) = self.since.take() {
            let took = at.since(since).min(LONGEST_MS);
            self.ms = Some(self.ms.map_or(took, |ms| ms.midpoint(took)));
        }
    }

    pub(crate) fn given_up(&mut self) {
        self.since = None;
    }
}

impl Queue {
    /// Until when `landing` had better wait: a run above it is due within the time that a push takes, and is likely
    /// to decide at least as many as would wait. From the end of the run that decided it not longer than one push.
    pub(crate) fn more_is_due(
        &self,
        name: &BranchName,
        walk: &Walk,
        landing: &Landing,
        policy: &Policy,
        now: Millis,
    ) -> Option<Millis> {
        let target = self.targets.get(name).filter(|_| self.batch_max(name, policy) > 1)?;
        let verdict = target.verdicts.get(&(landing.tree, walk.gate_id.clone()))?;
        let took = verdict.at.since(verdict.asked?);
        let latest = Millis(verdict.at.0.saturating_add(target.pushes.ms.unwrap_or(FIRST_MS)));
        let (top, _) = landing.requests.last()?;
        let above = walk.places.iter().skip_while(|p| p.request != *top).skip(1);
        let mut until = None;
        let (mut more, mut chance) = (0_u32, 1.0);
        for place in above.filter(|p| p.carries()) {
            more += 1;
            chance *= self.odds(place.request);
            if chance * f64::from(more) < landing.requests.len() as f64 {
                continue;
            }
            let asked = target.asked_at(walk, &place.standing);
            let due = asked.map(|at| Millis(at.0.saturating_add(took.saturating_mul(QUARTERS) / 4)));
            until = until.max(due.filter(|due| *due <= latest && *due > now));
        }
        until
    }
}

impl Target {
    /// When the run of this candidate was asked for, if it is under way.
    fn asked_at(&self, walk: &Walk, standing: &Standing) -> Option<Millis> {
        let Standing::Untested { tree, .. } = standing else { return None };
        self.runs.values().find(|r| r.tree == *tree && r.gate_id == walk.gate_id)?.asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_that_met_an_outage_makes_nobody_wait_for_long() {
        let mut pushes = Pushes::default();
        pushes.started(Millis(1_000));
        pushes.landed(Millis(1_200));
        assert_eq!(pushes.ms, Some(200));
        pushes.started(Millis(2_000));
        pushes.landed(Millis(36_000_000));
        assert_eq!(pushes.ms, Some((200 + LONGEST_MS) / 2));
        pushes.started(Millis(36_000_000));
        pushes.given_up();
        pushes.landed(Millis(37_000_000));
        assert_eq!(pushes.ms, Some((200 + LONGEST_MS) / 2), "nothing was pushed");
    }
}
