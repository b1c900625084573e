//! Windows, red tips, frozen targets and gates that cannot be read.

use serde_json::json;
use yardmaster_protocol::{
    BlockerKind, ChangeSize, Fact, Gate, Inspection, LandOutcome, Millis, Movement, Project, RequestId,
    RunId, RunOutcome, Sighting, TreeId,
};
use yardmaster_queue::{BaseRed, GateRule, Input, Order, Policy, Queue, Step};

use crate::support::{
    announce, commit, end, failed, main_branch, merged, one, pin, policy, queue, red, runs, see,
};

fn tip_run(queue: &Queue, policy: &Policy) -> Option<RunId> {
    runs(queue, policy).into_iter().find(|(request, _)| request.is_none()).map(|(_, run)| run)
}

fn tokens(step: &Step) -> Vec<&'static str> {
    step.events.iter().map(|e| e.event.body.token()).collect()
}

#[test]
fn as_many_are_stacked_as_the_window_has_places() {
    let mut policy = policy();
    (policy.window_min, policy.window_max) = (3, 3);
    let mut queue = queue(&policy);
    let mut stacked = 0;
    let mut count = |step: Step| {
        stacked += step.entry.facts.iter().filter(|f| matches!(f, Fact::Stacked { .. })).count();
    };
    for n in 1..=7 {
        announce(&mut queue, &policy, n, &json!({}));
    }
    let heads = (1..=7).map(|n| {
        let (size, files) = (ChangeSize::default(), Vec::new());
        let head = commit(100 + n);
        (
            RequestId(n.into()),
            Inspection::Pinned { head, merge_base: commit(1), size, files, contained: false },
        )
    });
    count(queue.step(Millis(9), &policy, Input::Inspected(heads.collect())));
    count(queue.step(Millis(9), &policy, Input::Withdraw { request: RequestId(1), by: "roy".to_owned() }));
    assert_eq!(stacked, 4, "three at first, and one for the one that left");
}

#[test]
fn a_gate_that_cannot_be_read_is_told_once_and_that_it_can_again() {
    let mut policy = policy();
    policy.gate = GateRule::FromTarget;
    let mut queue = queue(&policy);
    let broken = || Err("line 3: no `run`".to_owned());
    assert_eq!(tokens(&see(&mut queue, &policy, 2, broken())), ["stalled"]);
    assert_eq!(tokens(&see(&mut queue, &policy, 3, broken())), [""; 0]);
    assert_eq!(queue.hold(&main_branch(), &policy).as_deref(), Some("line 3: no `run`"));
    let readable = || Ok(Project { gate: Some(Gate::command("true")), ..Project::default() });
    assert_eq!(tokens(&see(&mut queue, &policy, 4, readable())), ["resumed"]);
    assert_eq!(tokens(&see(&mut queue, &policy, 5, readable())), [""; 0]);
}

#[test]
fn a_run_of_the_tip_that_is_lost_is_tried_again_and_counted() {
    let mut policy = policy();
    policy.max_lost_runs = 2;
    let mut queue = queue(&policy);
    let mut attempts = Vec::new();
    for _ in 0..3 {
        let jobs = queue.plan(&policy).orders.into_iter();
        let job = jobs.filter_map(|o| if let Order::Test(job) = o { Some(job) } else { None }).next();
        let Some(job) = job else { break };
        attempts.push(job.attempt);
        end(&mut queue, &policy, &job.run, RunOutcome::Lost { why: "gone".to_owned() });
    }
    assert_eq!(attempts, [1, 2]);
}

#[test]
fn a_red_tip_closes_the_target_where_that_is_asked_for_until_it_is_green() {
    let mut policy = policy();
    policy.base_red = BaseRed::Block;
    let mut queue = queue(&policy);
    let run = tip_run(&queue, &policy).unwrap();
    assert_eq!(tokens(&end(&mut queue, &policy, &run, red("gate"))), ["target_red"]);
    announce(&mut queue, &policy, 1, &json!({}));
    let step = pin(&mut queue, &policy, 1, &[]);
    assert!(!step.entry.facts.contains(&Fact::Stacked { request: RequestId(1), unit: None }), "{step:?}");
    see(&mut queue, &policy, 2, Ok(Project::default()));
    let run = tip_run(&queue, &policy).unwrap();
    let told = tokens(&end(&mut queue, &policy, &run, RunOutcome::Green));
    assert!(told.contains(&"target_green"), "{told:?}");
}

#[test]
fn a_push_that_became_something_else_freezes_the_target() {
    let policy = policy();
    let mut queue = merged(&policy, 50);
    let asked = runs(&queue, &policy);
    let (_, run) = asked.iter().find(|(request, _)| request.is_some()).unwrap();
    end(&mut queue, &policy, run, RunOutcome::Green);
    let seen = Sighting {
        tip: commit(51),
        tree: TreeId(commit(51).0),
        movement: Movement::Forward,
        contains: Vec::new(),
        project_file: None,
        lost: Vec::new(),
    };
    let outcome = LandOutcome::Altered { why: "another tree".to_owned(), seen };
    let (target, project) = (main_branch(), Ok(Project::default()));
    queue.step(Millis(12), &policy, Input::LandEnded { target, to: commit(50), outcome, project });
    assert!(queue.is_frozen(&main_branch()));
    assert_eq!(queue.pending(), 1, "nobody is told anything about it");
    let view = queue.request(RequestId(1), Millis(12), &policy).unwrap();
    let kinds: Vec<BlockerKind> = view.blockers.iter().map(|b| b.kind).collect();
    assert_eq!(kinds, [BlockerKind::Hold]);
}

#[test]
fn who_is_given_up_is_told_of_the_last_run() {
    let mut policy = policy();
    policy.max_lost_runs = 1;
    let mut queue = merged(&policy, 50);
    let asked = runs(&queue, &policy);
    let (_, run) = asked.iter().find(|(request, _)| request.is_some()).unwrap();
    let ended =
        failed(&end(&mut queue, &policy, run, RunOutcome::Lost { why: "the disk is full".to_owned() }));
    let message = "retry limit: 1 runs were lost and gave no verdict; the last one: the disk is full";
    assert_eq!(ended, one(1, message, "candidate log"));
}

/// The gate that judged it is another one now, and is red on the same tree: what is out is not called back.
#[test]
fn a_push_under_way_decides_for_itself_when_the_gate_changes() {
    let old = policy();
    let mut queue = merged(&old, 50);
    let run_of = |queue: &Queue, policy: &Policy| {
        let asked = runs(queue, policy);
        asked.into_iter().find(|(request, _)| *request == Some(RequestId(1))).map(|(_, run)| run)
    };
    let run = run_of(&queue, &old).expect("it is tested");
    let landing = end(&mut queue, &old, &run, RunOutcome::Green);
    assert!(landing.entry.facts.iter().any(|f| matches!(f, Fact::LandingStarted { .. })), "{landing:?}");
    let mut new = old.clone();
    (new.gate, new.base_red) = (GateRule::Fixed(Gate::command("false")), BaseRed::Ignore);
    queue.step(Millis(30), &new, Input::PolicyChanged);
    let run = run_of(&queue, &new).expect("the new gate is asked");
    let step = end(&mut queue, &new, &run, red("gate"));
    assert_eq!(failed(&step), []);
}
