use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{BranchName, IntakeSeq, RequestId};

/// Suspects that are remembered; the oldest go first.
const SUSPECTS_KEPT: usize = 1_000;
/// A message is looked at in no time; a fetch is long, and whoever kills daemons hits the same one again and
/// again.
const PIN_DEATHS_FOR_A_MESSAGE_DEATH: u32 = 3;

/// What this process works on at the moment that it could die of, written down before: a daemon that dies
/// tells its successor so. Written without a sync, which outlives the process and not the machine.
#[derive(Debug)]
pub(crate) struct InHand {
    dir: PathBuf,
    poison_after: u32,
    now: Held,
    deaths: Deaths,
}

/// A message, by its sequence in the stream that it came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    Announcement(IntakeSeq),
    Review(IntakeSeq),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    /// Announcements.
    #[serde(default)]
    messages: Vec<IntakeSeq>,
    #[serde(default)]
    reviews: Vec<IntakeSeq>,
    #[serde(default)]
    pins: BTreeMap<BranchName, Vec<RequestId>>,
}

/// How often a process died with it in hand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    deaths: u32,
    /// Of those, with nothing else in hand.
    alone: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Deaths {
    /// Announcements.
    #[serde(default)]
    messages: BTreeMap<IntakeSeq, Count>,
    #[serde(default)]
    reviews: BTreeMap<IntakeSeq, Count>,
    #[serde(default)]
    pins: BTreeMap<RequestId, Count>,
}

impl InHand {
    /// Looks what an earlier process died with. Nothing can be trusted of a file that a crash has cut: it
    /// counts as empty.
    pub(crate) fn open(dir: &Path, poison_after: u32) -> InHand {
        let held: Held = read(&dir.join("in-hand.json"));
        let mut deaths: Deaths = read(&dir.join("deaths.json"));
        let messages = held.messages.len().saturating_add(held.reviews.len());
        let in_hand = messages > 0 || !held.pins.is_empty();
        for seq in &held.messages {
            died(&mut deaths.messages, *seq, messages == 1);
        }
        for seq in &held.reviews {
            died(&mut deaths.reviews, *seq, messages == 1);
        }
        for requests in held.pins.values() {
            let alone = requests.len() == 1 && messages == 0;
            requests.iter().for_each(|r| died(&mut deaths.pins, *r, alone));
        }
        let opened = InHand { dir: dir.to_owned(), poison_after, now: Held::default(), deaths };
        if in_hand {
            tracing::warn!(
                messages,
                pins = held.pins.values().map(Vec::len).sum::<usize>(),
                "an earlier process died while it worked on these; they are served one at a time"
            );
            opened.write("deaths.json", &opened.deaths);
        }
        opened.write("in-hand.json", &opened.now);
        opened
    }

    /// Whether a process died of it, or of something that it had in hand with it.
    pub(crate) fn suspects_message(&self, message: Message) -> bool {
        self.deaths.of(message).is_some()
    }

    /// The same of a fetch: none, or how often.
    pub(crate) fn deaths_of_pin(&self, request: RequestId) -> Option<u32> {
        self.deaths.pins.get(&request).map(|count| count.deaths)
    }

    /// Whether processes died of it too often, the last time of nothing else.
    pub(crate) fn condemns_message(&self, message: Message) -> bool {
        self.deaths.of(message).is_some_and(|c| c.alone > 0 && c.deaths >= self.poison_after)
    }

    /// As for messages, but more deaths are needed, and each must have been of nothing else: a process can be
    /// killed during a fetch for other reasons.
    pub(crate) fn condemned_pins(&self) -> BTreeSet<RequestId> {
        let enough = self.poison_after.saturating_mul(PIN_DEATHS_FOR_A_MESSAGE_DEATH);
        let condemned = self.deaths.pins.iter().filter(|(_, c)| c.alone >= enough);
        condemned.map(|(request, _)| *request).collect()
    }

