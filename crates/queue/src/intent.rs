use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{
    AgentName, BaseMoved, BaseMovedType, BranchName, CommitId, Concern, Fact, Globs, IntakeSeq, Intent,
    LandedWork, Millis, Withdrawal, rfc3339,
};

use crate::state::Queue;
use crate::step::Act;

/// After this nobody is told any more, in milliseconds.
const INTENT_LASTS: u64 = 24 * 3_600 * 1_000;
const MAX_INTENTS: usize = 2_000;
const MAX_INTENTS_PER_AGENT: usize = 32;
/// Of each list that an agent is told.
const SHOWN: usize = 20;

/// Whose work on which branch.
pub(crate) type Place = (AgentName, BranchName);

/// An intent and when it was heard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Intended {
    pub(crate) at: Millis,
    pub(crate) target: BranchName,
    pub(crate) intent: Box<Intent>,
}

/// How a target moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// What landed, lowest first; nothing: somebody moved it around the queue.
    pub landed: Vec<LandedWork>,
    /// What changed.
    pub paths: BTreeSet<String>,
}

/// What of one agent's work is concerned.
#[derive(Default)]
struct Touched<'a> {
    paths: BTreeSet<&'a String>,
    concerns: Vec<Concern>,
}

impl Queue {
    pub(crate) fn intended(&mut self, at: Millis, intake: IntakeSeq, target: &BranchName, intent: &Intent) {
        self.taken.insert(intake);
        self.intents.retain(|_, i| at.since(i.at) < INTENT_LASTS);
        let own = |(agent, _): &Place| *agent == intent.agent;
        if self.intents.keys().filter(|place| own(place)).count() >= MAX_INTENTS_PER_AGENT {
            self.drop_oldest_intent(own);
        }
        if self.intents.len() >= MAX_INTENTS {
            self.drop_oldest_intent(|_| true);
        }
        let place = (intent.agent.clone(), intent.branch.clone());
        let intended = Intended { at, target: target.clone(), intent: Box::new(intent.clone()) };
        self.intents.insert(place.clone(), intended);
        self.index_intent(&place);
    }

    fn drop_oldest_intent(&mut self, of: impl Fn(&Place) -> bool) {
        let mine = self.intents.iter().filter(|(place, _)| of(place));
        let oldest = mine.min_by_key(|(_, i)| i.at).map(|(place, _)| place.clone());
        if let Some(place) = oldest {
            self.forget_intent(&place);
        }
    }

    pub(crate) fn forget_intent(&mut self, place: &Place) {
        self.intents.remove(place);
        self.index.intents.remove(place);
    }

    pub(crate) fn index_intent(&mut self, place: &Place) {
        // One that cannot be read any more names no path.
        let globs = self.intents.get(place).and_then(|i| Globs::new(&i.intent.files).ok());
        self.index.intents.insert(place.clone(), globs.unwrap_or_default());
    }

    /// What each agent is to be told of a move of `target` to `tip`: those whose pending requests or
    /// announced intents meet its paths.
    pub fn base_moved(
        &self,
        now: Millis,
        target: &BranchName,
        tip: CommitId,
        moved: &Moved,
    ) -> Vec<BaseMoved> {
        let mut told: BTreeMap<&AgentName, Touched<'_>> = BTreeMap::new();
        self.meet_pending(target, moved, &mut told);
        self.meet_intents(now, target, moved, &mut told);
        let last = moved.landed.len().saturating_sub(SHOWN);
        let message = |(agent, touched): (&AgentName, Touched<'_>)| {
            let more = touched.paths.len().saturating_sub(SHOWN);
            BaseMoved {
                kind: BaseMovedType::BaseMoved,
                time: rfc3339(now),
                agent: agent.clone(),
                target: target.clone(),
                tip,
                landed: moved.landed.get(last..).unwrap_or_default().to_vec(),
                paths: touched.paths.into_iter().take(SHOWN).cloned().collect(),
                more: u32::try_from(more).unwrap_or(u32::MAX),
                concerns: touched.concerns,
            }
        };
        told.into_iter().map(message).collect()
    }

