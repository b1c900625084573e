use serde_json::json;
use yardmaster_tests::House;

/// The thinnest slice through every room: publish, journal, gate, push, event.
#[tokio::test(flavor = "multi_thread")]
async fn an_announced_branch_lands_and_everybody_is_told() {
    let mut house = House::build().await;
    let head = house.branch("roy/one", &[("one.txt", "one\n")]);
    house.start(&[]).await;
    house.announce("roy", "roy/one").await;
    let complete = house.events.end_of("roy/one").await;
    assert_eq!(complete["type"], "merge_complete", "{}", house.events.told());
    assert_eq!(house.events.of("roy/one"), ["queued", "testing", "complete"]);
    assert_eq!(complete["head"], json!(head));
    let tip = house.remote.head("main");
    assert_eq!(complete["commit"], json!(tip));
    assert_eq!(house.remote.git(&["rev-parse", "main^2"]), head);
    assert_eq!(complete["tree"], json!(house.remote.git(&["rev-parse", "main^{tree}"])));
    let trailers = house.remote.git(&["log", "-1", "--format=%(trailers:only)", "main"]);
    assert_eq!(trailers, "Request-Id: r1\nRequirement: REQ-roy/one\nAgent: roy");
    assert_eq!(house.stop().await, Some(0));
}

/// What is red stays out; what is red tells its author what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_red_branch_stays_out_and_its_neighbours_land() {
    let mut house = House::build().await;
    house.branch("ann/red", &[("red", "")]);
    house.branch("bob/two", &[("two.txt", "two\n")]);
    house.start(&["--slots", "2"]).await;
    house.announce("ann", "ann/red").await;
    house.announce("bob", "bob/two").await;
    let failed = house.events.end_of("ann/red").await;
    assert_eq!((&failed["cause"], &failed["blame"]), (&json!("gate_red"), &json!("own")));
    assert_eq!(failed["evidence"]["exit_code"], json!(1));
    let complete = house.events.end_of("bob/two").await;
    assert_eq!(complete["type"], "merge_complete");
    assert_eq!(house.remote.file("main", "red"), None);
    assert_eq!(house.remote.file("main", "two.txt").as_deref(), Some("two"));
}
