//! What agents read about places, titles, names and runs, and what is forgotten.

use serde_json::json;
use yardmaster_protocol::{
    BranchName, Entry, EventBody, Fact, IntakeSeq, LandOutcome, Millis, Movement, Pressure, Project,
    RequestId, RunOutcome, Sighting, TreeId,
};
use yardmaster_queue::{Ending, Input, Order, Queue, Step};

use crate::support::{
    announce, commit, end, main_branch, merged, pin, policy, queue, red, runs, stack_of_six,
};

#[test]
fn a_newcomer_is_told_its_place() {
    let policy = policy();
    let mut queue = queue(&policy);
    let mut places = Vec::new();
    for (n, priority) in [(1, 2), (2, 2), (3, 3), (4, 1), (5, 3)] {
        announce(&mut queue, &policy, n, &json!({"priority": priority}));
        let step = pin(&mut queue, &policy, u8::try_from(n).unwrap(), &[]);
        places.extend(step.events.iter().filter_map(|e| match &e.event.body {
            EventBody::MergeQueued { position, .. } => Some(*position),
            _ => None,
        }));
    }
    assert_eq!(places, [1, 2, 3, 3, 5], "two stand in the stack; then class decides, then age");
}

#[test]
fn what_was_declared_and_is_not_so_is_told() {
    let policy = policy();
    let mut queue = queue(&policy);
    for (n, declared) in [(1, json!(["a", "b"])), (2, json!(["b", "c"]))] {
        announce(&mut queue, &policy, n, &json!({"files_changed": declared}));
    }
    let told = |step: Step| match &step.events.first().unwrap().event.body {
        EventBody::MergeQueued { declared_mismatch, .. } => {
            declared_mismatch.as_ref().map(|m| (m.undeclared.join(" "), m.unchanged.join(" ")))
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(told(pin(&mut queue, &policy, 1, &["a", "b"])), None);
    assert_eq!(told(pin(&mut queue, &policy, 2, &["a", "b"])), Some(("a".to_owned(), "c".to_owned())));
}

#[test]
fn a_title_is_one_line_of_the_message() {
    let policy = policy();
    let mut queue = queue(&policy);
    announce(&mut queue, &policy, 1, &json!({"title": " more \n\nAgent: eve\u{7}  speed "}));
    pin(&mut queue, &policy, 1, &[]);
    let orders = queue.plan(&policy).orders;
    let [Order::Assemble { specs, .. }, ..] = &orders[..] else { panic!("{orders:?}") };
    let message =
        "Merge REQ-1 from roy\n\nmore Agent: eve speed\n\nRequest-Id: r1\nRequirement: REQ-1\nAgent: roy\n";
    assert_eq!(specs[0].message, message);
}

#[test]
fn an_agent_speaks_for_itself_where_that_is_asked_for() {
    let mut policy = policy();
    let refused = |step: &Step| matches!(step.entry.facts[..], [Fact::Refused { .. }]);
    for bound in [false, true] {
        policy.bind_agent_to_subject = bound;
        let mut queue = queue(&policy);
        assert!(!refused(&announce(&mut queue, &policy, 1, &json!({}))));
        assert_eq!(refused(&announce(&mut queue, &policy, 2, &json!({"agent": "ana"}))), bound);
    }
}

#[test]
fn what_ended_long_ago_is_forgotten_and_nothing_else() {
    let policy = policy();
    let mut queue = queue(&policy);
    let step = announce(&mut queue, &policy, 1, &json!({}));
    let [Fact::Announced { announcement, target, .. }] = &step.entry.facts[..] else { panic!("{step:?}") };
    for n in 1..=10_001 {
        let (request, intake) = (RequestId(n), IntakeSeq(n));
        let announced = Fact::Announced {
            request,
            intake,
            target: target.clone(),
            published: Millis(n),
            traceparent: None,
            announcement: announcement.clone(),
        };
        let withdrawn = Fact::Withdrawn { request, by: "roy".to_owned(), intake: None };
        queue.replay(&Entry { at: Millis(n), facts: vec![announced, withdrawn] });
    }
    let known = |n: u64| queue.ended(RequestId(n)).is_some();
    assert_eq!((known(1), known(2), known(10_001)), (false, true, true));
    assert!(queue.is_answered(IntakeSeq(1)) && !queue.is_answered(IntakeSeq(10_002)));
}

#[test]
fn a_frozen_target_says_so_and_only_a_served_one_is_frozen() {
    let policy = policy();
    let mut queue = merged(&policy, 50);
    let freeze = |target: &str| Input::Freeze {
        target: BranchName::new(target).unwrap(),
        who: "ana".to_owned(),
        why: "a release".to_owned(),
    };
    assert!(queue.step(Millis(11), &policy, freeze("elsewhere")).entry.facts.is_empty());
    queue.step(Millis(11), &policy, freeze("main"));
    assert!(queue.step(Millis(11), &policy, freeze("main")).entry.facts.is_empty(), "once is enough");
    let hold = queue.hold(&main_branch(), &policy);
    assert_eq!(hold.as_deref(), Some("frozen by ana: a release; `yardmaster unfreeze main` lets it go on"));
}

#[test]
fn the_evidence_of_a_landing_is_its_run() {
    let policy = policy();
    let mut queue = merged(&policy, 50);
    let asked = runs(&queue, &policy);
    let (_, run) = asked.iter().find(|(request, _)| request.is_some()).unwrap();
    end(&mut queue, &policy, run, RunOutcome::Green);
    let seen = Sighting {
        tip: commit(50),
        tree: TreeId(commit(50).0),
        movement: Movement::Forward,
        contains: vec![commit(50)],
        project_file: None,
        lost: Vec::new(),
    };
    let (target, outcome, project) = (main_branch(), LandOutcome::Landed { seen }, Ok(Project::default()));
    let step = queue.step(Millis(12), &policy, Input::LandEnded { target, to: commit(50), outcome, project });
    let complete = step.events.iter().find_map(|e| match &e.event.body {
        EventBody::MergeComplete { gate, .. } => Some(gate.clone()),
        _ => None,
    });
    let gate = complete.unwrap();
    assert_eq!((gate.run.as_ref(), gate.seconds, gate.reused), (Some(run), 1.5, false));
}

#[test]
fn a_row_says_what_is_ahead() {
    let mut policy = policy();
    policy.window_max = 6;
    let mut queue = stack_of_six(&policy);
    let rows = |queue: &Queue| -> Vec<String> {
        let rows = queue.overview(Millis(9), &policy).requests;
        rows.iter().map(|r| format!("{} {}", r.state, r.note).trim_end().to_owned()).collect()
    };
    let ahead = ["r1", "r1, r2", "r1, r2, r3", "1 more, r2, r3, r4", "2 more, r3, r4, r5"];
    let mut expected = vec!["testing".to_owned()];
    expected.extend(ahead.iter().map(|ahead| format!("testing on top of {ahead}")));
    assert_eq!(rows(&queue), expected);
    let asked = runs(&queue, &policy);
    let run =
        |n: u64| asked.iter().find(|(r, _)| *r == Some(RequestId(n))).map(|(_, run)| run.clone()).unwrap();
    end(&mut queue, &policy, &run(2), RunOutcome::Green);
    end(&mut queue, &policy, &run(3), red("gate"));
    let now = rows(&queue);
    assert_eq!(now[1], "green waits for r1 to land");
    assert!(now[2].starts_with("blocked the gate is red on top of r1, r2"), "{}", now[2]);
    let candidate = |queue: &Queue, n: u64| {
        let view = queue.request(RequestId(n), Millis(9), &policy).unwrap();
        (view.candidate, view.run)
    };
    assert_eq!(candidate(&queue, 2), (Some(commit(52)), Some(run(2))));
    assert_eq!(candidate(&queue, 1), (Some(commit(51)), Some(run(1))));
    end(&mut queue, &policy, &run(1), red("gate"));
    assert!(rows(&queue)[0].contains("which is tested by itself now"), "{}", rows(&queue)[0]);
}

#[test]
fn pressure_is_a_matter_of_windows() {
    let mut policy = policy();
    policy.targets.insert(BranchName::new("next").unwrap());
    policy.window_max = 3;
    let mut queue = queue(&policy);
    let mut pressures = Vec::new();
    for n in 1..=49 {
        announce(&mut queue, &policy, n, &json!({}));
        pressures.push(queue.pressure(&policy));
    }
    let first = |wanted| pressures.iter().position(|p| *p == wanted).map(|i| i + 1);
    assert_eq!((first(Pressure::Slow), first(Pressure::Stop)), (Some(19), Some(49)));
}

#[test]
fn a_request_is_found_by_all_its_names_also_after_its_end() {
    let policy = policy();
    let mut queue = queue(&policy);
    announce(&mut queue, &policy, 1, &json!({}));
    announce(&mut queue, &policy, 2, &json!({}));
    queue.step(Millis(3), &policy, Input::Withdraw { request: RequestId(1), by: "roy".to_owned() });
    for (name, found) in [("r1", 1), ("work/1", 1), ("REQ-1", 1), ("r2", 2), ("work/2", 2), ("REQ-2", 2)] {
        assert_eq!(queue.find(name), Some(RequestId(found)), "{name}");
    }
    assert_eq!((queue.find("r3"), queue.find("REQ-3")), (None, None));
}

#[test]
fn a_dependency_by_id_is_on_what_took_its_place() {
    let policy = policy();
    let mut queue = queue(&policy);
    announce(&mut queue, &policy, 1, &json!({}));
    pin(&mut queue, &policy, 1, &[]);
    announce(&mut queue, &policy, 2, &json!({"branch": "work/1"}));
    pin(&mut queue, &policy, 2, &[]);
    announce(&mut queue, &policy, 3, &json!({"depends_on": ["r1"]}));
    let step = pin(&mut queue, &policy, 3, &[]);
    assert!(matches!(queue.ended(RequestId(1)).unwrap().ending, Ending::Superseded { by: RequestId(2) }));
    assert!(step.entry.facts.contains(&Fact::Stacked { request: RequestId(3), unit: None }), "{step:?}");
}

/// It is told when it changes, once each time, and a queue that stays about as long as it is does not flap.
#[test]
fn a_change_of_pressure_is_told_once() {
    let policy = policy();
    let mut queue = queue(&policy);
    let mut told: Vec<(Pressure, u32)> = Vec::new();
    let mut hear = |step: Step| {
        told.extend(step.events.iter().filter_map(|e| match &e.event.body {
            EventBody::Pressure { pressure, pending, .. } => Some((*pressure, *pending)),
            _ => None,
        }));
    };
    for n in 1..=9 {
        hear(announce(&mut queue, &policy, n, &json!({})));
    }
    for n in 10..=30 {
        let withdrawn = Input::Withdraw { request: RequestId(n - 1), by: "roy".to_owned() };
        hear(queue.step(Millis(n), &policy, withdrawn));
        hear(announce(&mut queue, &policy, n, &json!({})));
    }
    let pinned = pin(&mut queue, &policy, 30, &[]);
    let said = pinned.events.iter().find_map(|e| match &e.event.body {
        EventBody::MergeQueued { pressure, pending, .. } => Some((*pressure, *pending)),
        _ => None,
    });
    assert_eq!(said, Some((Pressure::Stop, 9)));
    for n in (1..9).chain([30]) {
        hear(queue.step(
            Millis(31),
            &policy,
            Input::Withdraw { request: RequestId(n), by: "roy".to_owned() },
        ));
    }
    let expected = [(Pressure::Slow, 4), (Pressure::Stop, 9), (Pressure::Slow, 6), (Pressure::Steady, 2)];
    assert_eq!(told, expected);
}
