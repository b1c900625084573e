use super::flaw::Flaw;
use super::state::{Daemon, Errand, News, Outcome, Serving, State};
use super::world::{Broken, Move, Next, World};
use crate::violation::Violation;

impl World {
    pub(super) fn daemon_moves(&mut self, state: &State, who: usize, next: &mut Next) -> Result<(), Broken> {
        match &state.daemons[who] {
            Daemon::Down => self.start(state, who, next),
            Daemon::Starting { mind, looked, current } => {
                let mut after = state.clone();
                after.daemons[who] = Daemon::Down;
                if *current {
                    self.depose_all_but(&mut after, who);
                    after.daemons[who] = Daemon::Serving(Serving::begin(*mind, looked.clone()));
                }
                next.add(Move::Depose, after);
                crash(state, who, next);
            }
            Daemon::Serving(serving) => {
                crash(state, who, next);
                self.hand_moves(state, who, serving, next)?;
                if serving.appended.is_some() {
                    self.answered(state, who, serving, next)?;
                } else {
                    self.engine_moves(state, who, serving, next)?;
                }
            }
        }
        Ok(())
    }

    fn start(&self, state: &State, who: usize, next: &mut Next) {
        let mut after = state.clone();
        if state.daemons.iter().any(Daemon::is_current) {
            let Some(left) = state.left.takeovers.checked_sub(1) else { return };
            after.left.takeovers = left;
        }
        let mind = self.minds.mind(state.journal);
        let looked = News::Looked { known: mind.tip, tip: state.tip, asked: mind.land };
        after.daemons[who] = Daemon::Starting { mind: state.journal, looked, current: true };
        next.add(Move::Start, after);
    }

    /// Everything that the engine may take in next.
    fn engine_moves(
        &mut self,
        state: &State,
        who: usize,
        serving: &Serving,
        next: &mut Next,
    ) -> Result<(), Broken> {
        if let Some(news) = serving.reports.first() {
            self.take(state, who, (Move::Report, news), next)?;
        }
        if let Some(order) = serving.pinning {
            self.take(state, who, (Move::Inspected, &News::Inspected(order)), next)?;
        }
        if let Some(order) = serving.merging {
            self.take(state, who, (Move::Merged, &News::Merged(order)), next)?;
        }
        for run in self.minds.mind(serving.mind).tests.clone() {
            self.take(state, who, (Move::Ran, &News::Ran { run, lost: false }), next)?;
            if let Some(left) = state.left.lost_runs.checked_sub(1) {
                let mut unlucky = state.clone();
                unlucky.left.lost_runs = left;
                self.take(&unlucky, who, (Move::RunLost, &News::Ran { run, lost: true }), next)?;
            }
        }
        for i in self.each_message() {
            let known = state.acked | serving.held;
            let gone = self.has(Flaw::NoRedelivery) && state.delivered & 1 << i != 0;
            if known & 1 << i == 0 && !gone {
                let mut delivered = state.clone();
                if self.has(Flaw::NoRedelivery) {
                    delivered.delivered |= 1 << i;
                }
                self.take(&delivered, who, (Move::Message(i), &News::Message(i)), next)?;
            }
        }
        let mut after = state.clone();
        self.poll(&mut after, who);
        next.add(Move::Poll, after);
        Ok(())
    }

    /// One input: a step, and its record at the journal. What happens elsewhere between the two does
    /// not see the step, and the step does not see it: they are one move.
    fn take(
        &mut self,
        state: &State,
        who: usize,
        (by, news): (Move, &News),
        next: &mut Next,
    ) -> Result<(), Broken> {
        let broken = |v: Violation| (by, v);
        let mut after = state.clone();
        let Daemon::Serving(serving) = &mut after.daemons[who] else { return Ok(()) };
        serving.take_in(news, self.flaw);
        let stepped = self.minds.step(serving.mind, news).map_err(broken)?;
        let current = serving.current;
        serving.mind = stepped.mind;
        let Some(entry) = stepped.entry else {
            self.act(&mut after, who, true).map_err(broken)?;
            next.add(by, after);
            return Ok(());
        };
        self.flawed_takes(&after, who, by, next);
        if !current && self.has(Flaw::DeposedGoesOn) {
            self.act(&mut after, who, true).map_err(broken)?;
        } else if !current && !self.has(Flaw::AppendWithoutExpectation) {
            die(&mut after, who);
        } else {
            self.append(&mut after, who, entry).map_err(broken)?;
        }
        next.add(by, after);
        Ok(())
    }

    /// What a daemon that acts too early leaves when it dies before its record arrives.
    fn flawed_takes(&self, stepped: &State, who: usize, by: Move, next: &mut Next) {
        let Some(left) = stepped.left.crashes.checked_sub(1) else { return };
        let Daemon::Serving(serving) = &stepped.daemons[who] else { return };
        let mind = self.minds.mind(serving.mind);
        let mut after = stepped.clone();
        after.left.crashes = left;
        if self.has(Flaw::AckBeforeAppend) {
            after.acked |= serving.held;
        } else if let (true, Some(order)) = (self.has(Flaw::PushBeforeAppend), mind.land) {
            after.add_stray(order);
        } else {
            return;
        }
        after.daemons[who] = Daemon::Down;
        next.add(by, after);
    }

