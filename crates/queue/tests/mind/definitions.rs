//! Requests that meet at a definition: told, put in order, and kept apart only where that is wanted.

use serde_json::json;
use yardmaster_protocol::{
    Advice, Blocker, BlockerKind, DefinitionMeeting, EventBody, Fact, MeetingKind, Millis, NotRead,
    RequestId, Unread, UnreadWhy,
};
use yardmaster_queue::{Definitions, Input, Order, Policy, Queue, Step};

use crate::support::{announce, commit, main_branch, pin, policy, queue};

fn meeting(one: u64, other: u64) -> DefinitionMeeting {
    DefinitionMeeting {
        one: RequestId(one),
        other: RequestId(other),
        meeting: MeetingKind::RemovedAndUsed,
        symbol: "Mirror::open".to_owned(),
        path: "a.rs".to_owned(),
        used_in: Some("b.rs".to_owned()),
    }
}

fn with(definitions: Definitions) -> Policy {
    Policy { definitions, window_max: 4, ..policy() }
}

fn arriving(policy: &Policy, n: u64) -> Queue {
    let mut queue = queue(policy);
    for n in 1..=n {
        announce(&mut queue, policy, n, &json!({}));
    }
    queue
}

fn read(queue: &mut Queue, policy: &Policy, requests: &[u64], meetings: Vec<DefinitionMeeting>) -> Step {
    let requests = requests.iter().copied().map(RequestId).collect();
    let unread = Vec::new();
    queue.step(
        Millis(9),
        policy,
        Input::DefinitionsRead { target: main_branch(), requests, meetings, unread },
    )
}

fn unread(request: u64) -> Unread {
    let what = NotRead { why: UnreadWhy::LeftOut, files: Some(1), paths: vec!["large.rs".to_owned()] };
    Unread { request: RequestId(request), what }
}

/// What the events of a step tell of `id` as not read, in order.
fn not_read(step: &Step, id: u64) -> Vec<Option<String>> {
    let of = step.events.iter().filter(|e| e.event.about.as_ref().is_some_and(|a| a.request.0 == id));
    let told = of.filter_map(|e| match &e.event.body {
        EventBody::MergeQueued { not_read, .. } | EventBody::MergeBlocked { not_read, .. } => Some(not_read),
        _ => None,
    });
    told.map(|told| told.as_ref().map(|told| told.sentence.clone())).collect()
}

fn told(queue: &Queue, policy: &Policy, id: u64) -> Vec<DefinitionMeeting> {
    queue.explain(RequestId(id), Millis(20), policy).unwrap().definitions
}

fn to_read(queue: &Queue, policy: &Policy) -> Vec<u64> {
    let read = queue.plan(policy).orders.into_iter().find_map(|order| match order {
        Order::ReadDefinitions { requests, .. } => Some(requests),
        _ => None,
    });
    read.unwrap_or_default().into_iter().map(|id| id.0).collect()
}

fn stacked(step: &Step) -> Vec<u64> {
    let stacked = step.entry.facts.iter().filter_map(|fact| match fact {
        Fact::Stacked { request, .. } => Some(request.0),
        _ => None,
    });
    stacked.collect()
}

fn blocked(step: &Step, id: u64) -> Option<(Vec<Blocker>, Vec<Advice>)> {
    step.events.iter().find_map(|e| match &e.event.body {
        EventBody::MergeBlocked { blockers, advice, .. }
            if e.event.about.as_ref().is_some_and(|a| a.request.0 == id) =>
        {
            Some((blockers.clone(), advice.clone()))
        }
        _ => None,
    })
}

fn advice(step: &Step) -> Vec<Advice> {
    let queued = step.events.iter().find_map(|e| match &e.event.body {
        EventBody::MergeQueued { advice, .. } => Some(advice.clone()),
        _ => None,
    });
    queued.expect("it is queued")
}

