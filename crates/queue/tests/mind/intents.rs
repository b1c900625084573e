//! Who is told that the base moved.

use serde_json::{Value, json};
use yardmaster_protocol::{
    Assembled, Assembly, BaseMoved, Fact, IntakeSeq, LandOutcome, MergedBy, Millis, Movement, Project,
    RequestId, Sighting, TreeId,
};
use yardmaster_queue::{GateRule, Input, Policy, Queue, Step};

use crate::support::{announce, commit, main_branch, pin, policy, queue};

const DAY: u64 = 24 * 3_600 * 1_000;

fn intend(queue: &mut Queue, policy: &Policy, at: u64, intake: u64, info: &Value) -> Step {
    let input = Input::Message {
        intake: IntakeSeq(intake),
        subject: "work.integration.cy".to_owned(),
        published: Millis(at),
        traceparent: None,
        payload: json!({"type": "intent", "merge_info": info}).to_string().into_bytes(),
    };
    queue.step(Millis(at), policy, input)
}

fn ungated() -> Policy {
    let mut policy = policy();
    policy.gate = GateRule::Fixed(yardmaster_protocol::Gate::default());
    policy
}

/// Lands r1, which changed `files`, at `at`.
fn land(queue: &mut Queue, policy: &Policy, at: u64, files: &[&str]) -> Vec<BaseMoved> {
    announce(queue, policy, 1, &json!({}));
    pin(queue, policy, 1, files);
    let made = commit(51);
    let assembly = Assembly::Clean { commit: made, tree: TreeId(made.0), by: MergedBy::Memory };
    let merges = vec![Assembled { base: commit(1), request: RequestId(1), assembly }];
    queue.step(Millis(at), policy, Input::Assembled { target: main_branch(), merges });
    let seen = Sighting {
        tip: made,
        tree: TreeId(made.0),
        movement: Movement::Forward,
        contains: vec![made],
        project_file: None,
        lost: Vec::new(),
    };
    let (target, outcome) = (main_branch(), LandOutcome::Landed { seen });
    let ended = Input::LandEnded { target, to: made, outcome, project: Ok(Project::default()) };
    queue.step(Millis(at), policy, ended).told
}

fn agents(told: &[BaseMoved]) -> Vec<&str> {
    told.iter().map(|t| t.agent.as_str()).collect()
}

#[test]
fn an_intent_counts_for_a_day_and_is_in_snapshots() {
    for (at, expected) in [(DAY, &["cy"][..]), (DAY + 1, &[])] {
        let policy = ungated();
        let mut queue = queue(&policy);
        let info = json!({"agent": "cy", "branch": "cy/1", "files": ["api/**"]});
        let step = intend(&mut queue, &policy, 1, 90, &info);
        assert!(matches!(step.entry.facts[..], [Fact::Intended { .. }]), "{step:?}");
        assert!(queue.is_answered(IntakeSeq(90)));
        let mut queue = Queue::from_snapshot(&queue.to_snapshot().unwrap()).unwrap();
        let told = land(&mut queue, &policy, at, &["api/x"]);
        assert_eq!(agents(&told), expected, "at {at}");
    }
}

#[test]
fn the_next_word_for_a_branch_replaces_the_last_and_its_announcement_ends_it() {
    let policy = ungated();
    let mut queue = queue(&policy);
    for (n, agent, branch, files) in
        [(1, "cy", "cy/1", "api/**"), (2, "cy", "cy/1", "web/**"), (3, "roy", "work/1", "api/**")]
    {
        let info = json!({"agent": agent, "branch": branch, "files": [files]});
        intend(&mut queue, &policy, n, 90 + n, &info);
    }
    assert_eq!(agents(&land(&mut queue, &policy, 9, &["api/x"])), Vec::<&str>::new());
}

#[test]
fn lists_are_bounded_and_one_agent_cannot_push_others_out() {
    let policy = ungated();
    let mut queue = queue(&policy);
    let info =
        |agent: &str, n: u64| json!({"agent": agent, "branch": format!("{agent}/{n}"), "files": ["a"]});
    intend(&mut queue, &policy, 1, 900, &info("bob", 0));
    for n in 0..3_000 {
        intend(&mut queue, &policy, 2, 1_000 + n, &info("cy", n));
    }
    let files: Vec<String> = (0..30).map(|n| format!("a/{n:02}")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let told = land(&mut queue, &policy, 9, &files);
    assert_eq!(agents(&told), ["bob", "cy"]);
    let lengths: Vec<_> = told.iter().map(|t| (t.paths.len(), t.more, t.concerns.len())).collect();
    assert_eq!(lengths, [(20, 10, 1), (20, 10, 20)]);
}
