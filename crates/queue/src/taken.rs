use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use yardmaster_protocol::IntakeSeq;

/// Spans of message sequences that are remembered as answered; more than a server leaves holes between.
const SPANS_KEPT: usize = 50_000;

/// Messages that have been answered, by stream sequence.
///
/// Kept as spans: their number depends on those that are not answered, of which a server delivers only so many at a
/// time, and not on those that were answered since. A late one is never taken for an answered one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// Everything up to here counts as answered.
    floor: u64,
    /// As older snapshots have them, one by one.
    #[serde(default, skip_serializing)]
    above: BTreeSet<IntakeSeq>,
    /// First and last of each span, with at least one between two that is not answered.
    #[serde(default)]
    spans: BTreeMap<u64, u64>,
}

impl Taken {
    pub(crate) fn contains(&self, seq: IntakeSeq) -> bool {
        let before = self.spans.range(..=seq.0).next_back();
        seq.0 <= self.floor || before.is_some_and(|(_, last)| seq.0 <= *last)
    }

    pub(crate) fn insert(&mut self, seq: IntakeSeq) {
        if self.contains(seq) {
            return;
        }
        let (mut first, mut last) = (seq.0, seq.0);
        if let Some((start, end)) = self.spans.range(..seq.0).next_back().map(|(s, e)| (*s, *e))
            && end.checked_add(1) == Some(seq.0)
        {
            self.spans.remove(&start);
            first = start;
        }
        if let Some(end) = seq.0.checked_add(1).and_then(|next| self.spans.remove(&next)) {
            last = end;
        }
        self.spans.insert(first, last);
        while let Some((start, end)) = self.spans.first_key_value().map(|(s, e)| (*s, *e))
            && (start == self.floor.saturating_add(1) || self.spans.len() > SPANS_KEPT)
        {
            self.spans.remove(&start);
            self.floor = end;
        }
    }

    pub(crate) fn read_older(&mut self) {
        std::mem::take(&mut self.above).into_iter().for_each(|seq| self.insert(seq));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_snapshot_says_is_answered_stays_so() {
        let older = br#"{"floor": 3, "above": [4, 5, 9]}"#;
        let mut taken: Taken = serde_json::from_slice(older).expect("it is read");
        taken.read_older();
        let answered: Vec<u64> = (0..12).filter(|seq| taken.contains(IntakeSeq(*seq))).collect();
        assert_eq!(answered, [0, 1, 2, 3, 4, 5, 9]);
        let written = serde_json::to_vec(&taken).expect("it is written");
        assert_eq!(serde_json::from_slice::<Taken>(&written).ok(), Some(taken));
    }
}
