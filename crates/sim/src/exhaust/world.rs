use std::fmt;

use yardmaster_protocol::CommitId;

use super::book::Books;
use super::flaw::Flaw;
use super::minds::Minds;
use super::search::Case;
use super::state::{Daemon, Faults, OrderId, Said, State};
use crate::gate::change_region;
use crate::violation::Violation;

/// What happened between two states, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    Start,
    Depose,
    Crash,
    Answered,
    AckLost,
    AnswerLost,
    Poll,
    Message(u8),
    Inspected,
    Merged,
    Ran,
    RunLost,
    Report,
    Look,
    LookLost,
    Push,
    PushUnanswered,
    PushAstray,
    PushDeclined,
    ReadBack,
    ReadBackLost,
    Stray,
    Foreign,
}

impl Move {
    /// Whether it happens without anybody's bad luck: progress may not depend on the others.
    pub(super) fn is_fair(self) -> bool {
        match self {
            Move::Start
            | Move::Depose
            | Move::Answered
            | Move::Poll
            | Move::Message(_)
            | Move::Inspected
            | Move::Merged
            | Move::Ran
            | Move::Report
            | Move::Look
            | Move::Push
            | Move::ReadBack => true,
            Move::Crash
            | Move::AckLost
            | Move::AnswerLost
            | Move::RunLost
            | Move::LookLost
            | Move::PushUnanswered
            | Move::PushAstray
            | Move::PushDeclined
            | Move::ReadBackLost
            | Move::Stray
            | Move::Foreign => false,
        }
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = match self {
            Move::Start => "a daemon starts: it reads the journal and looks at the target",
            Move::Depose => "its empty record arrives at the journal",
            Move::Crash => "a daemon dies",
            Move::Answered => "the journal's answer arrives; the daemon acts, then acks",
            Move::AckLost => "the journal's answer arrives; the daemon acts, but its ack is lost",
            Move::AnswerLost => "the journal's answer is lost",
            Move::Poll => "the daemon asks for a look at the target",
            Move::Message(i) => return write!(f, "message {} is delivered", i + 1),
            Move::Inspected => "announced heads are in custody",
            Move::Merged => "merges are worked out",
            Move::Ran => "a run reports",
            Move::RunLost => "a run is lost",
            Move::Report => "the daemon takes in what the hand at the remote found",
            Move::Look => "the remote is looked at",
            Move::LookLost => "the remote does not answer a look",
            Move::Push => "a push arrives at the remote",
            Move::PushUnanswered => "a push arrives at the remote, its answer is lost",
            Move::PushAstray => "a push is cut off; it may arrive later",
            Move::PushDeclined => "the remote declines a push that it would take at another time",
            Move::ReadBack => "the remote is read back after the push",
            Move::ReadBackLost => "the remote does not answer after the push",
            Move::Stray => "a push without a living pusher arrives at the remote",
            Move::Foreign => "somebody else pushes to the target",
        };
        f.write_str(told)
    }
}

/// A violation and the move that led to it.
pub(super) type Broken = (Move, Violation);

/// Everything that stays the same while states change.
pub(super) struct World {
    pub(super) minds: Minds,
    pub(super) books: Books,
    pub(super) faults: Faults,
    pub(super) flaw: Option<Flaw>,
    /// Daemons that cannot write any more stay, and do whatever they still can.
    pub(super) sleepers: bool,
}

/// States after one move each.
#[derive(Default)]
pub(super) struct Next {
    pub(super) found: Vec<(Move, State)>,
}

impl Next {
    pub(super) fn add(&mut self, by: Move, state: State) {
        self.found.push((by, state));
    }
}

