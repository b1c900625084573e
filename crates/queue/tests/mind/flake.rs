use yardmaster_protocol::{EventBody, Fact, Gate, RunOutcome};
use yardmaster_queue::{GateRule, Policy, Queue, Step};

use crate::support::{end, failed, merged, policy, red, runs};

fn with_retry(retry: u32) -> Policy {
    let mut gate = Gate::command("true");
    gate.steps.iter_mut().for_each(|s| s.retry = retry);
    Policy { gate: GateRule::Fixed(gate), base_red: yardmaster_queue::BaseRed::Ignore, ..policy() }
}

/// The run of the request that is asked for now ends so.
fn finish(queue: &mut Queue, policy: &Policy, outcome: RunOutcome) -> Step {
    let (_, run) = runs(queue, policy).into_iter().find(|(request, _)| request.is_some()).expect("is tested");
    end(queue, policy, &run, outcome)
}

fn attempts(step: &Step) -> Vec<u32> {
    let attempt = |f: &Fact| if let Fact::Testing { attempt, .. } = f { Some(*attempt) } else { None };
    step.entry.facts.iter().filter_map(attempt).collect()
}

/// Scenario: the first run is red, the same again green. Nobody is at fault, and the flake is known.
#[test]
fn who_is_red_once_and_then_green_is_no_culprit_where_a_retry_is_declared() {
    let policy = with_retry(1);
    let mut queue = merged(&policy, 7);
    let step = finish(&mut queue, &policy, red("gate"));
    assert_eq!(attempts(&step), [2]);
    assert!(failed(&step).is_empty());
    finish(&mut queue, &policy, RunOutcome::Green);
    let view = &queue.target_views(&policy)[0];
    assert_eq!(view.flaky.iter().map(|f| (f.step.as_str(), f.times)).collect::<Vec<_>>(), [("gate", 1)]);
}

#[test]
fn who_is_red_as_often_as_is_tried_fails() {
    let policy = with_retry(1);
    let mut queue = merged(&policy, 7);
    finish(&mut queue, &policy, red("gate"));
    let step = finish(&mut queue, &policy, red("gate"));
    assert_eq!(failed(&step).len(), 1);
    assert!(queue.target_views(&policy)[0].flaky.is_empty());
}

#[test]
fn without_evidence_nothing_is_tried_again() {
    let policy = with_retry(0);
    let mut queue = merged(&policy, 7);
    let step = finish(&mut queue, &policy, red("gate"));
    assert!(step.events.iter().any(|e| matches!(e.event.body, EventBody::MergeFailed(_))));
}

/// What a time-out shows is not tried again.
#[test]
fn who_does_not_end_in_time_fails_at_once() {
    let policy = with_retry(3);
    let mut queue = merged(&policy, 7);
    let late = RunOutcome::TimedOut { step: "gate".to_owned(), limit_ms: 1_000, log_tail: String::new() };
    assert_eq!(failed(&finish(&mut queue, &policy, late)).len(), 1);
}
