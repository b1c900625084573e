//! How likely it is that a request passes: its agent's record, the target's, what was seen of it, and what its
//! agent claims. Orders what is tested first, and nothing else.

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{
    AgentName, Blame, BranchName, Cause, Failure, Independence, RequestId, RunId, RunOutcome,
};

use crate::state::{Queue, Request};

/// Verdicts beyond so many are halved: what was long ago counts less.
const MOST_COUNTED: u32 = 400;
/// A target starts as if so many had passed and one had not.
const FIRST_GOOD: f64 = 19.0;
/// An agent's record counts fully once it has about so many verdicts.
const AGENT_WEIGHT: f64 = 10.0;
/// Who was green with all that was beneath it hardly turns red elsewhere.
const PROVED: f64 = 0.99;
/// Who was red with those that it has to do with is seldom green without them.
const REDDENED: f64 = 0.1;
const MOST: f64 = 0.999;
const LEAST: f64 = 0.02;

/// Own verdicts of requests that have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) good: u32,
    pub(crate) bad: u32,
}

impl Record {
    fn note(&mut self, good: bool) {
        *(if good { &mut self.good } else { &mut self.bad }) += 1;
        if self.good + self.bad > MOST_COUNTED {
            (self.good, self.bad) = (self.good / 2, self.bad / 2);
        }
    }

    /// The share that passes, where `prior` counts as much as `weight` verdicts.
    fn share(self, prior: f64, weight: f64) -> f64 {
        (f64::from(self.good) + prior * weight) / (f64::from(self.good + self.bad) + weight)
    }
}

/// Why a request is tested in a smaller company than others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Suspicion {
    /// The run that was red.
    pub(crate) run: RunId,
    /// So many that were in it have not been green since, and one of them is at fault.
    pub(crate) among: u32,
}

impl Queue {
    /// The chance that `request` passes on top of what passes, from 0 to 1.
    pub(crate) fn odds(&self, id: RequestId) -> f64 {
        let Some(request) = self.live.get(&id) else { return LEAST };
        let suspected = request.suspicion.as_ref().map(|s| 1.0 - 1.0 / f64::from(s.among.max(1) + 1));
        let known = match request.after_reds {
            Some(after) => f64::from(after) / 1_000.0,
            None if request.reddened => REDDENED,
            None => self.odds_before_reds(id),
        };
        known.min(suspected.unwrap_or(MOST)).clamp(LEAST, MOST)
    }

    pub(crate) fn odds_before_reds(&self, id: RequestId) -> f64 {
        let Some(request) = self.live.get(&id) else { return LEAST };
        let claimed = request.announcement.confidence.map(|c| f64::from(c) / 1_000.0);
        let known = claimed.unwrap_or_else(|| self.record_of(request));
        (if request.proved { known.max(PROVED) } else { known }).clamp(LEAST, MOST)
    }

    fn record_of(&self, request: &Request) -> f64 {
        let record = self.records.get(&request.announcement.agent).copied().unwrap_or_default();
        record.share(self.passing(&request.target), AGENT_WEIGHT)
    }

    /// The share of requests for `name` that pass.
    pub(crate) fn passing(&self, name: &BranchName) -> f64 {
        let record = self.targets.get(name).map(|t| t.record).unwrap_or_default();
        record.share(FIRST_GOOD / (FIRST_GOOD + 1.0), FIRST_GOOD + 1.0)
    }

    /// What a green run says of those that were in it.
    pub(crate) fn prove(&mut self, run: &RunId, outcome: &RunOutcome) {
        let found =
            self.targets.iter().find_map(|(name, t)| Some((name, t.independence(), t.runs.get(run)?)));
        let Some((name, independence, run)) = found else { return };
        let (name, request, behind) = (name.clone(), run.request, run.behind.clone());
        let apart = independence != Independence::None;
        if *outcome != RunOutcome::Green {
            let red = matches!(outcome, RunOutcome::Red { .. } | RunOutcome::TimedOut { .. });
            return request.filter(|_| red && apart).map_or((), |id| self.redden(&name, id, &behind));
        }
        let all: Vec<RequestId> = behind.into_iter().chain(request).collect();
        let mut cleared = Vec::new();
        for id in &all {
            if let Some(request) = self.live.get_mut(id) {
                (request.proved, request.reddened) = (true, false);
                cleared.extend(request.suspicion.take());
            }
        }
        let suspicions = self.live.values_mut().filter_map(|r| r.suspicion.as_mut());
        for left in suspicions.filter(|_| !cleared.is_empty()) {
            let gone = cleared.iter().filter(|one| one.run == left.run).count();
            left.among = left.among.saturating_sub(u32::try_from(gone).unwrap_or(u32::MAX)).max(1);
        }
        self.clear_of_reds(&name, &all);
    }

    fn redden(&mut self, name: &BranchName, id: RequestId, behind: &[RequestId]) {
        if let Some(request) = self.live.get_mut(&id) {
            (request.reddened, request.proved) = (true, false);
        }
        self.note_red(name, id, behind);
    }

    /// Whoever ends for a fault of its own leaves the others that were red with it free of suspicion.
    pub(crate) fn is_at_fault(&mut self, id: RequestId) {
        let run = self.live.get(&id).and_then(|r| r.suspicion.as_ref()).map(|s| s.run.clone());
        let others = self.live.values_mut().filter(|r| r.suspicion.is_some());
        for other in others.filter(|r| r.suspicion.as_ref().map(|s| &s.run) == run.as_ref()) {
            other.suspicion = None;
        }
    }

    /// How a request ended, as far as it says something about those to come.
    pub(crate) fn note_record(&mut self, name: &BranchName, agent: &AgentName, good: bool) {
        self.target(name).record.note(good);
        self.records.entry(agent.clone()).or_default().note(good);
    }
}

/// Whether a failure is a verdict on the request itself.
pub(crate) fn is_own_red(failure: &Failure) -> bool {
    matches!(failure.cause, Cause::GateRed | Cause::GateTimeout) && failure.blame == Blame::Own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_moves_away_from_the_prior_as_verdicts_come_in() {
        let mut record = Record::default();
        assert_eq!(record.share(0.9, 10.0), 0.9);
        (0..30).for_each(|_| record.note(false));
        assert!(record.share(0.9, 10.0) < 0.3);
        (0..1_000).for_each(|_| record.note(true));
        assert!(record.share(0.9, 10.0) > 0.95 && record.good + record.bad <= MOST_COUNTED);
    }
}
