use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::judge::{Rule, judge};
use super::record::{Announced, Commit, Evidence, Expected, Foreign};
use crate::Message;

fn message(id: &str, event: Value) -> Message {
    let headers = BTreeMap::from([("Nats-Msg-Id".to_owned(), id.to_owned())]);
    Message { subject: "work.releases.x".into(), headers, event }
}

fn announced(branch: &str, expected: Expected) -> Announced {
    Announced { branch: branch.into(), path: branch.into(), line: "x".into(), expected }
}

fn commit(id: &str, request: Option<&str>) -> Commit {
    Commit {
        id: id.into(),
        tree: format!("tree of {id}"),
        request: request.map(str::to_owned),
        green: true,
        ..Commit::default()
    }
}

fn complete(request: &str, branch: &str, commit: &str) -> Value {
    let tree = format!("tree of {commit}");
    json!({"type": "merge_complete", "request": request, "branch": branch, "seq": 2, "commit": commit, "tree": tree})
}

fn queued(request: &str, branch: &str) -> Value {
    json!({"type": "merge_queued", "request": request, "branch": branch, "seq": 1})
}

/// `one` landed, `two` was red, and a stranger pushed in between.
fn whole() -> Evidence {
    let red =
        json!({"type": "merge_failed", "request": "r2", "branch": "two", "seq": 2, "cause": "gate_red"});
    Evidence {
        announced: vec![announced("one", Expected::Lands), announced("two", Expected::Fails("gate_red"))],
        events: vec![
            message("1", queued("r1", "one")),
            message("2", queued("r2", "two")),
            message("3", complete("r1", "one", "c1")),
            message("4", red),
        ],
        main: vec![commit("c0", None), commit("f1", None), commit("c1", Some("r1"))],
        files: BTreeMap::from([("one".into(), "x\n".into()), ("stranger".into(), "y\n".into())]),
        foreign: vec![Foreign { id: "f1".into(), path: "stranger".into(), line: "y".into() }],
        declined: 0,
        left_over: Vec::new(),
    }
}

/// What landed in a batch is told with the commit that brought it, which has to be green, and not the member.
#[test]
fn a_batch_is_held_against_what_was_told_of_it() {
    let batched = |told: &str, green: bool| {
        broken(|e| {
            e.main[2] = Commit { rollup: Some("m1".into()), green: false, ..e.main[2].clone() };
            e.main.push(Commit { green, ..commit("m1", None) });
            e.events[2].event["rollup"] = told.into();
        })
    };
    assert_eq!(batched("m1", true), []);
    assert_eq!(batched("m2", true), [Rule::LandedIsTold]);
    assert_eq!(batched("m1", false), [Rule::NeverRed]);
}

