//! Systems, classes, and who may touch what.

use serde_json::json;
use yardmaster_protocol::{
    Blocker, BlockerKind, ChangeSize, EventBody, Fact, Inspection, Millis, Mismatch, Project, RequestId,
};
use yardmaster_queue::{Input, Policy, Queue, Step};

use crate::support::{announce, commit, pin, policy, queue, runs, see, stack_of_six};

const RULES: &str = r#"
    [scope]
    protected = ["deploy/**", "api/keys"]
    [scope.agents.roy]
    allow = ["api/**"]
    deny = ["api/secret/**"]
    [scope.agents.ops]
    allow = ["**"]
"#;

fn rules(text: &str) -> Result<Project, String> {
    Ok(Project::parse(text).unwrap())
}

fn ruled(policy: &Policy, text: &str) -> Queue {
    let mut queue = queue(policy);
    see(&mut queue, policy, 1, rules(text));
    queue
}

/// What the step told of waits, as kinds, shown paths and reasons.
fn told(step: &Step) -> Vec<(BlockerKind, Vec<String>, String)> {
    let blockers = step.events.iter().flat_map(|e| match &e.event.body {
        EventBody::MergeBlocked { blockers, .. } => blockers.clone(),
        _ => Vec::new(),
    });
    blockers.map(|Blocker { kind, paths, reason, .. }| (kind, paths, reason)).collect()
}

fn stacked(step: &Step) -> Vec<u64> {
    let ids = step.entry.facts.iter().filter_map(|f| match f {
        Fact::Stacked { request, .. } => Some(request.0),
        _ => None,
    });
    ids.collect()
}

/// Announces and pins request `n` of `agent` with `files`, and gives the second step.
fn offer(queue: &mut Queue, policy: &Policy, n: u8, agent: &str, files: &[&str]) -> Step {
    announce(queue, policy, n.into(), &json!({"agent": agent}));
    pin(queue, policy, n, files)
}

#[test]
fn who_touches_what_it_may_not_waits_and_is_told_which_rule_and_path() {
    let policy = policy();
    let mut cases = vec![
        ("roy", vec!["api/a.rs"], vec![]),
        ("ana", vec!["web/x.css"], vec![]),
        ("roy", vec!["api/keys"], vec![]),
        (
            "roy",
            vec!["api/a.rs", "web/x.css", "web/y.css"],
            vec![(
                vec!["web/x.css", "web/y.css"],
                "roy may not touch web/x.css and 1 more on `main`: `scope.agents.roy.allow` does not name it",
            )],
        ),
        (
            "roy",
            vec!["api/secret/k"],
            vec![(
                vec!["api/secret/k"],
                "roy may not touch api/secret/k on `main`: `scope.agents.roy.deny` names it",
            )],
        ),
        (
            "ana",
            vec!["README", "deploy/prod.yml"],
            vec![(
                vec!["deploy/prod.yml"],
                "ana may not touch deploy/prod.yml on `main`: it is protected, and no `scope.agents.ana.allow` names it",
            )],
        ),
    ];
    for (agent, files, expected) in cases.drain(..) {
        let mut queue = ruled(&policy, RULES);
        let step = offer(&mut queue, &policy, 1, agent, &files);
        let owned = |(paths, reason): (Vec<&str>, &str)| {
            let paths: Vec<String> = paths.into_iter().map(str::to_owned).collect();
            (BlockerKind::Scope, paths, reason.to_owned())
        };
        let expected: Vec<_> = expected.into_iter().map(owned).collect();
        assert_eq!(told(&step), expected, "{agent} {files:?}");
        assert_eq!(stacked(&step).is_empty(), !expected.is_empty(), "{agent} {files:?}");
    }
}

