use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use yardmaster_protocol::RunId;

/// A job that was asked for again is left alone for so long, then twice as long, and so on.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(60);

/// Jobs that are not in the stream though nobody has reported. Somebody may have purged it; or the report is there,
/// and cannot be read for a while.
#[derive(Debug, Default)]
pub(crate) struct Vanished {
    /// At the last look.
    missed: BTreeSet<RunId>,
    /// When each may be asked for again, and how long it was to wait for that.
    asked: BTreeMap<RunId, (Instant, Duration)>,
}

impl Vanished {
    /// Which of those that are `gone` now are to be asked for again: who was missed twice, and not asked for lately.
    /// Once can be a report that is on its way.
    pub(crate) fn ask_again(&mut self, gone: BTreeSet<RunId>, now: Instant) -> Vec<RunId> {
        let due = |run: &&RunId| self.asked.get(*run).is_none_or(|(at, _)| *at <= now);
        let again: Vec<RunId> = gone.intersection(&self.missed).filter(due).cloned().collect();
        for run in &again {
            let pause = self.asked.get(run).map_or(FIRST, |(_, pause)| (*pause * 2).min(LONGEST));
            self.asked.insert(run.clone(), (now + pause, pause));
        }
        self.missed = gone;
        again
    }

    /// Nothing is kept of runs that nobody wants any more.
    pub(crate) fn keep(&mut self, wanted: &BTreeSet<RunId>) {
        self.asked.retain(|run, _| wanted.contains(run));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_stays_away_is_asked_for_more_and_more_rarely() {
        let run = RunId::new("r1-a-1").expect("fits");
        let gone = || BTreeSet::from([run.clone()]);
        let (mut vanished, start) = (Vanished::default(), Instant::now());
        // Two looks in a second, as a daemon with a short poll has them.
        let asked: Vec<u64> = (0..400)
            .filter(|n| !vanished.ask_again(gone(), start + Duration::from_millis(500 * n)).is_empty())
            .collect();
        assert_eq!(asked, [1, 5, 13, 29, 61, 125, 245, 365], "in half seconds");

        assert_eq!(vanished.ask_again(BTreeSet::new(), start), [], "it is there again");
        vanished.keep(&BTreeSet::new());
        assert_eq!(vanished.ask_again(gone(), start), []);
        assert_eq!(vanished.ask_again(gone(), start).len(), 1, "as if for the first time");
    }
}
