use std::collections::{BTreeMap, HashMap};

use yardmaster_protocol::{
    CandidateSpec, CommitId, Entry, GateJob, IntakeSeq, LandOutcome, Landing, Millis, Project, RunOutcome,
    RunReport, Sighting,
};
use yardmaster_queue::{Input, Order, PinAsk, Queue};

use super::flaw::Flaw;
use super::scenario::Setting;
use super::state::{EntryId, MindId, News, OrderId, Outcome};
use crate::violation::Violation;

/// Time stands still: nothing in the landing protocol may depend on it.
const NOW: Millis = Millis(1_000);

/// A queue, and what its plan asks for.
pub(super) struct Mind {
    queue: Queue,
    pub(super) tip: Option<CommitId>,
    pub(super) pin: Option<OrderId>,
    pub(super) merge: Option<OrderId>,
    pub(super) tests: Vec<OrderId>,
    pub(super) land: Option<OrderId>,
    /// Messages that need no answer any more, one bit each.
    pub(super) answered: u8,
    pub(super) pending: usize,
}

/// What an input made of a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stepped {
    pub(super) mind: MindId,
    /// None: no news, nothing to be journalled.
    pub(super) entry: Option<EntryId>,
}

/// Every queue that was ever met, and what each input makes of it: the real `step`, `replay` and
/// `plan`, each asked once.
pub(super) struct Minds {
    pub(super) setting: Setting,
    always_green: bool,
    minds: Vec<Mind>,
    by_bytes: HashMap<Vec<u8>, MindId>,
    orders: Vec<Order>,
    by_text: HashMap<String, OrderId>,
    entries: Vec<Entry>,
    steps: HashMap<(MindId, News), Stepped>,
    replays: HashMap<(MindId, EntryId), MindId>,
}

impl Minds {
    pub(super) fn new(setting: Setting, flaw: Option<Flaw>) -> Result<Minds, Violation> {
        let mut minds = Minds {
            setting,
            always_green: flaw == Some(Flaw::AlwaysGreen),
            minds: Vec::new(),
            by_bytes: HashMap::new(),
            orders: Vec::new(),
            by_text: HashMap::new(),
            entries: Vec::new(),
            steps: HashMap::new(),
            replays: HashMap::new(),
        };
        minds.intern(Queue::new())?;
        Ok(minds)
    }

    /// How many different queues there are.
    pub(super) fn len(&self) -> usize {
        self.minds.len()
    }

    pub(super) fn mind(&self, id: MindId) -> &Mind {
        &self.minds[id as usize]
    }

    pub(super) fn entry(&self, id: EntryId) -> &Entry {
        &self.entries[id as usize]
    }

    /// The push that an order asks for.
    pub(super) fn landing(&self, id: OrderId) -> Option<&Landing> {
        match &self.orders[id as usize] {
            Order::Land { landing, .. } => Some(landing),
            Order::Pin { .. }
            | Order::Assemble { .. }
            | Order::RollUp { .. }
            | Order::Compare { .. }
            | Order::ReadDefinitions { .. }
            | Order::Test(_) => None,
        }
    }

