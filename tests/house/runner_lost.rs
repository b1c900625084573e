use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use yardmaster_tests::{House, PROJECT};

/// Breaks one lane of an idle daemon: no run can start where the directory of its temporary files is a file.
fn break_lane(house: &House) -> PathBuf {
    let lanes = fs::read_dir(house.state_dir().join("lanes")).expect("lanes");
    let lane = lanes.flatten().next().expect("a lane").path();
    let tmp = lane.join("tmp");
    if tmp.is_dir() {
        fs::remove_dir_all(&tmp).expect("removed");
    }
    fs::write(&tmp, "").expect("a file is in its place");
    tmp
}

fn mend_lane(tmp: &Path) {
    fs::remove_file(tmp).expect("removed");
    fs::create_dir(tmp).expect("made again");
}

/// A runner that can start nothing says nothing about the work: the run is repeated, the request that is
/// tested beside it is not disturbed, and both land.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_run_is_repeated_and_disturbs_nobody() {
    let (mut house, gate) = House::held().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.branch("bob/two", &[("two.txt", "2\n")]);
    house.start_with(&["--slots", "2"], &[("YARDMASTER__QUEUE__MAX_LOST_RUNS", "100000")]).await;
    let tmp = break_lane(&house);
    house.announce_all("ann", &["ann/one"]).await;
    house.announce_all("bob", &["bob/two"]).await;
    let lost =
        house.events.wait_for("a third attempt", |e| e["type"] == "merge_testing" && e["attempt"] == 3).await;
    mend_lane(&tmp);
    gate.open_wide();
    for branch in ["ann/one", "bob/two"] {
        assert_eq!(house.events.end_of(branch).await["type"], "merge_complete", "{branch}");
        if lost["branch"] != branch {
            assert_eq!(house.events.of(branch), ["queued", "testing", "complete"], "{branch}");
        }
    }
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

/// Too many losses end the request, and the blame is not its author's; the next one has its own budget.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_lost_again_and_again_ends_at_the_retry_limit() {
    let mut house = House::build_with(&[("gate.sh", "#!/bin/sh\n"), (".yardmaster.toml", PROJECT)]).await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.branch("bob/two", &[("two.txt", "2\n")]);
    house.start(&["--slots", "1"]).await;
    let tmp = break_lane(&house);
    house.announce("ann", "ann/one").await;
    let failed = house.events.end_of("ann/one").await;
    assert_eq!((&failed["cause"], &failed["blame"]), (&json!("policy"), &json!("infra")), "{failed}");
    let message = failed["evidence"]["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("retry limit: 3 runs were lost"), "{message}");
    let attempts = house.events.all().iter().filter(|e| e["type"] == "merge_testing").count();
    assert_eq!(attempts, 3);
    mend_lane(&tmp);
    house.announce("bob", "bob/two").await;
    assert_eq!(house.events.end_of("bob/two").await["type"], "merge_complete");
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}
