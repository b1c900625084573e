use yardmaster_protocol::{BranchName, Fact, Movement, RequestId, RunId, TargetView, TipHealth, TreeId};
use yardmaster_queue::{BaseRed, Cycles, Definitions, Overlap, Step};

use crate::daemon::Daemon;
use crate::git::Git;
use crate::ledger::{Asked, End, Ledger, Truth};
use crate::violation::Violation;
use crate::world::World;

/// Numbers in facts and views, held against the ledger.
impl Ledger {
    /// A run's attempt counts what was lost of its tree for its target; it stands within the window.
    pub(crate) fn is_asked_rightly(
        &self,
        truth: &Truth,
        fact: &Fact,
        asked: &Asked,
    ) -> Result<(), Violation> {
        let Fact::Testing { run, attempt, behind, .. } = fact else { return Ok(()) };
        let key = (asked.target.clone(), asked.tree, asked.gate.clone());
        let tries = self.tries.get(&key).copied().unwrap_or(0);
        Violation::unless(*attempt == tries + 1, "attempts are counted", || format!("{run}: {attempt}"))?;
        let most = truth.policy.window_max.max(truth.policy.window_min).max(1) as usize;
        let most = most * truth.policy.batch_max as usize + self.longest_unit(truth);
        // Who is being pushed keeps nobody from being tested.
        let open = behind.iter().filter(|r| !self.pushed.contains_key(r)).count();
        Violation::unless(open < most, "nothing above the window is tested", || run.to_string())
    }

    /// Who shares a file with somebody beneath it is not tested where the policy keeps such apart; but who waited
    /// apart for a better tip, or for another policy, comes back to its place beneath others.
    pub(crate) fn is_kept_apart(&self, truth: &Truth, asked: &Asked) -> Result<(), Violation> {
        let Some(request) = asked.request.filter(|_| truth.policy.overlap != Overlap::Textual) else {
            return Ok(());
        };
        let files = |r: &RequestId| self.requests.get(r).map(|r| &r.files);
        let shares = |r: &&RequestId| {
            files(r).zip(files(&request)).is_some_and(|(a, b)| a.intersection(b).next().is_some())
        };
        let came_back = self.reloads > 0 || self.was_red.contains(&asked.target);
        let came_back = |r: &RequestId| came_back || self.was_apart.contains(r);
        let is_mate = |r: &RequestId| self.units.get(r).is_some_and(|u| self.units.get(&request) == Some(u));
        let below = asked
            .behind
            .iter()
            .filter(|r| !is_mate(r))
            .find(shares)
            .filter(|r| !came_back(r) && !came_back(&request));
        Violation::unless(below.is_none(), "who shares a file is kept apart", || {
            format!("{request} is tested on top of {below:?}")
        })
    }

    /// Nor is who meets somebody beneath it at a definition, where that is enforced; but what lands as one unit gets
    /// its places as one.
    pub(crate) fn meets_nobody(&self, truth: &Truth, asked: &Asked) -> Result<(), Violation> {
        let enforced = truth.policy.definitions == Definitions::Enforce;
        let Some(request) = asked.request.filter(|_| enforced) else { return Ok(()) };
        let head = |r: &RequestId| self.requests.get(r).and_then(|r| r.head);
        let meets = |r: &&RequestId| head(r).zip(head(&request)).is_some_and(|(a, b)| Git::do_meet(a, b));
        let bundles = truth.policy.cycles == Cycles::Bundle;
        let needs = |r: &RequestId| self.requests.get(r).map(|r| &r.announcement.depends_on);
        let in_unit = |r: &RequestId| bundles && needs(r).is_some_and(|needs| !needs.is_empty());
        let came_back = self.reloads > 0 || self.was_red.contains(&asked.target);
        let came_back = |r: &RequestId| came_back || self.was_apart.contains(r) || in_unit(r);
        // Who is green and being pushed is as good as decided.
        let below = asked.behind.iter().filter(|r| !self.pushed.contains_key(r)).find(meets);
        let below = below.filter(|r| !came_back(r) && !came_back(&request));
        Violation::unless(below.is_none(), "who meets at a definition is kept apart", || {
            format!("{request} is tested on top of {below:?}")
        })
    }

