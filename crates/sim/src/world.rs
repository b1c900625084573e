use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use yardmaster_protocol::{
    Assembled, BranchName, CommitId, Entry, GateJob, Inspection, Landing, Millis, RequestId, RunId,
    RunReport, Sighting, TreeId,
};
use yardmaster_queue::{Input, Plan, Policy};

use crate::daemon::Daemon;
use crate::fault::{Fault, Tally};
use crate::gate::GateRules;
use crate::git::Git;
use crate::ledger::{Ledger, Truth};
use crate::remote::{Pushed, Remote};
use crate::rng::Rng;
use crate::work::{Act, Work};

/// When the faults and the agents stop, in milliseconds.
pub(crate) const QUIET_AT: u64 = 300_000;
/// How often the target is looked at, in milliseconds.
pub(crate) const LOOK_EVERY: u64 = 15_000;
/// The server delivers again what was not acked for so long, in milliseconds.
pub(crate) const ACK_WAIT: u64 = 10_000;
/// What the clocks show when a history begins.
const EPOCH: u64 = 500_000 * 3_600_000;

/// What can be away for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outage {
    Remote,
    Nats,
    Journal,
    Mirror,
}

/// Something that will happen.
#[derive(Clone)]
pub(crate) enum Happening {
    Act(Act),
    Deliver { seq: u64 },
    DeliverReview { seq: u64 },
    RunEnds { run: RunId, serial: u64 },
    Report { serial: u64 },
    Resume,
    PushArrives { epoch: u32, target: BranchName, landing: Landing },
    OfDaemon { epoch: u32, what: Own },
    Outside(Outside),
    Arm(Fault),
    Crash,
    Start,
    Rival,
    Sleep,
    Fork,
    Quiet,
}

/// What only the process can get that asked for it.
#[derive(Clone)]
pub(crate) enum Own {
    Commit,
    Again { input: Box<Input> },
    Pinned { found: Option<Vec<(RequestId, Inspection)>> },
    RolledUp { target: BranchName, parents: (CommitId, CommitId), made: Option<CommitId> },
    Merged { target: BranchName, merges: Option<Vec<Assembled>> },
    Compared { target: BranchName, comparison: Box<Input> },
    DefinitionsRead { target: BranchName, read: Box<Input> },
    PushReturns { target: BranchName, landing: Landing, pushed: Option<Pushed> },
    LookDue { target: BranchName, periodic: bool },
    LookReturns { target: BranchName, known: Option<CommitId>, sighting: Option<Sighting> },
    FreeAgain { target: Option<BranchName> },
}

/// What others do to the remote and to the house.
#[derive(Debug, Clone)]
pub(crate) enum Outside {
    Foreign,
    Rewind,
    TargetGone,
    TargetBack { target: BranchName, tip: CommitId },
    Begins(Outage),
    Ends(Outage),
    ClockJump,
    Reload,
}

/// A message of the toy stream.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) subject: String,
    pub(crate) payload: Rc<Vec<u8>>,
    pub(crate) published: Millis,
    pub(crate) acked: bool,
}

/// A run that somebody works on.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) serial: u64,
    /// Whose job it is.
    pub(crate) epoch: u32,
    pub(crate) job: GateJob,
    pub(crate) started: u64,
}

/// What a crash must not change.
#[derive(Clone)]
pub(crate) struct Lived {
    pub(crate) position: usize,
    pub(crate) snapshot: Vec<u8>,
    pub(crate) plan: Plan,
    pub(crate) policy: Rc<Policy>,
}

/// An event's place: the record, and the fact in it.
pub(crate) type Place = (usize, u32);

/// One history under way.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    /// What the daemons' clock is ahead of true time.
    pub(crate) skew: i64,
    agenda: BTreeMap<(u64, u64), Happening>,
    scheduled: u64,
    pub(crate) git: Git,
    pub(crate) remote: Remote,
    pub(crate) rules: GateRules,
    pub(crate) policy: Rc<Policy>,
    pub(crate) works: Vec<Work>,
    pub(crate) stream: Vec<Message>,
    /// The stream of reviews.
    pub(crate) reviews: Vec<Message>,
    /// Somebody says who may touch what, and reviewers speak.
    pub(crate) ruled: bool,
    /// Reports that nobody has acked, by serial.
    pub(crate) reports: BTreeMap<u64, RunReport>,
    pub(crate) journal: Vec<Entry>,
    pub(crate) snapshot: Option<(usize, Rc<Vec<u8>>)>,
    /// Every event that the journal causes.
    pub(crate) due: Vec<Place>,
    /// The stream of events.
    pub(crate) released: Vec<Place>,
    /// Heads in custody.
    pub(crate) pins: BTreeSet<RequestId>,
    pub(crate) daemons: BTreeMap<u32, Daemon>,
    /// The daemon whose turn it is.
    pub(crate) acting: u32,
    pub(crate) epochs: u32,
    pub(crate) lived: Option<Lived>,
    pub(crate) running: BTreeMap<RunId, Running>,
    pub(crate) serials: u64,
    pub(crate) ledger: Ledger,
    pub(crate) tips_had: BTreeMap<BranchName, Vec<CommitId>>,
    pub(crate) missing: BTreeSet<BranchName>,
    /// Branches that somebody took back at some time.
    pub(crate) withdrawn: BTreeSet<BranchName>,
    /// Trees of which a gate said what is not so.
    pub(crate) flaked: BTreeSet<TreeId>,
    pub(crate) rewound: bool,
    pub(crate) quiet: bool,
    /// When faults stopped.
    pub(crate) calm_at: u64,
    pub(crate) faulty: bool,
    pub(crate) flaky: bool,
    pub(crate) out: BTreeSet<Outage>,
    pub(crate) armed: Vec<Fault>,
    pub(crate) tally: Tally,
    pub(crate) forked: bool,
    pub(crate) forks: u64,
    pub(crate) story: Option<Vec<String>>,
    pub(crate) words: BTreeSet<String>,
    pub(crate) steps: u64,
    /// Since when nothing was in the way of progress, by the daemons' clock.
    pub(crate) awake: Millis,
}

