use yardmaster_tests::House;

/// A gate that takes far longer than it ever did: told once with what it is doing, and taken back with its end.
#[tokio::test(flavor = "multi_thread")]
async fn what_should_have_ended_by_now_is_told_with_what_it_is_doing() {
    let (mut house, gate) = House::held().await;
    house.branch("ann/slow", &[("slow.txt", "1\n")]);
    let env = [
        ("YARDMASTER__QUEUE__STALL_GRACE", "500ms"),
        ("YARDMASTER__QUEUE__MAX_LOST_RUNS", "1"),
        ("YARDMASTER__REPO__POLL", "100ms"),
    ];
    house.start_with(&[], &env).await;
    house.announce("ann", "ann/slow").await;
    let run = gate.run_of("r1").await;
    let stalled = house.events.wait_for("stalled", |e| e["type"] == "stalled").await;
    let why = stalled["why"].as_str().unwrap_or_default();
    assert_eq!(stalled["who"], "watchdog", "{stalled}");
    assert!(why.contains("r1 (ann/slow by ann) is being tested, attempt 1"), "{why}");
    assert!(why.contains(&format!("yardmaster logs {}", run.id)), "{why}");
    run.green();
    assert_eq!(house.events.end_of("ann/slow").await["type"], "merge_complete");
    house.events.wait_for("resumed", |e| e["type"] == "resumed" && e["who"] == "watchdog").await;
    let times = house.events.all().iter().filter(|e| e["type"] == "stalled").count();
    assert_eq!(times, 1, "{}", house.events.told());
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}