    pub(super) fn step(&mut self, mind: MindId, news: &News) -> Result<Stepped, Violation> {
        if let Some(known) = self.steps.get(&(mind, news.clone())) {
            return Ok(*known);
        }
        let input = self.input(news);
        let mut queue = self.mind(mind).queue.clone();
        let step = queue.step(NOW, &self.setting.policy, input);
        let stepped = if step.entry.facts.is_empty() {
            let same = self.intern(queue)?;
            Violation::unless(same == mind, "no facts, no change", || format!("{news:?}"))?;
            Stepped { mind, entry: None }
        } else {
            self.entries.push(step.entry);
            let entry = u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX);
            Stepped { mind: self.intern(queue)?, entry: Some(entry) }
        };
        self.steps.insert((mind, news.clone()), stepped);
        Ok(stepped)
    }

    pub(super) fn replay(&mut self, mind: MindId, entry: EntryId) -> Result<MindId, Violation> {
        if let Some(known) = self.replays.get(&(mind, entry)) {
            return Ok(*known);
        }
        let mut queue = self.mind(mind).queue.clone();
        drop(queue.replay(self.entry(entry)));
        let replayed = self.intern(queue)?;
        self.replays.insert((mind, entry), replayed);
        Ok(replayed)
    }

    /// The number of a queue. Each new one is checked by its own rules and by way of a snapshot.
    fn intern(&mut self, queue: Queue) -> Result<MindId, Violation> {
        let broken = |why: String| Violation::new("a state can be written and read", why);
        let bytes = queue.to_snapshot().map_err(|e| broken(e.to_string()))?;
        if let Some(known) = self.by_bytes.get(&bytes) {
            return Ok(*known);
        }
        queue.check().map_err(|why| Violation::new("the state's own rules", why))?;
        let plan = queue.plan(&self.setting.policy);
        let read = Queue::from_snapshot(&bytes).map_err(|e| broken(e.to_string()))?;
        Violation::unless(read.plan(&self.setting.policy) == plan, "the same state, the same plan", || {
            String::from_utf8_lossy(&bytes).into_owned()
        })?;
        let mut mind = Mind {
            tip: queue.tip(&self.setting.target),
            pin: None,
            merge: None,
            tests: Vec::new(),
            land: None,
            answered: (0u8..8).filter(|i| queue.is_answered(intake(*i))).fold(0, |all, i| all | 1 << i),
            pending: queue.pending(),
            queue,
        };
        for order in plan.orders {
            let id = self.order(order)?;
            match self.orders[id as usize] {
                Order::Pin { .. } => mind.pin = Some(id),
                Order::Assemble { .. } => mind.merge = mind.merge.or(Some(id)),
                Order::Test(_) => mind.tests.push(id),
                Order::Land { .. } => mind.land = Some(id),
                // Nothing is tested in batches here.
                Order::Compare { .. } | Order::ReadDefinitions { .. } | Order::RollUp { .. } => {}
            }
        }
        let id = u32::try_from(self.minds.len()).unwrap_or(u32::MAX);
        self.minds.push(mind);
        self.by_bytes.insert(bytes, id);
        Ok(id)
    }

    fn order(&mut self, order: Order) -> Result<OrderId, Violation> {
        let text = serde_json::to_string(&order)
            .map_err(|e| Violation::new("a plan can be printed", e.to_string()))?;
        let next = u32::try_from(self.orders.len()).unwrap_or(u32::MAX);
        let id = *self.by_text.entry(text).or_insert(next);
        if id == next {
            self.orders.push(order);
        }
        Ok(id)
    }

    fn input(&mut self, news: &News) -> Input {
        let target = self.setting.target.clone();
        let project = Ok(Project::default());
        match news {
            News::Message(i) => {
                let message = &self.setting.messages[usize::from(*i)];
                Input::Message {
                    intake: intake(*i),
                    subject: message.subject.clone(),
                    published: Millis(u64::from(*i)),
                    traceparent: None,
                    payload: message.payload.clone(),
                }
            }
            News::Inspected(order) => Input::Inspected(self.inspected(*order)),
            News::Merged(order) => {
                let (base, specs) = self.specs(*order);
                Input::Assembled { target, merges: self.setting.git.assemble(base, &specs) }
            }
            News::Ran { run, lost } => Input::RunEnded(self.report(*run, *lost)),
            News::Looked { known, tip, asked } => {
                let asked = asked.map(|order| self.commits(order)).unwrap_or_default();
                let sighting = self.sighting(*known, *tip, &asked);
                Input::Seen { target, known: *known, sighting, project }
            }
            News::Silent => Input::RemoteSilent { why: "it does not answer".to_owned() },
            News::Pushed { order, outcome, tip } => {
                let Some(landing) = self.landing(*order).cloned() else {
                    return Input::RemoteSilent { why: "no push".to_owned() };
                };
                let seen = self.sighting(Some(landing.from), *tip, &self.commits(*order));
                let outcome = match outcome {
                    Outcome::Landed => LandOutcome::Landed { seen },
                    Outcome::Moved => LandOutcome::Moved { seen },
                    Outcome::Declined => LandOutcome::Declined { why: "a hook said no".to_owned(), seen },
                    Outcome::Unknown => LandOutcome::Unknown { why: "the connection broke".to_owned() },
                };
                Input::LandEnded { target, to: landing.to, outcome, project }
            }
        }
    }

    fn inspected(
        &self,
        order: OrderId,
    ) -> Vec<(yardmaster_protocol::RequestId, yardmaster_protocol::Inspection)> {
        let Order::Pin { tip, asks, .. } = &self.orders[order as usize] else { return Vec::new() };
        let branches: BTreeMap<_, _> = self.setting.heads.iter().cloned().collect();
        let inspect = |ask: &PinAsk| {
            let found = branches.get(&ask.branch).copied();
            (ask.request, self.setting.git.inspect(found, ask.commit, *tip))
        };
        asks.iter().map(inspect).collect()
    }

    fn specs(&self, order: OrderId) -> (CommitId, Vec<CandidateSpec>) {
        match &self.orders[order as usize] {
            Order::Assemble { base, specs, .. } => (*base, specs.clone()),
            Order::Pin { .. }
            | Order::RollUp { .. }
            | Order::Compare { .. }
            | Order::ReadDefinitions { .. }
            | Order::Test(_)
            | Order::Land { .. } => (self.setting.root, Vec::new()),
        }
    }

    fn report(&self, order: OrderId, lost: bool) -> RunReport {
        let job: Option<&GateJob> = match &self.orders[order as usize] {
            Order::Test(job) => Some(job),
            Order::Pin { .. }
            | Order::Assemble { .. }
            | Order::RollUp { .. }
            | Order::Compare { .. }
            | Order::ReadDefinitions { .. }
            | Order::Land { .. } => None,
        };
        let passes = |j: &GateJob| self.setting.rules.is_green(&self.setting.git.files_of(j.tree), &j.gate);
        let green = self.always_green || job.is_some_and(passes);
        let red = || RunOutcome::Red { step: "gate".to_owned(), exit_code: Some(1), log_tail: String::new() };
        let outcome = match (lost, green) {
            (true, _) => RunOutcome::Lost { why: "the runner died".to_owned() },
            (false, true) => RunOutcome::Green,
            (false, false) => red(),
        };
        let run = job.map(|j| j.run.clone());
        let none = || yardmaster_protocol::RunId::new("none").unwrap_or_else(|_| unreachable!("a token"));
        RunReport {
            run: run.unwrap_or_else(none),
            runner: "toy/1".to_owned(),
            outcome,
            started: NOW,
            ms: 1,
            steps: Vec::new(),
            skipped: Vec::new(),
        }
    }

    fn commits(&self, order: OrderId) -> Vec<CommitId> {
        self.landing(order).map(|l| l.requests.iter().map(|(_, c)| *c).collect()).unwrap_or_default()
    }

    fn sighting(&self, known: Option<CommitId>, tip: CommitId, asked: &[CommitId]) -> Sighting {
        let git = &self.setting.git;
        Sighting {
            tip,
            tree: git.tree(tip),
            movement: git.movement(known, tip),
            contains: asked.iter().copied().filter(|c| git.contains(tip, *c)).collect(),
            project_file: None,
            lost: known.map(|known| git.not_in(known, tip)).unwrap_or_default(),
        }
    }
}

fn intake(message: u8) -> IntakeSeq {
    IntakeSeq(u64::from(message) + 1)
}
