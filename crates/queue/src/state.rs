use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{
    AgentName, Announcement, Assembly, Blocker, BlockerKind, BranchName, ChangeSize, CommitId, Failure, Gate,
    GateId, IntakeSeq, Landing, Millis, Pressure, Project, RequestId, RunId, RunOutcome, RunnerOffer, TreeId,
};

use crate::compare::Compared;
use crate::definitions::ReadDefinitions;
use crate::due::Pushes;
use crate::flake::Flakes;
use crate::freeze::Frozen;
use crate::independent::Evidence;
use crate::index::Index;
use crate::intent::{Intended, Place};
use crate::learn::Times;
use crate::odds::{Record, Suspicion};
use crate::pace::Pace;
use crate::pair::Brought;
use crate::pause::Pause;
use crate::policy::{GateRule, Policy};
use crate::promote::Promoted;
use crate::reds::RedRun;
use crate::review::Reviews;
use crate::taken::Taken;

/// Ended requests that are remembered, to recognise what comes again and to answer questions.
pub(crate) const ENDED_KEPT: usize = 10_000;
/// Verdicts that are remembered per target.
pub(crate) const VERDICTS_KEPT: usize = 4_096;

/// The state of the queue: nothing but the journal's facts, applied.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Queue {
    pub(crate) now: Millis,
    pub(crate) last_request: u64,
    pub(crate) live: BTreeMap<RequestId, Request>,
    /// Shared: a copy costs nothing until one of the two forgets or remembers more.
    #[serde(with = "shared")]
    pub(crate) ended: Arc<BTreeMap<RequestId, Ended>>,
    pub(crate) taken: Taken,
    pub(crate) targets: BTreeMap<BranchName, Target>,
    pub(crate) remote_lost: Option<String>,
    pub(crate) counts: Counts,
    /// When the latest announcement was published, by the server's clock.
    #[serde(default)]
    pub(crate) latest: Millis,
    /// What agents mean to work on.
    #[serde(default, with = "pairs")]
    pub(crate) intents: BTreeMap<Place, Intended>,
    /// What agents were told last about the length of the queue.
    #[serde(default)]
    pub(crate) pressure: Pressure,
    /// How the work of each agent fares.
    #[serde(default)]
    pub(crate) records: BTreeMap<AgentName, Record>,
    /// What reviewers have said.
    #[serde(default)]
    pub(crate) reviews: Reviews,
    /// What runners have; none: nobody has said yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offers: Option<Vec<RunnerOffer>>,
    #[serde(skip)]
    pub(crate) index: Index,
}

/// How many requests ended how, since the journal began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) landed: u64,
    pub(crate) failed: u64,
}

