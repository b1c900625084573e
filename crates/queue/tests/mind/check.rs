//! What an announcement would lead to, found out on a copy.

use serde_json::{Value, json};
use yardmaster_protocol::{AgentName, BlockerKind, ChangeSize, CheckRequest, Inspection, Millis, RequestId};
use yardmaster_queue::{Foreseen, Found, Policy, Queue};

use crate::support::{announce, commit, pin, policy, queue};

fn found(conflicts: &[u64]) -> Found {
    let inspection = Inspection::Pinned {
        head: commit(200),
        merge_base: commit(1),
        size: ChangeSize::default(),
        files: vec!["a".to_owned()],
        contained: false,
    };
    let conflicts = conflicts.iter().map(|n| (RequestId(*n), vec!["a".to_owned()])).collect();
    Found { inspection, conflicts, target_conflict: Vec::new(), breaks_project: None, meetings: None }
}

fn foresee(queue: &Queue, policy: &Policy, asked: &Value, conflicts: &[u64]) -> Foreseen {
    let asked: CheckRequest = serde_json::from_value(asked.clone()).unwrap();
    let agent = AgentName::new("ann").unwrap();
    queue.clone().foresee(Millis(50), policy, &agent, &asked, found(conflicts))
}

/// Five requests, of which two stand in the stack.
fn five(policy: &Policy) -> Queue {
    let mut queue = queue(policy);
    for n in 1..=5 {
        announce(&mut queue, policy, n, &json!({}));
        pin(&mut queue, policy, u8::try_from(n).unwrap(), &["a"]);
    }
    queue
}

#[test]
fn it_is_what_the_announcement_then_leads_to() {
    let policy = policy();
    let mut queue = five(&policy);
    let before = queue.to_snapshot().unwrap();
    for (priority, expected) in [(1, 3), (3, 6)] {
        let asked = json!({"branch": "ann/1", "requirement": "REQ-6", "priority": priority});
        let foreseen = foresee(&queue, &policy, &asked, &[]);
        assert_eq!(foreseen.position, Some(expected), "{foreseen:?}");
        assert_eq!(
            (foreseen.ahead.len(), foreseen.behind.len()),
            (expected as usize - 1, 6 - expected as usize)
        );
    }
    assert_eq!(queue.to_snapshot().unwrap(), before);
    announce(&mut queue, &policy, 6, &json!({"branch": "ann/1", "priority": 1}));
    pin(&mut queue, &policy, 6, &["a"]);
    assert_eq!(queue.request(RequestId(6), Millis(60), &policy).unwrap().row.position, Some(3));
}

#[test]
fn what_would_stop_the_queue_is_foreseen() {
    let policy = policy();
    let queue = five(&policy);
    let asked: CheckRequest = serde_json::from_value(json!({"branch": "ann/1"})).unwrap();
    let broken = (vec![".yardmaster.toml".to_owned()], "it would have no `[gate]`".to_owned());
    let found = Found { breaks_project: Some(broken), ..found(&[]) };
    let foreseen = queue.foresee(Millis(50), &policy, &AgentName::new("ann").unwrap(), &asked, found);
    let failure = foreseen.failure.expect("it would fail");
    assert_eq!(
        (failure.evidence.message.as_str(), failure.evidence.paths.len()),
        ("with it nothing could land on `main` any more: it would have no `[gate]`", 1)
    );
    assert_eq!(failure.next[0], "# mend .yardmaster.toml on ann/1, commit and push");
}

#[test]
fn what_is_known_already_is_told() {
    let mut policy = policy();
    let queue = five(&policy);
    let newer = foresee(&queue, &policy, &json!({"branch": "work/2"}), &[]);
    assert_eq!((newer.supersedes.as_slice(), newer.repeats), (&[RequestId(2)][..], None));
    let needs = json!({"branch": "ann/1", "depends_on": ["r3", "REQ-none"]});
    let waits: Vec<BlockerKind> =
        foresee(&queue, &policy, &needs, &[]).blockers.iter().map(|b| b.kind).collect();
    assert_eq!(waits, [BlockerKind::Dependency, BlockerKind::Dependency]);
    let unserved = foresee(&queue, &policy, &json!({"branch": "ann/1", "target": "other"}), &[]);
    assert!(unserved.refusal.is_some() && unserved.position.is_none(), "{unserved:?}");
    policy.max_pending = 5;
    assert!(foresee(&queue, &policy, &json!({"branch": "ann/1"}), &[]).refusal.is_some());
}

/// Who does not merge with one that is ahead is told to wait for it, before it has met it in the stack.
#[test]
fn a_conflict_with_one_ahead_is_a_reason_to_wait() {
    let policy = policy();
    let queue = five(&policy);
    let foreseen = foresee(&queue, &policy, &json!({"branch": "ann/1"}), &[4]);
    let told: Vec<_> = foreseen.blockers.iter().map(|b| (b.kind, b.with.clone())).collect();
    assert_eq!(told, [(BlockerKind::TextualConflict, Some("r4".to_owned()))], "{foreseen:?}");
}
