use serde_json::{Value, json};
use yardmaster_protocol::{
    Assembled, Assembly, BranchName, ChangeSize, CommitId, EventBody, Gate, Inspection, IntakeSeq, MergedBy,
    Millis, Movement, ObjectId, Project, RequestId, RunId, RunOutcome, RunReport, Sighting, TreeId,
};
use yardmaster_queue::{GateRule, Input, Order, Policy, Queue, Step};

pub(crate) fn main_branch() -> BranchName {
    BranchName::new("main").unwrap()
}

pub(crate) fn policy() -> Policy {
    let mut policy = Policy::new(main_branch());
    policy.gate = GateRule::Fixed(Gate::command("true"));
    policy.window_max = 1;
    policy
}

pub(crate) fn commit(n: u8) -> CommitId {
    CommitId(ObjectId([n; 20]))
}

pub(crate) fn queue(policy: &Policy) -> Queue {
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

pub(crate) fn announce(queue: &mut Queue, policy: &Policy, n: u64, more: &Value) -> Step {
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

pub(crate) fn pin(queue: &mut Queue, policy: &Policy, n: u8, files: &[&str]) -> Step {
    let found = Inspection::Pinned {
        head: commit(100 + n),
        merge_base: commit(1),
        size: ChangeSize::default(),
        files: files.iter().map(|f| (*f).to_owned()).collect(),
        contained: false,
    };
    queue.step(Millis(n.into()), policy, Input::Inspected(vec![(RequestId(n.into()), found)]))
}

/// The message and the names of the rest of the evidence, of every failure that a step told of.
pub(crate) fn failed(step: &Step) -> Vec<(u64, String, String)> {
    let told = step.events.iter().filter_map(|e| match &e.event.body {
        EventBody::MergeFailed(failure) => {
            let evidence = serde_json::to_value(&failure.evidence).unwrap();
            let mut keys: Vec<String> = evidence.as_object().unwrap().keys().cloned().collect();
            keys.retain(|key| key != "message");
            let id = e.event.about.as_ref().unwrap().request.0;
            Some((id, failure.evidence.message.clone(), keys.join(" ")))
        }
        _ => None,
    });
    told.collect()
}

pub(crate) fn one(id: u64, message: &str, keys: &str) -> Vec<(u64, String, String)> {
    vec![(id, message.to_owned(), keys.to_owned())]
}

/// With one request that is merged onto the tip.
pub(crate) fn merged(policy: &Policy, n: u8) -> Queue {
    let mut queue = queue(policy);
    announce(&mut queue, policy, 1, &json!({"commit": commit(101)}));
    pin(&mut queue, policy, 1, &["a b"]);
    let made = commit(n);
    let assembly = Assembly::Clean { commit: made, tree: TreeId(made.0), by: MergedBy::Memory };
    assemble(&mut queue, policy, assembly);
    queue
}

pub(crate) fn assemble(queue: &mut Queue, policy: &Policy, assembly: Assembly) -> Step {
    let merges = vec![Assembled { base: commit(1), request: RequestId(1), assembly }];
    queue.step(Millis(9), policy, Input::Assembled { target: main_branch(), merges })
}

pub(crate) fn runs(queue: &Queue, policy: &Policy) -> Vec<(Option<RequestId>, RunId)> {
    let orders = queue.plan(policy).orders.into_iter();
    orders
        .filter_map(|o| if let Order::Test(job) = o { Some((job.request, job.run)) } else { None })
        .collect()
}

pub(crate) fn end(queue: &mut Queue, policy: &Policy, run: &RunId, outcome: RunOutcome) -> Step {
    queue.step(Millis(10), policy, took(run, outcome, 1_500))
}

/// The report of a run that took so many milliseconds.
pub(crate) fn took(run: &RunId, outcome: RunOutcome, ms: u64) -> Input {
    Input::RunEnded(RunReport {
        run: run.clone(),
        runner: "here/1".to_owned(),
        outcome,
        started: Millis(9),
        ms,
        steps: Vec::new(),
        skipped: Vec::new(),
    })
}

pub(crate) fn red(step: &str) -> RunOutcome {
    RunOutcome::Red { step: step.to_owned(), exit_code: Some(1), log_tail: "no".to_owned() }
}

/// Six requests, each merged on top of the one before.
pub(crate) fn stack_of_six(policy: &Policy) -> Queue {
    let mut queue = queue(policy);
    for n in 1..=6 {
        announce(&mut queue, policy, n.into(), &json!({}));
        pin(&mut queue, policy, n, &["a"]);
    }
    let mut base = commit(1);
    let merges = (1..=6).map(|n: u8| {
        let made = commit(50 + n);
        let assembly = Assembly::Clean { commit: made, tree: TreeId(made.0), by: MergedBy::Memory };
        let merge = Assembled { base, request: RequestId(n.into()), assembly };
        base = made;
        merge
    });
    let merges = merges.collect();
    queue.step(Millis(9), policy, Input::Assembled { target: main_branch(), merges });
    queue
}

/// The tip is seen to be commit `n`, with what the project file says there.
pub(crate) fn see(queue: &mut Queue, policy: &Policy, n: u8, project: Result<Project, String>) -> Step {
    let known = queue.tip(&main_branch());
    let sighting = Sighting {
        tip: commit(n),
        tree: TreeId(commit(n).0),
        movement: Movement::Forward,
        contains: Vec::new(),
        project_file: None,
        lost: Vec::new(),
    };
    queue.step(Millis(20), policy, Input::Seen { target: main_branch(), known, sighting, project })
}
