use serde_json::json;
use yardmaster_tests::{Change, House};

/// From `queued` on the work is in custody: what becomes of the branch is of no interest.
#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_is_deleted_or_rewritten_after_queued_lands_as_announced() {
    let (mut house, gate) = House::held().await;
    house.branch("ann/first", &[("first.txt", "1\n")]);
    let deleted = house.branch("bob/deleted", &[("deleted.txt", "2\n")]);
    let rewritten = house.branch("cid/rewritten", &[("rewritten.txt", "3\n")]);
    house.start(&[]).await;
    for (agent, branch) in [("ann", "ann/first"), ("bob", "bob/deleted"), ("cid", "cid/rewritten")] {
        house.announce(agent, branch).await;
        house.events.of_type(branch, "queued").await;
    }
    house.wait_until_acked().await;

    house.remote.git(&["update-ref", "-d", "refs/heads/bob/deleted"]);
    house.remote.commit(&Change {
        branch: "cid/rewritten",
        from: Some("main"),
        files: &[("evil.txt", Some("not announced\n"))],
    });
    // What was assembled before is of no use without the first one: the rest is made anew.
    gate.run_of("r1").await.red();
    gate.open_wide();

    for (branch, head) in [("bob/deleted", &deleted), ("cid/rewritten", &rewritten)] {
        let end = house.events.end_of(branch).await;
        assert_eq!((&end["type"], &end["head"]), (&json!("merge_complete"), &json!(head)), "{end}");
    }
    assert_eq!(house.remote.file("main", "deleted.txt").as_deref(), Some("2"));
    assert_eq!(house.remote.file("main", "rewritten.txt").as_deref(), Some("3"));
    assert_eq!(house.remote.file("main", "evil.txt"), None);
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

/// Custody survives the daemon: the branch goes while nobody serves.
#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_is_deleted_while_the_daemon_is_down_lands_after_its_restart() {
    let (mut house, gate) = House::held().await;
    let head = house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&[]).await;
    house.announce("ann", "ann/one").await;
    // Held, since a gate that nobody will judge is red, and could say so before the kill.
    let _held = gate.run_of("r1").await;
    house.kill().await;
    house.remote.git(&["update-ref", "-d", "refs/heads/ann/one"]);
    house.start(&[]).await;
    gate.open_wide();
    let end = house.events.end_of("ann/one").await;
    assert_eq!((&end["type"], &end["head"]), (&json!("merge_complete"), &json!(head)), "{end}");
    house.stop().await;
    house.check().await;
}