impl World {
    pub(crate) fn new(seed: u64, policy: Policy, told: bool) -> World {
        World {
            rng: Rng::new(seed),
            now: 0,
            skew: 0,
            agenda: BTreeMap::new(),
            scheduled: 0,
            git: Git::default(),
            remote: Remote::default(),
            rules: GateRules::default(),
            policy: Rc::new(policy),
            works: Vec::new(),
            stream: Vec::new(),
            reviews: Vec::new(),
            ruled: false,
            reports: BTreeMap::new(),
            journal: Vec::new(),
            snapshot: None,
            due: Vec::new(),
            released: Vec::new(),
            pins: BTreeSet::new(),
            daemons: BTreeMap::new(),
            acting: 0,
            epochs: 0,
            lived: None,
            running: BTreeMap::new(),
            serials: 0,
            ledger: Ledger::default(),
            tips_had: BTreeMap::new(),
            missing: BTreeSet::new(),
            withdrawn: BTreeSet::new(),
            flaked: BTreeSet::new(),
            rewound: false,
            quiet: false,
            calm_at: 0,
            faulty: true,
            flaky: false,
            out: BTreeSet::new(),
            armed: Vec::new(),
            tally: Tally::new(),
            forked: false,
            forks: 0,
            story: told.then(Vec::new),
            words: BTreeSet::new(),
            steps: 0,
            awake: Millis::default(),
        }
    }

    pub(crate) fn after(&mut self, ms: u64, happening: Happening) {
        self.scheduled += 1;
        self.agenda.insert((self.now + ms, self.scheduled), happening);
    }

    /// Something that the acting daemon will get.
    pub(crate) fn own(&mut self, ms: u64, what: Own) {
        let epoch = self.acting;
        self.after(ms, Happening::OfDaemon { epoch, what });
    }

    pub(crate) fn next(&mut self) -> Option<Happening> {
        let ((at, _), happening) = self.agenda.pop_first()?;
        self.now = at;
        Some(happening)
    }

    /// The server's clock.
    pub(crate) fn server_clock(&self) -> Millis {
        Millis(EPOCH + self.now)
    }

    /// The daemons' clock.
    pub(crate) fn clock(&self) -> Millis {
        Millis((EPOCH + self.now).saturating_add_signed(self.skew))
    }

    /// A line of the readable story, made only when somebody reads it.
    pub(crate) fn tell(&mut self, line: impl FnOnce(&World) -> String) {
        if self.story.is_some() {
            let line = format!("{:>8.3} [{}] {}", self.now as f64 / 1_000.0, self.acting, line(self));
            self.story.iter_mut().for_each(|s| s.push(line.clone()));
        }
    }

    /// A fault that only happens while faults do; counted when it does.
    pub(crate) fn unlucky(&mut self, percent: u64, fault: Fault) -> bool {
        let happens = self.rng.chance(percent) && self.faulty && !self.quiet;
        if happens {
            self.count(fault);
        }
        happens
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        *self.tally.entry(fault).or_default() += 1;
    }

    /// The acting daemon passes a moment at which it may have been made to die. True: it did.
    pub(crate) fn hit(&mut self, point: Fault) -> bool {
        let Some(i) = self.armed.iter().position(|armed| *armed == point) else { return false };
        self.armed.swap_remove(i);
        self.count(point);
        self.tell(|_| point.name().to_owned());
        self.crash();
        true
    }

    pub(crate) fn is_out(&self, what: Outage) -> bool {
        self.out.contains(&what)
    }

    /// Whether the acting daemon lives.
    pub(crate) fn lives(&self) -> bool {
        self.daemons.contains_key(&self.acting)
    }

    /// Gives the turn to a daemon that is awake. False: there is none.
    pub(crate) fn choose(&mut self) -> bool {
        let awake: Vec<u32> =
            self.daemons.iter().filter(|(_, d)| d.wakes_at <= self.now).map(|(e, _)| *e).collect();
        let chosen = match awake[..] {
            [] => return false,
            [only] => only,
            _ => awake.get(self.rng.index(awake.len())).copied().unwrap_or_default(),
        };
        self.acting = chosen;
        true
    }

    pub(crate) fn tip_moved(&mut self, target: &BranchName) {
        if let Some(tip) = self.remote.branches.get(target) {
            self.tips_had.entry(target.clone()).or_default().push(*tip);
        }
    }

    pub(crate) fn truth<'a>(&'a self, policy: &'a Policy) -> Truth<'a> {
        Truth {
            git: &self.git,
            remote: &self.remote,
            rules: &self.rules,
            policy,
            tips_had: &self.tips_had,
            missing: &self.missing,
            withdrawn: &self.withdrawn,
            flaked: &self.flaked,
            rewound: self.rewound,
            now: self.server_clock(),
        }
    }
}
