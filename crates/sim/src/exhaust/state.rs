use std::fmt;

use yardmaster_protocol::CommitId;

/// An interned queue; the same number, the same state, byte for byte.
pub(super) type MindId = u32;
/// An interned order of a plan.
pub(super) type OrderId = u32;
/// An interned entry of the journal.
pub(super) type EntryId = u32;
/// An interned account of what the journal has promised.
pub(super) type BookId = u32;

/// Everything that the future of the world depends on, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct State {
    /// What all records of the journal amount to.
    pub(super) journal: MindId,
    /// What they have promised.
    pub(super) book: BookId,
    /// Where the target is on the remote.
    pub(super) tip: CommitId,
    /// One bit a message.
    pub(super) acked: u8,
    /// One bit a message that the server has handed out; only a flaw reads it.
    pub(super) delivered: u8,
    /// Faults that may still happen.
    pub(super) left: Faults,
    /// Pushes without a living pusher that may arrive at any time or never, sorted.
    pub(super) strays: Vec<OrderId>,
    /// Sorted: which is which makes no difference.
    pub(super) daemons: [Daemon; 2],
}

/// How many of each fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Faults {
    /// Deaths of a daemon, each at any moment.
    pub crashes: u8,
    /// Starts of a daemon beside one that serves, which wakes up later and goes on.
    pub takeovers: u8,
    /// Pushes to the target by somebody else.
    pub foreign: u8,
    /// Answers of the remote that do not come: after the push arrived, before it did, or of a look.
    pub unclear: u8,
    /// Acks that the server does not get.
    pub lost_acks: u8,
    /// Runs that end without a verdict.
    pub lost_runs: u8,
    /// Pushes that the remote declines though it would take them at another time.
    pub declines: u8,
}

/// A process that serves, or the place where one may be started.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Daemon {
    Down,
    /// It has read the journal and looked at the target; its empty record is to be appended.
    Starting {
        mind: MindId,
        looked: News,
        current: bool,
    },
    Serving(Serving),
}

/// What dies with the process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Serving {
    pub(super) mind: MindId,
    /// Nobody else has appended since its last record: the journal would take another one.
    pub(super) current: bool,
    /// Its record is in the journal, and it does not know yet.
    pub(super) appended: Option<EntryId>,
    /// Messages that it got and has not acked.
    pub(super) held: u8,
    pub(super) pinning: Option<OrderId>,
    pub(super) merging: Option<OrderId>,
    pub(super) looking: bool,
    pub(super) pushing: bool,
    /// What the hand at the remote was asked for, one after the other.
    pub(super) errands: Vec<Errand>,
    /// What the push said, while the remote is read back.
    pub(super) said: Option<Said>,
    /// What the hand at the remote found, in order.
    pub(super) reports: Vec<News>,
}

/// What the hand at the remote is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Errand {
    /// `asked`: the push whose commits are looked for.
    Look {
        known: Option<CommitId>,
        asked: Option<OrderId>,
    },
    Land(OrderId),
}

/// What a push said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Said {
    Taken,
    Stale,
    Declined,
    Unclear,
}

/// How a push counts after the remote was read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Outcome {
    Landed,
    Moved,
    Declined,
    Unknown,
}

/// An input of the queue, small.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum News {
    Message(u8),
    Inspected(OrderId),
    Merged(OrderId),
    Ran { run: OrderId, lost: bool },
    Looked { known: Option<CommitId>, tip: CommitId, asked: Option<OrderId> },
    Silent,
    Pushed { order: OrderId, outcome: Outcome, tip: CommitId },
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Faults { crashes, takeovers, foreign, unclear, lost_acks, lost_runs, declines } = self;
        write!(
            f,
            "{crashes} crashes, {takeovers} takeovers, {foreign} foreign pushes, {unclear} lost answers, \
             {lost_acks} lost acks, {lost_runs} lost runs, {declines} declined pushes"
        )
    }
}

impl Daemon {
    pub(super) fn is_current(&self) -> bool {
        match self {
            Daemon::Down => false,
            Daemon::Starting { current, .. } => *current,
            Daemon::Serving(serving) => serving.current,
        }
    }

    /// Somebody else has appended.
    pub(super) fn depose(&mut self) {
        match self {
            Daemon::Down => {}
            Daemon::Starting { current, .. } => *current = false,
            Daemon::Serving(serving) => serving.current = false,
        }
    }
}

impl Serving {
    pub(super) fn begin(mind: MindId, looked: News) -> Serving {
        Serving {
            mind,
            current: true,
            appended: None,
            held: 0,
            pinning: None,
            merging: None,
            looking: false,
            pushing: false,
            errands: Vec::new(),
            said: None,
            reports: vec![looked],
        }
    }

    /// The push that it will make, as far as it has not arrived; `planned` when none is under way.
    fn may_push(&self, planned: Option<OrderId>) -> Option<OrderId> {
        if !self.pushing {
            return planned;
        }
        self.errands.iter().filter(|_| self.said.is_none()).find_map(|errand| match errand {
            Errand::Land(order) => Some(*order),
            Errand::Look { .. } => None,
        })
    }

    /// The push that has left and has not arrived.
    pub(super) fn under_way(&self) -> Option<OrderId> {
        match (self.errands.first(), self.said) {
            (Some(Errand::Land(order)), None) => Some(*order),
            (Some(Errand::Look { .. } | Errand::Land(_)) | None, _) => None,
        }
    }
}

impl State {
    /// Every daemon but `who` has been written past. Without `sleepers` it dies of it at once, and
    /// the push that it may still make, by `plans`, has no living pusher any more.
    pub(super) fn depose_all_but(
        &mut self,
        who: usize,
        sleepers: bool,
        plans: impl Fn(MindId) -> Option<OrderId>,
    ) {
        for other in (0..self.daemons.len()).filter(|other| *other != who) {
            if sleepers {
                self.daemons[other].depose();
                continue;
            }
            if let Daemon::Serving(serving) = &self.daemons[other] {
                let may_push = serving.may_push(plans(serving.mind));
                may_push.into_iter().for_each(|order| self.add_stray(order));
            }
            self.daemons[other] = Daemon::Down;
        }
    }

    pub(super) fn add_stray(&mut self, order: OrderId) {
        if let Err(at) = self.strays.binary_search(&order) {
            self.strays.insert(at, order);
        }
    }
}
