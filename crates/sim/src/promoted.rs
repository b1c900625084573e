//! What operators move to the front, as the checks see it.

use yardmaster_protocol::RequestId;
use yardmaster_queue::{Definitions, Input, Overlap};

use crate::git::Git;
use crate::ledger::{Asked, Ledger, Truth};
use crate::violation::Violation;
use crate::world::World;

impl Ledger {
    /// Where operators want it: smaller is further in front.
    fn turn(&self, request: RequestId) -> (u64, u32) {
        self.turns.get(&request).copied().unwrap_or((u64::MAX, 0))
    }

    /// Only what is pending and not being pushed is moved; for the sake of another one, if that one needs it.
    pub(crate) fn is_movable(
        &mut self,
        request: RequestId,
        needed_by: Option<RequestId>,
    ) -> Result<(), Violation> {
        self.live(request)?;
        let is_pushed = self.pushed.contains_key(&request);
        Violation::unless(!is_pushed, "what is being pushed stays where it is", || request.to_string())?;
        let Some(other) = needed_by else { return Ok(()) };
        let (own, needs) = (self.requests.get(&request), self.requests.get(&other));
        let is_needed = own.zip(needs).is_some_and(|(own, other)| {
            other.announcement.depends_on.iter().any(|name| {
                let became = name.parse().ok().and_then(|id| self.became(id));
                self.is_named(request, own, name) || became == Some(request)
            })
        });
        Violation::unless(is_needed, "who is moved along is needed", || format!("{request} by {other}"))
    }

    /// Only for somebody who was moved further in front, and with whom it is kept apart, is a place given up; what
    /// lands as one unit gives way as one.
    pub(crate) fn gives_way(
        &mut self,
        truth: &Truth,
        request: RequestId,
        by: RequestId,
    ) -> Result<(), Violation> {
        self.live(request)?;
        self.live(by)?;
        let pair = self.requests.get(&request).zip(self.requests.get(&by));
        let clash = pair.is_some_and(|(own, other)| {
            let heads = own.head.zip(other.head);
            truth.policy.overlap == Overlap::Systems
                || (truth.policy.overlap == Overlap::Files
                    && own.files.intersection(&other.files).next().is_some())
                || (truth.policy.definitions == Definitions::Enforce
                    && heads.is_some_and(|(a, b)| Git::do_meet(a, b)))
                || heads.is_some_and(|(a, b)| truth.git.merge_files(a, b).is_err())
        });
        let clash = clash || self.units.contains_key(&request);
        let holds = self.stacked.contains(&request)
            && !self.pushed.contains_key(&request)
            && self.turn(by) < self.turn(request)
            && clash;
        Violation::unless(holds, "a place is given up for a reason", || format!("{request} for {by}"))
    }

    /// Nobody who was moved less far to the front is beneath a candidate, but for what is being pushed, for what
    /// somebody needs, and where it was set aside because it was red with others.
    pub(crate) fn is_in_turn(&self, asked: &Asked) -> Result<(), Violation> {
        let Some(request) = asked.request else { return Ok(()) };
        let needs =
            |r: &RequestId| self.requests.get(r).is_some_and(|r| !r.announcement.depends_on.is_empty());
        let is_set_aside = self.doubtful.contains(&request);
        let free = !is_set_aside && !std::iter::once(&request).chain(&asked.behind).any(needs);
        let wrong = |r: &&RequestId| self.turn(**r) > self.turn(request) && !self.pushed.contains_key(r);
        let below = asked.behind.iter().find(wrong).filter(|_| free);
        Violation::unless(below.is_none(), "who is moved to the front stands in front", || {
            format!("{request} is tested on top of {below:?}")
        })
    }

    /// Whether an operator's wish has put others beneath a run's candidate, or others out of its way.
    pub(crate) fn is_overtaken(&self, request: RequestId, asked: &Asked) -> bool {
        let set_aside = |r: &RequestId| self.doubtful.contains(r);
        let gave_way = |r: &RequestId| self.displaced.contains(r);
        let before = |(r, turn): (&RequestId, &(u64, u32))| {
            let same = self.requests.get(r).is_some_and(|r| r.target == asked.target);
            let comes = (*turn < self.turn(request) || set_aside(&request)) && self.stacked.contains(r);
            same && comes && !asked.behind.contains(r)
        };
        gave_way(&request)
            || asked.behind.iter().any(gave_way)
            || asked.behind.iter().any(|r| self.turn(*r) > self.turn(request))
            || self.turns.iter().any(before)
    }
}

impl World {
    /// An operator moves some of what is known to the front, sometimes what does not exist any more.
    pub(crate) fn promote(&mut self) -> Result<(), Violation> {
        if !self.choose() {
            return Ok(());
        }
        let known: Vec<RequestId> = self.ledger.requests.keys().copied().collect();
        let (n, len) = (self.rng.range(1, 3), known.len().max(1));
        let requests: Vec<RequestId> =
            (0..n).filter_map(|_| known.get(self.rng.index(len)).copied()).collect();
        self.input(Input::Promote { requests, who: "operator".to_owned(), why: "urgent".to_owned() })
    }
}
