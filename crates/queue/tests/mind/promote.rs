//! Requests that an operator moves to the front.

use serde_json::{Value, json};
use yardmaster_protocol::{Change, EventBody, Fact, Millis, RequestId, RunOutcome};
use yardmaster_queue::{Input, Overlap, Policy, Queue, Step};

use crate::support::{announce, end, pin, policy, queue, runs, stack_of_six};

fn promote(queue: &mut Queue, policy: &Policy, ids: &[u64]) -> Step {
    let requests = ids.iter().copied().map(RequestId).collect();
    let (who, why) = ("olga".to_owned(), "a customer waits".to_owned());
    let step = queue.step(Millis(20), policy, Input::Promote { requests, who, why });
    queue.check().unwrap();
    step
}

/// Everybody who is pending, in the order in which they land.
fn order(queue: &Queue, policy: &Policy) -> Vec<u64> {
    queue.overview(Millis(20), policy).requests.iter().map(|row| row.request.0).collect()
}

fn moved(step: &Step) -> Vec<u64> {
    let promoted = |fact: &Fact| match fact {
        Fact::Promoted { request, .. } => Some(request.0),
        _ => None,
    };
    step.entry.facts.iter().filter_map(promoted).collect()
}

fn wide() -> Policy {
    Policy { window_max: 6, ..policy() }
}

/// One under test, and the others wait.
fn waiting(policy: &Policy, more: &[Value]) -> Queue {
    let mut queue = queue(policy);
    for (n, more) in (1..).zip(more) {
        announce(&mut queue, policy, n.into(), more);
        pin(&mut queue, policy, n, &["a"]);
    }
    queue
}

#[test]
fn they_come_in_the_order_that_was_asked_for_and_keep_their_time() {
    let policy = wide();
    let mut queue = stack_of_six(&policy);
    let waited = |queue: &Queue| queue.request(RequestId(4), Millis(90), &wide()).unwrap().row.waited_ms;
    let before = waited(&queue);
    assert_eq!(moved(&promote(&mut queue, &policy, &[4, 2])), [4, 2]);
    assert_eq!(order(&queue, &policy), [4, 2, 1, 3, 5, 6]);
    assert_eq!(waited(&queue), before);
    let row = queue.request(RequestId(4), Millis(90), &policy).unwrap().row;
    assert_eq!(row.promoted.unwrap().who, "olga");
    // Who is moved later stands in front of who was moved earlier; a restart changes nothing.
    promote(&mut queue, &policy, &[6]);
    let snapshot = queue.to_snapshot().unwrap();
    let queue = Queue::from_snapshot(&snapshot).unwrap();
    assert_eq!(order(&queue, &policy), [6, 4, 2, 1, 3, 5]);
}

#[test]
fn what_is_in_front_already_is_no_news() {
    let policy = wide();
    let mut queue = stack_of_six(&policy);
    for ids in [&[1][..], &[1, 2, 3], &[], &[99]] {
        assert_eq!(promote(&mut queue, &policy, ids).entry.facts, [], "{ids:?}");
    }
    promote(&mut queue, &policy, &[5, 6]);
    assert_eq!(promote(&mut queue, &policy, &[5]).entry.facts, []);
    assert_eq!(moved(&promote(&mut queue, &policy, &[6])), [6]);
    assert_eq!(order(&queue, &policy), [6, 5, 1, 2, 3, 4]);
}

#[test]
fn what_it_depends_on_comes_with_it_and_is_told() {
    let policy = policy();
    let mut queue = waiting(
        &policy,
        &[
            json!({}),
            json!({}),
            json!({}),
            json!({"depends_on": ["REQ-3"]}),
            json!({"depends_on": ["work/4", "REQ-of-nobody", "r3"]}),
        ],
    );
    let step = promote(&mut queue, &policy, &[5, 2]);
    assert_eq!(moved(&step), [3, 4, 5, 2]);
    let told: Vec<(u64, Option<u64>)> = step
        .events
        .iter()
        .filter_map(|e| match &e.event.body {
            EventBody::MergePromoted { needed_by, .. } => {
                Some((e.event.about.as_ref()?.request.0, needed_by.map(|r| r.0)))
            }
            _ => None,
        })
        .collect();
    assert_eq!(told, [(3, Some(5)), (4, Some(5)), (5, None), (2, None)]);
    // The one that waits for what nobody has announced waits on, and is in nobody's way.
    assert_eq!(order(&queue, &policy), [3, 4, 2, 1, 5]);
}

