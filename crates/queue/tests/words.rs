//! What agents read about places, titles and names, and what is forgotten.

#![expect(clippy::unwrap_used, reason = "the helpers of tests")]

use serde_json::{Value, json};
use yardmaster_protocol::{
    BranchName, ChangeSize, CommitId, Entry, EventBody, Fact, Gate, Inspection, IntakeSeq, Millis, Movement,
    ObjectId, Project, RequestId, Sighting, TreeId,
};
use yardmaster_queue::{GateRule, Input, Order, Policy, Queue, Step};

fn main_branch() -> BranchName {
    BranchName::new("main").unwrap()
}

fn policy() -> Policy {
    let mut policy = Policy::new(main_branch());
    policy.gate = GateRule::Fixed(Gate::command("true"));
    policy.window_max = 1;
    policy
}

fn commit(n: u8) -> CommitId {
    CommitId(ObjectId([n; 20]))
}

fn queue(policy: &Policy) -> Queue {
    let mut queue = Queue::new();
    let sighting = Sighting {
        tip: commit(1),
        tree: TreeId(commit(1).0),
        movement: Movement::First,
        contains: Vec::new(),
        project_file: None,
        lost: Vec::new(),
    };
    let project = Ok(Project::default());
    queue.step(Millis(0), policy, Input::Seen { target: main_branch(), known: None, sighting, project });
    queue
}

fn announce(queue: &mut Queue, policy: &Policy, n: u64, more: &Value) -> Step {
    let mut info = json!({"agent": "roy", "branch": format!("work/{n}"), "requirement": format!("REQ-{n}")});
    info.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let input = Input::Message {
        intake: IntakeSeq(n),
        subject: "work.integration.roy".to_owned(),
        published: Millis(n),
        traceparent: None,
        payload: json!({"type": "ready_to_merge", "merge_info": info}).to_string().into_bytes(),
    };
    queue.step(Millis(n), policy, input)
}

fn pin(queue: &mut Queue, policy: &Policy, n: u8, files: &[&str]) -> Step {
    let found = Inspection::Pinned {
        head: commit(100 + n),
        merge_base: commit(1),
        size: ChangeSize::default(),
        files: files.iter().map(|f| (*f).to_owned()).collect(),
        contained: false,
    };
    queue.step(Millis(n.into()), policy, Input::Inspected(vec![(RequestId(n.into()), found)]))
}

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
