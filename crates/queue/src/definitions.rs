//! Where pending requests meet at definitions, as it was read from their source code.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{
    Advice, Blocker, BlockerKind, BranchName, CommitId, DefinitionMeeting, Fact, NotRead, RequestId, Unread,
    UnreadNotice,
};

use crate::policy::{Definitions, Policy};
use crate::state::{Queue, Request};
use crate::step::Act;

/// Requests that are read together.
const READ_AT_ONCE: usize = 50;
/// Others that are kept of one request,
const OTHERS_KEPT: usize = 64;
/// and meetings with each of them.
const KEPT_OF_PAIR: usize = 3;
/// Meetings that an event tells.
const TOLD: usize = 5;

/// What was read of the requests of one target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReadDefinitions {
    /// Which were held against all others, as far as they can be read.
    requests: BTreeSet<RequestId>,
    /// Who meets whom, both ways.
    meetings: BTreeMap<RequestId, BTreeMap<RequestId, Vec<DefinitionMeeting>>>,
    /// What was not read of whom.
    #[serde(default)]
    unread: BTreeMap<RequestId, NotRead>,
}

impl ReadDefinitions {
    pub(crate) fn knows(&self, request: RequestId) -> bool {
        self.requests.contains(&request)
    }

    /// With how many others `request` meets.
    pub(crate) fn others(&self, request: RequestId) -> usize {
        self.meetings.get(&request).map_or(0, BTreeMap::len)
    }

    /// With whom `request` meets, and where.
    pub(crate) fn meetings_of(
        &self,
        request: RequestId,
    ) -> impl Iterator<Item = (RequestId, &Vec<DefinitionMeeting>)> {
        self.meetings.get(&request).into_iter().flatten().map(|(other, met)| (*other, met))
    }

    pub(crate) fn forget(&mut self, request: RequestId) {
        self.requests.remove(&request);
        self.unread.remove(&request);
        for other in self.meetings.remove(&request).into_iter().flatten().map(|(other, _)| other) {
            if let Some(others) = self.meetings.get_mut(&other) {
                others.remove(&request);
                if others.is_empty() {
                    self.meetings.remove(&other);
                }
            }
        }
    }

    fn note(&mut self, met: &DefinitionMeeting) {
        // Kept with both or with none: who waits for whom is looked up from either side.
        let has_room = |id: RequestId, other: RequestId| {
            self.meetings.get(&id).is_none_or(|o| o.len() < OTHERS_KEPT || o.contains_key(&other))
        };
        if !has_room(met.one, met.other) || !has_room(met.other, met.one) {
            return;
        }
        for (id, other) in [(met.one, met.other), (met.other, met.one)] {
            let known = self.meetings.entry(id).or_default().entry(other).or_default();
            if known.len() < KEPT_OF_PAIR && !known.contains(met) {
                known.push(met.clone());
            }
        }
    }
}

impl Queue {
    /// Whose definitions are to be read now, and held against those of all heads.
    pub(crate) fn to_read(&self, name: &BranchName, policy: &Policy) -> Option<(CommitId, Vec<RequestId>)> {
        if policy.definitions == Definitions::Off {
            return None;
        }
        let unread = self.index.unread.get(name)?;
        Some((self.tip(name)?, unread.iter().take(READ_AT_ONCE).copied().collect()))
    }

    /// Whether nobody knows yet at which definitions `id` meets others, where that decides something.
    pub(crate) fn waits_for_reading(&self, id: RequestId, request: &Request, policy: &Policy) -> bool {
        policy.definitions == Definitions::Enforce
            && self.targets.get(&request.target).is_none_or(|t| !t.read.knows(id))
    }

