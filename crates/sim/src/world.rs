use std::collections::{BTreeMap, BTreeSet};

use yardmaster_protocol::{
    Assembled, BranchName, CommitId, Entry, GateJob, Inspection, Landing, Millis, RequestId, RunId,
    RunReport, Sighting,
};
use yardmaster_queue::{Input, Plan, Policy, Queue};

use crate::gate::GateRules;
use crate::git::Git;
use crate::ledger::{Ledger, Truth};
use crate::remote::{Pushed, Remote};
use crate::rng::Rng;
use crate::violation::Violation;
use crate::work::{Act, Work};

/// When the faults and the agents stop, in milliseconds.
pub(crate) const QUIET_AT: u64 = 300_000;
/// How often the target is looked at, in milliseconds.
pub(crate) const LOOK_EVERY: u64 = 15_000;
/// The server delivers again what was not acked for so long, in milliseconds.
pub(crate) const ACK_WAIT: u64 = 10_000;

/// Something that will happen.
pub(crate) enum Happening {
    Act(Act),
    Deliver { seq: u64 },
    Pinned { epoch: u32, found: Option<Vec<(RequestId, Inspection)>> },
    Merged { epoch: u32, target: BranchName, merges: Vec<Assembled> },
    RunEnds { run: RunId, serial: u64 },
    Report { report: RunReport, serial: u64 },
    PushArrives { epoch: u32, target: BranchName, landing: Landing },
    PushReturns { epoch: u32, target: BranchName, landing: Landing, pushed: Option<Pushed> },
    LookDue { epoch: u32, target: BranchName, periodic: bool },
    LookReturns { epoch: u32, target: BranchName, known: Option<CommitId>, sighting: Option<Sighting> },
    FreeAgain { epoch: u32, target: Option<BranchName> },
    Crash,
    Start,
    Foreign,
    Rewind,
    Silence,
    Speech,
    Quiet,
}

/// A message of the toy stream.
pub(crate) struct Message {
    pub(crate) subject: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) published: Millis,
    pub(crate) acked: bool,
}

/// A run that somebody works on.
pub(crate) struct Running {
    pub(crate) serial: u64,
    pub(crate) job: GateJob,
    pub(crate) started: u64,
}

/// What dies with the daemon's process.
pub(crate) struct Daemon {
    pub(crate) queue: Queue,
    pub(crate) pinning: bool,
    pub(crate) assembling: BTreeSet<BranchName>,
    /// Targets with a look or a push under way.
    pub(crate) busy: BTreeSet<BranchName>,
    /// Delivered and not acked.
    pub(crate) unacked: BTreeSet<u64>,
}

/// What a crash must not change.
pub(crate) struct Lived {
    pub(crate) snapshot: Vec<u8>,
    pub(crate) plan: Plan,
}

/// One history under way.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    agenda: BTreeMap<(u64, u64), Happening>,
    scheduled: u64,
    pub(crate) git: Git,
    pub(crate) remote: Remote,
    pub(crate) rules: GateRules,
    pub(crate) policy: Policy,
    pub(crate) works: Vec<Work>,
    pub(crate) stream: Vec<Message>,
    pub(crate) journal: Vec<Entry>,
    pub(crate) daemon: Option<Daemon>,
    pub(crate) lived: Option<Lived>,
    pub(crate) epoch: u32,
    pub(crate) running: BTreeMap<RunId, Running>,
    pub(crate) ledger: Ledger,
    pub(crate) tips_had: BTreeMap<BranchName, Vec<CommitId>>,
    pub(crate) missing: BTreeSet<BranchName>,
    pub(crate) rewound: bool,
    pub(crate) quiet: bool,
    pub(crate) faulty: bool,
    pub(crate) story: Option<Vec<String>>,
    pub(crate) steps: u64,
}

