//! Whether runs slow each other: where they share processors, more of them at a time decide no more, only later.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use yardmaster_protocol::GateId;

/// The newest so many runs count.
const KEPT: usize = 32;
/// Where this share of the runs beside each other would be as quick, slots are worth what they seem to be.
const FREE: f64 = 0.5;
/// So many are always allowed.
const LEAST: usize = 2;

/// How long runs of the current gate took, and how many were under way at that time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pace {
    gate: Option<GateId>,
    /// Runs at a time, and milliseconds.
    seen: VecDeque<(u32, u64)>,
}

impl Pace {
    /// Takes in a run that said something of its candidate.
    pub(crate) fn note(&mut self, gate: &GateId, at_a_time: u32, ms: u64) {
        if self.gate.as_ref() != Some(gate) {
            (self.gate, self.seen) = (Some(gate.clone()), VecDeque::new());
        }
        if at_a_time > 0 {
            self.seen.push_back((at_a_time, ms.max(1)));
        }
        if self.seen.len() > KEPT {
            self.seen.pop_front();
        }
    }

    /// More at a time would decide no more in the same time; none where they do not slow each other, or nobody
    /// knows. Few at a time are compared with many: so many runs as would be done in the time that one takes among
    /// few. What made it so is forgotten after a while, and tried again.
    pub(crate) fn most(&self, gate: &GateId) -> Option<usize> {
        let crowd = self.seen.iter().map(|(n, _)| *n).max().filter(|_| self.gate.as_ref() == Some(gate))?;
        let is_few = |n: u32| n <= crowd / 2;
        let few = mean(self.seen.iter().filter(|(n, _)| is_few(*n)).map(|(_, ms)| *ms as f64))?;
        let rate = |(n, ms): &(u32, u64)| f64::from(*n) / *ms as f64;
        let many = mean(self.seen.iter().filter(|(n, _)| !is_few(*n)).map(rate))?;
        let useful = few * many;
        (useful < FREE * f64::from(crowd)).then(|| (useful.ceil() as usize).max(LEAST))
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn most(seen: &[(u32, u64)]) -> Option<usize> {
        let gate = GateId::new("000000000001").expect("an id");
        let mut pace = Pace::default();
        seen.iter().for_each(|(n, ms)| pace.note(&gate, *n, *ms));
        pace.most(&gate)
    }

    #[test]
    fn runs_that_sleep_do_not_slow_each_other() {
        assert_eq!(most(&[(1, 500), (8, 520), (8, 540), (5, 510), (2, 505)]), None);
        assert_eq!(most(&[(1, 500)]), None);
        assert_eq!(most(&[(8, 500), (8, 900)]), None, "nothing to compare with");
    }

    #[test]
    fn those_that_share_two_processors_are_no_more_than_these_are_good_for() {
        assert_eq!(most(&[(1, 40), (8, 138), (8, 150), (8, 160)]), Some(3));
        assert_eq!(most(&[(1, 40), (8, 400), (8, 410)]), Some(2));
    }

    #[test]
    fn a_first_run_that_was_quick_for_another_reason_is_soon_outvoted() {
        let mut seen = vec![(1, 10_000), (8, 60_000), (8, 60_000), (8, 60_000)];
        assert_eq!(most(&seen), Some(2));
        seen.extend([(2, 60_000); 3]);
        assert_eq!(most(&seen), None);
    }

    #[test]
    fn what_was_slow_once_is_forgotten() {
        let mut seen = vec![(1, 40), (8, 160), (8, 160)];
        seen.extend([(3, 40); KEPT]);
        assert_eq!(most(&seen), None);
    }
}