#[test]
fn whoever_is_not_listed_may_nothing_where_the_default_is_deny() {
    let policy = policy();
    let mut queue = ruled(&policy, "[scope]\ndefault = \"deny\"\n[scope.agents.roy]\n");
    assert_eq!(stacked(&offer(&mut queue, &policy, 1, "roy", &["x"])), [1]);
    let [(kind, _, reason)] = &told(&offer(&mut queue, &policy, 2, "ana", &["x"]))[..] else { panic!() };
    assert_eq!(*kind, BlockerKind::Scope);
    assert!(reason.ends_with("`scope.default` is \"deny\" and `scope.agents` does not name ana"), "{reason}");
}

#[test]
fn a_held_request_goes_on_when_the_rules_change_and_nobody_waits_for_it() {
    let policy = policy();
    let mut queue = ruled(&policy, RULES);
    offer(&mut queue, &policy, 1, "roy", &["web/x"]);
    assert_eq!(stacked(&offer(&mut queue, &policy, 2, "ana", &["web/y"])), [2], "others go on");
    queue.step(Millis(9), &policy, Input::Withdraw { request: RequestId(2), by: "ana".to_owned() });
    let step = see(&mut queue, &policy, 3, rules("[scope.agents.roy]\nallow = [\"web/**\"]\n"));
    assert_eq!(stacked(&step), [1]);
    let view = queue.request(RequestId(1), Millis(9), &policy).unwrap();
    assert!(view.blockers.is_empty(), "{:?}", view.blockers);
}

#[test]
fn who_may_takes_the_place_of_who_may_not_and_nobody_else_does() {
    let policy = policy();
    let mut queue = ruled(&policy, RULES);
    let mut same = |n: u8, agent: &str| {
        announce(&mut queue, &policy, n.into(), &json!({"agent": agent, "branch": "work/shared"}));
        let found = Inspection::Pinned {
            head: commit(100),
            merge_base: commit(1),
            size: ChangeSize::default(),
            files: vec!["deploy/x".to_owned()],
            contained: false,
        };
        let step = queue.step(Millis(9), &policy, Input::Inspected(vec![(RequestId(n.into()), found)]));
        let told = step.entry.facts.iter().find_map(|f| match f {
            Fact::Repeated { of, .. } => Some(format!("is {of}")),
            Fact::Superseded { request, .. } => Some(format!("replaces {request}")),
            _ => None,
        });
        told.unwrap_or_default()
    };
    assert_eq!(same(1, "roy"), "");
    assert_eq!(same(2, "ana"), "is r1", "ana may not either");
    assert_eq!(same(3, "ops"), "replaces r1");
    assert_eq!(same(4, "roy"), "is r3");
}

#[test]
fn a_rule_that_comes_while_it_is_tested_stops_the_run_and_lets_the_others_go_on() {
    let mut policy = policy();
    (policy.window_min, policy.window_max) = (6, 6);
    let mut queue = stack_of_six(&policy);
    assert_eq!(runs(&queue, &policy).iter().filter(|(r, _)| r.is_some()).count(), 6);
    let step = see(&mut queue, &policy, 1, rules("[scope.agents.roy]\ndeny = [\"a\"]\n"));
    assert_eq!(told(&step).len(), 6);
    assert!(runs(&queue, &policy).iter().all(|(r, _)| r.is_none()), "no candidate is tested");
    let step = see(&mut queue, &policy, 1, rules(""));
    let told_free = step
        .entry
        .facts
        .iter()
        .filter(|f| matches!(f, Fact::Blocked { blockers, .. } if blockers.is_empty()));
    assert_eq!(
        (told_free.count(), runs(&queue, &policy).iter().filter(|(r, _)| r.is_some()).count()),
        (6, 6)
    );
}

#[test]
fn what_it_is_held_for_outlives_a_restart() {
    let policy = policy();
    let mut queue = ruled(&policy, RULES);
    offer(&mut queue, &policy, 1, "roy", &["web/x"]);
    let mut again = Queue::from_snapshot(&queue.to_snapshot().unwrap()).unwrap();
    let step = offer(&mut again, &policy, 2, "ana", &["web/y"]);
    assert_eq!((stacked(&step), told(&step)), (vec![2], vec![]), "nothing is told twice");
    let free = see(&mut again, &policy, 1, rules(""));
    assert!(
        free.entry.facts.iter().any(|f| matches!(f, Fact::Blocked { blockers, .. } if blockers.is_empty()))
    );
}