impl World {
    pub(super) fn new(case: &Case) -> Result<World, Violation> {
        let setting = case.scenario.setting().map_err(|why| Violation::new("a scenario can be set", why))?;
        let (minds, books) = (Minds::new(setting, case.flaw)?, Books::new());
        Ok(World { minds, books, faults: case.faults, flaw: case.flaw, sleepers: case.sleepers })
    }

    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    pub(super) fn first(&self) -> State {
        State {
            journal: 0,
            book: 0,
            tip: self.minds.setting.root,
            acked: 0,
            delivered: 0,
            left: self.faults,
            strays: Vec::new(),
            daemons: [Daemon::Down, Daemon::Down],
        }
    }

    fn messages(&self) -> u8 {
        u8::try_from(self.minds.setting.messages.len()).unwrap_or(u8::MAX)
    }

    pub(super) fn each_message(&self) -> impl Iterator<Item = u8> + use<> {
        0..self.messages()
    }

    /// Nothing is left to be done, and all has ended.
    pub(super) fn is_over(&self, state: &State) -> bool {
        let changes = self.minds.setting.changes.len();
        state.acked.count_ones() == u32::from(self.messages())
            && self.minds.mind(state.journal).pending == 0
            && self.books.is_over(state, changes)
    }

    /// Every state that one move leads to.
    pub(super) fn moves(&mut self, state: &State) -> Result<Vec<(Move, State)>, Broken> {
        let mut next = Next::default();
        self.foreign(state, &mut next);
        for order in &state.strays {
            let mut after = state.clone();
            after.strays.retain(|o| o != order);
            self.arrive(&mut after, *order).map_err(|v| (Move::Stray, v))?;
            next.add(Move::Stray, after);
        }
        for who in 0..state.daemons.len() {
            let same = who > 0 && state.daemons[who] == state.daemons[who - 1];
            if !same {
                self.daemon_moves(state, who, &mut next)?;
            }
        }
        for (by, after) in &mut next.found {
            self.tidy(after);
            let foreign = self.faults.foreign - after.left.foreign;
            self.books.agrees(after, foreign, &self.minds.setting).map_err(|v| (*by, v))?;
        }
        Ok(next.found)
    }

    /// One form for states that have the same future. A stray push whose base the target has left can
    /// never be taken: the target does not come back.
    fn tidy(&self, state: &mut State) {
        state.daemons.sort_unstable();
        if !self.has(Flaw::PushWithoutLease) {
            let (tip, minds) = (state.tip, &self.minds);
            state.strays.retain(|order| minds.landing(*order).is_some_and(|l| l.from == tip));
        }
    }

    fn foreign(&mut self, state: &State, next: &mut Next) {
        let mut after = state.clone();
        let Some(left) = state.left.foreign.checked_sub(1) else { return };
        after.left.foreign = left;
        let name = foreign_name(self.faults.foreign - left);
        let git = &mut self.minds.setting.git;
        let mut files = (*git.files(state.tip)).clone();
        files.insert(change_region(&name), "1".to_owned());
        after.tip = git.commit(&[state.tip], files, &name);
        next.add(Move::Foreign, after);
    }

    /// A push at the moment at which the remote takes it, or does not.
    pub(super) fn arrive(&mut self, state: &mut State, order: OrderId) -> Result<Said, Violation> {
        let Some((from, to)) = self.minds.landing(order).map(|l| (l.from, l.to)) else {
            return Ok(Said::Stale);
        };
        if state.tip == to {
            return Ok(Said::Taken);
        }
        if state.tip != from && !self.has(Flaw::PushWithoutLease) {
            return Ok(Said::Stale);
        }
        if self.declines(state.tip, to) {
            return Ok(Said::Declined);
        }
        self.books.may_push(state, to, &self.minds.setting)?;
        state.tip = to;
        Ok(Said::Taken)
    }

    fn declines(&self, tip: CommitId, to: CommitId) -> bool {
        let setting = &self.minds.setting;
        let (was, is) = (setting.git.files(tip), setting.git.files(to));
        let brings = |name: &&str| {
            let region = change_region(name);
            is.contains_key(&region) && !was.contains_key(&region)
        };
        setting.declined.iter().any(brings)
    }
}

fn foreign_name(n: u8) -> String {
    format!("foreign{n}")
}