fn broken(change: impl FnOnce(&mut Evidence)) -> Vec<Rule> {
    let mut evidence = whole();
    change(&mut evidence);
    let mut rules: Vec<Rule> = judge(&evidence).into_iter().map(|v| v.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

#[test]
fn a_history_that_is_whole_is_let_through() {
    assert_eq!(judge(&whole()), Vec::new());
}

#[test]
fn a_lost_end_is_caught() {
    assert_eq!(broken(|e| drop(e.events.pop())), [Rule::NothingIsLost, Rule::EndsAsItMust]);
}

#[test]
fn a_lost_event_in_the_middle_is_caught() {
    assert_eq!(broken(|e| drop(e.events.remove(0))), [Rule::EventsAreWhole]);
}

#[test]
fn a_doubled_event_is_caught() {
    let again = broken(|e| e.events.push(e.events[2].clone()));
    assert_eq!(again, [Rule::NothingEndsTwice, Rule::EventsAreWhole]);
}

#[test]
fn a_second_end_under_another_id_and_request_is_caught() {
    let again = broken(|e| {
        let mut end = complete("r9", "one", "c1");
        end["seq"] = json!(1);
        e.events.push(message("9", end));
    });
    assert_eq!(again, [Rule::NothingEndsTwice, Rule::ToldIsLanded]);
}

#[test]
fn a_request_that_landed_twice_is_caught() {
    let twice = broken(|e| e.main.push(commit("c2", Some("r1"))));
    assert_eq!(twice, [Rule::NothingLandsTwice, Rule::LandedIsTold]);
}

#[test]
fn a_red_commit_is_caught() {
    assert_eq!(broken(|e| e.main[1].green = false), [Rule::NeverRed]);
}

#[test]
fn a_landed_one_that_nobody_told_of_is_caught() {
    let untold = broken(|e| e.main.push(commit("c2", Some("r2"))));
    assert_eq!(untold, [Rule::LandedIsTold]);
}

#[test]
fn another_tree_than_the_one_that_was_told_is_caught() {
    assert_eq!(broken(|e| e.main[2].tree = "other".into()), [Rule::LandedIsTold]);
}

#[test]
fn an_end_without_a_landing_is_caught() {
    assert_eq!(broken(|e| drop(e.main.pop())), [Rule::ToldIsLanded]);
}

#[test]
fn a_lost_foreign_push_is_caught_and_so_is_a_reverted_one() {
    assert_eq!(broken(|e| drop(e.main.remove(1))), [Rule::ForeignStays]);
    assert_eq!(broken(|e| drop(e.files.remove("stranger"))), [Rule::ForeignStays]);
}

#[test]
fn landed_work_that_was_taken_back_and_failed_work_that_slipped_in_are_caught() {
    assert_eq!(broken(|e| drop(e.files.remove("one"))), [Rule::ContentStays]);
    assert_eq!(broken(|e| drop(e.files.insert("two".into(), "x\n".into()))), [Rule::ContentStays]);
}

#[test]
fn an_end_that_is_not_the_right_one_is_caught_and_a_refusal_of_the_remote_is_believed_once() {
    let refused = |e: &mut Evidence| e.events[3].event["cause"] = json!("push_refused");
    assert_eq!(broken(refused), [Rule::EndsAsItMust]);
    let believed = broken(|e| {
        refused(e);
        e.declined = 1;
    });
    assert_eq!(believed, []);
}

#[test]
fn a_rejected_announcement_is_caught_and_a_late_withdrawal_may_be_rejected() {
    let rejected = |payload: &str| {
        let event = json!({"type": "request_rejected", "payload": payload});
        broken(|e| e.events.push(message("5", event)))
    };
    assert_eq!(rejected(r#"{"type":"ready_to_merge"}"#), [Rule::EndsAsItMust]);
    assert_eq!(rejected(r#"{"type":"withdraw"}"#), []);
}

#[test]
fn one_of_a_pair_lands_and_a_dependency_lands_first() {
    let pair = |e: &mut Evidence| {
        e.announced[0].expected = Expected::EitherOr("two".into(), "gate_red");
        e.announced[1].expected = Expected::EitherOr("one".into(), "gate_red");
    };
    assert_eq!(broken(pair), []);
    let both_failed = broken(|e| {
        pair(e);
        e.events[2].event =
            json!({"type": "merge_failed", "request": "r1", "branch": "one", "seq": 2, "cause": "gate_red"});
        e.main.pop();
        e.files.remove("one");
    });
    assert_eq!(both_failed, [Rule::EndsAsItMust]);
    let wrong_order = broken(|e| {
        e.announced[0].expected = Expected::LandsAfter("two".into());
        e.announced[1].expected = Expected::Lands;
        e.events[3].event = complete("r2", "two", "c2");
        e.main.push(commit("c2", Some("r2")));
        e.files.insert("two".into(), "x\n".into());
    });
    assert_eq!(wrong_order, [Rule::EndsAsItMust]);
}

#[test]
fn what_is_left_over_is_caught() {
    assert_eq!(broken(|e| e.left_over.push("a lock".into())), [Rule::NothingLeftOver]);
}

#[test]
fn a_landing_that_changes_what_its_branch_does_not_is_caught_and_so_is_one_that_lacks_something() {
    let changed = |did: &[&str], asked: &[&str]| {
        let own = |lines: &[&str]| lines.iter().map(|l| (*l).to_owned()).collect();
        broken(|e| (e.main[2].changes, e.main[2].asked) = (own(did), own(asked)))
    };
    assert_eq!(changed(&["a +x", "b -y"], &["b -y", "a +x"]), []);
    assert_eq!(changed(&["a +x", "b -y"], &["a +x"]), [Rule::OnlyItsOwnChanges]);
    assert_eq!(changed(&["a +x"], &["a +x", "a +x"]), [Rule::OnlyItsOwnChanges]);
}