    pub(crate) fn definitions_read(&mut self, fact: &Fact) {
        let Fact::DefinitionsRead { target, requests, meetings, unread } = fact else { return };
        let live = |id: &RequestId| self.live.contains_key(id);
        let requests: Vec<RequestId> = requests.iter().copied().filter(live).collect();
        let meetings: Vec<&DefinitionMeeting> =
            meetings.iter().filter(|met| self.are_two(met.one, met.other)).collect();
        let known = &mut self.target(target).read;
        meetings.into_iter().for_each(|met| known.note(met));
        known.requests.extend(&requests);
        let unread = unread.iter().filter(|unread| requests.contains(&unread.request));
        known.unread.extend(unread.map(|unread| (unread.request, unread.what.clone())));
        requests.iter().for_each(|id| self.index.not_unread(target, *id));
    }

    /// Two pending requests, and not two heads of one branch, of which one takes the other's place.
    fn are_two(&self, one: RequestId, other: RequestId) -> bool {
        let branch = |id| self.live.get(&id).map(|r: &Request| (&r.target, &r.announcement.branch));
        match (branch(one), branch(other)) {
            (Some(one), Some(other)) => one.0 == other.0 && one.1 != other.1,
            _ => false,
        }
    }

    /// Where `id` meets others, the most telling first.
    pub(crate) fn definitions_met(&self, id: RequestId, most: usize) -> Vec<DefinitionMeeting> {
        let target = self.live.get(&id).and_then(|r| self.targets.get(&r.target));
        let mut met: Vec<&DefinitionMeeting> =
            target.into_iter().flat_map(|t| t.read.meetings_of(id)).flat_map(|(_, met)| met).collect();
        met.sort_by_key(|met| met.meeting);
        met.into_iter().take(most).cloned().collect()
    }

    /// The same, as an event tells it.
    pub(crate) fn advice(&self, id: RequestId) -> Vec<Advice> {
        let told = |met: DefinitionMeeting| {
            let with = if met.one == id { met.other } else { met.one };
            let other = &self.live.get(&with)?.announcement;
            Some(Advice {
                with,
                agent: other.agent.clone(),
                branch: other.branch.clone(),
                meeting: met.meeting,
                symbol: met.symbol.clone(),
                paths: paths(&met),
                sentence: met.to_string(),
            })
        };
        self.definitions_met(id, TOLD).into_iter().filter_map(told).collect()
    }

    /// What was not read of it, as an event tells it.
    pub(crate) fn not_read(&self, id: RequestId) -> Option<UnreadNotice> {
        let target = self.live.get(&id).and_then(|request| self.targets.get(&request.target))?;
        target.read.unread.get(&id).cloned().map(UnreadNotice::from)
    }

    pub(crate) fn meeting_at_definitions(&self, other: RequestId, met: &[DefinitionMeeting]) -> Blocker {
        let paths: BTreeSet<String> = met.iter().flat_map(paths).collect();
        let sentence = met.first().map(ToString::to_string).unwrap_or_default();
        let more = met.len().saturating_sub(1);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        Blocker {
            kind: BlockerKind::SemanticConflict,
            with: Some(other.to_string()),
            paths: paths.into_iter().collect(),
            until: format!("{other} has landed or left the queue"),
            reason: format!(
                "meets {other} ({}), which is ahead of it, at a definition: {sentence}{more}",
                self.label(other)
            ),
        }
    }
}

fn paths(met: &DefinitionMeeting) -> Vec<String> {
    let used_in = met.used_in.iter().filter(|used_in| **used_in != met.path);
    std::iter::once(&met.path).chain(used_in).cloned().collect()
}

impl Act<'_> {
    /// Takes note of what was read, where it is news.
    pub(crate) fn take_definitions(
        &mut self,
        target: BranchName,
        requests: Vec<RequestId>,
        meetings: Vec<DefinitionMeeting>,
        unread: Vec<Unread>,
    ) {
        let unknown = |id: &RequestId| {
            let known = self.queue.targets.get(&target).is_some_and(|t| t.read.knows(*id));
            self.queue.live.get(id).is_some_and(|r| r.target == target) && !known
        };
        let requests: Vec<RequestId> = requests.into_iter().filter(unknown).collect();
        if !requests.is_empty() || !meetings.is_empty() {
            self.emit(Fact::DefinitionsRead { target, requests, meetings, unread });
        }
    }
}
