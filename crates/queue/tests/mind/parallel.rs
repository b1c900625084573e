//! Which requirements can be worked on side by side.

use serde_json::{Value, json};
use yardmaster_protocol::{ParallelReply, ParallelRequest, TieKind};
use yardmaster_queue::{Common, History};

use crate::support::{announce, pin, policy, queue};

fn ask(planned: &Value, history: &History) -> Result<ParallelReply, String> {
    let policy = policy();
    let mut queue = queue(&policy);
    announce(&mut queue, &policy, 1, &json!({}));
    pin(&mut queue, &policy, 1, &["api/pending.rs", "other"]);
    let asked: ParallelRequest = serde_json::from_value(json!({ "requirements": planned })).unwrap();
    queue.parallel(&asked, &policy, &["api/known.rs", "web/known.ts"], history)
}

fn names(groups: &[Vec<yardmaster_protocol::Requirement>]) -> Vec<String> {
    let joined = |group: &Vec<yardmaster_protocol::Requirement>| {
        group.iter().map(|r| r.as_str()).collect::<Vec<_>>().join(" ")
    };
    groups.iter().map(joined).collect()
}

#[test]
fn what_names_nothing_twice_runs_side_by_side() {
    let planned = json!([
        {"requirement": "A", "files": ["api/a.rs"], "systems": ["backend"]},
        {"requirement": "B", "files": ["web/**"], "systems": ["frontend"]},
        {"requirement": "C"},
    ]);
    let reply = ask(&planned, &History::default()).unwrap();
    assert!(reply.parallel && reply.ties.is_empty() && reply.pending.is_empty(), "{reply:?}");
    assert_eq!(
        (names(&reply.sequences), names(&reply.rounds)),
        (vec!["A".into(), "B".into(), "C".into()], vec!["A B C".into()])
    );
}

#[test]
fn a_file_or_a_system_that_is_named_twice_makes_a_sequence() {
    let planned = json!([
        {"requirement": "A", "files": ["api/a.rs"], "systems": ["one"]},
        {"requirement": "B", "files": ["api/**"]},
        {"requirement": "C", "files": ["**/known.rs"], "systems": ["two"]},
        {"requirement": "D", "files": ["d"], "systems": ["two"]},
        {"requirement": "E", "files": ["e"]},
    ]);
    let reply = ask(&planned, &History::default()).unwrap();
    assert!(!reply.parallel);
    let ties: Vec<_> = reply.ties.iter().map(|t| t.reason.as_str()).collect();
    let expected =
        ["A and B both touch api/a.rs", "B and C both touch api/known.rs", "C and D both work on two"];
    assert_eq!(ties, expected);
    assert_eq!(names(&reply.sequences), ["A B C D", "E"]);
    assert_eq!(names(&reply.rounds), ["A E", "B", "C", "D"]);
    let ahead: Vec<_> = reply.pending.iter().map(|a| (a.requirement.as_str(), a.paths.join(" "))).collect();
    assert_eq!(ahead, [("B", "api/pending.rs".to_owned())]);
}

#[test]
fn what_used_to_change_together_is_advice_and_no_refusal() {
    let planned = json!([{"requirement": "A", "files": ["a"]}, {"requirement": "B", "files": ["b"]}]);
    for (both, rarer, is_tied) in [(2, 2, false), (3, 6, true), (3, 7, false), (9, 9, true)] {
        let example = Some(("a".to_owned(), "b".to_owned(), both));
        let pairs = [((0, 1), Common { both, rarer, example })].into();
        let reply = ask(&planned, &History { commits: 50, pairs }).unwrap();
        assert!(reply.parallel);
        let kinds: Vec<TieKind> = reply.ties.iter().map(|t| t.kind).collect();
        assert_eq!(kinds, if is_tied { vec![TieKind::History] } else { vec![] }, "{both} of {rarer}");
        assert_eq!(reply.rounds.len(), 1 + usize::from(is_tied));
        if rarer == 6 {
            let said = "the files of A and B changed together in 3 of the 6 commits that changed the less often changed ones (last 50 on the target); a and b in 3";
            assert_eq!(reply.ties[0].reason, said);
        }
    }
}

#[test]
fn questions_that_cannot_be_used_say_why() {
    let many: Vec<Value> = (0..65).map(|n| json!({"requirement": format!("R{n}")})).collect();
    for (planned, said) in [
        (json!([]), "0 requirements cannot be weighed"),
        (json!(many), "65 requirements cannot be weighed"),
        (json!([{"requirement": "A"}, {"requirement": "A"}]), "A is named twice"),
        (json!([{"requirement": "A", "files": ["../a"]}]), "A: glob `../a`"),
    ] {
        let told = ask(&planned, &History::default()).expect_err(said);
        assert!(told.starts_with(said), "{told}");
    }
}