    /// Nobody gets a place on a paused target but who claims to be urgent.
    pub(crate) fn is_let_in(&self, request: RequestId) -> Result<(), Violation> {
        let Some(record) = self.requests.get(&request) else { return Ok(()) };
        let closed = self
            .paused
            .get(&record.target)
            .is_some_and(|except| except.is_none_or(|least| record.announcement.class() > least));
        Violation::unless(!closed, "nothing new starts on a paused target", || request.to_string())
    }

    /// Only who was in a red run of several lets others pass.
    pub(crate) fn is_suspected_rightly(
        &mut self,
        run: &RunId,
        requests: &[RequestId],
        with: &[RequestId],
    ) -> Result<(), Violation> {
        let asked = self.runs.get(run).cloned();
        let in_it = |r: &RequestId| {
            asked
                .as_ref()
                .is_some_and(|a| a.request == Some(*r) || a.behind.contains(r) || self.was_in(a.tree, *r))
        };
        let red = asked.as_ref().is_some_and(|a| self.reds.contains(&(a.tree, a.gate.clone())));
        let fine = red && requests.len() > 1 && requests.iter().all(in_it);
        self.doubtful.extend(requests.iter().chain(with));
        let moved = |r: &RequestId| requests.contains(r) || with.contains(r);
        let (last, first): (Vec<_>, Vec<_>) = self.stacked.iter().copied().partition(moved);
        self.stacked = first.into_iter().chain(last).collect();
        Violation::unless(fine, "who was red together is set aside", || format!("{run}: {requests:?}"))
    }

    /// A unit is let in whole.
    fn longest_unit(&self, truth: &Truth) -> usize {
        if truth.policy.cycles == Cycles::Bundle { self.requests.len() } else { 0 }
    }

    /// Another head of the same change makes the same tree, and then what was said of it is said of that one, too.
    fn was_in(&self, tree: TreeId, request: RequestId) -> bool {
        self.in_tree.get(&tree).is_some_and(|members| members.contains(&request))
    }

    pub(crate) fn is_window(truth: &Truth, window: u32) -> Result<(), Violation> {
        let least = truth.policy.window_min.max(1);
        let fits = (least..=truth.policy.window_max.max(least)).contains(&window);
        Violation::unless(fits, "the window stays in its bounds", || window.to_string())
    }

    /// What is told of the gate behind a landing is what the run was.
    pub(crate) fn is_tested_as_told(&self, fact: &Fact) -> Result<(), Violation> {
        let Fact::Landed { request, commit: Some(commit), tree, gate, .. } = fact else { return Ok(()) };
        let Some(run) = &gate.run else { return Ok(()) };
        let holds = self.runs.get(run).is_some_and(|asked| {
            let own = asked.request == Some(*request) && asked.candidate == *commit;
            let took = self.took.get(run).copied().unwrap_or(0);
            let of_push = self.pushed_trees.get(request).is_some_and(|top| asked.tree == *top);
            (asked.tree == *tree || of_push)
                && gate.reused != own
                && (gate.seconds * 1_000.0).round() as u64 == took
        });
        Violation::unless(holds, "the evidence of a landing is its run's", || format!("{request}: {gate:?}"))
    }
}

/// What nobody may learn of only from the journal.
pub(crate) fn must_be_told(fact: &Fact, index: usize, step: &Step) -> Result<(), Violation> {
    let needs = match fact {
        Fact::TargetSeen { movement, .. } => matches!(movement, Movement::Rewound | Movement::Diverged),
        Fact::Frozen { .. }
        | Fact::Unfrozen { .. }
        | Fact::FellOff { .. }
        | Fact::RemoteLost { .. }
        | Fact::RemoteBack
        | Fact::TargetRed { .. }
        | Fact::TargetGreen { .. }
        | Fact::PressureSet { .. }
        | Fact::Promoted { .. }
        | Fact::Pinned { .. }
        | Fact::Testing { .. }
        | Fact::Refused { .. }
        | Fact::ReviewRefused { .. }
        | Fact::Landed { .. }
        | Fact::Failed { .. }
        | Fact::Withdrawn { .. }
        | Fact::Superseded { .. } => true,
        _ => false,
    };
    let told = step.events.iter().any(|e| usize::try_from(e.index) == Ok(index));
    Violation::unless(told || !needs, "what matters to others is told", || format!("{fact:?}"))
}

