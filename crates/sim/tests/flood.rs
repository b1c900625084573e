//! Generated messages through the whole mind: understood or refused, journalled, read back, replayed.
//!
//! `YARDMASTER_FLOOD_MESSAGES=1000000 cargo test --release -p yardmaster-sim --test flood` for more.

#![expect(clippy::unwrap_used, reason = "the helpers of tests")]

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::{ProptestConfig, TestCaseError, any};
use proptest::test_runner::TestRunner;
use proptest::{collection, prop_assert, prop_assert_eq};
use serde::{Deserialize, Serialize};
use yardmaster_protocol::{
    BranchName, ChangeSize, CommitId, Entry, Event, Fact, Gate, Inspection, IntakeSeq, Millis, Movement,
    ObjectId, Project, RequestId, Sighting, TreeId, agent_of_subject,
};
use yardmaster_queue::{GateRule, Input, Order, Policy, Queue, Step};
use yardmaster_sim::hostile::{Hostile, message};

/// What one record of the journal may have at the most, in bytes.
const MAX_RECORD_BYTES: usize = 512 * 1024;
/// What a server takes at the most, less room for headers.
const MAX_EVENT_BYTES: usize = 1_000_000;
const MAX_PENDING: usize = 20;
/// On average.
const MESSAGES_PER_HISTORY: usize = 200;

/// Wrapped as the journal wraps it: the depth counts.
#[derive(Serialize, Deserialize)]
struct Record {
    v: u64,
    entries: Vec<Entry>,
}

fn main_branch() -> BranchName {
    BranchName::new("main").unwrap()
}

fn commit(n: u64) -> CommitId {
    let mut id = [7; 20];
    id[..8].copy_from_slice(&n.to_be_bytes());
    CommitId(ObjectId(id))
}

fn policy(bind: bool) -> Policy {
    let mut policy = Policy::new(main_branch());
    policy.gate = GateRule::Fixed(Gate::command("true"));
    policy.max_pending = MAX_PENDING;
    policy.bind_agent_to_subject = bind;
    policy
}

/// A queue as it is lived, and one that only reads the journal.
struct Twins {
    policy: Policy,
    lived: Queue,
    read: Queue,
    now: u64,
    messages: u64,
}

impl Twins {
    fn new(bind: bool) -> Result<Twins, TestCaseError> {
        let mut twins =
            Twins { policy: policy(bind), lived: Queue::new(), read: Queue::new(), now: 0, messages: 0 };
        let sighting = Sighting {
            tip: commit(0),
            tree: TreeId(commit(0).0),
            movement: Movement::First,
            contains: Vec::new(),
            project_file: None,
            lost: Vec::new(),
        };
        let target = main_branch();
        twins.input(Input::Seen { target, known: None, sighting, project: Ok(Project::default()) })?;
        Ok(twins)
    }

    fn input(&mut self, input: Input) -> Result<Step, TestCaseError> {
        self.now += 1;
        let step = self.lived.step(Millis(self.now), &self.policy, input);
        let written = serde_json::to_vec(&Record { v: 1, entries: vec![step.entry.clone()] });
        let written = written.map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert!(written.len() <= MAX_RECORD_BYTES, "a record of {} bytes", written.len());
        let read: Record = serde_json::from_slice(&written)
            .map_err(|e| TestCaseError::fail(format!("the journal cannot be read back: {e}")))?;
        prop_assert_eq!(&read.entries, std::slice::from_ref(&step.entry));
        let events = self.read.replay(&read.entries[0]);
        prop_assert_eq!(&events, &step.events);
        for event in &step.events {
            let told = serde_json::to_vec(&event.event).unwrap();
            prop_assert!(told.len() <= MAX_EVENT_BYTES, "an event of {} bytes", told.len());
            let heard: Event = serde_json::from_slice(&told)
                .map_err(|e| TestCaseError::fail(format!("an event cannot be read: {e}")))?;
            prop_assert_eq!(&heard, &event.event);
        }
        prop_assert!(self.lived.pending() <= self.policy.max_pending);
        Ok(step)
    }