impl World {
    pub(crate) fn new(seed: u64, policy: Policy, told: bool) -> World {
        World {
            rng: Rng::new(seed),
            now: 0,
            agenda: BTreeMap::new(),
            scheduled: 0,
            git: Git::default(),
            remote: Remote::default(),
            rules: GateRules::default(),
            policy,
            works: Vec::new(),
            stream: Vec::new(),
            journal: Vec::new(),
            daemon: None,
            lived: None,
            epoch: 0,
            running: BTreeMap::new(),
            ledger: Ledger::default(),
            tips_had: BTreeMap::new(),
            missing: BTreeSet::new(),
            rewound: false,
            quiet: false,
            faulty: true,
            story: told.then(Vec::new),
            steps: 0,
        }
    }

    pub(crate) fn after(&mut self, ms: u64, happening: Happening) {
        self.scheduled += 1;
        self.agenda.insert((self.now + ms, self.scheduled), happening);
    }

    pub(crate) fn next(&mut self) -> Option<Happening> {
        let ((at, _), happening) = self.agenda.pop_first()?;
        self.now = at;
        Some(happening)
    }

    /// A line of the readable story, made only when somebody reads it.
    pub(crate) fn tell(&mut self, line: impl FnOnce(&World) -> String) {
        if self.story.is_some() {
            let line = format!("{:>8.3} {}", self.now as f64 / 1_000.0, line(self));
            self.story.iter_mut().for_each(|s| s.push(line.clone()));
        }
    }

    /// A fault that only happens while faults do.
    pub(crate) fn unlucky(&mut self, percent: u64) -> bool {
        self.rng.chance(percent) && self.faulty && !self.quiet
    }

    pub(crate) fn tip_moved(&mut self, target: &BranchName) {
        if let Some(tip) = self.remote.branches.get(target) {
            self.tips_had.entry(target.clone()).or_default().push(*tip);
        }
    }

    /// One step of the daemon, with everything that follows from it. False: it died over it.
    pub(crate) fn input(&mut self, input: Input) -> Result<bool, Violation> {
        let dies_before = self.unlucky(1) && self.rng.chance(30);
        let dies_after = self.unlucky(1) && self.rng.chance(50);
        let now = Millis(self.now);
        let told = if self.story.is_some() { self.told_input(&input) } else { String::new() };
        let adds = matches!(input, Input::Message { .. } | Input::Inspected(_));
        let Some(daemon) = &mut self.daemon else { return Ok(false) };
        if dies_before {
            self.tell(|_| told);
            self.crash();
            return Ok(false);
        }
        let step = daemon.queue.step(now, &self.policy, input);
        daemon.queue.check().map_err(|why| Violation::new("the state's own rules", why))?;
        self.steps += 1;
        if !step.entry.facts.is_empty() {
            self.journal.push(step.entry.clone());
        }
        let mut ledger = std::mem::take(&mut self.ledger);
        let observed = ledger.observe(&self.truth(), adds, &step);
        self.ledger = ledger;
        if !step.entry.facts.is_empty() {
            self.tell(|_| told);
        }
        for fact in &step.entry.facts {
            self.tell(|w| w.told_fact(fact));
        }
        observed?;
        self.react_to(&step);
        if dies_after {
            self.crash();
            return Ok(true);
        }
        self.carry_out();
        self.ack()?;
        Ok(true)
    }

    pub(crate) fn truth(&self) -> Truth<'_> {
        Truth {
            git: &self.git,
            remote: &self.remote,
            rules: &self.rules,
            policy: &self.policy,
            tips_had: &self.tips_had,
            missing: &self.missing,
            rewound: self.rewound,
        }
    }

    /// Acks what is answered, and only that.
    fn ack(&mut self) -> Result<(), Violation> {
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let queue = &daemon.queue;
        let answered: Vec<u64> = daemon
            .unacked
            .iter()
            .copied()
            .filter(|seq| queue.is_answered(yardmaster_protocol::IntakeSeq(*seq)))
            .collect();
        for seq in answered {
            daemon.unacked.remove(&seq);
            let told = self.ledger.answered.contains(&yardmaster_protocol::IntakeSeq(seq));
            Violation::unless(told, "acked only what is in custody or answered", || {
                format!("message {seq}")
            })?;
            if let Some(message) = usize::try_from(seq - 1).ok().and_then(|i| self.stream.get_mut(i)) {
                message.acked = true;
            }
        }
        Ok(())
    }
}
