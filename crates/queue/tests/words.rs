//! What agents read about places, titles and names, and what is forgotten.

#![expect(clippy::unwrap_used, reason = "the helpers of tests")]

use serde_json::{Value, json};
use yardmaster_protocol::{
    Assembled, Assembly, Blame, BranchName, ChangeSize, CommitId, Entry, EventBody, Fact, Gate, Inspection,
    IntakeSeq, LandOutcome, MergedBy, Millis, Movement, ObjectId, Pressure, Project, RequestId, RunId,
    RunOutcome, RunReport, Sighting, TreeId,
};
use yardmaster_queue::{Ending, GateRule, Input, Order, Policy, Queue, Step};

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

/// The message and the names of the rest of the evidence, of every failure that a step told of.
fn failed(step: &Step) -> Vec<(u64, String, String)> {
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

fn one(id: u64, message: &str, keys: &str) -> Vec<(u64, String, String)> {
    vec![(id, message.to_owned(), keys.to_owned())]
}

/// With one request that is merged onto the tip.
fn merged(policy: &Policy, n: u8) -> Queue {
    let mut queue = queue(policy);
    announce(&mut queue, policy, 1, &json!({}));
    pin(&mut queue, policy, 1, &["a"]);
    let made = commit(n);
    let assembly = Assembly::Clean { commit: made, tree: TreeId(made.0), by: MergedBy::Memory };
    assemble(&mut queue, policy, assembly);
    queue
}

fn assemble(queue: &mut Queue, policy: &Policy, assembly: Assembly) -> Step {
    let merges = vec![Assembled { base: commit(1), request: RequestId(1), assembly }];
    queue.step(Millis(9), policy, Input::Assembled { target: main_branch(), merges })
}

fn runs(queue: &Queue, policy: &Policy) -> Vec<(Option<RequestId>, RunId)> {
    let orders = queue.plan(policy).orders.into_iter();
    orders
        .filter_map(|o| if let Order::Test(job) = o { Some((job.request, job.run)) } else { None })
        .collect()
}

fn end(queue: &mut Queue, policy: &Policy, run: &RunId, outcome: RunOutcome) -> Step {
    let run = run.clone();
    let report = RunReport {
        run,
        runner: "here/1".to_owned(),
        outcome,
        started: Millis(9),
        ms: 1_500,
        steps: Vec::new(),
    };
    queue.step(Millis(10), policy, Input::RunEnded(report))
}

fn red(step: &str) -> RunOutcome {
    RunOutcome::Red { step: step.to_owned(), exit_code: Some(1), log_tail: "no".to_owned() }
}

#[test]
fn what_cannot_be_merged_says_why() {
    let policy = policy();
    let mut queue = queue(&policy);
    for n in [1, 2, 3] {
        announce(&mut queue, &policy, n, &json!({"commit": commit(9)}));
    }
    let found = |n: u64, what| Input::Inspected(vec![(RequestId(n), what)]);
    let step =
        queue.step(Millis(3), &policy, found(1, Inspection::Unusable { why: "it is a tag".to_owned() }));
    assert_eq!(failed(&step), one(1, "`work/1` cannot be merged, because it is a tag", ""));
    let step = queue.step(Millis(3), &policy, found(2, Inspection::BranchMissing));
    assert_eq!(failed(&step), one(2, "the remote has no branch `work/2`", "announced"));
    let step = queue.step(Millis(3), &policy, found(3, Inspection::Crashed { why: "a panic".to_owned() }));
    let message = "`work/3` cannot be taken into custody, because the daemon fails on it: a panic";
    assert_eq!(failed(&step), one(3, message, "announced"));
}

#[test]
fn a_target_that_is_not_served_any_more_ends_what_waits_for_it() {
    let mut policy = policy();
    let mut queue = merged(&policy, 50);
    policy.default_target = BranchName::new("next").unwrap();
    policy.targets = [policy.default_target.clone()].into();
    announce(&mut queue, &policy, 2, &json!({}));
    let step = queue.step(Millis(11), &policy, Input::PolicyChanged);
    assert_eq!(failed(&step), one(1, "target `main` is no longer served: this queue lands on next", ""));
    assert_eq!(queue.pending(), 1, "who lands elsewhere stays");
}

#[test]
fn what_takes_landed_work_back_is_shown_the_hunk() {
    let policy = policy();
    let mut queue = queue(&policy);
    announce(&mut queue, &policy, 1, &json!({}));
    pin(&mut queue, &policy, 1, &["a"]);
    let (label, hunk) = ("r7 by ana".to_owned(), "-x".to_owned());
    let undone = Assembly::TakesBack { of: commit(7), label, paths: vec!["a".to_owned()], hunk };
    let step = assemble(&mut queue, &policy, undone);
    let message = "would take back what landed on `main` as 0707070707 (r7 by ana), and no commit of `work/1` \
                   says so: it looks like an old tree that was committed on a new base";
    assert_eq!(failed(&step), one(1, message, "base hunk paths with"));
}

#[test]
fn a_mirror_that_lacks_something_loses_that_and_nothing_else() {
    let policy = policy();
    let mut queue = merged(&policy, 50);
    let made = queue.made_candidates(&policy);
    assert_eq!(made.iter().map(|m| (m.base, m.commit)).collect::<Vec<_>>(), [(commit(1), commit(50))]);
    let other = Input::Lacking { heads: Vec::new(), candidates: vec![commit(60)] };
    queue.step(Millis(11), &policy, other);
    assert_eq!(queue.made_candidates(&policy), made, "another one was lost");
    let lost = Input::Lacking { heads: Vec::new(), candidates: vec![commit(50)] };
    queue.step(Millis(12), &policy, lost);
    assert!(queue.made_candidates(&policy).is_empty());
    let orders = queue.plan(&policy).orders;
    assert!(matches!(orders[..], [Order::Assemble { .. }, ..]), "it is merged again: {orders:?}");
    announce(&mut queue, &policy, 2, &json!({}));
    assert_eq!(queue.arriving().into_keys().collect::<Vec<_>>(), [RequestId(2)]);
    let gone = Input::Lacking { heads: vec![RequestId(1), RequestId(2)], candidates: Vec::new() };
    let step = queue.step(Millis(13), &policy, gone);
    let message =
        "another daemon took over, which cannot get the head of `work/1`: only the one that is gone had it";
    assert_eq!(failed(&step), one(1, message, "announced"));
}

#[test]
fn a_step_that_the_tip_passes_is_the_requests_own_fault() {
    let mut policy = policy();
    let mut gate = Gate::command("true");
    gate.steps[0].name = "lint".to_owned();
    gate.steps.push(Gate::command("unit").steps.remove(0));
    gate.steps[1].name = "unit".to_owned();
    policy.gate = GateRule::Fixed(gate);
    for (step, own) in [("lint", true), ("unit", false)] {
        let mut queue = merged(&policy, 50);
        let asked = runs(&queue, &policy);
        let run = |tip: bool| {
            asked.iter().find(|(request, _)| request.is_none() == tip).map(|(_, run)| run.clone())
        };
        let told = end(&mut queue, &policy, &run(true).unwrap(), red("unit"));
        assert!(told.events.iter().any(|e| matches!(e.event.body, EventBody::TargetRed(_))));
        let ended = failed(&end(&mut queue, &policy, &run(false).unwrap(), red(step)));
        assert_eq!(ended.len(), usize::from(own), "{step}");
    }
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

/// Six requests, each merged on top of the one before.
fn stack_of_six(policy: &Policy) -> Queue {
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
fn a_poison_is_refused_once_and_nothing_else_with_it() {
    let policy = policy();
    let mut queue = queue(&policy);
    announce(&mut queue, &policy, 1, &json!({}));
    let mut poison = |n: u64| {
        let (intake, subject) = (IntakeSeq(n), "work.integration.roy".to_owned());
        let step = queue.step(Millis(3), &policy, Input::Poison { intake, subject, payload: b"x".to_vec() });
        step.entry.facts.len()
    };
    assert_eq!((poison(1), poison(2), poison(2)), (0, 1, 0), "taken already; refused; refused already");
}

#[test]
fn a_conflict_names_what_landed_on_its_paths() {
    let policy = policy();
    let mut queue = merged(&policy, 50);
    announce(&mut queue, &policy, 2, &json!({}));
    pin(&mut queue, &policy, 2, &["b", "a"]);
    let asked = runs(&queue, &policy);
    let (_, run) = asked.iter().find(|(request, _)| request.is_some()).unwrap();
    end(&mut queue, &policy, run, RunOutcome::Green);
    let tip = commit(50);
    let seen = Sighting {
        tip,
        tree: TreeId(tip.0),
        movement: Movement::Forward,
        contains: vec![tip],
        project_file: None,
        lost: Vec::new(),
    };
    let (target, outcome, project) = (main_branch(), LandOutcome::Landed { seen }, Ok(Project::default()));
    queue.step(Millis(12), &policy, Input::LandEnded { target, to: tip, outcome, project });
    let assembly = Assembly::Conflict { paths: vec!["a".to_owned()], detail: "both".to_owned() };
    let merges = vec![Assembled { base: tip, request: RequestId(2), assembly }];
    let step = queue.step(Millis(13), &policy, Input::Assembled { target: main_branch(), merges });
    let with = step.events.iter().find_map(|e| match &e.event.body {
        EventBody::MergeFailed(failure) => Some((failure.evidence.with.clone(), failure.blame)),
        _ => None,
    });
    assert_eq!(with, Some((vec!["r1 (work/1 by roy)".to_owned()], Blame::Ahead)));
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
    assert!(step.entry.facts.contains(&Fact::Stacked { request: RequestId(3) }), "{step:?}");
}
