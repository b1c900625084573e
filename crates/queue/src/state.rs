use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{
    AgentName, Announcement, Assembly, Blocker, BranchName, ChangeSize, CommitId, Failure, Gate, GateId,
    IntakeSeq, Landing, Millis, Project, RequestId, RunId, RunOutcome, TreeId,
};

use crate::freeze::Frozen;
use crate::policy::{GateRule, Policy};

/// Ended requests that are remembered, to recognise what comes again and to answer questions.
pub(crate) const ENDED_KEPT: usize = 10_000;
/// Spans of message sequences that are remembered as answered; more than a server leaves holes between.
const SPANS_KEPT: usize = 50_000;
/// Verdicts that are remembered per target.
pub(crate) const VERDICTS_KEPT: usize = 4_096;

/// The state of the queue: nothing but the journal's facts, applied.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Queue {
    pub(crate) now: Millis,
    pub(crate) last_request: u64,
    pub(crate) live: BTreeMap<RequestId, Request>,
    pub(crate) ended: BTreeMap<RequestId, Ended>,
    pub(crate) taken: Taken,
    pub(crate) targets: BTreeMap<BranchName, Target>,
    pub(crate) remote_lost: Option<String>,
    pub(crate) counts: Counts,
    /// When the latest announcement was published, by the server's clock.
    #[serde(default)]
    pub(crate) latest: Millis,
    #[serde(skip)]
    pub(crate) index: Index,
}

/// How many requests ended how, since the journal began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) landed: u64,
    pub(crate) failed: u64,
}

/// Messages that have been answered, by stream sequence.
///
/// Kept as spans: their number depends on those that are not answered, of which a server delivers only so many at a
/// time, and not on those that were answered since. A late one is never taken for an answered one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// Everything up to here counts as answered.
    floor: u64,
    /// As older snapshots have them, one by one.
    #[serde(default, skip_serializing)]
    above: BTreeSet<IntakeSeq>,
    /// First and last of each span, with at least one between two that is not answered.
    #[serde(default)]
    spans: BTreeMap<u64, u64>,
}

impl Taken {
    pub(crate) fn contains(&self, seq: IntakeSeq) -> bool {
        let before = self.spans.range(..=seq.0).next_back();
        seq.0 <= self.floor || before.is_some_and(|(_, last)| seq.0 <= *last)
    }

    pub(crate) fn insert(&mut self, seq: IntakeSeq) {
        if self.contains(seq) {
            return;
        }
        let (mut first, mut last) = (seq.0, seq.0);
        if let Some((start, end)) = self.spans.range(..seq.0).next_back().map(|(s, e)| (*s, *e))
            && end.checked_add(1) == Some(seq.0)
        {
            self.spans.remove(&start);
            first = start;
        }
        if let Some(end) = seq.0.checked_add(1).and_then(|next| self.spans.remove(&next)) {
            last = end;
        }
        self.spans.insert(first, last);
        while let Some((start, end)) = self.spans.first_key_value().map(|(s, e)| (*s, *e))
            && (start == self.floor.saturating_add(1) || self.spans.len() > SPANS_KEPT)
        {
            self.spans.remove(&start);
            self.floor = end;
        }
    }

    fn read_older(&mut self) {
        std::mem::take(&mut self.above).into_iter().for_each(|seq| self.insert(seq));
    }
}

/// A request that has not ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) target: BranchName,
    pub(crate) announcement: Box<Announcement>,
    pub(crate) traceparent: Option<String>,
    pub(crate) intake: IntakeSeq,
    pub(crate) published: Millis,
    pub(crate) arrived: Millis,
    pub(crate) events: u32,
    pub(crate) phase: Phase,
    pub(crate) blockers: Vec<Blocker>,
}

/// Where a live request is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Announced; its head is not in custody yet.
    Arriving,
    /// In custody, waiting for its turn.
    Waiting(Custody),
    /// In the stack, with a place that it keeps.
    Stacked(Custody),
}

/// What is known of a head in custody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Custody {
    pub(crate) head: CommitId,
    pub(crate) merge_base: CommitId,
    pub(crate) size: ChangeSize,
    pub(crate) files: Vec<String>,
}

impl Request {
    pub(crate) fn custody(&self) -> Option<&Custody> {
        match &self.phase {
            Phase::Arriving => None,
            Phase::Waiting(custody) | Phase::Stacked(custody) => Some(custody),
        }
    }

    pub(crate) fn head(&self) -> Option<CommitId> {
        self.custody().map(|c| c.head).or(self.announcement.commit)
    }

    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Waiting(_))
    }

    /// `roy/req-7 by roy`
    pub(crate) fn label(&self) -> String {
        format!("{} by {}", self.announcement.branch, self.announcement.agent)
    }
}