    /// Exactly one answer, or a request that will be answered; told in a word.
    fn message(&mut self, Hostile { subject, payload }: Hostile) -> Result<String, TestCaseError> {
        self.messages += 1;
        let intake = IntakeSeq(self.messages);
        let subject = format!("work.integration.{subject}");
        let _ = agent_of_subject(&subject);
        let delivered =
            Input::Message { intake, subject, published: Millis(self.now), traceparent: None, payload };
        let step = self.input(delivered.clone())?;
        let answers = step.entry.facts.iter().filter_map(|fact| match fact {
            Fact::Announced { intake: of, .. } if *of == intake => Some("announced".to_owned()),
            Fact::Refused { intake: of, refusal, .. } if *of == intake => Some(format!("{:?}", refusal.code)),
            Fact::Withdrawn { intake: of, .. } if *of == Some(intake) => Some("withdrawn".to_owned()),
            Fact::Intended { intake: of, .. } if *of == intake => Some("intended".to_owned()),
            Fact::IntentWithdrawn { intake: of, .. } if *of == intake => Some("dropped".to_owned()),
            _ => None,
        });
        let answers: Vec<String> = answers.collect();
        prop_assert_eq!(answers.len(), 1, "{:?}", step.entry);
        let again = self.input(delivered)?;
        prop_assert!(again.entry.facts.is_empty(), "a double was news: {:?}", again.entry);
        Ok(answers.concat())
    }

    /// Some heads are there, some not, as the request's number has it.
    fn inspect(&mut self) -> Result<(), TestCaseError> {
        let orders = self.lived.plan(&self.policy).orders;
        let asks = orders
            .into_iter()
            .filter_map(|o| if let Order::Pin { asks, .. } = o { Some(asks) } else { None });
        let found = asks.flatten().map(|ask| (ask.request, inspection(ask.request, ask.commit))).collect();
        self.input(Input::Inspected(found)).map(drop)
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        let snapshot = self.lived.to_snapshot().unwrap();
        prop_assert_eq!(&snapshot, &self.read.to_snapshot().unwrap());
        let restored = Queue::from_snapshot(&snapshot)
            .map_err(|e| TestCaseError::fail(format!("a snapshot cannot be read back: {e}")))?;
        prop_assert_eq!(&snapshot, &restored.to_snapshot().unwrap());
        prop_assert_eq!(self.lived.plan(&self.policy), restored.plan(&self.policy));
        prop_assert_eq!(self.lived.plan(&self.policy), self.read.plan(&self.policy));
        Ok(())
    }
}

type Seen = RefCell<BTreeMap<String, u64>>;

/// Each of these has to come up, or the generator tries less than it says.
const ANSWERS: [&str; 14] = [
    "intended",
    "dropped",
    "BadValue",
    "MissingField",
    "NotJson",
    "NotTheAgent",
    "NothingToWithdraw",
    "QueueFull",
    "TooLarge",
    "UnknownTarget",
    "UnknownType",
    "WrongType",
    "announced",
    "withdrawn",
];

fn inspection(request: RequestId, offered: Option<CommitId>) -> Inspection {
    match request.0 % 4 {
        0 => Inspection::BranchMissing,
        1 => Inspection::HeadMoved { found: commit(1_000 + request.0) },
        2 => Inspection::Unusable { why: "it has no history in common".to_owned() },
        _ => Inspection::Pinned {
            head: offered.unwrap_or_else(|| commit(request.0)),
            merge_base: commit(0),
            size: ChangeSize { lines: request.0, files: 1 },
            files: vec![format!("file-{}", request.0 % 7)],
            contained: request.0.is_multiple_of(3),
        },
    }
}