impl World {
    /// What the gate said of a tip is told and shown. Each target has verdicts of its own: only where there
    /// is one does the ledger know whose they are.
    fn tips_are_told(&self, daemon: &Daemon, targets: &[TargetView]) -> Result<(), Violation> {
        for view in targets.iter().filter(|_| targets.len() == 1) {
            let gate = self.ledger.gate(&daemon.policy, &view.target);
            let watched = daemon.policy.base_red != BaseRed::Ignore && !gate.steps.is_empty();
            let Some(tip) = view.tip.filter(|_| watched) else { continue };
            let key = (self.git.tree(tip), gate.id());
            let flaked = self.flaked.contains(&key.0);
            let (red, green) = (self.ledger.reds.contains(&key), self.ledger.greens.contains(&key));
            let told = self.ledger.told_red.get(&view.target) == Some(&tip);
            let so = if red != green && !flaked { told == red } else { true };
            Violation::unless(so, "what is known of a tip is told", || format!("{view:?}"))?;
            let shown = match view.tip_health {
                TipHealth::Red => red && view.tip_note.is_some(),
                TipHealth::Green => green,
                TipHealth::Testing => true,
                TipHealth::Unknown => flaked || !(red || green),
            };
            Violation::unless(shown, "what is known of a tip is shown", || format!("{view:?}"))?;
        }
        Ok(())
    }

    /// What people see of the queue is what is in it.
    pub(crate) fn views_are_so(&self, daemon: &Daemon) -> Result<(), Violation> {
        let view = daemon.queue.overview(self.clock(), &daemon.policy);
        let live: Vec<RequestId> =
            self.ledger.requests.iter().filter(|(_, r)| r.end.is_none()).map(|(id, _)| *id).collect();
        let mut shown: Vec<RequestId> = view.requests.iter().map(|row| row.request).collect();
        shown.sort_unstable();
        Violation::unless(shown == live, "the view shows what is pending", || {
            format!("{shown:?}, {live:?}")
        })?;
        Violation::unless(daemon.queue.pending() == live.len(), "pending is counted", || {
            format!("{live:?}")
        })?;
        let ended = |end| u64::try_from(self.ledger.requests.values().filter(|r| r.end == Some(end)).count());
        let totals = (ended(End::Landed).unwrap_or(0), ended(End::Failed).unwrap_or(0));
        Violation::unless(daemon.queue.totals() == totals, "ends are counted", || format!("{totals:?}"))?;
        for target in &daemon.policy.targets {
            self.order_is_so(target, &view.requests)?;
        }
        self.tips_are_told(daemon, &view.targets)?;
        for target in &view.targets {
            let pending = live.iter().filter_map(|id| self.ledger.requests.get(id));
            let count = pending.filter(|r| r.target == target.target).count();
            let same = u32::try_from(count) == Ok(target.pending);
            Violation::unless(same, "a target's pending ones are counted", || format!("{target:?}"))?;
        }
        Ok(())
    }

    fn order_is_so(
        &self,
        target: &BranchName,
        rows: &[yardmaster_protocol::RequestRow],
    ) -> Result<(), Violation> {
        let of = |id: &RequestId| self.ledger.requests.get(id).is_some_and(|r| r.target == *target);
        let places: Vec<u32> = rows.iter().filter(|r| of(&r.request)).filter_map(|r| r.position).collect();
        let counted = places.iter().copied().eq((1..).take(places.len()));
        Violation::unless(counted, "places are counted from one", || format!("{places:?}"))
    }
}
