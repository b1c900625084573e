//! Verdicts of reviewers.

use serde_json::json;
use yardmaster_protocol::{
    BlockerKind, CommitId, EventBody, Fact, IntakeSeq, Millis, Project, RefusalCode, RequestId,
};
use yardmaster_queue::{Input, Policy, Queue, Step};

use crate::support::{announce, commit, pin, policy, queue, runs, see, stack_of_six};

const REQUIRED: &str = "[review]\nrequired = true\nby = [\"eve\", \"roy\"]\n";

fn said(queue: &mut Queue, policy: &Policy, seq: u64, who: &str, head: CommitId, verdict: &str) -> Step {
    let review = json!({"reviewer": who, "head": head, "verdict": verdict, "comment": "see line 3"});
    let input = Input::Review {
        intake: IntakeSeq(seq),
        subject: format!("work.reviews.{who}"),
        payload: json!({"type": "review", "review": review}).to_string().into_bytes(),
    };
    queue.step(Millis(9), policy, input)
}

fn ruled(policy: &Policy, text: &str) -> Queue {
    let mut queue = queue(policy);
    see(&mut queue, policy, 1, Ok(Project::parse(text).unwrap()));
    queue
}

/// Announces and pins request `n` of roy, whose head is `100 + n`.
fn offer(queue: &mut Queue, policy: &Policy, n: u8, files: &[&str]) -> Step {
    announce(queue, policy, n.into(), &json!({}));
    pin(queue, policy, n, files)
}

fn is_stacked(step: &Step) -> bool {
    step.entry.facts.iter().any(|f| matches!(f, Fact::Stacked { .. }))
}

/// Reasons and ends of what the step told of waits for a review.
fn told(step: &Step) -> Vec<(String, String)> {
    let blockers = step.events.iter().flat_map(|e| match &e.event.body {
        EventBody::MergeBlocked { blockers, .. } => blockers.clone(),
        _ => Vec::new(),
    });
    blockers.filter(|b| b.kind == BlockerKind::Review).map(|b| (b.reason, b.until)).collect()
}

#[test]
fn it_waits_for_an_approval_of_its_very_head_by_somebody_else_whose_word_counts() {
    let policy = policy();
    let mut queue = ruled(&policy, REQUIRED);
    let step = offer(&mut queue, &policy, 1, &["a"]);
    let head = commit(101);
    let reason = format!("`main` takes it only with a review, and {} has none", head.short());
    let until = format!("eve approves the head {head} on `work.reviews.eve`");
    assert_eq!((told(&step), is_stacked(&step)), (vec![(reason, until)], false));
    assert!(!is_stacked(&said(&mut queue, &policy, 1, "roy", head, "approved")), "its own agent");
    assert!(!is_stacked(&said(&mut queue, &policy, 2, "ana", head, "approved")), "not in `by`");
    assert!(!is_stacked(&said(&mut queue, &policy, 3, "eve", commit(7), "approved")), "another head");
    assert!(is_stacked(&said(&mut queue, &policy, 4, "eve", head, "approved")));
    assert!(queue.request(RequestId(1), Millis(9), &policy).unwrap().blockers.is_empty());
}

#[test]
fn an_approval_may_come_before_the_announcement_and_outlives_a_restart() {
    let policy = policy();
    let mut queue = ruled(&policy, REQUIRED);
    said(&mut queue, &policy, 1, "eve", commit(101), "approved");
    let mut again = Queue::from_snapshot(&queue.to_snapshot().unwrap()).unwrap();
    assert!(is_stacked(&offer(&mut again, &policy, 1, &["a"])));
}

#[test]
fn only_the_named_paths_need_one() {
    let policy = policy();
    let mut queue = ruled(&policy, "[review]\npaths = [\"api/**\"]\n");
    assert!(is_stacked(&offer(&mut queue, &policy, 1, &["web/x"])));
    assert_eq!(told(&offer(&mut queue, &policy, 2, &["web/x", "api/y"])).len(), 1);
}

#[test]
fn an_objection_holds_it_under_test_until_its_reviewer_approves() {
    let mut policy = policy();
    (policy.window_min, policy.window_max) = (6, 6);
    let mut queue = stack_of_six(&policy);
    let of = |queue: &Queue| -> Vec<u64> {
        runs(queue, &policy).into_iter().filter_map(|(r, _)| r.map(|r| r.0)).collect()
    };
    assert_eq!(of(&queue).len(), 6);
    let step = said(&mut queue, &policy, 1, "eve", commit(106), "changes_requested");
    let short = commit(106).short();
    assert_eq!(told(&step)[0].0, format!("eve asks for changes to {short}: see line 3"));
    assert!(!of(&queue).contains(&6));
    said(&mut queue, &policy, 2, "ana", commit(106), "approved");
    assert!(!of(&queue).contains(&6), "nobody else lifts it");
    said(&mut queue, &policy, 3, "eve", commit(106), "approved");
    assert!(of(&queue).contains(&6));
}

