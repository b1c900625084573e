//! What a run is told about what is known already.

use yardmaster_protocol::{Gate, GateJob, Millis, RunId, RunOutcome, RunReport, Step, StepResult};
use yardmaster_queue::{GateRule, Input, Order, Policy, Queue};

use crate::support::{commit, end, merged, policy, red, runs, see};

fn jobs(queue: &Queue, policy: &Policy) -> Vec<GateJob> {
    let orders = queue.plan(policy).orders.into_iter();
    orders.filter_map(|o| if let Order::Test(job) = o { Some(job) } else { None }).collect()
}

fn job_of_request(queue: &Queue, policy: &Policy) -> GateJob {
    jobs(queue, policy).into_iter().find(|job| job.request.is_some()).expect("a run of the request")
}

fn run_of_tip(queue: &Queue, policy: &Policy) -> RunId {
    runs(queue, policy).into_iter().find(|(request, _)| request.is_none()).expect("a run of the tip").1
}

fn open() -> (Policy, Queue) {
    let mut policy = policy();
    policy.window_max = 4;
    let queue = merged(&policy, 50);
    (policy, queue)
}

#[test]
fn steps_may_be_left_out_only_against_a_tip_whose_whole_gate_is_green() {
    let (policy, mut queue) = open();
    assert_eq!(job_of_request(&queue, &policy).since, None, "nobody has tested the tip yet");
    let tip = run_of_tip(&queue, &policy);
    assert_eq!(jobs(&queue, &policy).iter().find(|j| j.run == tip).unwrap().since, None);
    end(&mut queue, &policy, &tip, RunOutcome::Green);
    assert_eq!(job_of_request(&queue, &policy).since, Some(commit(1)));

    let (policy, mut queue) = open();
    let tip = run_of_tip(&queue, &policy);
    end(&mut queue, &policy, &tip, red("gate"));
    assert_eq!(job_of_request(&queue, &policy).since, None, "a red tip leaves nothing out");

    // Somebody pushes past the queue: of that tip nothing is known.
    let (policy, mut queue) = open();
    let tip = run_of_tip(&queue, &policy);
    end(&mut queue, &policy, &tip, RunOutcome::Green);
    see(&mut queue, &policy, 2, Ok(yardmaster_protocol::Project::default()));
    assert!(jobs(&queue, &policy).iter().all(|job| job.since.is_none()));

    // Another gate: what was green by the old one says nothing.
    let (mut policy, mut queue) = open();
    let tip = run_of_tip(&queue, &policy);
    end(&mut queue, &policy, &tip, RunOutcome::Green);
    policy.gate = GateRule::Fixed(Gate { environment: Some("newer".into()), ..Gate::command("true") });
    queue.step(Millis(30), &policy, Input::PolicyChanged);
    assert_eq!(job_of_request(&queue, &policy).since, None);
}

#[test]
fn a_learned_limit_costs_a_request_nothing_and_is_tried_once() {
    let (mut policy, _) = open();
    let step = Step { learns_timeout: true, ..Step::command("gate", "true") };
    policy.gate = GateRule::Fixed(Gate { steps: vec![step], environment: None });
    let mut queue = merged(&policy, 50);
    for n in 1..=5 {
        assert!(jobs(&queue, &policy).iter().all(|job| job.learned_ms.is_empty()), "{n} are too few");
        let run = run_of_tip(&queue, &policy);
        let step = StepResult { name: "gate".to_owned(), ms: 30_000, exit_code: Some(0) };
        let report = RunReport {
            run,
            runner: "here/1".to_owned(),
            outcome: RunOutcome::Green,
            started: Millis(9),
            ms: 30_000,
            steps: vec![step],
            skipped: Vec::new(),
        };
        queue.step(Millis(10 + n), &policy, Input::RunEnded(report));
        see(&mut queue, &policy, 1 + n as u8, Ok(yardmaster_protocol::Project::default()));
        let (tip, made) = (commit(1 + n as u8), commit(60 + n as u8));
        assemble_on(&mut queue, &policy, tip, made);
    }
    let job = job_of_request(&queue, &policy);
    assert_eq!(job.learned_ms.get("gate"), Some(&120_000));
    let again = Queue::from_snapshot(&queue.to_snapshot().unwrap()).unwrap();
    assert_eq!(again.plan(&policy), queue.plan(&policy), "it is kept");
    let why = "four times what it takes".to_owned();
    let step = end(&mut queue, &policy, &job.run, RunOutcome::Lost { why });
    assert!(crate::support::failed(&step).is_empty());
    let second = job_of_request(&queue, &policy);
    assert_eq!((second.attempt, second.learned_ms.len()), (2, 0));
}

fn assemble_on(
    queue: &mut Queue,
    policy: &Policy,
    base: yardmaster_protocol::CommitId,
    made: yardmaster_protocol::CommitId,
) {
    use yardmaster_protocol::{Assembled, Assembly, MergedBy, RequestId, TreeId};
    let assembly = Assembly::Clean { commit: made, tree: TreeId(made.0), by: MergedBy::Memory };
    let merges = vec![Assembled { base, request: RequestId(1), assembly }];
    queue.step(Millis(21), policy, Input::Assembled { target: crate::support::main_branch(), merges });
}
