//! Steps that were red and then green on the very same tree: known by the step and by what it said, for a while. Only
//! such evidence, or the project's own word, has a red run repeated.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{Flaky, Gate, Millis, RunOutcome};

use crate::state::{Target, Verdict};

/// What was not seen again for so long is forgotten: two weeks, in milliseconds.
const EXPIRES_MS: u64 = 14 * 24 * 60 * 60 * 1_000;
/// Flakes that are known at the same time; the oldest is forgotten first.
const KEPT: usize = 256;
/// Of what a step said last.
const LINES: usize = 5;
const MAX_TEXT: usize = 400;

/// What flaky steps have in common: the step and what it said, without what differs from run to run.
type Signature = (String, String);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Seen {
    times: u32,
    last: Millis,
}

/// The flakes of one target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Flakes(#[serde(with = "crate::state::pairs")] BTreeMap<Signature, Seen>);

impl Flakes {
    fn note(&mut self, signature: Signature, at: Millis) {
        self.0.retain(|_, seen| at.since(seen.last) < EXPIRES_MS);
        let seen = self.0.entry(signature).or_insert(Seen { times: 0, last: at });
        (seen.times, seen.last) = (seen.times.saturating_add(1), at);
        while self.0.len() > KEPT {
            let oldest = self.0.iter().min_by_key(|(_, seen)| seen.last).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.0.remove(&key));
        }
    }

    fn knows(&self, signature: &Signature, now: Millis) -> bool {
        self.0.get(signature).is_some_and(|seen| now.since(seen.last) < EXPIRES_MS)
    }

    /// All of them, as people see them, the latest first.
    pub(crate) fn told(&self) -> Vec<Flaky> {
        let told = |((step, said), seen): (&Signature, &Seen)| Flaky {
            step: step.clone(),
            said: said.clone(),
            times: seen.times,
            last: yardmaster_protocol::rfc3339(seen.last),
        };
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.last));
        all.into_iter().map(told).collect()
    }
}

fn signature(outcome: &RunOutcome) -> Option<Signature> {
    let RunOutcome::Red { step, log_tail, .. } = outcome else { return None };
    let lines: Vec<&str> = log_tail.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("\n");
    Some((step.clone(), constant(&last).chars().take(MAX_TEXT).collect()))
}

/// A text without what differs from run to run: each word with a digit in it is one sign.
fn constant(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let words = line.split_whitespace();
        let plain = words.map(|w| if w.contains(|c: char| c.is_ascii_digit()) { "#" } else { w });
        plain.collect::<Vec<_>>().join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

impl Target {
    /// Whether a red verdict is to be tried once more on the same tree before it counts.
    pub(crate) fn may_repeat(&self, gate: &Gate, verdict: &Verdict, now: Millis) -> bool {
        let Some(signature) = signature(&verdict.outcome) else { return false };
        let declared = gate.steps.iter().find(|s| s.name == signature.0).map_or(0, |s| s.retry);
        let known = u32::from(self.flakes.knows(&signature, now));
        verdict.reds <= declared.max(known)
    }

    /// Steps that were red before a green verdict, if this is one.
    pub(crate) fn note_flake(
        &mut self,
        earlier: Option<&Verdict>,
        outcome: &RunOutcome,
        at: Millis,
    ) -> Option<String> {
        let earlier = earlier.filter(|_| *outcome == RunOutcome::Green)?;
        let signature = signature(&earlier.outcome)?;
        let step = signature.0.clone();
        self.flakes.note(signature, at);
        Some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn red(said: &str) -> RunOutcome {
        RunOutcome::Red { step: "unit".to_owned(), exit_code: Some(1), log_tail: said.to_owned() }
    }

    #[test]
    fn a_flake_is_known_again_by_its_words_and_not_by_its_numbers() {
        let of = |said: &str| signature(&red(said)).unwrap_or_default();
        assert_eq!(
            of("test a::b failed after 3 s\nport 4222 in use"),
            of("test a::b failed after 7 s\nport 9 in use")
        );
        assert_ne!(of("test a::b failed"), of("test a::c failed"));
    }

    #[test]
    fn what_is_not_seen_for_two_weeks_is_forgotten() {
        let key = |text: &str| ("unit".to_owned(), text.to_owned());
        let mut flakes = Flakes::default();
        flakes.note(key("a"), Millis(1_000));
        assert!(flakes.knows(&key("a"), Millis(EXPIRES_MS)));
        assert!(!flakes.knows(&key("a"), Millis(EXPIRES_MS + 1_000)));
        flakes.note(key("b"), Millis(EXPIRES_MS + 1_000));
        assert_eq!(flakes.told().iter().map(|f| f.said.as_str()).collect::<Vec<_>>(), ["b"]);
        (0..1_000).for_each(|i| flakes.note(key(&format!("{i}")), Millis(EXPIRES_MS + 2_000 + i)));
        assert_eq!(flakes.told().len(), KEPT);
    }
}