#[test]
fn what_is_read_before_the_head_is_in_custody_is_told_as_it_is_queued() {
    let policy = with(Definitions::Advise);
    let mut queue = arriving(&policy, 3);
    pin(&mut queue, &policy, 2, &["a"]);
    assert_eq!(to_read(&queue, &policy), [2]);
    read(&mut queue, &policy, &[2, 3], vec![meeting(3, 2), meeting(3, 7)]);
    assert_eq!(to_read(&queue, &policy), [0; 0]);
    let step = pin(&mut queue, &policy, 3, &["a"]);
    let told_of: Vec<(u64, &str)> =
        [(2, "r3 removes `Mirror::open` from a.rs, and r2 newly uses it in b.rs")].into();
    let advice = advice(&step);
    assert_eq!(advice.iter().map(|a| (a.with.0, a.sentence.as_str())).collect::<Vec<_>>(), told_of);
    assert_eq!(advice[0].paths, ["a.rs", "b.rs"]);
    assert_eq!(advice[0].branch.as_str(), "work/2");
    assert_eq!(told(&queue, &policy, 2), [meeting(3, 2)]);

    let again = Queue::from_snapshot(&queue.to_snapshot().unwrap()).unwrap();
    assert_eq!((told(&again, &policy, 2), to_read(&again, &policy)), (vec![meeting(3, 2)], vec![]));
}

#[test]
fn two_heads_of_one_branch_do_not_meet_and_who_leaves_meets_nobody() {
    let policy = with(Definitions::Advise);
    let mut queue = arriving(&policy, 3);
    pin(&mut queue, &policy, 2, &["a"]);
    pin(&mut queue, &policy, 3, &["a"]);
    read(&mut queue, &policy, &[2, 3], vec![meeting(3, 2)]);
    let next = json!({"branch": "work/3", "requirement": "REQ-3", "commit": commit(98)});
    announce(&mut queue, &policy, 4, &next);
    read(&mut queue, &policy, &[4], vec![meeting(4, 3), meeting(4, 2)]);
    assert_eq!(told(&queue, &policy, 4), [meeting(4, 2)]);
    queue.step(Millis(10), &policy, Input::Withdraw { request: RequestId(2), by: "me".to_owned() });
    assert_eq!(told(&queue, &policy, 3), []);
    assert_eq!(told(&queue, &policy, 4), []);
}

#[test]
fn advice_holds_nobody_and_puts_who_meets_fewer_first_among_equals() {
    let narrow = |definitions| Policy { window_min: 1, window_max: 1, ..with(definitions) };
    let order = |policy: &Policy| {
        let mut queue = arriving(policy, 4);
        for n in 1..=4 {
            pin(&mut queue, policy, n, &["a"]);
        }
        read(&mut queue, policy, &[1, 2, 3, 4], vec![meeting(2, 3), meeting(2, 4)]);
        let rows = queue.overview(Millis(20), policy).requests;
        rows.iter().map(|row| row.request.0).collect::<Vec<_>>()
    };
    assert_eq!(order(&narrow(Definitions::Off)), [1, 2, 3, 4]);
    assert_eq!(order(&narrow(Definitions::Advise)), [1, 3, 4, 2]);

    let policy = with(Definitions::Advise);
    let mut queue = arriving(&policy, 2);
    read(&mut queue, &policy, &[1, 2], vec![meeting(1, 2)]);
    assert_eq!(stacked(&pin(&mut queue, &policy, 1, &["a"])), [1]);
    assert_eq!(stacked(&pin(&mut queue, &policy, 2, &["b"])), [2]);
}

