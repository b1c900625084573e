use std::fs;

use serde_json::{Value, json};
use yardmaster_tests::{House, yardmaster};

async fn operator(house: &House, args: &[&str]) -> Value {
    let out = tokio::process::Command::new(yardmaster())
        .args(args)
        .args(["--json", "--nats-url", &house.url])
        .output()
        .await
        .expect("the program runs");
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("JSON")
}

async fn paused(house: &House, who: &str) -> Value {
    house.events.wait_for("paused", |e| e["type"] == "paused" && e["who"] == who).await
}

/// Tests go on, nothing lands, a restart changes nothing, and the operator lets it go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_target_takes_nothing_until_it_is_unfrozen() {
    let (mut house, gate) = House::held().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    let first = house.remote.head("main");
    house.start(&[]).await;
    let reply = operator(&house, &["freeze", "--why", "a release", "--by", "olga"]).await;
    assert_eq!(reply, json!({"target": "main", "frozen": true, "changed": true}));
    assert!(paused(&house, "olga").await["why"].as_str().is_some_and(|w| w.contains("a release")));
    assert_eq!(operator(&house, &["freeze"]).await["changed"], json!(false));

    house.announce("ann", "ann/one").await;
    let blocked = house.events.of_type("ann/one", "blocked").await;
    assert_eq!(blocked["blockers"][0]["kind"], "hold", "{blocked}");
    gate.run_of("r1").await.green();
    house.kill().await;
    house.start(&[]).await;
    let queue = operator(&house, &["queue"]).await;
    let hold = queue["targets"][0]["hold"].as_str().unwrap_or_default();
    assert!(hold.contains("frozen by olga") && hold.contains("yardmaster unfreeze main"), "{queue}");
    assert_eq!(house.remote.head("main"), first);

    assert_eq!(operator(&house, &["unfreeze"]).await["frozen"], json!(false));
    gate.open_wide();
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    assert!(house.events.all().iter().any(|e| e["type"] == "resumed" && e["who"] == "operator"));
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

/// A server-side robot replaces what was pushed: an alarm, no further push, no wrong word to anybody.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_the_remote_rewrites_freezes_the_target() {
    let commit = "git -c user.name=robot -c user.email=robot@example.invalid commit-tree -p $old";
    for (robot, keeps_it) in [
        (format!("git update-ref $ref $({commit} -m squashed $new^{{tree}})"), true),
        (format!("git update-ref $ref $({commit} -m emptied $old^{{tree}})"), false),
        ("git update-ref $ref $old".to_owned(), false),
    ] {
        let mut house = House::build().await;
        house.branch("ann/one", &[("one.txt", "1\n")]);
        house.remote.hook("post-receive", &format!("while read -r old new ref; do {robot}; done"));
        house.start(&[]).await;
        house.announce("ann", "ann/one").await;
        let alarm = paused(&house, "audit").await;
        let why = alarm["why"].as_str().unwrap_or_default();
        assert!(why.contains("the remote took the push of"), "{robot}: {alarm}");
        house.events.of_type("ann/one", "blocked").await;
        let status = operator(&house, &["status", "r1"]).await;
        assert_eq!(status["state"], "blocked", "{robot}: {status}");
        assert!(!house.events.of("ann/one").contains(&"complete".to_owned()), "{robot}");
        assert_eq!(house.remote.file("main", "one.txt").is_some(), keeps_it, "{robot}");

        fs::remove_file(house.remote.path().join("hooks/post-receive")).expect("removed");
        operator(&house, &["unfreeze", "main", "--why", "the robot is off"]).await;
        assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete", "{robot}");
        assert_eq!(house.remote.file("main", "one.txt").as_deref(), Some("1"), "{robot}");
        let alarms = house.events.all().iter().filter(|e| e["type"] == "paused").count();
        assert_eq!(alarms, 1, "{robot}:\n{}", house.events.told());
        assert_eq!(house.stop().await, Some(0));
    }
}