/// A request that has ended, as long as it is remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    pub(crate) target: BranchName,
    pub(crate) announcement: Box<Announcement>,
    pub(crate) head: Option<CommitId>,
    pub(crate) files: Vec<String>,
    pub(crate) arrived: Millis,
    pub(crate) at: Millis,
    /// Whatever was published until then, by the server's clock, was so before this end could be known.
    #[serde(default)]
    pub(crate) unknown_until: Option<Millis>,
    /// How it ended.
    pub ending: Ending,
    /// It had landed, and the target was moved back behind it.
    #[serde(default)]
    pub(crate) fell_off: bool,
}

impl Ended {
    /// It landed, and as far as is known it is still there.
    pub(crate) fn is_on_target(&self) -> bool {
        matches!(self.ending, Ending::Landed { .. }) && !self.fell_off
    }
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ending", rename_all = "snake_case")]
pub enum Ending {
    /// On the target.
    Landed {
        /// Its commit, unless there was nothing to merge.
        commit: Option<CommitId>,
        /// The run behind it.
        run: Option<RunId>,
    },
    /// It could not land.
    Failed {
        /// Why.
        failure: Box<Failure>,
    },
    /// Taken back.
    Withdrawn {
        /// By whom.
        by: String,
    },
    /// Replaced by a newer head.
    Superseded {
        /// By which request.
        by: RequestId,
    },
}

/// One branch that requests land on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) tip: Option<CommitId>,
    pub(crate) tree: Option<TreeId>,
    pub(crate) project: Result<Project, String>,
    pub(crate) stack: Vec<RequestId>,
    pub(crate) window: Option<u32>,
    #[serde(with = "pairs")]
    pub(crate) assemblies: BTreeMap<(CommitId, RequestId), Assembly>,
    #[serde(with = "pairs")]
    pub(crate) verdicts: BTreeMap<(TreeId, GateId), Verdict>,
    pub(crate) runs: BTreeMap<RunId, Run>,
    /// Runs asked for so far: makes each one's id its own, also when a dropped one is wanted again.
    pub(crate) asked: u64,
    pub(crate) landing: Option<Landing>,
    /// The remote refused a push of several: until one lands, one at a time.
    pub(crate) one_at_a_time: bool,
    /// Nothing lands and nothing is failed.
    #[serde(default)]
    pub(crate) frozen: Option<Frozen>,
    /// The tip that was last told to be red, until a green one is told.
    #[serde(default)]
    pub(crate) told_red: Option<CommitId>,
    /// When a request last ended, or what they wait for changed.
    #[serde(default)]
    pub(crate) progressed: Option<Millis>,
    /// Since when it is told to be stalled.
    #[serde(default)]
    pub(crate) stalled: Option<Millis>,
}

impl Default for Target {
    fn default() -> Self {
        Target {
            tip: None,
            tree: None,
            project: Ok(Project::default()),
            stack: Vec::new(),
            window: None,
            assemblies: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            runs: BTreeMap::new(),
            asked: 0,
            landing: None,
            one_at_a_time: false,
            frozen: None,
            told_red: None,
            progressed: None,
            stalled: None,
        }
    }
}

/// Without a gate nothing is tested: the window only bounds one push.
const UNGATED_WINDOW: u32 = 64;

impl Target {
    /// The gate that candidates for this target are judged by, or why there is none.
    pub(crate) fn gate(&self, policy: &Policy) -> Result<Gate, String> {
        match (&policy.gate, &self.project) {
            (GateRule::Fixed(gate), _) => Ok(gate.clone()),
            (GateRule::FromTarget, Err(why)) => Err(why.clone()),
            (GateRule::FromTarget, Ok(Project { gate: Some(gate) })) => Ok(gate.clone()),
            (GateRule::FromTarget, Ok(Project { gate: None })) => {
                Err("no gate is configured: `.yardmaster.toml` at the tip of the target has no `[gate]`"
                    .to_owned())
            }
        }
    }

    pub(crate) fn window(&self, policy: &Policy) -> u32 {
        if policy.is_ungated() {
            return policy.window_max.max(UNGATED_WINDOW);
        }
        if self.stalled.is_some() {
            return 1;
        }
        let least = policy.window_min.max(1);
        self.window.unwrap_or(policy.window_max).clamp(least, policy.window_max.max(least))
    }

    pub(crate) fn is_landing(&self, request: RequestId) -> bool {
        self.landing.as_ref().is_some_and(|l| l.requests.iter().any(|(r, _)| *r == request))
    }
}