#[test]
fn too_many_at_once_are_not_moved() {
    let policy = wide();
    let mut queue = queue(&policy);
    for n in 1..=101_u64 {
        let needs = if n > 1 { json!({"depends_on": [format!("REQ-{}", n - 1)]}) } else { json!({}) };
        announce(&mut queue, &policy, n, &needs);
    }
    assert_eq!(queue.to_promote(&[RequestId(100)]).unwrap().len(), 100);
    assert!(queue.to_promote(&[RequestId(101)]).is_none());
    assert_eq!(moved(&promote(&mut queue, &policy, &[101])), [0_u64; 0]);
}

/// What is being pushed stays in front, is not moved itself, and others are tested on top of it.
#[test]
fn what_is_being_pushed_is_not_overtaken() {
    let policy = wide();
    let mut queue = stack_of_six(&policy);
    let (_, first) = runs(&queue, &policy).into_iter().find(|(r, _)| *r == Some(RequestId(1))).unwrap();
    end(&mut queue, &policy, &first, RunOutcome::Green);
    assert!(queue.is_being_pushed(RequestId(1)));
    assert_eq!(moved(&promote(&mut queue, &policy, &[1])), [0_u64; 0]);
    assert_eq!(moved(&promote(&mut queue, &policy, &[3, 1])), [3]);
    assert_eq!(order(&queue, &policy), [1, 3, 2, 4, 5, 6]);
}

/// A pause is stronger: nobody new starts, also not who is moved to the front; but it is the first one then.
#[test]
fn a_pause_holds_who_was_moved() {
    let policy = policy();
    let mut queue = waiting(&policy, &[json!({}), json!({}), json!({})]);
    let (target, who, why) = (policy.default_target.clone(), "olga".to_owned(), "a release".to_owned());
    let (who2, why2) = (who.clone(), why.clone());
    queue.step(Millis(11), &policy, Input::Pause { target: target.clone(), who, why, except: None });
    promote(&mut queue, &policy, &[3]);
    assert_eq!(order(&queue, &policy), [1, 2, 3]);
    queue.step(Millis(30), &policy, Input::Resume { target, who: who2, why: why2 });
    assert_eq!(order(&queue, &policy), [3, 1, 2]);
}

/// Each is in one's way with the next: whoever is moved has the place, and the other one waits for it.
#[test]
fn who_may_not_stand_beside_it_gives_up_its_place() {
    let policy = Policy { overlap: Overlap::Files, ..wide() };
    let mut queue = waiting(&policy, &[json!({}), json!({}), json!({})]);
    let step = promote(&mut queue, &policy, &[2]);
    let gave_way: Vec<&Fact> =
        step.entry.facts.iter().filter(|f| matches!(f, Fact::Displaced { .. })).collect();
    assert_eq!(gave_way, [&Fact::Displaced { request: RequestId(1), by: RequestId(2) }]);
    assert_eq!(order(&queue, &policy), [2, 1, 3]);
    promote(&mut queue, &policy, &[3]);
    assert_eq!(order(&queue, &policy), [3, 2, 1]);
    let snapshot = queue.to_snapshot().unwrap();
    assert_eq!(order(&Queue::from_snapshot(&snapshot).unwrap(), &policy), [3, 2, 1]);
}

/// What `explain` tells of it comes true.
#[test]
fn explain_says_that_it_would_land_next() {
    let policy = policy();
    let mut queue = waiting(&policy, &[json!({}), json!({}), json!({})]);
    let told = queue.explain(RequestId(3), Millis(20), &policy).unwrap();
    let found = told.counterfactuals.iter().find(|c| c.change == Change::Promote).unwrap();
    assert!(found.lands_next && found.position == 1 && !found.blocked, "{found:?}");
    assert_eq!(found.sentence, "r3 lands next, if an operator promotes it");
    assert_eq!(found.command, "yardmaster promote r3 --by NAME");
    promote(&mut queue, &policy, &[3]);
    assert_eq!(order(&queue, &policy), [3, 1, 2]);
}
