use std::collections::BTreeSet;

use yardmaster_protocol::{BranchName, CommitId, LandOutcome, Landing, Project, Rollup, Sighting};
use yardmaster_queue::Input;

use crate::fault::Fault;
use crate::gate::project;
use crate::hands::BACKOFF;
use crate::remote::Pushed;
use crate::violation::Violation;
use crate::world::{Happening, LOOK_EVERY, Own, World};

impl World {
    pub(crate) fn push(&mut self, target: BranchName, landing: Landing) {
        let free = self.daemons.get_mut(&self.acting).is_some_and(|d| d.busy.insert(target.clone()));
        if !free || self.hit(Fault::BeforePush) {
            return;
        }
        let (ms, epoch) = (self.rng.range(20, 1_500), self.acting);
        self.after(ms, Happening::PushArrives { epoch, target, landing });
        self.hit(Fault::MidPush);
    }

    /// The moment at which the remote takes a push, or does not. The git that pushes may outlive the
    /// daemon that started it, or go on while it sleeps.
    pub(crate) fn push_arrives(
        &mut self,
        epoch: u32,
        target: BranchName,
        landing: Landing,
    ) -> Result<(), Violation> {
        self.acting = epoch;
        let known = self.daemons.get(&epoch).map(|d| (d.position, d.wakes_at));
        let gone = known.is_none_or(|(position, _)| position < self.journal.len());
        if gone && (self.rewound || (known.is_none() && self.rng.chance(50))) {
            if known.is_some() {
                self.own(0, Own::PushReturns { target, landing, pushed: Some(Pushed::Moved) });
            }
            return Ok(());
        }
        if let Some((_, wakes_at)) = known.filter(|(_, at)| *at > self.now && self.rng.chance(50)) {
            self.after(wakes_at - self.now, Happening::PushArrives { epoch, target, landing });
            return Ok(());
        }
        let asked = self.ledger.landings.contains_key(&(target.clone(), landing.from, landing.to));
        Violation::unless(asked, "nothing is pushed before the journal says so", || format!("{landing:?}"))?;
        let lost_before = self.unlucky(5, Fault::PushLost);
        let lost_after = self.unlucky(8, Fault::PushUnheard);
        let mut pushed = None;
        if !self.remote.silent && !lost_before {
            let outcome = self.remote_takes(&target, &landing, gone)?;
            pushed = (!lost_after).then_some(outcome);
        }
        let ms = self.rng.range(5, 800);
        self.own(ms, Own::PushReturns { target, landing, pushed });
        Ok(())
    }

    fn remote_takes(
        &mut self,
        target: &BranchName,
        landing: &Landing,
        gone: bool,
    ) -> Result<Pushed, Violation> {
        let before = self.remote.branches.get(target).copied();
        let outcome = self.remote.push(&self.git, target, landing.from, landing.to);
        self.tell(|w| format!("remote: push of {} to {target}: {outcome:?}", w.git.name(landing.to)));
        match (&outcome, gone) {
            (Pushed::Declined(_), _) => self.count(Fault::PushDeclined),
            (Pushed::Moved, true) => self.count(Fault::StalePushRefused),
            (Pushed::Moved, false) => self.count(Fault::PushOvertaken),
            (Pushed::Taken, true) => self.count(Fault::StalePushTaken),
            (Pushed::Taken, false) => {}
        }
        if self.remote.branches.get(target).copied() != before {
            self.tip_moved(target);
            self.check_push(target, landing)?;
        }
        Ok(outcome)
    }

    /// Every commit that a push put on the first-parent history was green itself, is somebody's, and
    /// has that request's content.
    fn check_push(&self, target: &BranchName, landing: &Landing) -> Result<(), Violation> {
        let forward = self.git.contains(landing.to, landing.from);
        Violation::unless(forward, "the target only moves forward", || self.git.name(landing.to))?;
        let key = (target.clone(), landing.from, landing.to);
        let gate = self.ledger.landings.get(&key).cloned().unwrap_or_default();
        let tip_only = self.ledger.by_push.contains(&key);
        for commit in self.git.first_parents(landing.to, Some(landing.from)) {
            let tree = self.git.tree(commit);
            let name = || self.git.name(commit);
            let green = self.rules.is_green(&self.git.files(commit), &gate) || self.flaked.contains(&tree);
            let tested = self.ledger.greens.contains(&(tree, gate.id()));
            let fine = gate.steps.is_empty() || (green && tested) || (tip_only && commit != landing.to);
            Violation::unless(fine, "every commit on the target was green itself", || {
                format!("{} on {target}: green {green}, tested {tested}", name())
            })?;
            if let Some(rollup) = landing.rollup.as_ref().filter(|_| commit == landing.to) {
                self.check_rollup(landing, rollup)?;
                continue;
            }
            let request = landing.requests.iter().find(|(_, c)| *c == commit).map(|(r, _)| *r);
            let head = request.and_then(|r| self.ledger.requests.get(&r)?.head);
            let Some(head) = head else {
                return Err(Violation::new("every commit of a push is somebody's", name()));
            };
            self.check_content(head, commit)?;
        }
        Ok(())
    }

