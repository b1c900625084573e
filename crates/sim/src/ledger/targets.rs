//! What is said of a target, not of one request.

use yardmaster_protocol::{BranchName, CommitId, Fact, RequestId};
use yardmaster_queue::Guarantee;

use super::{End, LONGEST_GATE, Ledger, Truth};
use crate::violation::Violation;

impl Ledger {
    /// What is said of a target, not of one request.
    pub(super) fn of_target(&mut self, truth: &Truth, fact: &Fact) -> Result<(), Violation> {
        match fact {
            Fact::TargetSeen { target, tip, project, .. } => {
                let before = self.tips.insert(target.clone(), *tip);
                let own = |from| self.landings.contains_key(&(target.clone(), from, *tip));
                if before != Some(*tip) && !before.is_some_and(own) {
                    *self.moves.entry(target.clone()).or_default() += 1;
                }
                self.projects.insert(target.clone(), project.clone().unwrap_or_default());
                Ok(())
            }
            Fact::TargetRed { target, commit, .. } => {
                self.was_red.insert(target.clone());
                let before = self.told_red.insert(target.clone(), *commit);
                Violation::unless(before != Some(*commit), "a red tip is told once", || target.to_string())?;
                self.tip_is(truth, target, *commit, false)
            }
            Fact::TargetGreen { target, commit } => {
                let before = self.told_red.remove(target);
                Violation::unless(before.is_some(), "green is told of what was red", || target.to_string())?;
                self.tip_is(truth, target, *commit, true)
            }
            Fact::LandingStarted { target, landing } => {
                let gate = self.gate(truth.policy, target);
                let based = self.tips.get(target) == Some(&landing.from);
                Violation::unless(based, "pushes start from the tip that is known", || {
                    format!("{landing:?}")
                })?;
                let frozen = self.frozen.contains(target);
                Violation::unless(!frozen, "nothing is pushed to a frozen target", || target.to_string())?;
                let mut barred =
                    landing.requests.iter().filter_map(|(r, _)| self.bar(truth, *r, landing.from));
                if let Some((rule, found)) = barred.next() {
                    return Err(Violation::new(rule, found));
                }
                let key = (target.clone(), landing.from, landing.to);
                if truth.policy.guarantee == Guarantee::EveryPush {
                    self.by_push.insert(key.clone());
                }
                self.landings.insert(key, gate);
                self.pushed_trees
                    .extend(landing.requests.iter().map(|(request, _)| (*request, landing.tree)));
                self.pushed.extend(landing.requests.iter().map(|(request, _)| (*request, false)));
                Ok(())
            }
            Fact::LandingEnded { target, .. } => {
                let requests = &self.requests;
                self.pushed.retain(|r, _| requests.get(r).is_some_and(|r| r.target != *target));
                Ok(())
            }
            Fact::FellOff { requests, .. } => {
                self.fell_off.extend(requests);
                self.pushed.values_mut().for_each(|late| *late = true);
                let landed = |r: &RequestId| self.requests.get(r).is_some_and(|r| r.end == Some(End::Landed));
                let all = requests.iter().all(landed);
                Violation::unless(all, "only what had landed falls off", || format!("{requests:?}"))
            }
            _ => Ok(()),
        }
    }

    /// What stands still, and how much may be under way.
    pub(super) fn held(&mut self, truth: &Truth, fact: &Fact) -> Result<(), Violation> {
        match fact {
            Fact::Frozen { target, .. } => {
                self.frozen.insert(target.clone());
                Ok(())
            }
            Fact::Unfrozen { target, .. } => {
                self.frozen.remove(target);
                Ok(())
            }
            Fact::Paused { target, except, .. } => {
                self.paused.insert(target.clone(), *except);
                Ok(())
            }
            Fact::Resumed { target, .. } => {
                self.paused.remove(target);
                Ok(())
            }
            Fact::Stalled { why, .. } => {
                let still = truth.now.0.saturating_sub(self.last_end);
                let rule = "nobody calls a stall what one gate may take";
                Violation::unless(still > LONGEST_GATE, rule, || why.clone())
            }
            Fact::WindowSet { window, .. } => Self::is_window(truth, *window),
            _ => Ok(()),
        }
    }

    fn tip_is(
        &self,
        truth: &Truth,
        target: &BranchName,
        tip: CommitId,
        green: bool,
    ) -> Result<(), Violation> {
        let gate = self.gate(truth.policy, target);
        let flaked = truth.flaked.contains(&truth.git.tree(tip));
        let so = flaked || truth.rules.is_green(&truth.git.files(tip), &gate) == green;
        Violation::unless(so, "what is told of a tip is so", || truth.git.name(tip))
    }
}