fn history(seeds: &[u64], bind: bool, seen: &Seen) -> Result<(), TestCaseError> {
    let mut twins = Twins::new(bind)?;
    for (number, seed) in seeds.iter().enumerate() {
        let answer = twins.message(message(*seed))?;
        *seen.borrow_mut().entry(answer).or_default() += 1;
        if number % 16 == 15 {
            twins.inspect()?;
        }
    }
    twins.compare()
}

/// Requests that share their requirement make each name that is needed stand for many.
#[test]
fn a_request_that_needs_many_is_told_why_it_waits_in_one_record() {
    let announce = |n: usize, needs: &[&str]| {
        let info = serde_json::json!({"agent": "roy", "branch": format!("b{n}"), "requirement": if n < 100 { "R" } else { "S" }, "depends_on": needs});
        let payload =
            serde_json::json!({"type": "ready_to_merge", "merge_info": info}).to_string().into_bytes();
        Hostile { subject: "roy".to_owned(), payload }
    };
    let mut twins = Twins::new(false).unwrap();
    twins.policy.max_pending = 100;
    for n in 0..98 {
        assert_eq!(twins.message(announce(n, &[])).unwrap(), "announced");
    }
    let names: Vec<String> = (0..64).map(|n| format!("{n}-{}", "x".repeat(800))).collect();
    let unknown: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(twins.message(announce(100, &unknown)).unwrap(), "announced");
    assert_eq!(twins.message(announce(101, &["R"; 64])).unwrap(), "announced");
    for request in 1..=100 {
        let found = Inspection::Pinned {
            head: commit(request),
            merge_base: commit(0),
            size: ChangeSize { lines: 1, files: 1 },
            files: Vec::new(),
            contained: false,
        };
        twins.input(Input::Inspected(vec![(RequestId(request), found)])).unwrap();
    }
    twins.compare().unwrap();
    assert_eq!(twins.message(announce(102, &["R"; 65])).unwrap(), "BadValue");
}

/// What was delivered to a connection that is gone comes after everything that came since.
#[test]
fn a_message_that_comes_late_is_not_taken_for_one_that_was_answered() {
    let mut queue = Queue::new();
    let policy = policy(false);
    let mut deliver = |seq: u64| {
        let intake = IntakeSeq(seq);
        let subject = "work.integration.roy".to_owned();
        let payload = b"nonsense".to_vec();
        let published = Millis(seq);
        let step = queue.step(
            published,
            &policy,
            Input::Message { intake, subject, published, traceparent: None, payload },
        );
        (step.entry.facts.len(), queue.is_answered(intake))
    };
    for seq in (2..=60_000).chain([60_002]) {
        assert_eq!(deliver(seq), (1, true));
    }
    assert_eq!(deliver(1), (1, true));
    assert_eq!(deliver(60_001), (1, true));
    for seq in [1, 2, 30_000, 60_000, 60_001, 60_002] {
        assert_eq!(deliver(seq), (0, true));
    }
    assert!(!queue.is_answered(IntakeSeq(60_003)));
    assert!(queue.to_snapshot().unwrap().len() < 1_000);
}

#[test]
fn whatever_is_sent_gets_one_answer_and_can_be_read_back() {
    let wanted = std::env::var("YARDMASTER_FLOOD_MESSAGES").ok().and_then(|n| n.parse().ok());
    let histories = wanted.unwrap_or(100_000_usize).div_ceil(MESSAGES_PER_HISTORY);
    let config = ProptestConfig {
        cases: u32::try_from(histories).unwrap(),
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..ProptestConfig::default()
    };
    let seeds = collection::vec(any::<u64>(), 1..2 * MESSAGES_PER_HISTORY);
    let seen = Seen::default();
    let result =
        TestRunner::new(config).run(&(seeds, any::<bool>()), |(seeds, bind)| history(&seeds, bind, &seen));
    if let Err(why) = result {
        panic!("{why}");
    }
    let seen = seen.into_inner();
    println!("{} messages, each twice: {seen:?}", seen.values().sum::<u64>());
    assert!(ANSWERS.iter().all(|answer| seen.contains_key(*answer)), "{seen:?}");
}
