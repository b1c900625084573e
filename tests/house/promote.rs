use serde_json::{Value, json};
use yardmaster_tests::{House, yardmaster};

async fn promote(house: &House, args: &[&str]) -> (Option<i32>, Value, String) {
    let out = tokio::process::Command::new(yardmaster())
        .arg("promote")
        .args(args)
        .args(["--json", "--by", "olga", "--nats-url", &house.url])
        .output()
        .await
        .expect("the program runs");
    let answer = serde_json::from_slice(&out.stdout).unwrap_or_default();
    (out.status.code(), answer, String::from_utf8_lossy(&out.stderr).into_owned())
}

/// An operator moves one to the front of a full window, by its branch: it is tested at once and lands first, its
/// agent and the queue say who did it, and what cannot be moved is told.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_moves_a_request_to_the_front() {
    let (mut house, gate) = House::held().await;
    for branch in ["ann/one", "bob/two", "cid/three"] {
        house.branch(branch, &[(branch, "x\n")]);
    }
    let env = [
        ("YARDMASTER__QUEUE__WINDOW_MIN", "1"),
        ("YARDMASTER__QUEUE__WINDOW_MAX", "1"),
        ("YARDMASTER__QUEUE__BATCH", "1"),
    ];
    house.start_with(&[], &env).await;
    house.announce("ann", "ann/one").await;
    let stopped = gate.run_of("r1").await;
    house.announce("bob", "bob/two").await;
    house.announce_with("cid", "cid/three", &json!({"depends_on": ["bob/two"]})).await;
    house.wait_until_acked().await;

    let (code, answer, _) = promote(&house, &["cid/three", "--why", "a customer waits"]).await;
    assert_eq!((code, &answer["changed"]), (Some(0), &json!(true)), "{answer}");
    let moved: Vec<String> = answer["requests"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|r| format!("{} at {} needed by {}", r["request"], r["position"], r["needed_by"]))
        .collect();
    assert_eq!(moved, [r#""r2" at 1 needed by "r3""#, r#""r3" at 3 needed by null"#]);
    stopped.dead().await;
    let told = house.events.of_type("bob/two", "promoted").await;
    assert_eq!((&told["who"], &told["needed_by"]), (&json!("olga"), &json!("r3")), "{told}");

    let (code, answer, _) = promote(&house, &["cid/three"]).await;
    assert_eq!((code, &answer["changed"]), (Some(0), &json!(false)), "{answer}");
    let (code, _, error) = promote(&house, &["cid/three", "nobody/nothing"]).await;
    assert_eq!(code, Some(3), "{error}");
    gate.run_of("r2").await.green();
    let queue = house.nats.request("yardmaster.v1.queue", "".into()).await.expect("an answer");
    let queue: Value = serde_json::from_slice(&queue.payload).expect("JSON");
    let of = |id: &str| queue["requests"].as_array().into_iter().flatten().find(|r| r["request"] == id);
    assert_eq!(of("r3").expect("it is pending")["promoted"]["why"], "a customer waits");
    gate.run_of("r3").await.green();
    gate.run_of("r1").await.green();
    for branch in ["bob/two", "cid/three", "ann/one"] {
        let end = house.events.end_of(branch).await;
        assert_eq!(end["type"], "merge_complete", "{end}");
    }
    let (code, _, error) = promote(&house, &["r1"]).await;
    assert_eq!(code, Some(5), "{error}");
    let landed = house.events.all().into_iter().filter(|e| e["type"] == "merge_complete");
    let order: Vec<Value> = landed.map(|e| e["request"].clone()).collect();
    assert_eq!(order, ["r2", "r3", "r1"]);
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}
