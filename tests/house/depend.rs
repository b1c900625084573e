use serde_json::json;
use yardmaster_tests::House;

/// Announced in the wrong order, landed in the right one.
#[tokio::test(flavor = "multi_thread")]
async fn dependencies_land_first_whatever_the_order_of_announcement() {
    let mut house = House::build().await;
    for name in ["a", "b", "c"] {
        house.branch(&format!("ann/{name}"), &[(name, "x\n")]);
    }
    house.start(&[]).await;
    house.announce_with("ann", "ann/c", &json!({"depends_on": ["REQ-ann/b"]})).await;
    let blocked = house.events.of_type("ann/c", "blocked").await;
    assert_eq!(blocked["blockers"][0]["kind"], "dependency");
    assert_eq!(blocked["blockers"][0]["with"], "REQ-ann/b");
    house.announce_with("ann", "ann/b", &json!({"depends_on": ["ann/a"]})).await;
    house.events.of_type("ann/b", "blocked").await;
    house.announce("ann", "ann/a").await;
    for name in ["ann/a", "ann/b", "ann/c"] {
        assert_eq!(house.events.end_of(name).await["type"], "merge_complete", "{name}");
    }
    let merges =
        ["work on main", "Merge REQ-ann/a from ann", "Merge REQ-ann/b from ann", "Merge REQ-ann/c from ann"];
    assert_eq!(house.remote.history(), merges);
    house.stop().await;
    house.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependency_that_has_landed_is_no_wait() {
    let mut house = House::build().await;
    house.branch("ann/a", &[("a", "x\n")]);
    house.branch("ann/b", &[("b", "x\n")]);
    house.start(&[]).await;
    house.announce("ann", "ann/a").await;
    house.events.of_type("ann/a", "complete").await;
    house.stop().await;
    house.start(&[]).await;
    house.announce_with("ann", "ann/b", &json!({"depends_on": ["REQ-ann/a"]})).await;
    house.events.of_type("ann/b", "complete").await;
    assert_eq!(house.events.of("ann/b"), ["queued", "testing", "complete"]);
    house.stop().await;
    house.check().await;
}

/// D needs C needs B; B is red; A and E are free.
#[tokio::test(flavor = "multi_thread")]
async fn who_depends_on_what_failed_leaves_and_the_others_land() {
    let mut house = House::build().await;
    house.branch("ann/a", &[("a", "x\n")]);
    house.branch("ann/b", &[("red", "")]);
    for name in ["c", "d", "e"] {
        house.branch(&format!("ann/{name}"), &[(name, "x\n")]);
    }
    house.start(&[]).await;
    house.announce_with("ann", "ann/d", &json!({"depends_on": ["ann/c"]})).await;
    house.announce_with("ann", "ann/c", &json!({"depends_on": ["ann/b"]})).await;
    for name in ["ann/a", "ann/b", "ann/e"] {
        house.announce("ann", name).await;
    }
    for name in ["ann/a", "ann/e"] {
        assert_eq!(house.events.end_of(name).await["type"], "merge_complete", "{name}");
    }
    let b = house.events.end_of("ann/b").await;
    assert_eq!((&b["cause"], &b["blame"]), (&json!("gate_red"), &json!("own")), "{b}");
    for (name, needs) in [("ann/c", "ann/b"), ("ann/d", "ann/c")] {
        let end = house.events.end_of(name).await;
        assert_eq!((&end["cause"], &end["blame"]), (&json!("dependency_failed"), &json!("ahead")), "{end}");
        let with = end["evidence"]["with"][0].as_str().unwrap_or_default();
        assert!(with.contains(needs), "{with}");
    }
    for name in ["c", "d", "red"] {
        assert_eq!(house.remote.file("main", name), None, "{name}");
    }
    house.stop().await;
    house.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_waits_and_says_so_and_the_rest_goes_on() {
    let mut house = House::build().await;
    for name in ["a", "b", "c"] {
        house.branch(&format!("ann/{name}"), &[(name, "x\n")]);
    }
    house.start(&[]).await;
    house.announce_with("ann", "ann/a", &json!({"depends_on": ["ann/b"]})).await;
    house.announce_with("ann", "ann/b", &json!({"depends_on": ["ann/a"]})).await;
    house.announce("ann", "ann/c").await;
    let cycle = house.events.wait_for("cycle", |e| e["blockers"][0]["kind"] == "cycle").await;
    assert_eq!(
        cycle["blockers"][0]["until"],
        "one of them is withdrawn and announced again without that dependency"
    );
    house.events.of_type("ann/c", "complete").await;
    // What the sentence says ends it.
    house.withdraw("ann", "ann/b").await;
    house.events.of_type("ann/b", "withdrawn").await;
    house.announce("ann", "ann/b").await;
    house.events.of_type("ann/b", "complete").await;
    house.events.of_type("ann/a", "complete").await;
    house.stop().await;
    house.check().await;
}
