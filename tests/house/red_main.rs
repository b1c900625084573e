use serde_json::{Value, json};
use yardmaster_tests::{Change, House};

const TWO_STEPS: &str = "[gate]\ntimeout = \"1m\"\n\
    [[gate.steps]]\nname = \"lint\"\nrun = \"test ! -e ugly\"\n\
    [[gate.steps]]\nname = \"unit\"\nrun = \"cat broken && exit 3 || exit 0\"\n";

async fn log_of(house: &House, run: &str) -> String {
    let body = json!({"what": run, "offset": 0}).to_string();
    let reply = house.nats.request("yardmaster.v1.logs", body.into()).await.expect("an answer");
    let reply: Value = serde_json::from_slice(&reply.payload).expect("JSON");
    reply["text"].as_str().unwrap_or_default().to_owned()
}

async fn tip_health(house: &House) -> (Value, String) {
    let reply = house.nats.request("yardmaster.v1.queue", "".into()).await.expect("an answer");
    let reply: Value = serde_json::from_slice(&reply.payload).expect("JSON");
    let target = &reply["targets"][0];
    (target["tip_health"].clone(), target["tip_note"].as_str().unwrap_or_default().to_owned())
}

/// Main is red before anybody announces: that is told, and only what main passes is held against a request.
#[tokio::test(flavor = "multi_thread")]
async fn a_red_main_is_told_and_blamed_on_nobody_and_a_request_can_mend_it() {
    let files = [(".yardmaster.toml", TWO_STEPS), ("README", "a project\n"), ("broken", "by somebody\n")];
    let mut house = House::build_with(&files).await;
    house.branch("ann/innocent", &[("innocent.txt", "1\n")]);
    house.branch("bob/ugly", &[("ugly", "2\n")]);
    let mend = Change { branch: "cid/mend", from: Some("main"), files: &[("broken", None)] };
    house.remote.commit(&mend);
    house.start(&[]).await;

    let red = house.events.wait_for("target_red", |e| e["type"] == "target_red").await;
    let why = red["why"].as_str().unwrap_or_default();
    let short = &house.remote.head("main")[..10];
    assert!(why.starts_with(&format!("`main` itself is red at {short}: step `unit` ended with 3")), "{why}");
    let (health, note) = tip_health(&house).await;
    assert_eq!((health, note.as_str()), (json!("red"), why));
    let run =
        why.split_once("`yardmaster logs ").and_then(|(_, rest)| rest.split_once('`')).map(|(run, _)| run);
    let log = log_of(&house, run.unwrap_or_default()).await;
    assert!(log.contains("by somebody"), "{run:?}: {log}");

    house.announce("ann", "ann/innocent").await;
    let blocked = house.events.of_type("ann/innocent", "blocked").await;
    assert_eq!(blocked["blockers"][0]["kind"], "target_red", "{blocked}");
    house.announce("bob", "bob/ugly").await;
    let failed = house.events.end_of("bob/ugly").await;
    assert_eq!((&failed["cause"], &failed["blame"]), (&json!("gate_red"), &json!("own")), "{failed}");
    assert_eq!(failed["evidence"]["step"], "lint", "{failed}");

    house.announce("cid", "cid/mend").await;
    assert_eq!(house.events.end_of("cid/mend").await["type"], "merge_complete");
    assert_eq!(house.events.end_of("ann/innocent").await["type"], "merge_complete");
    house.events.wait_for("target_green", |e| e["type"] == "target_green").await;
    assert_eq!(tip_health(&house).await.0, "green");
    let tips = house.log().lines().filter(|l| l.contains("testing the tip")).count();
    assert_eq!(tips, 1, "what the queue landed is green already\n{}", house.log());
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

/// A request that makes the gate stricter than main is lands by the old gate; then main is tested by the new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_stricter_gate_finds_main_red_and_blames_nobody() {
    let files = [(".yardmaster.toml", "[gate]\nrun = \"true\"\n"), ("README", "a project\n")];
    let mut house = House::build_with(&files).await;
    house.branch("ann/stricter", &[(".yardmaster.toml", "[gate]\nrun = \"test -e LICENCE\"\n")]);
    house.branch("bob/innocent", &[("innocent.txt", "1\n")]);
    house.branch("cid/licence", &[("LICENCE", "free\n")]);
    house.start(&[]).await;
    house.announce("ann", "ann/stricter").await;
    assert_eq!(house.events.end_of("ann/stricter").await["type"], "merge_complete");
    house.events.wait_for("target_red", |e| e["type"] == "target_red").await;
    house.announce("bob", "bob/innocent").await;
    let blocked = house.events.of_type("bob/innocent", "blocked").await;
    assert_eq!(blocked["blockers"][0]["kind"], "target_red", "{blocked}");
    house.announce("cid", "cid/licence").await;
    assert_eq!(house.events.end_of("cid/licence").await["type"], "merge_complete");
    assert_eq!(house.events.end_of("bob/innocent").await["type"], "merge_complete");
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

/// `block`: nothing moves on a red main, not even what would mend it, until somebody pushes past the queue.
#[tokio::test(flavor = "multi_thread")]
async fn with_block_a_red_main_waits_for_a_push_from_outside() {
    let files = [(".yardmaster.toml", TWO_STEPS), ("README", "a project\n"), ("broken", "by somebody\n")];
    let mut house = House::build_with(&files).await;
    house.branch("ann/innocent", &[("innocent.txt", "1\n")]);
    let mend = Change { branch: "cid/mend", from: Some("main"), files: &[("broken", None)] };
    house.remote.commit(&mend);
    let env = [("YARDMASTER__QUEUE__BASE_RED", "block"), ("YARDMASTER__REPO__POLL", "100ms")];
    house.start_with(&[], &env).await;
    house.events.wait_for("target_red", |e| e["type"] == "target_red").await;
    for (agent, branch) in [("ann", "ann/innocent"), ("cid", "cid/mend")] {
        house.announce(agent, branch).await;
        let blocked = house.events.of_type(branch, "blocked").await;
        assert_eq!(blocked["blockers"][0]["kind"], "target_red", "{blocked}");
    }
    let tested = house.events.all().iter().filter(|e| e["type"] == "merge_testing").count();
    assert_eq!(tested, 0, "{}", house.events.told());
    let mend = Change { branch: "main", from: Some("main"), files: &[("broken", None)] };
    house.remote.commit(&mend);
    for branch in ["ann/innocent", "cid/mend"] {
        assert_eq!(house.events.end_of(branch).await["type"], "merge_complete");
    }
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}
