//! Requests that meet at a definition: advice, and no more.

use serde_json::json;
use yardmaster_protocol::{DefinitionMeeting, MeetingKind, Millis, RequestId};
use yardmaster_queue::{Input, Policy, Queue};

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

fn three(policy: &Policy) -> Queue {
    let mut queue = queue(policy);
    for n in 1..=3 {
        announce(&mut queue, policy, n.into(), &json!({}));
        pin(&mut queue, policy, n, &["a"]);
    }
    queue
}

fn compare(queue: &mut Queue, policy: &Policy, definitions: Vec<DefinitionMeeting>) {
    let input = Input::Compared {
        target: main_branch(),
        tip: commit(1),
        requests: (1..=3).map(RequestId).collect(),
        conflicts: Vec::new(),
        with_tip: Vec::new(),
        definitions,
    };
    queue.step(Millis(9), policy, input);
}

fn told(queue: &Queue, policy: &Policy, id: u64) -> Vec<DefinitionMeeting> {
    queue.explain(RequestId(id), Millis(20), policy).unwrap().definitions
}

#[test]
fn a_definition_at_which_two_meet_is_told_at_both_and_changes_nothing_else() {
    let policy = policy();
    let (mut queue, mut plain) = (three(&policy), three(&policy));
    compare(&mut queue, &policy, vec![meeting(3, 2), meeting(2, 7)]);
    compare(&mut plain, &policy, Vec::new());
    assert_eq!(told(&queue, &policy, 2), [meeting(3, 2)], "r7 is not known");
    assert_eq!(told(&queue, &policy, 3), [meeting(3, 2)]);
    assert_eq!(told(&queue, &policy, 1), []);
    assert_eq!(queue.plan(&policy), plain.plan(&policy));
    let sentence = "r3 removes `Mirror::open` from a.rs, and r2 newly uses it in b.rs";
    assert_eq!(meeting(3, 2).to_string(), sentence);

    let again = Queue::from_snapshot(&queue.to_snapshot().unwrap()).unwrap();
    assert_eq!(told(&again, &policy, 2), [meeting(3, 2)]);

    // A new head of r3's branch: that one has not been read.
    announce(&mut queue, &policy, 3, &json!({"commit": commit(99)}));
    announce(
        &mut queue,
        &policy,
        4,
        &json!({"branch": "work/3", "requirement": "REQ-3", "commit": commit(98)}),
    );
    pin(&mut queue, &policy, 4, &["a"]);
    assert_eq!(told(&queue, &policy, 2), []);
}
