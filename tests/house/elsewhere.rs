use serde_json::{Value, json};
use yardmaster_tests::{House, yardmaster};

/// Who is trusted says that a gate has passed, and what has that tree lands without a run; from anybody else that is
/// refused, and the branch is tested.
#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_has_passed_elsewhere_counts_from_who_is_trusted() {
    let mut house = House::build().await;
    house.start_with(&["--slots", "2"], &[("YARDMASTER__AUTH__TRUSTED_RUNNERS", "ci,other")]).await;
    let asked = tokio::process::Command::new(yardmaster())
        .args(["status", "--json", "--nats-url", &house.url])
        .output()
        .await
        .expect("the program runs");
    let status: Value = serde_json::from_slice(&asked.stdout).expect("JSON");
    let gate = status["targets"][0]["gate"].as_str().expect("has a gate").to_owned();
    let passed = |agent: &str, branch: &str, gate: &str| {
        let commit = house.remote.head(branch);
        let tree = house.remote.git(&["rev-parse", &format!("{branch}^{{tree}}")]);
        json!({"type": "gate_passed", "merge_info": {
            "agent": agent, "commit": commit.trim(), "tree": tree.trim(), "gate": gate, "ms": 1_500}})
        .to_string()
    };
    house.branch("ann/proved", &[("a", "x\n")]);
    house.publish("ci", passed("ci", "ann/proved", &gate)).await;
    house.announce("ann", "ann/proved").await;
    let end = house.events.end_of("ann/proved").await;
    assert_eq!((&end["type"], &end["gate"]["reused"]), (&json!("merge_complete"), &json!(true)), "{end}");
    assert!(end["gate"]["run"].as_str().is_some_and(|run| run.starts_with("by-ci-")), "{end}");
    assert_eq!((&end["gate"]["seconds"], &end["gate"]["gate"]), (&json!(1.5), &json!(gate)), "{end}");
    assert_eq!(house.events.of("ann/proved"), ["queued", "complete"], "no run");

    house.branch("ann/claimed", &[("b", "x\n")]);
    house.publish("ann", passed("ann", "ann/claimed", &gate)).await;
    let refused = house.events.wait_for("refused", |e| e["type"] == "request_rejected").await;
    assert_eq!(refused["why"]["code"], "not_trusted", "{refused}");
    house.publish("ann", passed("ci", "ann/claimed", &gate)).await;
    house.publish("ci", passed("ci", "ann/claimed", "another")).await;
    house.announce("ann", "ann/claimed").await;
    assert_eq!(house.events.end_of("ann/claimed").await["gate"]["reused"], false);
    assert_eq!(house.events.of("ann/claimed"), ["queued", "testing", "complete"]);
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}