#[test]
fn where_it_is_enforced_the_later_one_waits_until_the_earlier_one_is_decided() {
    let policy = with(Definitions::Enforce);
    let mut queue = arriving(&policy, 3);
    for n in 1..=3 {
        assert_eq!(stacked(&pin(&mut queue, &policy, n, &["a"])), [0; 0], "nobody has read it yet");
    }
    let step = read(&mut queue, &policy, &[1, 2, 3], vec![meeting(2, 1)]);
    assert_eq!(stacked(&step), [3, 1], "the one that meets nobody first, and past who waits");
    let (blockers, advice) = blocked(&step, 2).expect("it is told");
    let blocker = &blockers[0];
    assert_eq!((blocker.kind, blocker.with.as_deref()), (BlockerKind::SemanticConflict, Some("r1")));
    assert_eq!(
        blocker.reason,
        "meets r1 (work/1 by roy), which is ahead of it, at a definition: r2 removes `Mirror::open` from a.rs, and r1 newly uses it in b.rs"
    );
    assert_eq!(blocker.until, "r1 has landed or left the queue");
    assert_eq!((blocker.paths.len(), advice.len()), (2, 1));

    let step =
        queue.step(Millis(10), &policy, Input::Withdraw { request: RequestId(1), by: "me".to_owned() });
    assert_eq!(stacked(&step), [2]);
}

#[test]
fn what_was_not_read_waits_for_nobody_and_is_told() {
    let policy = with(Definitions::Enforce);
    let mut queue = arriving(&policy, 3);
    for n in 1..=2 {
        assert_eq!(not_read(&pin(&mut queue, &policy, n, &["a"]), n.into()), [None]);
    }
    let said = "not read: large.rs (too large, too many, no text, or not in time), so what it does there to definitions is not known, and holds up nobody";
    let input = Input::DefinitionsRead {
        target: main_branch(),
        requests: [1, 2, 3].map(RequestId).into(),
        meetings: vec![meeting(2, 1)],
        unread: vec![unread(2), unread(3), unread(7)],
    };
    let step = queue.step(Millis(9), &policy, input);
    assert_eq!(not_read(&step, 2), [Some(said.to_owned())], "also who meets somebody in what was read");
    let step = pin(&mut queue, &policy, 3, &["a"]);
    assert_eq!(not_read(&step, 3), [Some(said.to_owned())]);
    assert_eq!(stacked(&step), [3], "it waits for nobody");

    let explained = |queue: &Queue, policy: &Policy, id| {
        queue.explain(RequestId(id), Millis(20), policy).unwrap().not_read.map(|told| told.what)
    };
    let again = Queue::from_snapshot(&queue.to_snapshot().unwrap()).unwrap();
    for queue in [&queue, &again] {
        assert_eq!(explained(queue, &policy, 1), None);
        assert_eq!(explained(queue, &policy, 3), Some(unread(3).what));
        assert_eq!(explained(queue, &with(Definitions::Off), 3), None, "nobody reads any more");
    }
    queue.step(Millis(10), &policy, Input::Withdraw { request: RequestId(3), by: "me".to_owned() });
    assert_eq!(explained(&queue, &policy, 3), None);
}

/// As a journal has it that is older than what is told of what was not read.
#[test]
fn a_fact_without_what_was_not_read_is_still_one() {
    let old = json!({"fact": "definitions_read", "target": "main", "requests": ["r1"]});
    let fact: Fact = serde_json::from_value(old.clone()).unwrap_or_else(|e| panic!("{e}: {old}"));
    assert!(matches!(&fact, Fact::DefinitionsRead { unread, .. } if unread.is_empty()));
}

#[test]
fn three_that_meet_each_other_go_one_by_one() {
    let policy = with(Definitions::Enforce);
    let mut queue = arriving(&policy, 3);
    for n in 1..=3 {
        pin(&mut queue, &policy, n, &["a"]);
    }
    let all = vec![meeting(1, 2), meeting(2, 3), meeting(3, 1)];
    let mut went = stacked(&read(&mut queue, &policy, &[1, 2, 3], all));
    for n in 1..3 {
        assert_eq!(went.len(), n);
        let first = RequestId(went[n - 1]);
        let input = Input::Withdraw { request: first, by: "me".to_owned() };
        went.extend(stacked(&queue.step(Millis(10), &policy, input)));
    }
    assert_eq!(went, [1, 2, 3]);
}
