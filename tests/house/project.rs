use serde_json::json;
use yardmaster_tests::{House, PROJECT};

/// With such a project file on the target nothing would be tested or land any more, and whoever mends it would have
/// to go around the queue.
#[tokio::test(flavor = "multi_thread")]
async fn who_would_stop_the_queue_is_told_and_stops_nobody() {
    let mut house = House::build().await;
    let project = ".yardmaster.toml";
    house.branch("roy/typo", &[(project, "[gate]\nrnu = \"./gate.sh\"\n")]);
    house.branch("roy/none", &[(project, "[scope]\n")]);
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.branch("ann/gate", &[(project, &format!("{PROJECT}# a remark\n"))]);
    house.start(&[]).await;
    for branch in ["roy/typo", "roy/none", "ann/one", "ann/gate"] {
        house.announce(&branch[..3], branch).await;
    }
    for (branch, why) in [
        ("roy/typo", "line 2, column 1\n  |\n2 | rnu = \"./gate.sh\"\n  | ^^^\nunknown field `rnu`"),
        (
            "roy/none",
            "with it nothing could land on `main` any more: `.yardmaster.toml` would have no `[gate]`",
        ),
    ] {
        let end = house.events.end_of(branch).await;
        assert_eq!((&end["cause"], &end["blame"]), (&json!("policy"), &json!("own")), "{end}");
        assert!(end["evidence"]["message"].as_str().is_some_and(|m| m.contains(why)), "{end}");
        assert_eq!(end["evidence"]["paths"], json!([project]), "{end}");
        assert!(end["next"][0].as_str().is_some_and(|n| n.contains("mend .yardmaster.toml")), "{end}");
        assert_eq!(house.events.of(branch), ["queued", "failed"], "nothing was tested");
    }
    for branch in ["ann/one", "ann/gate"] {
        assert_eq!(house.events.end_of(branch).await["type"], "merge_complete", "{branch}");
    }
    assert_eq!(
        house.remote.file("main", project),
        Some(format!("{PROJECT}# a remark").trim_end().to_owned())
    );
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

/// Where the gate is given to the daemon, the project may be without one, but not be nonsense.
#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_is_given_needs_none_in_the_project() {
    let mut house = House::build().await;
    house.branch("roy/none", &[(".yardmaster.toml", "[scope]\n")]);
    house.branch("roy/typo", &[(".yardmaster.toml", "[scoop]\n")]);
    house.start(&["--gate", "true"]).await;
    house.announce("roy", "roy/typo").await;
    let end = house.events.end_of("roy/typo").await;
    assert_eq!((&end["type"], &end["cause"]), (&json!("merge_failed"), &json!("policy")), "{end}");
    house.announce("roy", "roy/none").await;
    assert_eq!(house.events.end_of("roy/none").await["type"], "merge_complete");
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}
