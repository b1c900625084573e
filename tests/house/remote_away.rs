use std::fs;

use yardmaster_tests::{Change, House};

/// Nothing is decided while the remote is away, nothing is lost, and it goes on when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_remote_that_goes_away_while_serving_is_told_and_waited_for() {
    let mut house = House::build().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&[]).await;
    let (here, away) = (house.remote.path().to_owned(), house.dir.path().join("away.git"));
    fs::rename(&here, &away).expect("moved");
    house.announce("ann", "ann/one").await;
    let stalled = house.events.wait_for("stalled", |e| e["type"] == "stalled").await;
    insta::assert_snapshot!(house.redacted(stalled["why"].as_str().unwrap_or_default()));
    // A restart in between changes nothing.
    house.kill().await;
    house.start(&[]).await;
    fs::rename(&away, &here).expect("moved back");
    house.events.wait_for("resumed", |e| e["type"] == "resumed").await;
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    let told = house.events.all().iter().filter(|e| e["type"] == "stalled").count();
    assert_eq!(told, 1, "once is enough:\n{}", house.events.told());
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

/// The file that defines the gate breaks on main while work is queued: told, and mended by a push.
#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_breaks_on_main_is_told_and_waited_for() {
    let mut house = House::build().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&[]).await;
    let good = house.remote.file("main", ".yardmaster.toml").expect("a gate");
    let project = |text: &str| {
        house.remote.commit(&Change {
            branch: "main",
            from: Some("main"),
            files: &[(".yardmaster.toml", Some(text))],
        })
    };
    project("[gate\nrun = 1\n");
    let stalled = house.events.wait_for("stalled", |e| e["type"] == "stalled").await;
    insta::assert_snapshot!(house.redacted(stalled["why"].as_str().unwrap_or_default()));
    house.announce("ann", "ann/one").await;
    house.events.of_type("ann/one", "queued").await;
    project(&good);
    house.events.wait_for("resumed", |e| e["type"] == "resumed").await;
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    house.stop().await;
    house.check().await;
}

/// Somebody rewrites main while work is queued: it is taken as it is, and work lands on top.
#[tokio::test(flavor = "multi_thread")]
async fn a_main_that_was_rewritten_is_taken_as_it_is() {
    let (mut house, gate) = House::held().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.branch("ann/two", &[("two.txt", "2\n")]);
    let first = house.remote.head("main");
    house.start(&[]).await;
    house.announce("ann", "ann/one").await;
    gate.run_of("r1").await.green();
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    house.announce("ann", "ann/two").await;
    let old = gate.run_of("r2").await;
    house.remote.git(&["update-ref", "refs/heads/main", &first]);
    old.dead().await;
    gate.run_of("r2").await.green();
    let end = house.events.end_of("ann/two").await;
    assert_eq!(
        (end["type"].as_str(), end["base"].as_str()),
        (Some("merge_complete"), Some(first.as_str())),
        "{end}"
    );
    assert_eq!(house.remote.git(&["rev-parse", "main^1"]), first);
    assert_eq!(house.stop().await, Some(0));
}