    /// A batch's merge commit is what its topmost member is, and has all members beneath it, each with its content.
    fn check_rollup(&self, landing: &Landing, rollup: &Rollup) -> Result<(), Violation> {
        let whole = self.git.tree(landing.to) == self.git.tree(rollup.top)
            && self.git.parent(landing.to) == Some(rollup.base);
        Violation::unless(whole, "a batch lands as it was tested", || format!("{landing:?}"))?;
        let mut beneath = rollup.base;
        let members = landing.requests.iter().filter(|(r, _)| landing.is_member(*r));
        for (request, commit) in members.filter(|(_, commit)| !self.git.contains(landing.from, *commit)) {
            let stands = *commit == beneath || self.git.parent(*commit) == Some(beneath);
            Violation::unless(stands, "members stand on each other", || format!("{request} of {landing:?}"))?;
            let head = self.ledger.requests.get(request).and_then(|r| r.head);
            if let Some(head) = head.filter(|_| *commit != beneath) {
                self.check_content(head, *commit)?;
            }
            beneath = *commit;
        }
        Violation::unless(beneath == rollup.top, "a batch has all of its members", || format!("{landing:?}"))
    }

    /// All that the head changes and nothing else.
    fn check_content(&self, head: CommitId, commit: CommitId) -> Result<(), Violation> {
        let offered = self.git.own_changes(head, commit);
        let was = self.git.parent(commit).map(|was| self.git.changed(was, commit)).unwrap_or_default();
        let foreign: BTreeSet<_> = was.difference(&offered).collect();
        let name = || self.git.name(commit);
        let rule = "a landing changes only what its request changes";
        Violation::unless(foreign.is_empty(), rule, || format!("{}: {foreign:?}", name()))?;
        let (is, brought) = (self.git.files(commit), self.git.files(head));
        let lost = offered.iter().find(|region| is.get(*region) != brought.get(*region));
        Violation::unless(lost.is_none(), "a landing brings all of its request", || {
            format!("{}: {lost:?}", name())
        })
    }

    pub(crate) fn push_returns(
        &mut self,
        target: BranchName,
        landing: &Landing,
        pushed: Option<Pushed>,
    ) -> Result<(), Violation> {
        if self.hit(Fault::AfterPush) {
            return Ok(());
        }
        let commits: Vec<CommitId> = landing.requests.iter().map(|(_, c)| *c).collect();
        let seen = self.remote.look(&self.git, &target, Some(landing.from), &commits);
        let project = seen.as_ref().map_or(Ok(Project::default()), |s| project(&self.git.files(s.tip)));
        let outcome = match (pushed, seen) {
            (Some(Pushed::Declined(why)), Some(seen)) => LandOutcome::Declined { why, seen },
            (Some(_), Some(seen)) if seen.contains.contains(&landing.to) => LandOutcome::Landed { seen },
            (Some(_), Some(seen)) => LandOutcome::Moved { seen },
            (_, _) => LandOutcome::Unknown { why: "the connection broke".to_owned() },
        };
        if matches!(outcome, LandOutcome::Unknown { .. }) {
            self.own(BACKOFF, Own::FreeAgain { target: Some(target.clone()) });
            let ms = self.rng.range(0, 2 * BACKOFF);
            self.own(ms, Own::LookDue { target: target.clone(), periodic: false });
        } else {
            self.set_free(&target);
        }
        self.input(Input::LandEnded { target, to: landing.to, outcome, project })
    }

    fn set_free(&mut self, target: &BranchName) {
        if let Some(daemon) = self.daemons.get_mut(&self.acting) {
            daemon.busy.remove(target);
        }
    }

    pub(crate) fn look_due(&mut self, target: BranchName, periodic: bool) {
        let Some(daemon) = self.daemons.get_mut(&self.acting) else { return };
        if !daemon.busy.insert(target.clone()) {
            self.own(400, Own::LookDue { target, periodic });
            return;
        }
        if periodic {
            self.own(LOOK_EVERY, Own::LookDue { target: target.clone(), periodic });
        }
        if self.hit(Fault::BeforeLook) {
            return;
        }
        let Some(daemon) = self.daemons.get(&self.acting) else { return };
        let known = daemon.queue.tip(&target);
        let asked = daemon.queue.landing_commits(&target);
        let sighting = self.remote.look(&self.git, &target, known, &asked);
        let ms = self.rng.range(5, 1_000);
        self.own(ms, Own::LookReturns { target, known, sighting });
    }

    pub(crate) fn look_returns(
        &mut self,
        target: &BranchName,
        known: Option<CommitId>,
        sighting: Option<Sighting>,
    ) -> Result<(), Violation> {
        if self.hit(Fault::AfterLook) {
            return Ok(());
        }
        self.set_free(target);
        let input = match sighting {
            Some(sighting) => {
                let project = project(&self.git.files(sighting.tip));
                Input::Seen { target: target.clone(), known, sighting, project }
            }
            None => Input::RemoteSilent { why: "it does not answer".to_owned() },
        };
        self.input(input)?;
        if self.quiet || !self.faulty {
            self.input(Input::Tick { awake: self.awake })?;
        }
        self.operator(target)
    }

    /// Freezes for no reason the queue knows, and sooner or later unfreezes what stands still.
    fn operator(&mut self, target: &BranchName) -> Result<(), Violation> {
        let Some(daemon) = self.daemons.get(&self.acting) else { return Ok(()) };
        let who = "operator".to_owned();
        if !daemon.queue.is_frozen(target) {
            if self.unlucky(2, Fault::Freeze) {
                self.input(Input::Freeze { target: target.clone(), who, why: "a release".to_owned() })?;
                self.stands_still(target, true)?;
            }
        } else if self.quiet || self.rng.chance(30) {
            self.input(Input::Unfreeze { target: target.clone(), who, why: "looked at".to_owned() })?;
            self.stands_still(target, false)?;
        }
        Ok(())
    }

    fn stands_still(&self, target: &BranchName, still: bool) -> Result<(), Violation> {
        let is = self.daemons.get(&self.acting).map(|d| d.queue.is_frozen(target));
        let rule = "a target is frozen when somebody says so, and only then";
        Violation::unless(is.is_none_or(|is| is == still), rule, || target.to_string())
    }
}