/// Main goes back behind what has landed: told by name, and the same head lands again when it is announced again.
#[tokio::test(flavor = "multi_thread")]
async fn what_fell_off_a_rewound_main_is_named_and_can_land_again() {
    let mut house = House::build().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.branch("bob/two", &[("two.txt", "2\n")]);
    let first = house.remote.head("main");
    house.start(&[]).await;
    for (agent, branch) in [("ann", "ann/one"), ("bob", "bob/two")] {
        house.announce(agent, branch).await;
        assert_eq!(house.events.end_of(branch).await["type"], "merge_complete");
    }
    let full = house.remote.head("main");
    house.remote.git(&["update-ref", "refs/heads/main", &first]);
    let named = |e: &Value| e["type"] == "stalled" && e["why"].as_str().is_some_and(|w| w.contains("r1 ("));
    let told = house.events.wait_for("what fell off", named).await;
    let why = told["why"].as_str().unwrap_or_default();
    assert!(why.contains("r2 (bob/two by bob)"), "{why}");
    assert!(why.contains(&format!("git push origin {full}:refs/heads/main")), "{why}");
    // Queued again, not taken for a repetition; the one that nobody announces again stays off.
    house.announce("ann", "ann/one").await;
    let again = |e: &Value| e["type"] == "merge_complete" && e["request"] == "r3";
    assert_eq!(house.events.wait_for("r3", again).await["base"], json!(first));
    assert_eq!(house.remote.file("main", "one.txt").as_deref(), Some("1"));
    assert_eq!(house.remote.file("main", "two.txt"), None);
    assert_eq!(house.stop().await, Some(0));
}

/// Main is rewritten under a running gate: nobody has landed, nobody has failed, a person is asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_rewritten_main_waits_for_a_person() {
    let (mut house, gate) = House::held().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.branch("bob/two", &[("two.txt", "2\n")]);
    house.start(&[]).await;
    house.announce("ann", "ann/one").await;
    gate.run_of("r1").await.green();
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    let old = house.remote.head("main");
    house.announce("bob", "bob/two").await;
    let run = gate.run_of("r2").await;
    let first = house.remote.git(&["rev-parse", "main^1"]);
    let other =
        house.remote.git(&["commit-tree", "-p", &first, "-m", "rewritten", &format!("{first}^{{tree}}")]);
    house.remote.git(&["update-ref", "refs/heads/main", &other]);
    let asked = paused(&house, "target").await;
    let why = asked["why"].as_str().unwrap_or_default();
    assert!(why.contains(&old) && why.contains("yardmaster unfreeze main"), "{why}");
    run.dead().await;
    // Tested on what is there, and red: not failed before somebody has looked.
    gate.run_of("r2").await.red();
    operator(&house, &["unfreeze"]).await;
    assert_eq!(house.events.end_of("bob/two").await["type"], "merge_failed");
    let kinds: Vec<Value> = house.events.all().iter().map(|e| e["type"].clone()).collect();
    let place = |kind: &str| kinds.iter().position(|k| k == kind);
    assert!(place("resumed") < place("merge_failed"), "{kinds:?}");
    assert_eq!(house.remote.head("main"), other, "nothing of ours was pushed");
    assert_eq!(house.stop().await, Some(0));
}

/// Main is deleted: said, held, and it goes on when main is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_main_is_waited_for() {
    let (mut house, gate) = House::held().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&[]).await;
    house.announce("ann", "ann/one").await;
    let run = gate.run_of("r1").await;
    let tip = house.remote.head("main");
    house.remote.git(&["update-ref", "-d", "refs/heads/main"]);
    run.green();
    let stalled = house.events.wait_for("stalled", |e| e["type"] == "stalled").await;
    assert!(stalled["why"].as_str().is_some_and(|w| w.contains("no branch `main`")), "{stalled}");
    house.remote.git(&["update-ref", "refs/heads/main", &tip]);
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    assert_eq!(house.events.of("ann/one"), ["queued", "testing", "complete"]);
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}
