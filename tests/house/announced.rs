use serde_json::json;
use yardmaster_tests::{Change, House};

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_head_of_the_branch_takes_the_place_of_the_older() {
    let (mut house, gate) = House::held().await;
    house.branch("ann/one", &[("one.txt", "old\n")]);
    house.start(&[]).await;
    house.announce("ann", "ann/one").await;
    let old = gate.run_of("r1").await;
    let newer = house.branch("ann/one", &[("one.txt", "new\n")]);
    house.announce("ann", "ann/one").await;
    let superseded = house.events.of_type("ann/one", "superseded").await;
    assert_eq!((&superseded["request"], &superseded["by"]), (&json!("r1"), &json!("r2")));
    old.dead().await;
    gate.run_of("r2").await.green();
    let complete = house.events.of_type("ann/one", "complete").await;
    assert_eq!((&complete["request"], &complete["head"]), (&json!("r2"), &json!(newer)));
    assert_eq!(house.remote.file("main", "one.txt").as_deref(), Some("new"));
    assert_eq!(house.stop().await, Some(0));
    assert_eq!(house.check().await.by_request().len(), 2);
}

/// No process of the gate is left, and whoever stood on the withdrawn work is tested without it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_withdrawn_under_test_is_killed_with_all_its_children() {
    let (mut house, gate) = House::held().await;
    let script = gate.script_with("sleep 1000 &\n( setsid sleep 1000 ) &");
    house.remote.commit(&Change { branch: "main", from: Some("main"), files: &[("gate.sh", Some(&script))] });
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.branch("bob/two", &[("two.txt", "2\n")]);
    house.start(&[]).await;
    for (agent, branch) in [("ann", "ann/one"), ("bob", "bob/two")] {
        house.announce(agent, branch).await;
        house.events.of_type(branch, "queued").await;
    }
    let (one, two) = (gate.run_of("r1").await, gate.run_of("r2").await);
    house.withdraw("ann", "ann/one").await;
    let withdrawn = house.events.end_of("ann/one").await;
    assert_eq!((&withdrawn["type"], &withdrawn["by"]), (&json!("merge_withdrawn"), &json!("ann")));
    one.dead().await;
    two.dead().await;
    gate.run_of("r2").await.green();
    assert_eq!(house.events.end_of("bob/two").await["type"], "merge_complete");
    assert_eq!(house.events.of("bob/two"), ["queued", "testing", "testing", "complete"]);
    assert_eq!(house.remote.file("main", "one.txt"), None);
    assert_eq!(house.stop().await, Some(0));
    assert_eq!(house.processes(), Vec::<String>::new());
    house.check().await;
}

/// At whatever moment the withdrawal comes, no run is left and nothing lands.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_withdrawn_while_its_run_starts_leaves_no_run() {
    let (mut house, gate) = House::held().await;
    house.start(&[]).await;
    let branches: Vec<String> = (0..8).map(|n| format!("ann/{n}")).collect();
    for (n, branch) in branches.iter().enumerate() {
        house.branch(branch, &[(branch, "x\n")]);
        house.announce("ann", branch).await;
        match n % 3 {
            0 => drop(house.events.of_type(branch, "queued").await),
            1 => drop(house.events.of_type(branch, "testing").await),
            _ => {}
        }
        house.withdraw("ann", branch).await;
        house.wait_until_acked().await;
    }
    // A request that is not withdrawn shows that the lanes are free again.
    house.branch("bob/last", &[("last.txt", "x\n")]);
    house.announce("bob", "bob/last").await;
    gate.run_of("r9").await.green();
    assert_eq!(house.events.end_of("bob/last").await["type"], "merge_complete");
    for branch in &branches {
        assert_eq!(house.events.of(branch).last().map(String::as_str), Some("withdrawn"), "{branch}");
    }
    assert_eq!(house.remote.history(), ["work on main", "Merge REQ-bob/last from bob"]);
    assert_eq!(house.stop().await, Some(0));
    assert_eq!(house.processes(), Vec::<String>::new());
    house.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_withdrawn_can_be_announced_again() {
    let (mut house, gate) = House::held().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&[]).await;
    house.announce("ann", "ann/one").await;
    let first = gate.run_of("r1").await;
    house.withdraw("ann", "ann/one").await;
    house.events.end_of("ann/one").await;
    first.dead().await;
    house.announce("ann", "ann/one").await;
    gate.run_of("r2").await.green();
    let complete = house.events.of_type("ann/one", "complete").await;
    assert_eq!(complete["request"], "r2");
    assert_eq!(
        house.events.of("ann/one"),
        ["queued", "testing", "withdrawn", "queued", "testing", "complete"]
    );
    house.stop().await;
    house.check().await;
}

/// While it is queued and after it has landed: one request, one merge, one end.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_twice_lands_once() {
    let (mut house, gate) = House::held().await;
    let head = house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&[]).await;
    house.announce("ann", "ann/one").await;
    let run = gate.run_of("r1").await;
    house.announce("ann", "ann/one").await;
    house.announce_with("ann", "ann/one", &json!({"commit": head})).await;
    house.wait_until_acked().await;
    run.green();
    house.events.of_type("ann/one", "complete").await;
    house.announce("ann", "ann/one").await;
    house.wait_until_acked().await;
    house.remote.git(&["update-ref", "-d", "refs/heads/ann/one"]);
    house.announce_with("ann", "ann/one", &json!({"commit": head})).await;
    house.wait_until_acked().await;
    assert_eq!(house.stop().await, Some(0));
    let ledger = house.check().await;
    assert_eq!(house.events.of("ann/one"), ["queued", "testing", "complete"]);
    assert_eq!(ledger.messages.len(), 3, "{}", ledger.told());
    assert_eq!(house.remote.first_parents().len(), 2);
}
