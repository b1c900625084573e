use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt as _;
use yardmaster_tests::{Change, House, make_pipe};

/// Somebody pushes to main while a candidate is under test.
#[tokio::test(flavor = "multi_thread")]
async fn a_hotfix_that_is_pushed_under_a_running_gate_survives() {
    let (mut house, gate) = House::held().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    // So rarely that the push finds it out.
    house.start_with(&[], &[("YARDMASTER__REPO__POLL", "10m")]).await;
    house.announce("ann", "ann/one").await;
    let first = gate.run_of("r1").await;
    let hotfix = house.remote.commit(&Change {
        branch: "main",
        from: Some("main"),
        files: &[("fix.txt", Some("!\n"))],
    });
    first.green();
    gate.run_of("r1").await.green();
    let complete = house.events.end_of("ann/one").await;
    assert_eq!(
        (&complete["type"], &complete["base"]),
        (&json!("merge_complete"), &json!(hotfix)),
        "{complete}"
    );
    assert_eq!(house.events.of("ann/one"), ["queued", "testing", "testing", "complete"]);
    assert_eq!(house.remote.git(&["rev-parse", "main^1"]), hotfix);
    assert_eq!(house.remote.file("main", "fix.txt").as_deref(), Some("!"));
    house.stop().await;
    house.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_the_remote_declines_fails_alone() {
    let mut house = House::build().await;
    for name in ["a", "b", "c"] {
        house.branch(&format!("ann/{name}"), &[(if name == "b" { "forbidden" } else { name }, "x\n")]);
    }
    house.remote.hook("pre-receive",
        "while read -r old new ref; do if git cat-file -e $new:forbidden; then echo 'forbidden is forbidden' >&2; exit 1; fi; done",
    );
    house.start(&[]).await;
    for name in ["ann/a", "ann/b", "ann/c"] {
        house.announce("ann", name).await;
    }
    let end = house.events.end_of("ann/b").await;
    assert_eq!((&end["type"], &end["cause"]), (&json!("merge_failed"), &json!("push_refused")), "{end}");
    let message = end["evidence"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("forbidden is forbidden"), "{message}");
    for name in ["ann/a", "ann/c"] {
        assert_eq!(house.events.end_of(name).await["type"], "merge_complete", "{name}");
    }
    house.stop().await;
    house.check().await;
}

/// The remote is away when the push comes: the same tested commit is pushed when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_remote_that_is_gone_for_a_moment_costs_no_second_run() {
    let (mut house, gate) = House::held().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&[]).await;
    house.announce("ann", "ann/one").await;
    let run = gate.run_of("r1").await;
    let (here, away) = (house.remote.path().to_owned(), house.dir.path().join("away.git"));
    fs::rename(&here, &away).expect("moved");
    run.green();
    let stalled = house.events.wait_for("stalled", |e| e["type"] == "stalled").await;
    assert_eq!(stalled["who"], "remote");
    fs::rename(&away, &here).expect("moved back");
    house.events.wait_for("resumed", |e| e["type"] == "resumed").await;
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    assert_eq!(house.events.of("ann/one"), ["queued", "testing", "complete"]);
    assert_eq!(gate.started(), 1);
    house.stop().await;
    house.check().await;
}

/// The remote takes the push and dies before it says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_cut_off_after_it_was_taken_completes_once() {
    let mut house = House::build().await;
    house.remote.hook("post-receive", "kill -9 $PPID");
    house.start(&[]).await;
    for name in ["ann/a", "ann/b"] {
        house.branch(name, &[(name, "x\n")]);
        house.announce("ann", name).await;
        assert_eq!(house.events.end_of(name).await["type"], "merge_complete", "{}", house.log());
        assert_eq!(house.events.of(name), ["queued", "testing", "complete"]);
    }
    house.stop().await;
    house.check().await;
}

/// Stops in the hook until the test lets it go on, and says when it is there.
async fn reached(house: &House, name: &str) -> (tokio::net::unix::pipe::Receiver, std::path::PathBuf) {
    let (there, on) = (house.dir.path().join("there"), house.dir.path().join("on"));
    make_pipe(&there);
    make_pipe(&on);
    house.remote.hook(name, &format!("echo x > '{}'; read -r x < '{}'", there.display(), on.display()));
    let there =
        tokio::net::unix::pipe::OpenOptions::new().read_write(true).open_receiver(&there).expect("opened");
    (there, on)
}

fn let_go(house: &House, name: &str, on: &Path) {
    fs::remove_file(house.remote.path().join("hooks").join(name)).expect("removed");
    let on = on.to_owned();
    // Opening waits for the hook's end.
    std::thread::spawn(move || fs::write(on, "x\n"));
}

/// kill -9 in mid-push, after the remote took it and before anybody said so.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_dies_after_its_push_was_taken_completes_it_once() {
    let mut house = House::build().await;
    let (mut there, on) = reached(&house, "post-receive").await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&[]).await;
    house.announce("ann", "ann/one").await;
    there.read_u8().await.expect("the hook is there");
    house.kill().await;
    // A hotfix on top: our own landing is recognised beneath it.
    let_go(&house, "post-receive", &on);
    house.remote.commit(&Change { branch: "main", from: Some("main"), files: &[("fix.txt", Some("!\n"))] });
    house.start(&[]).await;
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    assert_eq!(house.remote.history(), ["work on main", "Merge REQ-ann/one from ann", "work on main"]);
    house.stop().await;
    house.check().await;
}

/// kill -9 in mid-push, before the remote took it; the orphaned push arrives when it likes.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_dies_before_its_push_was_taken_lands_it_once() {
    let mut house = House::build().await;
    let (mut there, on) = reached(&house, "pre-receive").await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&[]).await;
    house.announce("ann", "ann/one").await;
    there.read_u8().await.expect("the hook is there");
    house.kill().await;
    let_go(&house, "pre-receive", &on);
    house.start(&[]).await;
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    assert_eq!(house.remote.first_parents().len(), 2);
    // Long enough for an orphan to do harm, if it could.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(house.remote.first_parents().len(), 2);
    house.stop().await;
    house.check().await;
}
