//! What becomes of a request: announced, placed, ended.

use std::collections::BTreeSet;

use yardmaster_protocol::{Blocker, BlockerKind, CommitId, Fact, Millis, RequestId};

use super::{End, Ledger, Record, Truth};
use crate::violation::Violation;

impl Ledger {
    /// What somebody announced, and what was found of it.
    pub(super) fn told_by_agents(&mut self, truth: &Truth, fact: &Fact) -> Result<(), Violation> {
        match fact {
            Fact::Announced { .. } => self.announced(fact),
            Fact::Refused { intake, .. }
            | Fact::Intended { intake, .. }
            | Fact::IntentWithdrawn { intake, .. }
            | Fact::GatePassed { intake, .. } => self.answer(*intake),
            Fact::Repeated { request, of } => {
                self.is_repetition(*request, *of)?;
                self.end(*request, End::Repeated)
            }
            Fact::Pinned { request, head, files, .. } => {
                self.is_no_repetition(truth, *request, *head)?;
                let record = self.live(*request)?;
                record.head = Some(*head);
                record.pinned = true;
                record.files = files.iter().cloned().collect();
                let intake = record.intake;
                self.answer(intake)
            }
            Fact::Amended { request, depends_on, .. } => {
                self.live(*request)?.announcement.depends_on.clone_from(depends_on);
                self.amended.insert(*request);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn announced(&mut self, fact: &Fact) -> Result<(), Violation> {
        let Fact::Announced { request, intake, target, announcement, published, .. } = fact else {
            return Ok(());
        };
        let record = Record {
            announcement: (**announcement).clone(),
            target: target.clone(),
            intake: *intake,
            head: announcement.commit,
            events: 0,
            end: None,
            told: false,
            pinned: false,
            files: BTreeSet::new(),
            commit: None,
            rollup: None,
            sent: *published,
            until: Millis(u64::MAX),
        };
        let before = self.requests.insert(*request, record);
        Violation::unless(before.is_none(), "an id is given once", || request.to_string())
    }

    /// Who has a place, and who waits for what.
    pub(super) fn placed(&mut self, truth: &Truth, fact: &Fact) -> Result<(), Violation> {
        match fact {
            Fact::Blocked { request, blockers } => {
                let apart = |b: &Blocker| {
                    use BlockerKind::{Dependency, Review, Scope, TargetRed};
                    matches!(b.kind, Dependency | TargetRed | Scope | Review)
                };
                if blockers.iter().any(apart) {
                    self.told_apart.insert(*request);
                    self.was_apart.extend(self.stacked.contains(request).then_some(*request));
                } else {
                    self.told_apart.remove(request);
                }
                Ok(())
            }
            Fact::Promoted { request, turn, place, needed_by, .. } => {
                self.is_movable(*request, *needed_by)?;
                self.turns.insert(*request, (u64::MAX - turn, *place));
                Ok(())
            }
            Fact::Displaced { request, by } => {
                self.gives_way(truth, *request, *by)?;
                self.stacked.retain(|r| r != request);
                self.displaced.insert(*request);
                Ok(())
            }
            Fact::Stacked { request, unit } => {
                self.units.extend(unit.map(|unit| (*request, unit)));
                self.is_let_in(*request)?;
                self.was_apart.extend(self.told_apart.get(request));
                self.stacked.push(*request);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// How a request ends.
    pub(super) fn ended(&mut self, truth: &Truth, fact: &Fact) -> Result<(), Violation> {
        match fact {
            Fact::Landed { .. } => self.landed(truth, fact),
            Fact::Failed { request, failure } => {
                self.just(truth, *request, failure)?;
                self.end_at(truth, *request);
                self.end(*request, End::Failed)
            }
            Fact::Withdrawn { request, intake, .. } => {
                let branch = self.live(*request)?.announcement.branch.clone();
                let meant = truth.withdrawn.contains(&branch);
                Violation::unless(meant, "only who takes back is withdrawn", || branch.to_string())?;
                self.answered.extend(*intake);
                self.end(*request, End::Withdrawn)
            }
            Fact::Superseded { request, by } => {
                self.is_newer(truth, *request, *by)?;
                self.end(*request, End::Superseded(*by))
            }
            _ => Ok(()),
        }
    }

    fn landed(&mut self, truth: &Truth, fact: &Fact) -> Result<(), Violation> {
        let Fact::Landed { request, commit, tree, rollup, .. } = fact else { return Ok(()) };
        if commit.is_some() {
            self.needs_have_landed(*request)?;
            self.is_tested_as_told(fact)?;
        }
        let record = self.live(*request)?;
        let (target, head) = (record.target.clone(), record.head);
        let shown = head.map(|h| truth.git.name(h)).unwrap_or_default();
        let on_target = |commit: CommitId| {
            truth.tips_had.get(&target).is_some_and(|t| t.iter().any(|t| truth.git.contains(*t, commit)))
        };
        if let Some(commit) = commit {
            Violation::unless(truth.git.tree(*commit) == *tree, "the told tree is the commit's", || {
                format!("{request} ({shown})")
            })?;
            Violation::unless(on_target(*commit), "landed means on the target", || {
                format!("{request} ({shown})")
            })?;
            let key = (target.clone(), head.unwrap_or(*commit));
            let earlier = self.landed_heads.insert(key, *request);
            Violation::unless(earlier.is_none() || truth.rewound, "no content lands twice", || {
                format!("{request} and {earlier:?} ({shown})")
            })?;
        }
        Violation::unless(
            head.is_some_and(on_target),
            "landed means that the head is on the target",
            || format!("{request} ({shown})"),
        )?;
        self.end_at(truth, *request);
        if let Some(record) = self.requests.get_mut(request) {
            (record.commit, record.rollup) = (*commit, *rollup);
        }
        self.end(*request, End::Landed)
    }

    fn end_at(&mut self, truth: &Truth, request: RequestId) {
        if let Some(record) = self.requests.get_mut(&request) {
            record.until = truth.now;
        }
    }
}
