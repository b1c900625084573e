use std::collections::BTreeSet;
use std::sync::Arc;

use yardmaster_protocol::{
    About, Blocker, BranchName, Entry, Event, EventBody, Fact, Landing, Millis, Mismatch, Movement, Notice,
    RequestId, rfc3339,
};

use crate::failure::narrows_window;
use crate::odds::is_own_red;
use crate::state::{Custody, ENDED_KEPT, Ended, Ending, Phase, Queue, Request};
use crate::step::Projected;

const MISMATCH_SHOWN: usize = 50;
const FILES_KEPT_AFTER_LANDING: usize = 50;
/// Merge commits of batches that are known at the same time; any of them can be made again.
const ROLLUPS_KEPT: usize = 64;

impl Queue {
    /// Applies facts recorded earlier. Total: it decides nothing and cannot fail. Returns the events
    /// that the facts cause, each with the index of its fact.
    pub fn replay(&mut self, entry: &Entry) -> Vec<Projected> {
        let mut events = Vec::new();
        for (index, fact) in entry.facts.iter().enumerate() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            events.extend(self.apply(entry.at, fact).map(|e| e.at(index)));
        }
        events
    }

    /// Applies one fact.
    pub(crate) fn apply(&mut self, at: Millis, fact: &Fact) -> Option<Caused> {
        self.now = self.now.max(at);
        match fact {
            Fact::Announced { .. }
            | Fact::Refused { .. }
            | Fact::Reviewed { .. }
            | Fact::ReviewRefused { .. }
            | Fact::Repeated { .. }
            | Fact::Pinned { .. }
            | Fact::Stacked { .. }
            | Fact::Amended { .. }
            | Fact::Promoted { .. }
            | Fact::Displaced { .. }
            | Fact::Blocked { .. } => self.apply_to_request(at, fact),
            Fact::Landed { .. } | Fact::Failed { .. } | Fact::Withdrawn { .. } | Fact::Superseded { .. } => {
                self.apply_end(at, fact)
            }
            Fact::Assembled { .. }
            | Fact::Compared { .. }
            | Fact::DefinitionsRead { .. }
            | Fact::CandidatesLost { .. }
            | Fact::Testing { .. }
            | Fact::BaseTesting { .. }
            | Fact::RunDropped { .. }
            | Fact::RunEnded { .. }
            | Fact::Suspected { .. }
            | Fact::Carried { .. }
            | Fact::RolledUp { .. } => self.apply_to_candidate(at, fact),
            Fact::TargetSeen { .. }
            | Fact::RemoteLost { .. }
            | Fact::RemoteBack
            | Fact::LandingStarted { .. }
            | Fact::LandingEnded { .. }
            | Fact::WindowSet { .. }
            | Fact::Frozen { .. }
            | Fact::Unfrozen { .. }
            | Fact::Paused { .. }
            | Fact::Resumed { .. }
            | Fact::FellOff { .. }
            | Fact::Stalled { .. }
            | Fact::WentOn { .. }
            | Fact::TargetRed { .. }
            | Fact::TargetGreen { .. } => self.apply_to_target(at, fact),
            Fact::Intended { intake, target, intent } => {
                self.intended(at, *intake, target, intent);
                None
            }
            Fact::GatePassed { intake, target, passed } => {
                self.taken.insert(*intake);
                self.passed_elsewhere(target, passed, at);
                None
            }
            Fact::IntentWithdrawn { intake, agent, branch } => {
                self.taken.insert(*intake);
                self.forget_intent(&(agent.clone(), branch.clone()));
                None
            }
            Fact::RunnersSeen { offers } => {
                self.runners_were_seen(at, offers);
                None
            }
            Fact::PressureSet { pressure, pending } => Some(self.pressure_set(at, *pressure, *pending)),
        }
    }

    fn apply_to_request(&mut self, at: Millis, fact: &Fact) -> Option<Caused> {
        match fact {
            Fact::Announced { request, .. } => self.announced(*request, at, fact),
            Fact::Refused { intake, subject, refusal, payload } => {
                self.taken.insert(*intake);
                let (why, subject, payload) = (refusal.clone(), subject.clone(), payload.clone());
                return Some(Caused::loose(at, EventBody::RequestRejected { why, subject, payload }));
            }
            Fact::Reviewed { intake, review } => self.reviewed(*intake, review),
            Fact::ReviewRefused { intake, subject, refusal, payload } => {
                self.reviews.taken.insert(*intake);
                let (why, subject, payload) = (refusal.clone(), subject.clone(), payload.clone());
                return Some(Caused::loose(at, EventBody::RequestRejected { why, subject, payload }));
            }
            Fact::Repeated { request, .. } => drop(self.forget(*request)),
            Fact::Pinned { request, .. } => return self.pinned(*request, at, fact),
            Fact::Stacked { request, unit } => self.stacked(*request, *unit, at),
            Fact::Amended { .. } => self.amended(fact),
            Fact::Promoted { request, .. } => return self.promoted(*request, at, fact),
            Fact::Displaced { request, .. } => self.displaced(*request, at),
            Fact::Blocked { request, blockers } => return self.blocked(*request, at, blockers),
            _ => {}
        }
        None
    }

    fn apply_end(&mut self, at: Millis, fact: &Fact) -> Option<Caused> {
        match fact {
            Fact::Landed { request, .. } => self.landed(*request, at, fact),
            Fact::Failed { request, failure } => {
                self.counts.failed += 1;
                if narrows_window(failure) {
                    self.is_at_fault(*request);
                }
                let live = self.live.get(request).filter(|_| is_own_red(failure));
                if let Some((name, agent)) = live.map(|r| (r.target.clone(), r.announcement.agent.clone())) {
                    self.note_record(&name, &agent, false);
                }
                let body = EventBody::MergeFailed(failure.clone());
                self.end(*request, at, Ending::Failed { failure: Box::new(failure.clone()) }, body)
            }
            Fact::Withdrawn { request, by, intake } => {
                intake.iter().for_each(|seq| self.taken.insert(*seq));
                if let Some(a) = self.live.get(request).map(|r| &r.announcement) {
                    self.forget_intent(&(a.agent.clone(), a.branch.clone()));
                }
                let body = EventBody::MergeWithdrawn { by: by.clone() };
                self.end(*request, at, Ending::Withdrawn { by: by.clone() }, body)
            }
            Fact::Superseded { request, by } => {
                let body = EventBody::MergeSuperseded { by: *by };
                self.end(*request, at, Ending::Superseded { by: *by }, body)
            }
            _ => None,
        }
    }

    fn apply_to_candidate(&mut self, at: Millis, fact: &Fact) -> Option<Caused> {
        match fact {
            Fact::Assembled { request, base, assembly } => {
                if let Some(target) = self.target_of(*request) {
                    self.target(&target).assemblies.insert((*base, *request), assembly.clone());
                }
            }
            Fact::Compared { .. } => self.compared(fact),
            Fact::DefinitionsRead { .. } => self.definitions_read(fact),
            Fact::CandidatesLost { commits } => self.candidates_lost(commits),
            Fact::Suspected { .. } => self.suspected(fact),
            Fact::Carried { .. } => self.carried(fact),
            Fact::RolledUp { target, base, top, commit } => {
                let rollups = &mut self.target(target).rollups;
                if rollups.len() >= ROLLUPS_KEPT {
                    rollups.clear();
                }
                rollups.insert((*base, *top), *commit);
            }
            Fact::Testing { request, .. } => return self.testing(*request, at, fact),
            Fact::BaseTesting { target, .. } => self.base_testing(target, at, fact),
            Fact::RunDropped { run } => self.targets.values_mut().for_each(|t| {
                t.runs.remove(run);
                t.forget_evidence_of(run);
            }),
            Fact::RunEnded { run, outcome, ms, steps } => {
                for target in self.targets.values_mut() {
                    if let Some(run) = target.runs.get(run) {
                        target.times.add(&run.gate, steps);
                    }
                }
                self.run_ended(run, outcome, *ms, at);
            }
            _ => {}
        }
        None
    }

    fn apply_to_target(&mut self, at: Millis, fact: &Fact) -> Option<Caused> {
        match fact {
            Fact::TargetSeen { .. } => return self.target_seen(at, fact),
            Fact::RemoteLost { why } => {
                self.remote_lost = Some(why.clone());
                let why = format!("nothing is decided until the remote answers: {why}");
                return Some(Caused::notice(at, EventBody::Stalled, why, "remote"));
            }
            Fact::RemoteBack => {
                self.remote_lost = None;
                self.targets.values_mut().for_each(|t| t.progressed = t.progressed.max(Some(at)));
                let why = "the remote answers again".to_owned();
                return Some(Caused::notice(at, EventBody::Resumed, why, "remote"));
            }
            Fact::LandingStarted { target, landing } => {
                let target = self.target(target);
                target.landing = Some(landing.clone());
                target.pushes.started(at);
            }
            Fact::LandingEnded { target: name, declined, .. } => {
                let target = self.target(name);
                target.pushes.given_up();
                let several = target.landing.take().is_some_and(|l| l.requests.len() > 1);
                target.one_at_a_time |= *declined && several;
                self.put_in_front(name);
            }
            Fact::WindowSet { target, window } => self.target(target).window = Some(*window),
            Fact::Frozen { target, who, why } => return Some(self.frozen(at, target, who, why)),
            Fact::Unfrozen { target, who, why } => return Some(self.unfrozen(at, target, who, why)),
            Fact::Paused { .. } => return self.paused(at, fact),
            Fact::Resumed { target, who, why } => return Some(self.resumed(at, target, who, why)),
            Fact::FellOff { target, from, requests } => {
                return Some(self.fell_off(at, target, *from, requests));
            }
            Fact::Stalled { target, why } => return Some(self.stalled(at, target, why)),
            Fact::WentOn { target } => return Some(self.went_on(at, target)),
            Fact::TargetRed { target, commit, why, .. } => {
                self.progress(target, at);
                self.target(target).told_red = Some(*commit);
                return Some(Caused::notice(at, EventBody::TargetRed, why.clone(), "gate"));
            }
            Fact::TargetGreen { target, commit } => {
                self.target(target).told_red = None;
                let why = format!("`{target}` is green again at {}", commit.short());
                return Some(Caused::notice(at, EventBody::TargetGreen, why, "gate"));
            }
            _ => {}
        }
        None
    }

    fn blocked(&mut self, id: RequestId, at: Millis, blockers: &[Blocker]) -> Option<Caused> {
        if let Some(target) = self.target_of(id) {
            self.progress(&target, at);
        }
        let request = self.live.get_mut(&id)?;
        request.blockers = blockers.to_vec();
        self.index.quiet.stir_one(id);
        if request.is_told_held() {
            self.index.attended.insert(id);
        }
        let waits = request.is_waiting() && !blockers.is_empty();
        if waits {
            self.index.told.insert(id);
        } else {
            self.index.told.remove(&id);
        }
        if blockers.is_empty() {
            return None;
        }
        let reason = blockers.iter().map(|b| b.reason.clone()).collect();
        let (advice, not_read) = (self.advice(id), self.not_read(id));
        let blockers = blockers.to_vec();
        self.caused(id, at, EventBody::MergeBlocked { reason, blockers, advice, not_read })
    }

    fn announced(&mut self, id: RequestId, at: Millis, fact: &Fact) {
        let Fact::Announced { intake, target, published, traceparent, announcement, .. } = fact else {
            return;
        };
        self.last_request = self.last_request.max(id.0);
        self.latest = self.latest.max(*published);
        self.forget_intent(&(announcement.agent.clone(), announcement.branch.clone()));
        self.live.insert(
            id,
            Request {
                target: target.clone(),
                announcement: Arc::new(announcement.as_ref().clone()),
                traceparent: traceparent.clone(),
                intake: *intake,
                published: *published,
                arrived: at,
                amended: Millis::default(),
                events: 0,
                phase: Phase::Arriving,
                blockers: Vec::new(),
                unit: None,
                suspicion: None,
                proved: false,
                reddened: false,
                after_reds: None,
                promoted: None,
            },
        );
        self.target(target);
        self.index_live(id);
    }

    fn pinned(&mut self, id: RequestId, at: Millis, fact: &Fact) -> Option<Caused> {
        let Fact::Pinned { head, merge_base, size, files, position, .. } = fact else { return None };
        let request = self.live.get_mut(&id)?;
        request.phase = Phase::Waiting(Custody {
            head: *head,
            merge_base: *merge_base,
            size: *size,
            files: Arc::new(files.clone()),
        });
        self.taken.insert(request.intake);
        self.index_live(id);
        let declared_mismatch = self.mismatch(id, files);
        let (position, pressure, pending) = (*position, self.pressure, self.pending_told());
        let (advice, not_read) = (self.advice(id), self.not_read(id));
        let queued =
            EventBody::MergeQueued { position, declared_mismatch, pressure, pending, advice, not_read };
        self.caused(id, at, queued)
    }

    fn mismatch(&self, id: RequestId, files: &[String]) -> Option<Mismatch> {
        let request = self.live.get(&id)?;
        let real: BTreeSet<&String> = files.iter().collect();
        let declared: Option<BTreeSet<&String>> =
            request.announcement.files_changed.as_ref().map(|d| d.iter().collect());
        let (untouched_systems, undeclared_systems) = self.system_mismatch(request, files);
        let shown = |paths: &mut dyn Iterator<Item = &String>| -> Vec<String> {
            paths.take(MISMATCH_SHOWN).cloned().collect()
        };
        let found = Mismatch {
            undeclared: declared.iter().flat_map(|d| shown(&mut real.difference(d).copied())).collect(),
            unchanged: declared.iter().flat_map(|d| shown(&mut d.difference(&real).copied())).collect(),
            undeclared_systems: shown(&mut undeclared_systems.iter()),
            untouched_systems: shown(&mut untouched_systems.iter()),
        };
        (found != Mismatch::default()).then_some(found)
    }

    fn target_seen(&mut self, at: Millis, fact: &Fact) -> Option<Caused> {
        let Fact::TargetSeen { target: name, tip, tree, movement, project } = fact else { return None };
        let target = self.target(name);
        let was_usable = target.project.is_ok();
        let from = target.tip.replace(*tip);
        if from != Some(*tip) && target.ours != Some(*tip) {
            target.evidence.clear();
        }
        target.tree = Some(*tree);
        target.project.clone_from(project);
        self.index_rules(name);
        match (movement, project) {
            (Movement::Rewound | Movement::Diverged, _) => {
                let from = from.map(|c| c.short()).unwrap_or_default();
                let why = format!(
                    "`{name}` was moved back or rewritten outside the queue: it was at {from} and is now at {}, which does not contain it",
                    tip.short()
                );
                Some(Caused::notice(at, EventBody::Stalled, why, "target"))
            }
            (_, Err(why)) if was_usable => {
                let why = format!("nothing lands on `{name}` until its gate can be read: {why}");
                Some(Caused::notice(at, EventBody::Stalled, why, "gate"))
            }
            (_, Ok(_)) if !was_usable => {
                Some(Caused::notice(at, EventBody::Resumed, "the gate can be read again".to_owned(), "gate"))
            }
            _ => None,
        }
    }

    fn stacked(&mut self, id: RequestId, unit: Option<RequestId>, at: Millis) {
        let Some(request) = self.live.get_mut(&id) else { return };
        request.unit = unit;
        if let Phase::Waiting(custody) = &request.phase {
            request.phase = Phase::Stacked(custody.clone());
            let target = request.target.clone();
            self.index.not_waiting(&target, id);
            self.index.quiet.stir_one(id);
            self.index.quiet.stir(&request.announcement);
            let is_moved = request.promoted.is_some();
            self.target(&target).stack.push(id);
            if is_moved {
                self.put_in_front(&target);
            }
            self.index_neighbours(id);
            self.progress(&target, at);
        }
    }

    fn landed(&mut self, id: RequestId, at: Millis, fact: &Fact) -> Option<Caused> {
        let Fact::Landed { commit, tree, base, gate, rollup, .. } = fact else { return None };
        self.counts.landed += 1;
        let name = self.target_of(id)?;
        if let Some(agent) =
            self.live.get(&id).map(|r| r.announcement.agent.clone()).filter(|_| gate.gate.is_some())
        {
            self.note_record(&name, &agent, true);
        }
        self.evidence_after_landing(&name, id);
        self.clear_of_reds(&name, &[id]);
        let target = self.target(&name);
        target.ours = rollup.or(*commit).or(target.ours);
        if let Some(commit) = commit {
            target.note_landing(id, *base, *commit);
        }
        if let Some(Landing { requests, .. }) = &mut target.landing {
            requests.retain(|(r, _)| *r != id);
            if requests.is_empty() {
                target.landing = None;
                target.pushes.landed(at);
                target.one_at_a_time = false;
            }
        }
        let (commit, gate) = (*commit, gate.clone());
        let body = EventBody::MergeComplete {
            commit,
            tree: *tree,
            base: *base,
            gate: gate.clone(),
            rollup: *rollup,
        };
        self.end(id, at, Ending::Landed { commit, run: gate.run }, body)
    }

    /// The end of a request: its one terminal event.
    fn end(&mut self, id: RequestId, at: Millis, ending: Ending, body: EventBody) -> Option<Caused> {
        let event = self.caused(id, at, body);
        let request = self.forget(id)?;
        self.progress(&request.target, at);
        let mut files = request.custody().map(|c| c.files.clone()).unwrap_or_default();
        if files.len() > FILES_KEPT_AFTER_LANDING {
            Arc::make_mut(&mut files).truncate(FILES_KEPT_AFTER_LANDING);
        }
        let head = request.head();
        Arc::make_mut(&mut self.ended).insert(
            id,
            Ended {
                target: request.target,
                announcement: request.announcement,
                head,
                files,
                arrived: request.arrived,
                at,
                unknown_until: Some(self.latest),
                ending,
                fell_off: false,
            },
        );
        self.index_ended(id);
        while self.ended.len() > ENDED_KEPT {
            let Some((oldest, gone)) = Arc::make_mut(&mut self.ended).pop_first() else { break };
            self.unindex_ended(oldest, &gone);
        }
        event
    }

    /// Takes a request out of everything that is live.
    fn forget(&mut self, id: RequestId) -> Option<Request> {
        let request = self.live.remove(&id)?;
        self.unindex_live(id, &request);
        self.taken.insert(request.intake);
        let target = self.target(&request.target);
        target.stack.retain(|r| *r != id);
        target.assemblies.retain(|(_, r), _| *r != id);
        target.compared.forget(id);
        target.forget_evidence_on(id);
        target.read.forget(id);
        self.explain_reds(&request.target, id);
        Some(request)
    }

    pub(crate) fn target_of(&self, id: RequestId) -> Option<BranchName> {
        self.live.get(&id).map(|r| r.target.clone())
    }

    pub(crate) fn target(&mut self, name: &BranchName) -> &mut crate::state::Target {
        self.targets.entry(name.clone()).or_default()
    }

    pub(crate) fn caused(&mut self, id: RequestId, at: Millis, body: EventBody) -> Option<Caused> {
        let request = self.live.get_mut(&id)?;
        request.events += 1;
        let a = &request.announcement;
        let about = About {
            request: id,
            agent: a.agent.clone(),
            branch: a.branch.clone(),
            requirement: a.requirement.clone(),
            target: request.target.clone(),
            head: request.head(),
            seq: request.events,
            extra: a.extra.clone(),
        };
        let event = Event { about: Some(about), time: rfc3339(at), body };
        Some(Caused { event, traceparent: request.traceparent.clone() })
    }
}

/// An event whose fact's index is not known here.
pub(crate) struct Caused {
    event: Event,
    traceparent: Option<String>,
}

impl Caused {
    pub(crate) fn loose(at: Millis, body: EventBody) -> Caused {
        Caused { event: Event { about: None, time: rfc3339(at), body }, traceparent: None }
    }

    pub(crate) fn notice(at: Millis, body: fn(Notice) -> EventBody, why: String, who: &str) -> Caused {
        Caused::loose(at, body(Notice { why, who: who.to_owned() }))
    }

    pub(crate) fn at(self, index: u32) -> Projected {
        Projected { index, event: self.event, traceparent: self.traceparent }
    }
}
