use serde_json::{Value, json};
use yardmaster_tests::{Change, House, PROJECT};

/// A house whose project file says this besides the gate.
async fn ruled(rules: &str, files: &[(&str, &str)]) -> House {
    let project = format!("{rules}\n{PROJECT}");
    let gate = "#!/bin/sh\n[ ! -e red ]\n";
    let mut all = vec![("gate.sh", gate), (".yardmaster.toml", project.as_str())];
    all.extend(files);
    House::build_with(&all).await
}

fn blocker(event: &Value) -> (&str, &str, &str) {
    let text = |name: &str| event["blockers"][0][name].as_str().unwrap_or_default();
    (text("kind"), text("reason"), text("until"))
}

/// What a reviewer says outlives the daemon, also where it came before the announcement.
#[tokio::test(flavor = "multi_thread")]
async fn verdicts_on_a_real_stream_outlive_a_kill_and_count_for_their_head() {
    let mut house = ruled("review.required = true", &[]).await;
    house.start(&[]).await;
    let head = house.branch("roy/one", &[("one.txt", "1\n")]);
    house.review("eve", &head, "changes_requested").await;
    house.wait_until_acked_in("REVIEWS").await;
    house.kill().await;
    house.start(&[]).await;
    house.announce("roy", "roy/one").await;
    let blocked = house.events.of_type("roy/one", "blocked").await;
    let (kind, reason, until) = blocker(&blocked);
    assert_eq!((kind, reason), ("review", format!("eve asks for changes to {}", &head[..10]).as_str()));
    assert!(until.ends_with(&format!("eve approves the head {head} on `work.reviews.eve`")), "{until}");
    house.review("roy", &head, "approved").await;
    house.review("eve", &head, "approved").await;
    assert_eq!(house.events.end_of("roy/one").await["type"], "merge_complete");
    assert_eq!(house.events.of("roy/one"), ["queued", "blocked", "testing", "complete"]);
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

/// A message that is no verdict is answered once and never comes again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_verdict_is_answered_and_ended() {
    let mut house = ruled("", &[]).await;
    house.start_with(&[], &[("YARDMASTER__AUTH__BIND_AGENT_TO_SUBJECT", "true")]).await;
    let head = house.branch("roy/one", &[("one.txt", "1\n")]);
    let review = json!({"reviewer": "eve", "head": head, "verdict": "blocked"});
    let bad = [
        ("eve", "{".to_owned(), "not_json"),
        ("eve", json!({"type": "review", "review": {"reviewer": "eve"}}).to_string(), "missing_field"),
        ("roy", json!({"type": "review", "review": review}).to_string(), "not_the_agent"),
    ];
    for (on, payload, code) in bad {
        house.publish_review(on, payload).await;
        let rejected = house.events.wait_for(code, |e| e["why"]["code"] == code).await;
        assert_eq!(rejected["subject"], format!("work.reviews.{on}"));
    }
    house.wait_until_acked_in("REVIEWS").await;
    house.kill().await;
    house.start(&[]).await;
    house.announce("roy", "roy/one").await;
    assert_eq!(house.events.end_of("roy/one").await["type"], "merge_complete");
    let rejected = house.events.all().into_iter().filter(|e| e["type"] == "request_rejected");
    assert_eq!(rejected.count(), 3);
    assert_eq!(house.stop().await, Some(0));
}

/// A rename touches both names: moving a file out of where one may not write is writing there.
#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_a_rename_are_held_against_the_rules() {
    let rules = "scope.protected = [\"deploy/**\"]\nscope.agents.ops.allow = [\"**\"]";
    let long: String = (0..50).map(|n| format!("line {n}\n")).collect();
    let mut house = ruled(rules, &[("deploy/prod.yml", &long), ("web/page", &long)]).await;
    house.start(&[]).await;
    let moves = [("roy/out", "deploy/prod.yml", "web/prod.yml"), ("roy/in", "web/page", "deploy/page")];
    for (branch, from, to) in moves {
        let files = [(from, None), (to, Some(long.as_str()))];
        house.remote.commit(&Change { branch, from: Some("main"), files: &files });
        house.announce("roy", branch).await;
        let blocked = house.events.of_type(branch, "blocked").await;
        let protected = if from.starts_with("deploy") { from } else { to };
        assert_eq!(blocked["blockers"][0]["paths"], json!([protected]));
        assert_eq!(blocker(&blocked).0, "scope");
    }
    // The same work by somebody who may.
    house.announce("ops", "roy/out").await;
    house.events.of_type("roy/out", "superseded").await;
    let complete = house.events.of_type("roy/out", "complete").await;
    assert_eq!(complete["agent"], "ops");
    assert_eq!(house.events.of("roy/in"), ["queued", "blocked"]);
    assert_eq!(house.stop().await, Some(0));
}

/// The file of code owners is read at the tip, and again when it changes there.
#[tokio::test(flavor = "multi_thread")]
async fn code_owners_are_those_of_the_tip() {
    let mut house =
        ruled("scope.codeowners = \".github/CODEOWNERS\"", &[(".github/CODEOWNERS", "/api/ @ana\n")]).await;
    house.start(&[]).await;
    let head = house.branch("roy/one", &[("api/one.txt", "1\n")]);
    house.announce("roy", "roy/one").await;
    let blocked = house.events.of_type("roy/one", "blocked").await;
    assert_eq!((blocker(&blocked).0, &blocked["blockers"][0]["with"]), ("review", &json!("ana")));
    house.review("ana", &head, "approved").await;
    assert_eq!(house.events.end_of("roy/one").await["type"], "merge_complete");
    house.branch("roy/two", &[("api/two.txt", "2\n")]);
    house.announce("roy", "roy/two").await;
    house.events.of_type("roy/two", "blocked").await;
    let files = [(".github/CODEOWNERS", Some("/api/ @roy\n"))];
    house.remote.commit(&Change { branch: "main", from: Some("main"), files: &files });
    assert_eq!(house.events.end_of("roy/two").await["type"], "merge_complete");
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}