/// A request that has not ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) target: BranchName,
    #[serde(with = "shared")]
    pub(crate) announcement: Arc<Announcement>,
    pub(crate) traceparent: Option<String>,
    pub(crate) intake: IntakeSeq,
    pub(crate) published: Millis,
    pub(crate) arrived: Millis,
    /// When it was last announced with other words.
    #[serde(default)]
    pub(crate) amended: Millis,
    pub(crate) events: u32,
    pub(crate) phase: Phase,
    pub(crate) blockers: Vec<Blocker>,
    /// It lands together with those of the same unit, or not at all.
    #[serde(default)]
    pub(crate) unit: Option<RequestId>,
    /// It was red together with others.
    #[serde(default)]
    pub(crate) suspicion: Option<Suspicion>,
    /// It was green, on top of something.
    #[serde(default)]
    pub(crate) proved: bool,
    /// It was red on a footing of its own, and not green since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) reddened: bool,
    /// In a thousand cases like this it passes so often, as the red runs tell that it was in and that nobody explains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after_reds: Option<u16>,
    /// An operator moved it to the front.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) promoted: Option<Promoted>,
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
    #[serde(with = "shared")]
    pub(crate) files: Arc<Vec<String>>,
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

    /// It was told that it may take no part.
    pub(crate) fn is_told_held(&self) -> bool {
        self.blockers.iter().any(|b| matches!(b.kind, BlockerKind::Scope | BlockerKind::Review))
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
    #[serde(with = "shared")]
    pub(crate) announcement: Arc<Announcement>,
    pub(crate) head: Option<CommitId>,
    #[serde(with = "shared")]
    pub(crate) files: Arc<Vec<String>>,
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
    /// Nobody gets a place, but for who is urgent.
    #[serde(default)]
    pub(crate) paused: Option<Pause>,
    /// How those in custody merge with each other and with the tip.
    #[serde(default)]
    pub(crate) compared: Compared,
    /// Merge commits of batches, by their parents.
    #[serde(default, with = "pairs")]
    pub(crate) rollups: BTreeMap<(CommitId, CommitId), CommitId>,
    /// How requests fare here.
    #[serde(default)]
    pub(crate) record: Record,
    /// Red runs of several whose members were set aside.
    #[serde(default)]
    pub(crate) suspecting: VecDeque<RunId>,
    /// Steps that do not always say the same.
    #[serde(default)]
    pub(crate) flakes: Flakes,
    /// The latest tip that a landing of ours made.
    #[serde(default)]
    pub(crate) ours: Option<CommitId>,
    /// The latest run of each, where the project declares what has nothing to do with each other.
    #[serde(default)]
    pub(crate) evidence: BTreeMap<RequestId, Evidence>,
    /// Red runs of requests with footings of their own, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) reds: Vec<RedRun>,
    /// How long steps take.
    #[serde(default)]
    pub(crate) times: Times,
    /// Where they meet at definitions.
    #[serde(default)]
    pub(crate) read: ReadDefinitions,
    /// The latest landings, oldest first.
    #[serde(default)]
    pub(crate) brought: VecDeque<Brought>,
    /// How long pushes take.
    #[serde(default)]
    pub(crate) pushes: Pushes,
    /// Whether runs slow each other.
    #[serde(default)]
    pub(crate) pace: Pace,
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
            paused: None,
            compared: Compared::default(),
            rollups: BTreeMap::new(),
            pushes: Pushes::default(),
            pace: Pace::default(),
            record: Record::default(),
            ours: None,
            times: Times::default(),
            suspecting: VecDeque::new(),
            flakes: Flakes::default(),
            evidence: BTreeMap::new(),
            reds: Vec::new(),
            read: ReadDefinitions::default(),
            brought: VecDeque::new(),
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
            (GateRule::FromTarget, Ok(Project { gate: Some(gate), .. })) => Ok(gate.clone()),
            (GateRule::FromTarget, Ok(Project { gate: None, .. })) => {
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

    /// One more run is under way.
    pub(crate) fn note_company(&mut self) {
        let count = u32::try_from(self.runs.len()).unwrap_or(u32::MAX);
        self.runs.values_mut().for_each(|run| run.beside = run.beside.max(count));
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
    /// Runs of this tree that were red so far.
    #[serde(default)]
    pub(crate) reds: u32,
    /// Steps that were red in one run of this tree, and green in a later one.
    #[serde(default)]
    pub(crate) flaky: Vec<String>,
    /// When the run was asked for; none in older snapshots.
    #[serde(default)]
    pub(crate) asked: Option<Millis>,
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
    /// When it was asked for; none in older snapshots.
    #[serde(default)]
    pub(crate) asked: Option<Millis>,
    /// What it stands on, lowest first.
    #[serde(default)]
    pub(crate) behind: Vec<RequestId>,
    /// The most that were under way at a time since it was asked for, with itself; 0 in older snapshots.
    #[serde(default)]
    pub(crate) beside: u32,
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
}

/// What copies of the state have in common, as what it is.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        shared: &Arc<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        T::serialize(shared, serializer)
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<T>, D::Error> {
        T::deserialize(deserializer).map(Arc::new)
    }
}

/// Maps whose keys are no strings, as lists of pairs.
pub(crate) mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.iter())
    }

    pub(crate) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}
