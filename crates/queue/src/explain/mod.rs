//! Why a request has not landed: read from the state, and from what the planner says on copies of it.

mod actions;
mod chain;
mod estimate;
mod what_if;

use yardmaster_protocol::{Explanation, Link, LinkKind, Millis, RequestId};

use crate::policy::{Definitions, Policy};
use crate::state::{Ended, Queue};
use crate::view::{ended_row, position};
use chain::Reading;

/// The whole answer, as JSON.
const MAX_BYTES: usize = 16 * 1_024;
/// Definitions at which it meets others.
const MAX_DEFINITIONS: usize = 5;
/// One sentence, in characters.
const MAX_SENTENCE: usize = 300;
/// A command: what people type is not cut in the middle where that can be helped.
const MAX_COMMAND: usize = 1_000;

impl Queue {
    /// Why a request has not landed and what helps, or how it ended; none for one that is not known. The state
    /// stays as it is: what would be different is worked out by `step` on copies.
    pub fn explain(&self, id: RequestId, now: Millis, policy: &Policy) -> Option<Explanation> {
        match (self.live.get(&id), self.ended.get(&id)) {
            (Some(live), _) => {
                let reading = Reading::new(self, &live.target, now, policy);
                let place = reading.place(id);
                let row = self.row(id, place, reading.walk(), now)?;
                let chain = reading.chain(id);
                let counterfactuals = self.what_if(id, &reading, &chain);
                let explanation = Explanation {
                    sentence: in_one(&chain),
                    actions: self.actions(id, &chain),
                    estimate: reading.estimate(id, live, &chain),
                    definitions: self.definitions_met(id, MAX_DEFINITIONS),
                    not_read: self.not_read(id).filter(|_| policy.definitions != Definitions::Off),
                    target: live.target.clone(),
                    row,
                    chain,
                    counterfactuals,
                };
                Some(bounded(explanation))
            }
            (None, Some(ended)) => Some(bounded(self.explain_end(id, ended, now, policy))),
            (None, None) => None,
        }
    }

    /// How it ended, and what became of it since.
    fn explain_end(&self, id: RequestId, ended: &Ended, now: Millis, policy: &Policy) -> Explanation {
        let chain = Reading::new(self, &ended.target, now, policy).chain(id);
        Explanation {
            row: ended_row(id, ended),
            target: ended.target.clone(),
            sentence: in_one(&chain),
            actions: self.actions(id, &chain),
            chain,
            counterfactuals: Vec::new(),
            definitions: Vec::new(),
            not_read: None,
            estimate: None,
        }
    }
}

/// The first reason, and the last one where it is another.
fn in_one(chain: &[Link]) -> String {
    let (Some(first), Some(last)) = (chain.first(), chain.last()) else { return String::new() };
    if chain.len() == 1 {
        return first.sentence.clone();
    }
    let half = MAX_SENTENCE / 2;
    cut(&format!("{}; behind that: {}", cut(&first.sentence, half), last.sentence), MAX_SENTENCE)
}

pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Drops what is told least urgently until the whole fits.
fn bounded(mut told: Explanation) -> Explanation {
    told.row.note = cut(&told.row.note, MAX_SENTENCE);
    let is_too_large = |told: &Explanation| serde_json::to_vec(told).map_or(true, |b| b.len() > MAX_BYTES);
    if is_too_large(&told) {
        told.chain.iter_mut().for_each(|link| link.paths.truncate(1));
    }
    while is_too_large(&told) {
        let dropped = told.definitions.pop().map(drop);
        let dropped = dropped.or_else(|| told.counterfactuals.pop().map(drop));
        let dropped = dropped.or_else(|| told.actions.pop().map(drop));
        let middle = told.chain.len() / 2;
        match dropped {
            Some(()) => {}
            None if told.chain.len() > 1 => drop(told.chain.remove(middle)),
            None => break,
        }
    }
    told
}

/// Whether something has to happen of which nobody knows when.
fn needs_a_hand(kind: LinkKind) -> bool {
    use yardmaster_protocol::BlockerKind;
    match kind {
        LinkKind::Frozen | LinkKind::RemoteLost | LinkKind::TargetUnusable | LinkKind::Ended => true,
        LinkKind::Arriving
        | LinkKind::Turn
        | LinkKind::Merging
        | LinkKind::Testing
        | LinkKind::Suspected
        | LinkKind::Ahead
        | LinkKind::Landing => false,
        LinkKind::Blocked(kind) => match kind {
            BlockerKind::Cycle
            | BlockerKind::Scope
            | BlockerKind::Review
            | BlockerKind::TargetRed
            | BlockerKind::Runner
            | BlockerKind::Hold => true,
            BlockerKind::TextualConflict
            | BlockerKind::SemanticConflict
            | BlockerKind::Overlap
            | BlockerKind::Dependency => false,
        },
    }
}

/// A place in a row of the queue.
fn place_of(order: &[RequestId], id: RequestId) -> Option<u32> {
    order.iter().position(|r| *r == id).map(position)
}