    fn append(&mut self, state: &mut State, who: usize, entry: u32) -> Result<(), Violation> {
        state.journal = self.minds.replay(state.journal, entry)?;
        let written = (entry, self.minds.entry(entry));
        state.book = self.books.write(state.book, written, &self.minds.setting)?;
        self.depose_all_but(state, who);
        if let Daemon::Serving(serving) = &mut state.daemons[who] {
            serving.current = true;
            serving.appended = Some(if self.has(Flaw::AppendAgain) { entry } else { 0 });
            let same = serving.mind == state.journal;
            Violation::unless(same, "replay gives the state that was lived", || {
                format!("after record {entry}")
            })?;
        }
        Ok(())
    }

    fn depose_all_but(&self, state: &mut State, who: usize) {
        state.depose_all_but(who, self.sleepers, |mind| self.minds.mind(mind).land);
    }

    /// The journal's answer arrives. When it is lost the daemon reads back what stands behind its last
    /// record: its own, so that it goes on just the same.
    fn answered(
        &mut self,
        state: &State,
        who: usize,
        serving: &Serving,
        next: &mut Next,
    ) -> Result<(), Broken> {
        let mut after = state.clone();
        settled(&mut after, who);
        let mut unacked = after.clone();
        self.act(&mut after, who, true).map_err(|v| (Move::Answered, v))?;
        next.add(Move::Answered, after);
        if let Some(left) = state.left.lost_acks.checked_sub(1) {
            self.act(&mut unacked, who, false).map_err(|v| (Move::AckLost, v))?;
            unacked.left.lost_acks = left;
            next.add(Move::AckLost, unacked);
        }
        if let (true, Some(entry)) = (self.has(Flaw::AppendAgain), serving.appended) {
            let mut again = state.clone();
            self.append(&mut again, who, entry).map_err(|v| (Move::AnswerLost, v))?;
            next.add(Move::AnswerLost, again);
        }
        Ok(())
    }

    /// Starts what the plan has and nobody does, and acks what is answered.
    fn act(&self, state: &mut State, who: usize, ack_arrives: bool) -> Result<(), Violation> {
        let journal = self.minds.mind(state.journal).answered;
        let early = self.has(Flaw::AckBeforeCustody);
        let Daemon::Serving(serving) = &mut state.daemons[who] else { return Ok(()) };
        let mut answered = serving.held & self.minds.mind(serving.mind).answered;
        if early {
            answered = serving.held;
        }
        serving.held &= !answered;
        if ack_arrives {
            Violation::unless(answered & !journal == 0, "acked only what is in custody", || {
                format!("messages {answered:b}")
            })?;
            state.acked |= answered;
        }
        self.reconcile(serving);
        Ok(())
    }

    fn reconcile(&self, serving: &mut Serving) {
        let plan = self.minds.mind(serving.mind);
        serving.pinning = serving.pinning.or(plan.pin);
        serving.merging = serving.merging.or(plan.merge);
        if let (false, Some(order)) = (serving.pushing, plan.land) {
            serving.pushing = true;
            serving.errands.push(Errand::Land(order));
        }
    }

    fn poll(&self, state: &mut State, who: usize) {
        let Daemon::Serving(serving) = &mut state.daemons[who] else { return };
        let mind = self.minds.mind(serving.mind);
        if !serving.looking && !serving.pushing {
            serving.looking = true;
            serving.errands.push(Errand::Look { known: mind.tip, asked: mind.land });
        }
        self.reconcile(serving);
    }
}

impl Serving {
    /// What took so long is over.
    fn take_in(&mut self, news: &News, flaw: Option<Flaw>) {
        match news {
            News::Message(i) => self.held |= 1 << i,
            News::Inspected(_) => self.pinning = None,
            News::Merged(_) => self.merging = None,
            News::Ran { .. } => {}
            News::Looked { .. } | News::Silent => {
                self.looking = false;
                self.reports.remove(0);
            }
            News::Pushed { outcome, .. } => {
                let stays = *outcome == Outcome::Unknown && flaw == Some(Flaw::HandStaysBusy);
                self.pushing = stays;
                self.reports.remove(0);
            }
        }
    }
}

fn settled(state: &mut State, who: usize) {
    if let Daemon::Serving(serving) = &mut state.daemons[who] {
        serving.appended = None;
    }
}

fn crash(state: &State, who: usize, next: &mut Next) {
    let Some(left) = state.left.crashes.checked_sub(1) else { return };
    let mut after = state.clone();
    after.left.crashes = left;
    die(&mut after, who);
    next.add(Move::Crash, after);
}

/// The process is gone; a push that has left it may still arrive.
fn die(state: &mut State, who: usize) {
    let stray = match &state.daemons[who] {
        Daemon::Serving(serving) => serving.under_way(),
        Daemon::Down | Daemon::Starting { .. } => None,
    };
    stray.into_iter().for_each(|order| state.add_stray(order));
    state.daemons[who] = Daemon::Down;
}
