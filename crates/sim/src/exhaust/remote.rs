use super::flaw::Flaw;
use super::state::{Daemon, Errand, News, OrderId, Outcome, Said, Serving, State};
use super::world::{Broken, Move, Next, World};

impl World {
    /// The hand at the remote: looks and pushes, one after the other.
    pub(super) fn hand_moves(
        &mut self,
        state: &State,
        who: usize,
        serving: &Serving,
        next: &mut Next,
    ) -> Result<(), Broken> {
        match (serving.errands.first(), serving.said) {
            (None, _) => {}
            (Some(Errand::Look { known, asked }), _) => {
                let looked = News::Looked { known: *known, tip: state.tip, asked: *asked };
                next.add(Move::Look, reported(state, who, looked));
                if let Some(left) = state.left.unclear.checked_sub(1) {
                    let mut after = reported(state, who, News::Silent);
                    after.left.unclear = left;
                    next.add(Move::LookLost, after);
                }
            }
            (Some(Errand::Land(order)), None) => self.push(state, who, *order, next)?,
            (Some(Errand::Land(order)), Some(said)) => self.read_back(state, who, *order, said, next),
        }
        Ok(())
    }

    fn push(&mut self, state: &State, who: usize, order: OrderId, next: &mut Next) -> Result<(), Broken> {
        let mut after = state.clone();
        if let Some(left) = state.left.declines.checked_sub(1) {
            let mut declined = state.clone();
            declined.left.declines = left;
            say(&mut declined, who, Said::Declined);
            next.add(Move::PushDeclined, declined);
        }
        let said = self.arrive(&mut after, order).map_err(|v| (Move::Push, v))?;
        let Some(left) = state.left.unclear.checked_sub(1) else {
            say(&mut after, who, said);
            next.add(Move::Push, after);
            return Ok(());
        };
        let mut unanswered = after.clone();
        say(&mut after, who, said);
        next.add(Move::Push, after);
        unanswered.left.unclear = left;
        say(&mut unanswered, who, Said::Unclear);
        next.add(Move::PushUnanswered, unanswered);
        let mut astray = state.clone();
        astray.left.unclear = left;
        astray.add_stray(order);
        say(&mut astray, who, Said::Unclear);
        next.add(Move::PushAstray, astray);
        Ok(())
    }

    /// The remote, and not the push, says how it went.
    fn read_back(&self, state: &State, who: usize, order: OrderId, said: Said, next: &mut Next) {
        let Some(landing) = self.minds.landing(order) else { return };
        let git = &self.minds.setting.git;
        let landed = git.contains(state.tip, landing.to);
        let outcome = match said {
            _ if landed => Outcome::Landed,
            _ if state.tip != landing.from => Outcome::Moved,
            Said::Declined => Outcome::Declined,
            Said::Stale | Said::Taken => Outcome::Moved,
            Said::Unclear => Outcome::Unknown,
        };
        let mut tip = state.tip;
        let outcome = match (outcome, said) {
            (Outcome::Unknown, _) if self.has(Flaw::UnknownIsRefused) => Outcome::Declined,
            (Outcome::Unknown, _) if self.has(Flaw::UnknownIsTaken) => {
                tip = landing.to;
                Outcome::Landed
            }
            (_, Said::Stale) if self.has(Flaw::NoReadBack) => {
                tip = landing.from;
                Outcome::Declined
            }
            (outcome, _) => outcome,
        };
        next.add(Move::ReadBack, reported(state, who, News::Pushed { order, outcome, tip }));
        if let Some(left) = state.left.unclear.checked_sub(1) {
            let mut outcome = Outcome::Unknown;
            let mut tip = state.tip;
            if self.has(Flaw::UnknownIsRefused) {
                (outcome, tip) = (Outcome::Declined, landing.from);
            }
            let mut after = reported(state, who, News::Pushed { order, outcome, tip });
            after.left.unclear = left;
            next.add(Move::ReadBackLost, after);
        }
    }
}

fn say(state: &mut State, who: usize, said: Said) {
    if let Daemon::Serving(serving) = &mut state.daemons[who] {
        serving.said = Some(said);
    }
}

/// The errand at hand is done: this is what came of it.
fn reported(state: &State, who: usize, news: News) -> State {
    let mut after = state.clone();
    if let Daemon::Serving(serving) = &mut after.daemons[who] {
        serving.errands.remove(0);
        serving.said = None;
        serving.reports.push(news);
    }
    after
}