/// What a gate said of a tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// Green, Red or TimedOut; Lost only counts.
    pub(crate) outcome: RunOutcome,
    pub(crate) run: RunId,
    /// Whose candidate was tested; none: the target's own tip.
    pub(crate) request: Option<RequestId>,
    pub(crate) candidate: CommitId,
    pub(crate) ms: u64,
    pub(crate) at: Millis,
    /// Runs of this tree that were lost so far.
    pub(crate) lost: u32,
}

/// A run that was asked for and has not ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// None: the target's own tip.
    pub(crate) request: Option<RequestId>,
    pub(crate) candidate: CommitId,
    pub(crate) tree: TreeId,
    pub(crate) base: CommitId,
    pub(crate) gate: Gate,
    pub(crate) gate_id: GateId,
    pub(crate) attempt: u32,
}

/// Found again from the rest; never written down.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    /// Live requests by target and branch.
    pub(crate) by_branch: BTreeMap<(BranchName, BranchName), BTreeSet<RequestId>>,
    /// Live requests by requirement and by branch.
    pub(crate) by_name: BTreeMap<String, BTreeSet<RequestId>>,
    /// Live requests that are in custody and depend on something.
    pub(crate) dependents: BTreeSet<RequestId>,
    /// Live requests by the agent that announced them.
    pub(crate) by_agent: BTreeMap<AgentName, BTreeSet<RequestId>>,
    /// Messages of arriving requests.
    pub(crate) arriving: BTreeMap<IntakeSeq, RequestId>,
    /// Ended requests by target and branch.
    pub(crate) ended_by_branch: BTreeMap<(BranchName, BranchName), BTreeSet<RequestId>>,
    /// The latest landed request by requirement and by branch.
    pub(crate) landed_names: BTreeMap<String, RequestId>,
    /// Branches with more than one request in custody.
    pub(crate) crowded: BTreeSet<(BranchName, BranchName)>,
}

impl Queue {
    /// An empty queue, before the first fact.
    pub fn new() -> Queue {
        Queue::default()
    }

    /// The state as bytes, for a snapshot.
    ///
    /// # Errors
    /// When the state cannot be written as JSON, which is a bug.
    pub fn to_snapshot(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// The state from a snapshot's bytes.
    ///
    /// # Errors
    /// When the bytes are no state of this version.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Queue, serde_json::Error> {
        let mut queue: Queue = serde_json::from_slice(bytes)?;
        queue.taken.read_older();
        queue.build_index();
        Ok(queue)
    }

    /// Whether a message needs no answer any more.
    pub fn is_answered(&self, seq: IntakeSeq) -> bool {
        self.taken.contains(seq)
    }

    /// An ended request, as long as it is remembered.
    pub fn ended(&self, request: RequestId) -> Option<&Ended> {
        self.ended.get(&request)
    }

    /// Requests whose heads must stay in custody.
    pub fn in_custody(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.live.keys().copied()
    }

    /// Commits of a push whose outcome is open, for the next look at `target`.
    pub fn landing_commits(&self, target: &BranchName) -> Vec<CommitId> {
        let landing = self.targets.get(target).and_then(|t| t.landing.as_ref());
        landing.map(|l| l.requests.iter().map(|(_, commit)| *commit).collect()).unwrap_or_default()
    }

    /// Where something is to be seen or done: the targets that are served, and those that were, while it is
    /// not known how a push to them ended.
    pub fn targets_at_work(&self, policy: &Policy) -> BTreeSet<BranchName> {
        let unsettled = self.targets.iter().filter(|(_, t)| t.landing.is_some()).map(|(name, _)| name);
        policy.targets.iter().chain(unsettled).cloned().collect()
    }

    /// The tip that is known of `target`.
    pub fn tip(&self, target: &BranchName) -> Option<CommitId> {
        self.targets.get(target).and_then(|t| t.tip)
    }

    /// Why `target` cannot test or land now.
    pub fn hold(&self, target: &BranchName, policy: &Policy) -> Option<String> {
        if let Some(why) = &self.remote_lost {
            return Some(format!("the remote does not answer: {why}"));
        }
        match self.targets.get(target) {
            Some(Target { frozen: Some(frozen), .. }) => Some(frozen.told(target)),
            Some(t) if t.tip.is_some() => t.gate(policy).err(),
            _ => Some("the target has not been seen on the remote yet".to_owned()),
        }
    }

    /// How many requests have not ended.
    pub fn pending(&self) -> usize {
        self.live.len()
    }

