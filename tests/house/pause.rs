use serde_json::{Value, json};
use yardmaster_tests::{House, yardmaster};

async fn operator(house: &House, args: &[&str]) -> Value {
    let out = tokio::process::Command::new(yardmaster())
        .args(args)
        .args(["--json", "--nats-url", &house.url])
        .output()
        .await
        .expect("the program runs");
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("JSON")
}

/// One is under test when the target is paused for all but the urgent: it lands, the urgent one starts, the other
/// one knows why it waits, a restart changes nothing, and after `resume` it goes on in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_target_takes_the_urgent_and_finishes_what_it_has() {
    let (mut house, gate) = House::held().await;
    for branch in ["ann/one", "bob/two", "cid/urgent"] {
        house.branch(branch, &[(branch, "x\n")]);
    }
    let env = [("YARDMASTER__QUEUE__WINDOW_MAX", "1")];
    house.start_with(&[], &env).await;
    house.announce("ann", "ann/one").await;
    let first = gate.run_of("r1").await;
    let paused = operator(&house, &["pause", "--except", "1", "--why", "a release is cut"]).await;
    assert_eq!(paused, json!({"target": "main", "paused": true, "changed": true}));
    house.announce_with("bob", "bob/two", &json!({"priority": 2})).await;
    let blocked = house.events.of_type("bob/two", "blocked").await;
    insta::assert_json_snapshot!(blocked["blockers"]);
    house.announce_with("cid", "cid/urgent", &json!({"priority": 1})).await;
    first.green();
    let urgent = gate.run_of("r3").await;
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    house.kill().await;
    drop(urgent);
    house.start_with(&[], &env).await;
    gate.run_of("r3").await.green();
    assert_eq!(house.events.end_of("cid/urgent").await["type"], "merge_complete");
    assert_eq!(house.events.of("bob/two"), ["queued", "blocked"]);
    let again = operator(&house, &["pause", "--except", "1"]).await;
    assert_eq!(again["changed"], false, "{again}");
    operator(&house, &["resume", "--why", "it is cut"]).await;
    gate.run_of("r2").await.green();
    assert_eq!(house.events.end_of("bob/two").await["type"], "merge_complete");
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

/// The same head is announced again without its dependency, which nobody will ever announce: it lands. A
/// repetition that says nothing about dependencies had changed nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_dependency_is_taken_back_by_announcing_the_same_head_again() {
    let mut house = House::build().await;
    house.branch("ann/one", &[("one", "x\n")]);
    house.start(&[]).await;
    house.announce_with("ann", "ann/one", &json!({"depends_on": ["REQ-of-nobody"]})).await;
    house.events.of_type("ann/one", "blocked").await;
    house.announce("ann", "ann/one").await;
    house.wait_until_acked().await;
    assert_eq!(house.events.of("ann/one"), ["queued", "blocked"]);
    house.announce_with("ann", "ann/one", &json!({"depends_on": []})).await;
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}
