use yardmaster_bus::{MAX_RECORD_BYTES, encoded_len};
use yardmaster_protocol::{Entry, JournalPosition};
use yardmaster_queue::{Projected, Step};

use crate::outbox::Outgoing;

/// Facts in one record at the most: group commit without records that take long to read.
const FACTS_PER_RECORD: usize = 128;
const RECORD_BYTES: usize = MAX_RECORD_BYTES / 2;

/// Facts and events of several steps, packed into records.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    /// One journal message each.
    pub(crate) records: Vec<Vec<Entry>>,
    /// Each with the number of its fact among all facts of all records.
    events: Vec<(usize, Projected)>,
}

impl Packed {
    /// Packs what the steps said, in order. An entry that is too large for one record is cut between
    /// facts: every prefix of facts is a state that was lived.
    pub(crate) fn new(steps: Vec<Step>) -> Packed {
        let mut packed = Packed::default();
        let (mut open, mut facts, mut bytes, mut number) = (Vec::new(), 0, 0, 0);
        for Step { entry, events, .. } in steps {
            packed.events.extend(events.into_iter().map(|e| (number + e.index as usize, e)));
            number += entry.facts.len();
            for piece in pieces(entry) {
                let size = encoded_len(std::slice::from_ref(&piece));
                if !open.is_empty()
                    && (facts + piece.facts.len() > FACTS_PER_RECORD || bytes + size > RECORD_BYTES)
                {
                    packed.records.push(std::mem::take(&mut open));
                    (facts, bytes) = (0, 0);
                }
                facts += piece.facts.len();
                bytes += size;
                open.push(piece);
            }
        }
        if !open.is_empty() {
            packed.records.push(open);
        }
        packed
    }

    /// How many facts there are.
    pub(crate) fn facts(&self) -> usize {
        self.records.iter().flatten().map(|e| e.facts.len()).sum()
    }

    /// The events with their positions, now that each record has its sequence.
    pub(crate) fn events(self, sequences: &[u64]) -> Vec<Outgoing> {
        let lengths = self.records.iter().map(|r| r.iter().map(|e| e.facts.len()).sum::<usize>());
        let mut starts = Vec::with_capacity(sequences.len());
        let mut start = 0;
        for (length, record) in lengths.zip(sequences) {
            starts.push((start, *record));
            start += length;
        }
        let placed = |(number, projected): (usize, Projected)| {
            let at = starts.partition_point(|(start, _)| *start <= number).checked_sub(1)?;
            let (start, record) = *starts.get(at)?;
            let index = u32::try_from(number - start).ok()?;
            Some((JournalPosition { record, index }, projected.event, projected.traceparent))
        };
        self.events.into_iter().filter_map(placed).collect()
    }
}

fn pieces(entry: Entry) -> Vec<Entry> {
    if entry.facts.is_empty() {
        return Vec::new();
    }
    let fits =
        entry.facts.len() <= FACTS_PER_RECORD && encoded_len(std::slice::from_ref(&entry)) <= RECORD_BYTES;
    if fits || entry.facts.len() == 1 {
        return vec![entry];
    }
    let Entry { at, mut facts } = entry;
    let rest = facts.split_off(facts.len() / 2);
    let mut halves = pieces(Entry { at, facts });
    halves.extend(pieces(Entry { at, facts: rest }));
    halves
}

#[cfg(test)]
mod tests {
    use yardmaster_protocol::{Event, EventBody, Fact, Millis, Notice};

    use super::*;

    fn step(facts: usize) -> Step {
        let fact = |i: usize| Fact::RemoteLost { why: format!("{i}{}", "x".repeat(1_000)) };
        let event = |i: usize| Projected {
            index: i as u32,
            event: Event {
                about: None,
                time: String::new(),
                body: EventBody::Stalled(Notice { why: i.to_string(), who: String::new() }),
            },
            traceparent: None,
        };
        Step {
            entry: Entry { at: Millis(1), facts: (0..facts).map(fact).collect() },
            events: (0..facts).map(event).collect(),
            told: Vec::new(),
        }
    }

    /// The position that an event gets when it is lived is the one that a replay finds.
    #[test]
    fn positions_are_those_that_a_replay_counts() {
        let steps = vec![step(3), step(0), step(300), step(1), step(500)];
        let whys: Vec<String> = steps
            .iter()
            .flat_map(|s| &s.entry.facts)
            .map(|f| match f {
                Fact::RemoteLost { why } => why.trim_end_matches('x').to_owned(),
                _ => unreachable!("only these were made"),
            })
            .collect();
        let packed = Packed::new(steps);
        assert_eq!(packed.facts(), 804);
        assert!(packed.records.iter().all(|r| encoded_len(r) <= MAX_RECORD_BYTES));
        let sequences: Vec<u64> = (0..packed.records.len() as u64).map(|i| 100 + 7 * i).collect();
        let counted: Vec<JournalPosition> = packed
            .records
            .iter()
            .zip(&sequences)
            .flat_map(|(entries, seq)| {
                let facts: u32 = entries.iter().map(|e| e.facts.len() as u32).sum();
                (0..facts).map(|index| JournalPosition { record: *seq, index })
            })
            .collect();
        let events = packed.events(&sequences);
        assert_eq!(events.iter().map(|(p, ..)| *p).collect::<Vec<_>>(), counted);
        for ((_, event, _), why) in events.iter().zip(&whys) {
            assert!(matches!(&event.body, EventBody::Stalled(n) if n.why == *why));
        }
    }
}
