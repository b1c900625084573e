use std::path::{Path, PathBuf};

use serde_json::json;
use yardmaster_tests::{GateKeeper, House};

/// Writes the configuration of a daemon that serves `targets`, and gives its path.
fn configure(house: &House, targets: &str, more: &str) -> PathBuf {
    let path = house.dir.path().join("yardmaster.toml");
    let text = format!("[repo]\npoll = \"500ms\"\ntargets = {targets}\n{more}");
    std::fs::write(&path, text).expect("written");
    path
}

async fn reread(house: &House, answer: &str) {
    let daemon = house.daemon.as_ref().expect("it runs");
    daemon.signal("HUP").await;
    daemon.prints(answer).await;
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

async fn two_targets() -> (House, GateKeeper, String) {
    let (mut house, gate) = House::held().await;
    house.remote.git(&["branch", "next", "main"]);
    for branch in ["ann/one", "bob/two", "cid/three"] {
        house.branch(branch, &[(branch, "x\n")]);
    }
    let config = shown(&configure(&house, "[\"next\"]", ""));
    house.start(&["--config", &config, "--slots", "3"]).await;
    (house, gate, config)
}

/// A target is taken out while something of it is tested: that run is killed, its request ends and says why,
/// and what is tested for the other target goes on undisturbed. A file that cannot be used changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_taken_out_ends_its_requests_and_no_others() {
    let (mut house, gate, _) = two_targets().await;
    house.announce("ann", "ann/one").await;
    let kept = gate.run_of("r1").await;
    house.announce_with("bob", "bob/two", &json!({"target": "next"})).await;
    let called_off = gate.run_of("r2").await;
    std::fs::write(house.dir.path().join("yardmaster.toml"), "[repo]\ntarget = \"a..b\"\n").expect("written");
    reread(&house, "not reloaded").await;
    configure(&house, "[]", "");
    reread(&house, "reloaded").await;
    let end = house.events.end_of("bob/two").await;
    assert_eq!((&end["type"], &end["cause"]), (&json!("merge_failed"), &json!("policy")), "{end}");
    assert!(end["evidence"]["message"].as_str().is_some_and(|m| m.contains("no longer served")), "{end}");
    kept.green();
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    assert_eq!(house.events.of("ann/one"), ["queued", "testing", "complete"]);
    house.announce_with("cid", "cid/three", &json!({"target": "next"})).await;
    let refused = house.events.wait_for("a refusal", |e| e["type"] == "request_rejected").await;
    assert_eq!(refused["why"]["code"], "unknown_target");
    assert_eq!(house.stop().await, Some(0));
    assert!(called_off.is_dead());
    house.check().await;
}

/// Several reloads come to one end: the gate of the last one counts, for what is being tested too, and a
/// target that is new is served.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_gate_and_a_new_target_count_from_then_on() {
    let (mut house, gate) = House::held().await;
    house.remote.git(&["branch", "next", "main"]);
    for branch in ["ann/one", "bob/two"] {
        house.branch(branch, &[(branch, "x\n")]);
    }
    let config = shown(&configure(&house, "[]", ""));
    house.start(&["--config", &config]).await;
    house.announce("ann", "ann/one").await;
    let old = gate.run_of("r1").await;
    configure(&house, "[\"next\"]", "[queue]\nwindow_max = 1\n[gate]\ncommand = \"true\"\n");
    for _ in 0..3 {
        reread(&house, "reloaded").await;
    }
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    house.announce_with("bob", "bob/two", &json!({"target": "next"})).await;
    assert_eq!(house.events.end_of("bob/two").await["type"], "merge_complete");
    assert_eq!(house.stop().await, Some(0));
    assert!(old.is_dead(), "its gate does not count any more");
    assert!(house.remote.file("next", "bob/two").is_some());
}

/// A target is taken out while nobody knows how a push to it ended. The next daemon looks there all the same,
/// and tells the request what became of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_a_target_that_is_served_no_more_is_told_as_it_ended() {
    for taken in [true, false] {
        let mut house = House::build().await;
        house.remote.git(&["branch", "next", "main"]);
        house.branch("bob/two", &[("two", "x\n")]);
        let config = shown(&configure(&house, "[\"next\"]", ""));
        house.start(&["--config", &config]).await;
        let reached = house.dir.path().join("reached");
        let name = if taken { "post-receive" } else { "pre-receive" };
        house.remote.hook(name, &format!("touch {}; sleep 5", reached.display()));
        house.announce_with("bob", "bob/two", &json!({"target": "next"})).await;
        while !reached.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        house.kill().await;
        std::fs::remove_file(house.remote.path().join("hooks").join(name)).expect("removed");
        configure(&house, "[]", "");
        house.start(&["--config", &config]).await;
        let end = house.events.end_of("bob/two").await;
        assert_eq!(end["type"], "merge_complete", "{end}");
        assert!(house.remote.file("next", "two").is_some());
        assert_eq!(house.stop().await, Some(0));
    }
}
