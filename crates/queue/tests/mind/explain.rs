//! Why a request has not landed.

use serde_json::json;
use yardmaster_protocol::{
    ActionKind, Assembled, Assembly, BlockerKind, Change, CommitId, Explanation, LinkKind, MergedBy, Millis,
    RequestId, RunOutcome, TreeId,
};
use yardmaster_queue::{Input, Policy, Queue};

use crate::support::{announce, commit, end, main_branch, pin, policy, queue, red, runs, stack_of_six};

fn of(queue: &Queue, policy: &Policy, id: u64) -> Explanation {
    let before = queue.to_snapshot().unwrap();
    let told = queue.explain(RequestId(id), Millis(50_000), policy).unwrap();
    assert_eq!(queue.to_snapshot().unwrap(), before, "a question changes nothing");
    assert_eq!(queue.explain(RequestId(id), Millis(50_000), policy).as_ref(), Some(&told));
    assert!(serde_json::to_vec(&told).unwrap().len() <= 16 * 1_024);
    told
}

fn kinds(told: &Explanation) -> Vec<(Option<u64>, LinkKind)> {
    told.chain.iter().map(|l| (l.request.map(|r| r.0), l.kind)).collect()
}

fn wide() -> Policy {
    Policy { window_max: 6, ..policy() }
}

fn clean(base: CommitId, n: u64) -> Assembled {
    let made = commit(u8::try_from(50 + n).unwrap());
    let assembly = Assembly::Clean { commit: made, tree: TreeId(made.0), by: MergedBy::Memory };
    Assembled { base, request: RequestId(n), assembly }
}

/// r1 is merged, and r2 does not merge on top of it.
fn conflict(policy: &Policy) -> Queue {
    let mut queue = queue(policy);
    for n in 1..=3 {
        announce(&mut queue, policy, n.into(), &json!({}));
        pin(&mut queue, policy, n, &["a"]);
    }
    let conflict =
        || Assembly::Conflict { paths: vec!["a".to_owned()], detail: "conflict in a".to_owned(), hunk: None };
    let merges = vec![
        clean(commit(1), 1),
        Assembled { base: commit(51), request: RequestId(2), assembly: conflict() },
        clean(commit(51), 3),
        clean(commit(1), 2),
    ];
    queue.step(Millis(9), policy, Input::Assembled { target: main_branch(), merges });
    queue
}

#[test]
fn a_request_on_top_of_others_waits_for_the_lowest_that_is_not_decided() {
    let policy = wide();
    let mut queue = stack_of_six(&policy);
    let run_of = |queue: &Queue, id| {
        runs(queue, &policy).into_iter().find(|(request, _)| *request == Some(RequestId(id))).unwrap().1
    };
    let told = of(&queue, &policy, 3);
    assert_eq!(kinds(&told), [(Some(3), LinkKind::Testing), (Some(1), LinkKind::Testing)]);
    assert!(told.chain[0].sentence.contains("is being tested on top of r1, r2, for 49 s"), "{told:?}");
    assert_eq!(told.chain[0].run, Some(run_of(&queue, 3)));
    assert_eq!(told.estimate, None, "no run was seen");
    assert_eq!(told.actions.last().unwrap().kind, ActionKind::Wait);

    // The third is red: whether it is the third's own fault shows when the first two are decided.
    let third = run_of(&queue, 3);
    end(&mut queue, &policy, &third, red("gate"));
    let semantic = LinkKind::Blocked(BlockerKind::SemanticConflict);
    let told = of(&queue, &policy, 3);
    assert_eq!(
        kinds(&told),
        [(Some(3), semantic), (Some(2), LinkKind::Testing), (Some(1), LinkKind::Testing)]
    );
    assert_eq!((told.row.state.as_str(), told.row.position), ("blocked", Some(3)));
    let freed: Vec<&Change> = told.counterfactuals.iter().filter(|c| !c.blocked).map(|c| &c.change).collect();
    assert!(freed.contains(&&Change::Withdraw { withdrawn: RequestId(2) }), "{told:#?}");
    // A run was seen: between the first run's end and the rest of theirs.
    assert!(told.estimate.is_some_and(|e| e.low_ms <= e.likely_ms && e.likely_ms <= e.high_ms));
}

#[test]
fn a_conflict_with_one_ahead_lands_next_if_that_one_is_withdrawn_or_comes_behind_it_if_it_is_rebased() {
    let policy = wide();
    let queue = conflict(&policy);
    let told = of(&queue, &policy, 2);
    let textual = LinkKind::Blocked(BlockerKind::TextualConflict);
    assert_eq!(kinds(&told), [(Some(2), textual), (Some(1), LinkKind::Testing)]);
    assert_eq!(
        (told.chain[0].with.as_deref(), told.chain[0].paths.as_slice()),
        (Some("r1"), ["a".to_owned()].as_slice())
    );
    assert!(told.sentence.contains("; behind that: r1 (work/1 by roy) is being tested"), "{}", told.sentence);
    let [promoted, withdrawn, rebased] = &told.counterfactuals[..] else { panic!("{told:#?}") };
    assert_eq!(promoted.sentence, "r2 lands next, if an operator promotes it");
    assert_eq!(withdrawn.change, Change::Withdraw { withdrawn: RequestId(1) });
    assert!(withdrawn.lands_next && withdrawn.position == 1);
    assert_eq!(withdrawn.sentence, "r2 lands next, if r1 (work/1 by roy) is withdrawn");
    assert_eq!(rebased.change, Change::Rebase { over: commit(101), of: RequestId(1) });
    assert!(!rebased.lands_next && rebased.command.ends_with("--depends-on r1"), "{rebased:?}");
    assert_eq!(told.actions[0].command, rebased.command);
}

