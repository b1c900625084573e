//! What ends a request, and what it is shown.

use serde_json::json;
use yardmaster_protocol::{
    Assembled, Assembly, Blame, BranchName, EventBody, Gate, Inspection, IntakeSeq, LandOutcome, Millis,
    Movement, Project, RequestId, RunOutcome, Sighting, TreeId,
};
use yardmaster_queue::{GateRule, Input, Order};

use crate::support::{
    announce, assemble, commit, end, failed, main_branch, merged, one, pin, policy, queue, red, runs,
};

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
    assert_eq!(
        failed(&step),
        one(1, "target `main` is no longer served: this queue lands on next", "announced")
    );
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
fn what_would_stop_the_queue_is_told_why_and_tested_by_nobody() {
    let policy = policy();
    let mut queue = queue(&policy);
    announce(&mut queue, &policy, 1, &json!({}));
    pin(&mut queue, &policy, 1, &[".yardmaster.toml"]);
    let why = "`.yardmaster.toml` would have no `[gate]`".to_owned();
    let broken = Assembly::BreaksProject { paths: vec![".yardmaster.toml".to_owned()], why };
    let step = assemble(&mut queue, &policy, broken);
    let message = "with it nothing could land on `main` any more: `.yardmaster.toml` would have no `[gate]`";
    assert_eq!(failed(&step), one(1, message, "base paths"));
    let tested: Vec<_> = runs(&queue, &policy).into_iter().filter_map(|(request, _)| request).collect();
    assert_eq!(tested, []);
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
    pin(&mut queue, &policy, 2, &["b", "a b"]);
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
    let assembly =
        Assembly::Conflict { paths: vec!["a b".to_owned()], detail: "both".to_owned(), hunk: None };
    let merges = vec![Assembled { base: tip, request: RequestId(2), assembly }];
    let step = queue.step(Millis(13), &policy, Input::Assembled { target: main_branch(), merges });
    let with = step.events.iter().find_map(|e| match &e.event.body {
        EventBody::MergeFailed(failure) => {
            Some((failure.evidence.with.clone(), failure.blame, failure.next[3].clone()))
        }
        _ => None,
    });
    assert_eq!(with, Some((vec!["r1 (work/1 by roy)".to_owned()], Blame::Ahead, "git add 'a b'".to_owned())));
}