    fn meet_pending<'a>(
        &'a self,
        target: &BranchName,
        moved: &'a Moved,
        told: &mut BTreeMap<&'a AgentName, Touched<'a>>,
    ) {
        for (id, live) in self.live.iter().filter(|(_, r)| r.target == *target) {
            let files = live.custody().map(|c| c.files.as_slice()).unwrap_or_default();
            let mut met = files.iter().filter_map(|f| moved.paths.get(f)).peekable();
            if met.peek().is_none() {
                continue;
            }
            let touched = told.entry(&live.announcement.agent).or_default();
            touched.paths.extend(met);
            if touched.concerns.len() < SHOWN {
                let branch = live.announcement.branch.clone();
                touched.concerns.push(Concern { request: Some(*id), branch, systems: Vec::new() });
            }
        }
    }

    fn meet_intents<'a>(
        &'a self,
        now: Millis,
        target: &BranchName,
        moved: &'a Moved,
        told: &mut BTreeMap<&'a AgentName, Touched<'a>>,
    ) {
        if self.intents.is_empty() {
            return;
        }
        let systems = self.systems_of_paths(target, &moved.paths);
        for (place, intended) in self.intents.iter().filter(|(_, i)| i.target == *target) {
            if now.since(intended.at) >= INTENT_LASTS {
                continue;
            }
            let globs = self.index.intents.get(place);
            let met: Vec<&String> =
                moved.paths.iter().filter(|p| globs.is_some_and(|g| g.matches(p))).collect();
            let named = intended.intent.systems.iter().filter(|s| systems.contains_key(*s));
            let named: BTreeSet<String> = named.take(SHOWN).cloned().collect();
            if met.is_empty() && named.is_empty() {
                continue;
            }
            let touched = told.entry(&place.0).or_default();
            touched.paths.extend(met);
            touched.paths.extend(named.iter().filter_map(|s| systems.get(s)).flatten());
            if touched.concerns.len() < SHOWN {
                let systems = named.into_iter().collect();
                touched.concerns.push(Concern { request: None, branch: place.1.clone(), systems });
            }
        }
    }

    /// The paths of each system.
    fn systems_of_paths<'a>(
        &self,
        target: &BranchName,
        paths: &'a BTreeSet<String>,
    ) -> BTreeMap<String, Vec<&'a String>> {
        let project = self.targets.get(target).and_then(|t| t.project.as_ref().ok());
        let mut found = BTreeMap::new();
        for (name, system) in project.iter().flat_map(|p| &p.systems) {
            let Ok(globs) = Globs::new(&system.paths) else { continue };
            let own: Vec<&String> = paths.iter().filter(|p| globs.matches(p)).collect();
            if !own.is_empty() {
                found.insert(name.clone(), own);
            }
        }
        found
    }
}

impl Act<'_> {
    pub(crate) fn intend(&mut self, intake: IntakeSeq, intent: Box<Intent>) {
        let target = intent.target.clone().unwrap_or_else(|| self.policy.default_target.clone());
        self.emit(Fact::Intended { intake, target, intent });
    }

    pub(crate) fn is_intended(&self, withdrawal: &Withdrawal) -> bool {
        let place = (withdrawal.agent.clone(), withdrawal.branch.clone());
        withdrawal.request.is_none() && self.queue.intents.contains_key(&place)
    }

    pub(crate) fn withdraw_intent(&mut self, intake: IntakeSeq, withdrawal: Withdrawal) {
        let Withdrawal { agent, branch, .. } = withdrawal;
        self.emit(Fact::IntentWithdrawn { intake, agent, branch });
    }

    /// Remembers what is about to land, before it is forgotten.
    pub(crate) fn note_landing(&mut self, fact: &Fact) {
        let Fact::Landed { request, commit: Some(commit), .. } = fact else { return };
        let Some(live) = self.queue.live.get(request) else { return };
        let a = &live.announcement;
        let moved = self.moved.entry(live.target.clone()).or_default();
        moved.landed.push(LandedWork {
            request: *request,
            agent: a.agent.clone(),
            branch: a.branch.clone(),
            requirement: a.requirement.clone(),
            commit: *commit,
        });
        moved.paths.extend(live.custody().into_iter().flat_map(|c| c.files.iter()).cloned());
    }

    /// What agents are to be told of the landings of this step.
    pub(crate) fn tell_of_landings(&mut self, now: Millis) -> Vec<BaseMoved> {
        let moved = std::mem::take(&mut self.moved);
        let of_target = |(target, moved): (BranchName, Moved)| {
            let tip = self.queue.tip(&target);
            tip.map(|tip| self.queue.base_moved(now, &target, tip, &moved)).unwrap_or_default()
        };
        moved.into_iter().flat_map(of_target).collect()
    }
}