    /// These are looked at from now on, and no others.
    pub(crate) fn take_messages(&mut self, taken: &[Message]) {
        let (mut messages, mut reviews) = (Vec::new(), Vec::new());
        for message in taken {
            match message {
                Message::Announcement(seq) => messages.push(*seq),
                Message::Review(seq) => reviews.push(*seq),
            }
        }
        if self.now.messages != messages || self.now.reviews != reviews {
            self.now.messages = messages;
            self.now.reviews = reviews;
            self.write("in-hand.json", &self.now);
        }
    }

    pub(crate) fn take_pins(&mut self, target: &BranchName, requests: Vec<RequestId>) {
        let changed = match requests.is_empty() {
            true => self.now.pins.remove(target).is_some(),
            false => self.now.pins.insert(target.clone(), requests).is_none(),
        };
        if changed {
            self.write("in-hand.json", &self.now);
        }
    }

    /// Forgets the deaths of what has been answered.
    pub(crate) fn forget(
        &mut self,
        is_answered: impl Fn(Message) -> bool,
        is_arriving: impl Fn(RequestId) -> bool,
    ) {
        let before = self.deaths.clone();
        self.deaths.messages.retain(|seq, _| !is_answered(Message::Announcement(*seq)));
        self.deaths.reviews.retain(|seq, _| !is_answered(Message::Review(*seq)));
        self.deaths.pins.retain(|request, _| is_arriving(*request));
        if self.deaths != before {
            self.write("deaths.json", &self.deaths);
        }
    }

    /// Without it a poison is not found; that is no reason not to serve.
    fn write(&self, name: &str, what: &impl Serialize) {
        let bytes = serde_json::to_vec(what).unwrap_or_default();
        if let Err(why) = fs::write(self.dir.join(name), bytes) {
            tracing::debug!(%why, name, "what is in hand is not written down");
        }
    }
}

impl Deaths {
    fn of(&self, message: Message) -> Option<&Count> {
        match message {
            Message::Announcement(seq) => self.messages.get(&seq),
            Message::Review(seq) => self.reviews.get(&seq),
        }
    }
}

fn read<T: Default + for<'de> Deserialize<'de>>(path: &Path) -> T {
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn died<K: Ord>(deaths: &mut BTreeMap<K, Count>, what: K, alone: bool) {
    let count = deaths.entry(what).or_default();
    count.deaths = count.deaths.saturating_add(1);
    count.alone = count.alone.saturating_add(u32::from(alone));
    while deaths.len() > SUSPECTS_KEPT {
        deaths.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kills_alone_is_condemned_and_its_neighbours_are_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = || InHand::open(dir.path(), 2);
        // The streams count for themselves: the same number is another message.
        let [one, two] = [Message::Announcement(IntakeSeq(1)), Message::Review(IntakeSeq(1))];
        open().take_messages(&[one, two]);
        let mut second = open();
        assert!(second.suspects_message(one) && second.suspects_message(two));
        assert!(!second.condemns_message(two));
        second.take_messages(&[one]);
        second.take_messages(&[]);
        second.take_messages(&[two]);
        let mut third = open();
        assert!(third.condemns_message(two) && !third.condemns_message(one));
        third.forget(|message| message == two, |_| false);
        assert!(!open().suspects_message(two) && open().suspects_message(one));
    }

    #[test]
    fn a_pin_is_condemned_when_it_killed_alone_six_times_and_a_cut_file_counts_as_empty() {
        let dir = tempfile::tempdir().expect("a directory");
        let main = BranchName::new("main").expect("a name");
        InHand::open(dir.path(), 2).take_pins(&main, vec![RequestId(1), RequestId(2)]);
        for death in 1..=6 {
            InHand::open(dir.path(), 2).take_pins(&main, vec![RequestId(2)]);
            let opened = InHand::open(dir.path(), 2);
            assert_eq!(opened.condemned_pins().len(), usize::from(death == 6));
            assert_eq!(opened.deaths_of_pin(RequestId(2)), Some(death + 1));
            assert_eq!(opened.deaths_of_pin(RequestId(1)), Some(1));
        }
        fs::write(dir.path().join("in-hand.json"), "{\"messages\":[7").expect("written");
        assert!(!InHand::open(dir.path(), 2).suspects_message(Message::Announcement(IntakeSeq(7))));
    }
}