#[test]
fn a_list_that_was_cut_shows_nothing_of_what_it_may_touch() {
    let policy = policy();
    let big = |queue: &mut Queue, agent: &str| {
        announce(queue, &policy, 1, &json!({"agent": agent}));
        let found = Inspection::Pinned {
            head: commit(101),
            merge_base: commit(1),
            size: ChangeSize { lines: 9, files: 2_000 },
            files: vec!["api/a".to_owned()],
            contained: false,
        };
        queue.step(Millis(9), &policy, Input::Inspected(vec![(RequestId(1), found)]))
    };
    let step = big(&mut ruled(&policy, RULES), "ana");
    let [(BlockerKind::Scope, _, reason)] = &told(&step)[..] else { panic!("{:?}", told(&step)) };
    assert!(reason.starts_with("it changes 2000 files and only 1 of them are listed"), "{reason}");
    assert_eq!(stacked(&big(&mut ruled(&policy, "[scope.agents.roy]\nallow = [\"api/**\"]"), "ana")), [1]);
}

#[test]
fn without_readable_rules_nobody_goes_on() {
    let policy = policy();
    let mut queue = queue(&policy);
    see(&mut queue, &policy, 1, Err("line 3 is broken".to_owned()));
    let step = offer(&mut queue, &policy, 1, "roy", &["x"]);
    assert_eq!((stacked(&step), told(&step).len()), (vec![], 1));
    assert_eq!(stacked(&see(&mut queue, &policy, 2, rules(""))), [1]);
}

const SYSTEMS: &str = r#"
    [systems.core]
    paths = ["core/**"]
    priority = 1
    [systems.ui]
    paths = ["web/**"]
    priority = 9
"#;

#[test]
fn the_class_is_what_the_real_systems_stand_for_unless_one_is_claimed() {
    let mut policy = policy();
    policy.window_min = 1;
    let mut queue = ruled(&policy, SYSTEMS);
    offer(&mut queue, &policy, 1, "busy", &["x"]);
    offer(&mut queue, &policy, 2, "roy", &["web/a"]);
    offer(&mut queue, &policy, 3, "roy", &["README"]);
    offer(&mut queue, &policy, 4, "roy", &["web/b", "core/b"]);
    announce(&mut queue, &policy, 5, &json!({"systems_touched": ["core"]}));
    pin(&mut queue, &policy, 5, &["web/c"]);
    announce(&mut queue, &policy, 6, &json!({"priority": 1}));
    pin(&mut queue, &policy, 6, &["web/d"]);
    let order: Vec<u64> = queue.overview(Millis(9), &policy).requests.iter().map(|r| r.request.0).collect();
    assert_eq!(order, [1, 4, 6, 3, 2, 5]);
}

#[test]
fn claimed_systems_that_are_not_the_real_ones_are_told() {
    let policy = policy();
    let mut queue = ruled(&policy, SYSTEMS);
    let mut mismatch = |n: u8, more: serde_json::Value, files: &[&str]| {
        announce(&mut queue, &policy, n.into(), &more);
        let step = pin(&mut queue, &policy, n, files);
        step.events.iter().find_map(|e| match &e.event.body {
            EventBody::MergeQueued { declared_mismatch, .. } => Some(declared_mismatch.clone()),
            _ => None,
        })
    };
    let found = mismatch(1, json!({"systems_touched": ["ui", "elsewhere"]}), &["core/a"]);
    let expected = Mismatch {
        undeclared_systems: vec!["core".to_owned()],
        untouched_systems: vec!["ui".to_owned()],
        ..Mismatch::default()
    };
    assert_eq!(found, Some(Some(expected)));
    assert_eq!(mismatch(2, json!({}), &["core/a"]), Some(None), "nothing was claimed");
    assert_eq!(mismatch(3, json!({"systems_touched": ["core"]}), &["core/a", "README"]), Some(None));
}
