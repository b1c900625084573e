use serde_json::json;
use yardmaster_tests::House;

/// It never ends, takes no notice of being asked to, and has a child that does the same.
const GATE: &str = r#"#!/bin/sh
[ -e hang ] || exit 0
trap "" TERM
sh -c 'trap "" TERM; while :; do sleep 60; done' &
while :; do sleep 60; done
"#;

/// A run that never ends is killed with all its processes when its time is over: its request ends once and is
/// not tested again, and the next one goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_never_ends_is_ended_and_the_queue_goes_on() {
    let project = "[gate]\nrun = \"./gate.sh\"\ntimeout = \"1s\"\n";
    let mut house = House::build_with(&[("gate.sh", GATE), (".yardmaster.toml", project)]).await;
    house.branch("ann/hang", &[("hang", "")]);
    house.branch("bob/next", &[("next", "x\n")]);
    house.start(&["--slots", "1"]).await;
    house.announce_all("ann", &["ann/hang", "bob/next"]).await;
    let end = house.events.end_of("ann/hang").await;
    assert_eq!((&end["cause"], &end["blame"]), (&json!("gate_timeout"), &json!("own")), "{end}");
    assert_eq!(house.events.end_of("bob/next").await["type"], "merge_complete", "{}", house.log());
    assert_eq!(house.events.of("ann/hang"), ["queued", "testing", "failed"]);
    let left = house.processes();
    assert!(!left.iter().any(|p| p.contains("gate.sh") || p.contains("sleep 60")), "{left:?}");
    assert_eq!(house.stop().await, Some(0));
    assert_eq!(house.processes(), Vec::<String>::new());
    house.check().await;
}
