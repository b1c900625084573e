use serde_json::json;
use yardmaster_tests::House;

/// Two targets have a queue each: what fails on one stops and repeats nothing on the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_on_one_target_is_no_matter_of_the_other() {
    let (mut house, gate) = House::held().await;
    house.remote.git(&["branch", "next", "main"]);
    for branch in ["ann/red", "bob/next", "ann/on-red", "bob/on-next"] {
        house.branch(branch, &[(branch, "x\n")]);
    }
    let config = house.dir.path().join("yardmaster.toml");
    std::fs::write(&config, "[repo]\npoll = \"500ms\"\ntargets = [\"next\"]\n").expect("written");
    house.start(&["--config", &config.to_string_lossy(), "--slots", "8"]).await;
    for (n, branch) in ["ann/red", "bob/next", "ann/on-red", "bob/on-next"].into_iter().enumerate() {
        let target = if n % 2 == 0 { "main" } else { "next" };
        house.announce_with("ann", branch, &json!({"target": target})).await;
        let testing = house.events.of_type(branch, "testing").await;
        let beneath = if n < 2 { json!([]) } else { json!([format!("r{}", n - 1)]) };
        assert_eq!(testing["behind"], beneath, "{branch} stands on its own target only");
    }
    let [red, next] = [gate.run_of("r1").await, gate.run_of("r2").await];
    let [on_red, on_next] = [gate.run_of("r3").await, gate.run_of("r4").await];
    red.red();
    assert_eq!(house.events.end_of("ann/red").await["cause"], "gate_red");
    on_red.dead().await;
    gate.run_of("r3").await.green();
    assert_eq!(house.events.end_of("ann/on-red").await["type"], "merge_complete");
    assert!(!next.is_dead() && !on_next.is_dead());
    on_next.green();
    next.green();
    for branch in ["bob/next", "bob/on-next"] {
        assert_eq!(house.events.end_of(branch).await["type"], "merge_complete");
        assert_eq!(house.events.of(branch), ["queued", "testing", "complete"]);
    }
    assert_eq!(house.stop().await, Some(0));
    for (target, landed) in [("main", "REQ-ann/on-red"), ("next", "REQ-bob/next REQ-bob/on-next")] {
        let format = "--format=%(trailers:key=Requirement,valueonly,separator=%x20)";
        let log = house.remote.git(&["log", "--first-parent", "--reverse", format, target]);
        assert_eq!(log.split_whitespace().collect::<Vec<_>>().join(" "), landed);
    }
}