    pub(crate) fn build_index(&mut self) {
        self.index = Index::default();
        let live: Vec<RequestId> = self.live.keys().copied().collect();
        for id in live {
            self.index_live(id);
        }
        let ended: Vec<RequestId> = self.ended.keys().copied().collect();
        for id in ended {
            self.index_ended(id);
        }
    }

    pub(crate) fn index_live(&mut self, id: RequestId) {
        let Some(request) = self.live.get(&id) else { return };
        let a = &request.announcement;
        let key = (request.target.clone(), a.branch.clone());
        for name in [a.requirement.as_str(), a.branch.as_str()] {
            self.index.by_name.entry(name.to_owned()).or_default().insert(id);
        }
        self.index.by_branch.entry(key.clone()).or_default().insert(id);
        self.index.by_agent.entry(a.agent.clone()).or_default().insert(id);
        match request.phase {
            Phase::Arriving => {
                self.index.arriving.insert(request.intake, id);
            }
            Phase::Waiting(_) | Phase::Stacked(_) => {
                self.index.arriving.remove(&request.intake);
                if !a.depends_on.is_empty() {
                    self.index.dependents.insert(id);
                }
                let on_branch = self.index.by_branch.get(&key).into_iter().flatten();
                let in_custody =
                    on_branch.filter(|r| self.live.get(r).is_some_and(|r| r.custody().is_some()));
                if in_custody.count() > 1 {
                    self.index.crowded.insert(key);
                }
            }
        }
    }

    pub(crate) fn unindex_live(&mut self, id: RequestId, request: &Request) {
        let a = &request.announcement;
        for name in [a.requirement.as_str(), a.branch.as_str()] {
            if let Some(set) = self.index.by_name.get_mut(name) {
                set.remove(&id);
                if set.is_empty() {
                    self.index.by_name.remove(name);
                }
            }
        }
        let key = (request.target.clone(), a.branch.clone());
        if let Some(set) = self.index.by_branch.get_mut(&key) {
            set.remove(&id);
            if set.len() < 2 {
                self.index.crowded.remove(&key);
            }
            if set.is_empty() {
                self.index.by_branch.remove(&key);
            }
        }
        if let Some(set) = self.index.by_agent.get_mut(&a.agent) {
            set.remove(&id);
            if set.is_empty() {
                self.index.by_agent.remove(&a.agent);
            }
        }
        self.index.dependents.remove(&id);
        self.index.arriving.remove(&request.intake);
    }

    pub(crate) fn index_ended(&mut self, id: RequestId) {
        let Some(ended) = self.ended.get(&id) else { return };
        let a = &ended.announcement;
        let key = (ended.target.clone(), a.branch.clone());
        self.index.ended_by_branch.entry(key).or_default().insert(id);
        if ended.is_on_target() {
            for name in [a.requirement.as_str(), a.branch.as_str()] {
                let latest = self.index.landed_names.entry(name.to_owned()).or_insert(id);
                *latest = id.max(*latest);
            }
        }
    }

    /// Who landed last under a name, once somebody who did is on the target no more.
    pub(crate) fn index_landed_name(&mut self, name: String) {
        let named =
            |e: &Ended| e.announcement.requirement.as_str() == name || e.announcement.branch.as_str() == name;
        let latest = self.ended.iter().rev().find(|(_, e)| e.is_on_target() && named(e)).map(|(id, _)| *id);
        if let Some(id) = latest {
            self.index.landed_names.insert(name, id);
        }
    }

    pub(crate) fn unindex_ended(&mut self, id: RequestId, ended: &Ended) {
        let a = &ended.announcement;
        let key = (ended.target.clone(), a.branch.clone());
        if let Some(set) = self.index.ended_by_branch.get_mut(&key) {
            set.remove(&id);
            if set.is_empty() {
                self.index.ended_by_branch.remove(&key);
            }
        }
        for name in [a.requirement.as_str(), a.branch.as_str()] {
            if self.index.landed_names.get(name) == Some(&id) {
                self.index.landed_names.remove(name);
            }
        }
    }
}

/// Maps whose keys are no strings, as lists of pairs.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.iter())
    }

    pub(super) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_snapshot_says_is_answered_stays_so() {
        let older = br#"{"floor": 3, "above": [4, 5, 9]}"#;
        let mut taken: Taken = serde_json::from_slice(older).expect("it is read");
        taken.read_older();
        let answered: Vec<u64> = (0..12).filter(|seq| taken.contains(IntakeSeq(*seq))).collect();
        assert_eq!(answered, [0, 1, 2, 3, 4, 5, 9]);
        let written = serde_json::to_vec(&taken).expect("it is written");
        assert_eq!(serde_json::from_slice::<Taken>(&written).ok(), Some(taken));
    }
}