#[test]
fn what_comes_again_or_late_changes_nothing() {
    let policy = policy();
    let mut queue = ruled(&policy, REQUIRED);
    said(&mut queue, &policy, 1, "eve", commit(101), "approved");
    said(&mut queue, &policy, 2, "eve", commit(101), "blocked");
    assert!(queue.is_review_answered(IntakeSeq(2)));
    assert!(said(&mut queue, &policy, 1, "eve", commit(101), "approved").entry.facts.is_empty());
    let step = offer(&mut queue, &policy, 1, &["a"]);
    assert_eq!(told(&step)[0].0, format!("eve blocks {}: see line 3", commit(101).short()));
}

#[test]
fn what_cannot_be_understood_or_is_not_allowed_is_answered() {
    let mut policy = policy();
    policy.bind_agent_to_subject = true;
    let mut queue = queue(&policy);
    let mut send = |seq: u64, subject: &str, payload: String| {
        let (intake, subject) = (IntakeSeq(seq), subject.to_owned());
        let step =
            queue.step(Millis(9), &policy, Input::Review { intake, subject, payload: payload.into_bytes() });
        let code = step.events.iter().find_map(|e| match &e.event.body {
            EventBody::RequestRejected { why, .. } => Some(why.code),
            _ => None,
        });
        (code, queue.is_review_answered(intake), queue.is_answered(intake))
    };
    assert_eq!(send(1, "work.reviews.eve", "{".to_owned()), (Some(RefusalCode::NotJson), true, false));
    let review = json!({"reviewer": "eve", "head": commit(1), "verdict": "approved"});
    let payload = json!({"type": "review", "review": review}).to_string();
    let not = (Some(RefusalCode::NotTheAgent), true, false);
    assert_eq!(send(2, "work.reviews.roy", payload.clone()), not);
    assert_eq!(send(3, "work.reviews.eve.x", payload.clone()), not);
    assert_eq!(send(4, "work.reviews.eve", payload), (None, true, false));
}

#[test]
fn a_poison_is_refused_once_and_no_announcement_of_the_same_number() {
    let policy = policy();
    let mut queue = queue(&policy);
    said(&mut queue, &policy, 1, "eve", commit(101), "approved");
    let mut poison = |n: u64| {
        let (intake, subject) = (IntakeSeq(n), "work.reviews.eve".to_owned());
        let input = Input::PoisonReview { intake, subject, payload: b"x".to_vec() };
        let step = queue.step(Millis(3), &policy, input);
        let code = step.events.iter().find_map(|e| match &e.event.body {
            EventBody::RequestRejected { why, .. } => Some(why.code),
            _ => None,
        });
        (code, queue.is_review_answered(intake), queue.is_answered(intake))
    };
    assert_eq!(poison(1), (None, true, false), "taken already");
    assert_eq!(poison(2), (Some(RefusalCode::Poison), true, false));
    assert_eq!(poison(2), (None, true, false), "refused already");
}

/// Whoever may publish reviews could fill the memory otherwise, or push an objection out.
#[test]
fn what_is_kept_is_bounded_and_keeps_what_is_offered() {
    let mut policy = policy();
    policy.window_min = 1;
    let mut queue = queue(&policy);
    offer(&mut queue, &policy, 1, &["a"]);
    said(&mut queue, &policy, 1, "eve", commit(101), "blocked");
    for seq in 2..2_000_u16 {
        let mut head = commit(3);
        head.0.0[..2].copy_from_slice(&seq.to_be_bytes());
        said(&mut queue, &policy, seq.into(), "eve", head, "approved");
    }
    assert_eq!(queue.request(RequestId(1), Millis(9), &policy).unwrap().blockers.len(), 1);
    assert!(queue.to_snapshot().unwrap().len() < 200_000);
    let refused = (0..40).filter(|n| {
        let step = said(&mut queue, &policy, 3_000 + n, &format!("r{n}"), commit(101), "approved");
        step.entry.facts.iter().any(|f| matches!(f, Fact::ReviewRefused { .. }))
    });
    assert_eq!(refused.count(), 9);
}

#[test]
fn what_others_own_needs_the_approval_of_one_of_them() {
    let policy = policy();
    let owned = |queue: &mut Queue| {
        let project = Project::parse("[scope]\ncodeowners = \"CODEOWNERS\"").unwrap();
        let project = project.with_owners(Some("* @roy\n/api/ @ana eve\n/web/ @acme/web\n")).unwrap();
        see(queue, &policy, 1, Ok(project));
    };
    let mut queue = queue(&policy);
    owned(&mut queue);
    assert!(is_stacked(&offer(&mut queue, &policy, 1, &["README", "web/x"])), "its own, and nobody's");
    let step = offer(&mut queue, &policy, 2, &["README", "api/x", "api/y"]);
    let head = commit(102);
    let reason = format!(
        "api/x and 1 more on `main` belongs to ana, eve, and none of them has approved {}",
        head.short()
    );
    let until = format!("ana or eve approves the head {head} on `work.reviews.<agent>`");
    assert_eq!((told(&step), is_stacked(&step)), (vec![(reason, until)], false));
    assert!(!is_stacked(&said(&mut queue, &policy, 1, "bob", head, "approved")));
    let mut again = Queue::from_snapshot(&queue.to_snapshot().unwrap()).unwrap();
    assert!(is_stacked(&said(&mut again, &policy, 2, "ana", head, "approved")));
}