#[test]
fn a_dependency_is_followed_to_its_end_and_one_of_nobody_is_to_be_announced() {
    let policy = wide();
    let mut queue = queue(&policy);
    for (n, needs) in [(1, json!(["REQ-9"])), (2, json!(["r1"])), (3, json!(["work/2", "r3"]))] {
        announce(&mut queue, &policy, n.into(), &json!({"depends_on": needs}));
        pin(&mut queue, &policy, n, &["a"]);
    }
    let told = of(&queue, &policy, 3);
    let needs = LinkKind::Blocked(BlockerKind::Dependency);
    assert_eq!(kinds(&told), [(Some(3), needs), (Some(2), needs), (Some(1), needs)]);
    assert_eq!(told.chain[2].with.as_deref(), Some("REQ-9"));
    let announced = told.actions.iter().find(|a| a.kind == ActionKind::Announce).unwrap();
    assert!(announced.command.ends_with("--requirement REQ-9"), "{announced:?}");
    assert_eq!(told.estimate, None);
    // Nothing is brought forward by taking away what is needed.
    assert_eq!(told.counterfactuals, []);
}

#[test]
fn a_cycle_is_told_once_and_names_whom_to_withdraw() {
    let policy = wide();
    let mut queue = queue(&policy);
    for (n, needs) in [(1, "work/2"), (2, "work/1")] {
        announce(&mut queue, &policy, n.into(), &json!({"depends_on": [needs]}));
        pin(&mut queue, &policy, n, &["a"]);
    }
    let told = of(&queue, &policy, 2);
    assert_eq!(kinds(&told), [(Some(2), LinkKind::Blocked(BlockerKind::Cycle))]);
    assert_eq!(told.actions[0].command, "yardmaster withdraw r2 --by roy");
}

#[test]
fn who_waits_for_a_place_is_told_so_and_priority_brings_it_forward_where_it_does() {
    let policy = Policy { window_min: 1, ..policy() };
    let mut queue = queue(&policy);
    for n in 1..=4 {
        announce(&mut queue, &policy, n.into(), &json!({"priority": 3}));
        pin(&mut queue, &policy, n, &["a"]);
    }
    let told = of(&queue, &policy, 4);
    assert_eq!(kinds(&told), [(Some(4), LinkKind::Turn), (Some(1), LinkKind::Merging)]);
    assert!(told.chain[0].sentence.contains("at 4: `main` tests 1 at a time"), "{told:?}");
    let changes: Vec<(Change, u32)> = told.counterfactuals.iter().map(|c| (c.change, c.position)).collect();
    let withdrawn = Change::Withdraw { withdrawn: RequestId(1) };
    assert_eq!(changes, [(Change::Promote, 1), (Change::Priority { priority: 1 }, 2), (withdrawn, 3)]);
}

#[test]
fn a_hold_is_at_the_end_of_every_chain_that_it_holds() {
    let policy = wide();
    let mut queue = stack_of_six(&policy);
    let (target, who, why) = (main_branch(), "olga".to_owned(), "a release".to_owned());
    queue.step(Millis(20), &policy, Input::Freeze { target, who, why });
    let told = of(&queue, &policy, 2);
    let frozen = (None, LinkKind::Frozen);
    assert_eq!(kinds(&told), [(Some(2), LinkKind::Testing), (Some(1), LinkKind::Testing), frozen]);
    assert!(told.actions.iter().any(|a| a.command == "yardmaster unfreeze main --by NAME"), "{told:?}");
    assert!(told.counterfactuals.iter().all(|c| !c.lands_next));
    queue.step(Millis(30), &policy, Input::RemoteSilent { why: "no route".to_owned() });
    assert_eq!(of(&queue, &policy, 1).chain.last().unwrap().kind, LinkKind::RemoteLost);
    assert_eq!(Queue::new().explain(RequestId(1), Millis(1), &policy), None);
}

#[test]
fn what_has_ended_says_how_and_what_to_do() {
    let policy = Policy { window_max: 1, ..policy() };
    let mut queue = crate::support::merged(&policy, 51);
    let landed = |queue: &Queue| kinds(&of(queue, &policy, 1));
    assert_eq!(landed(&queue), [(Some(1), LinkKind::Testing)]);
    // The tip is green, so that the fault is its own.
    for (request, run) in runs(&queue, &policy) {
        let outcome = if request.is_some() { red("gate") } else { RunOutcome::Green };
        end(&mut queue, &policy, &run, outcome);
    }
    for (_, run) in runs(&queue, &policy) {
        end(&mut queue, &policy, &run, RunOutcome::Green);
    }
    let told = of(&queue, &policy, 1);
    assert_eq!(kinds(&told), [(Some(1), LinkKind::Ended)]);
    assert!(told.sentence.contains("has failed: step `gate` ended with 1"), "{told:?}");
    assert!(told.actions.iter().any(|a| a.command.starts_with("yardmaster logs ")), "{told:?}");

    // Announced again with another head, and once more: the older one leads to the newer one.
    for n in [2_u8, 3] {
        announce(&mut queue, &policy, n.into(), &json!({"branch": "work/x"}));
        pin(&mut queue, &policy, n, &["a"]);
    }
    let told = of(&queue, &policy, 2);
    assert_eq!(kinds(&told), [(Some(2), LinkKind::Ended), (Some(3), LinkKind::Merging)]);
    assert_eq!(told.actions[0].command, "yardmaster explain r3");
}
