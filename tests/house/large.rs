use serde_json::json;
use yardmaster_tests::{Change, House, PROJECT};

/// What is found in a branch stands in facts, events and jobs, each one message with a limit: none may be too large
/// for the journal, which nothing gets past.
#[tokio::test(flavor = "multi_thread")]
async fn branches_with_long_paths_and_long_mistakes_hold_nobody_up() {
    let mut house = House::build().await;
    let folder = ["x".repeat(220), "y".repeat(220), "z".repeat(220), "\u{e9}".repeat(110)].join("/");
    let paths: Vec<String> = (0..1_000).map(|n| format!("{folder}/{n}.txt")).collect();
    for (branch, text) in [("roy/many", "1\n"), ("roy/clash", "2\n")] {
        let files: Vec<_> = paths.iter().map(|path| (path.as_str(), Some(text))).collect();
        house.remote.commit(&Change { branch, from: Some("main"), files: &files });
    }
    let mistake = "\u{e9}".repeat(100_000);
    house.branch("roy/mistake", &[(".yardmaster.toml", &mistake)]);
    house.branch("roy/one", &[("one.txt", "1\n")]);
    let env = [("YARDMASTER__REPO__POLL", "300ms")];
    house.start_with(&["--gate", "./gate.sh"], &env).await;

    house.announce("roy", "roy/many").await;
    assert_eq!(house.events.end_of("roy/many").await["type"], "merge_complete", "{}", house.log());
    house.announce("roy", "roy/mistake").await;
    let end = house.events.end_of("roy/mistake").await;
    assert_eq!((&end["type"], &end["cause"]), (&json!("merge_failed"), &json!("policy")), "{end}");
    house.announce("roy", "roy/clash").await;
    let end = house.events.end_of("roy/clash").await;
    assert_eq!((&end["type"], &end["cause"]), (&json!("merge_failed"), &json!("conflict")));
    // Pushed past the queue: who may touch what is not known while the file cannot be read; its reason is long, too.
    house.remote.commit(&Change {
        branch: "main",
        from: Some("main"),
        files: &[(".yardmaster.toml", Some(&mistake))],
    });
    house.announce("roy", "roy/one").await;
    assert_eq!(house.events.of_type("roy/one", "blocked").await["blockers"][0]["kind"], "scope");
    house.remote.commit(&Change {
        branch: "main",
        from: Some("main"),
        files: &[(".yardmaster.toml", Some(PROJECT))],
    });
    assert_eq!(house.events.end_of("roy/one").await["type"], "merge_complete", "{}", house.log());
    house.kill().await;
    house.start(&["--gate", "./gate.sh"]).await;
    house.stop().await;
    house.check().await;
}
