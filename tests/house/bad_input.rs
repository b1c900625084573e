use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;
use yardmaster_tests::{Change, House, announcement, yardmaster};

fn wish(more: &Value) -> String {
    announcement("roy", "roy/one", more).to_string()
}

/// Whatever is published, its answer says what to send instead, it is not delivered again, and the queue goes on.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_cannot_be_understood_are_answered_and_ended() {
    let mut house = House::build().await;
    house.branch("roy/one", &[("one.txt", "1\n")]);
    house.start_with(&[], &[("YARDMASTER__AUTH__BIND_AGENT_TO_SUBJECT", "true")]).await;
    // Just under what the server takes at most.
    let large = wish(&json!({"title": "x".repeat(1_000_000)}));
    let payloads: Vec<Vec<u8>> = vec![
        b"not json".to_vec(),
        b"\xff\xfe\x00".to_vec(),
        Vec::new(),
        b"[1, 2]".to_vec(),
        b"{}".to_vec(),
        b"{\"type\": \"merge\", \"merge_info\": {}}".to_vec(),
        b"{\"type\": \"ready_to_merge\", \"merge_info\": \"roy\"}".to_vec(),
        b"{\"type\": \"ready_to_merge\", \"merge_info\": {\"agent\": \"roy\"}}".to_vec(),
        large.into_bytes(),
        wish(&json!({"branch": 7})).into(),
        wish(&json!({"agent": "somebody else"})).into(),
        wish(&json!({"agent": "ann"})).into(),
        wish(&json!({"branch": "--upload-pack=x"})).into(),
        wish(&json!({"branch": "a..b"})).into(),
        wish(&json!({"branch": ""})).into(),
        wish(&json!({"branch": "a\u{0}b"})).into(),
        wish(&json!({"branch": "main"})).into(),
        wish(&json!({"target": "production"})).into(),
        wish(&json!({"commit": "abc"})).into(),
        wish(&json!({"files_changed": "api/auth.rs"})).into(),
        wish(&json!({"files_changed": [1]})).into(),
        wish(&json!({"priority": "urgent"})).into(),
        wish(&json!({"priority": 1.5})).into(),
        b"{\"type\": \"withdraw\", \"merge_info\": {\"agent\": \"roy\", \"branch\": \"roy/none\"}}".to_vec(),
    ];
    for payload in &payloads {
        house.publish("roy", payload.clone()).await;
    }
    house.announce("roy", "roy/one").await;
    assert_eq!(house.events.end_of("roy/one").await["type"], "merge_complete", "{}", house.events.told());
    house.wait_until_acked().await;
    let log = house.log();
    assert_eq!(house.stop().await, Some(0), "{log}");
    house.check().await;

    let rejected: Vec<Value> =
        house.events.all().into_iter().filter(|e| e["type"] == "request_rejected").collect();
    assert_eq!(rejected.len(), payloads.len(), "{}", house.events.told());
    for (event, payload) in rejected.iter().zip(&payloads) {
        let shown = String::from_utf8_lossy(&payload[..payload.len().min(1_024)]).into_owned();
        assert_eq!(event["payload"], json!(shown));
        assert_eq!(event["subject"], "work.integration.roy");
    }
    let told: Vec<String> =
        rejected.iter().map(|e| format!("{}: {}", e["why"]["code"], e["why"]["message"])).collect();
    insta::assert_snapshot!(told.join("\n"));
}

/// Everything that can be wrong with a branch, each told with what mends it.
#[tokio::test(flavor = "multi_thread")]
async fn branches_that_cannot_be_merged_fail_with_what_mends_them() {
    let mut house = House::build().await;
    house.branch("ann/moved", &[("moved.txt", "1\n")]);
    let announced = house.remote.head("ann/moved");
    house.branch("ann/moved", &[("moved.txt", "2\n")]);
    house.remote.commit(&Change {
        branch: "ann/stranger",
        from: None,
        files: &[("README", Some("other\n"))],
    });
    house.branch("ann/clash", &[("README", "mine\n")]);
    house.branch("ann/red", &[("red", "")]);
    house.remote.git(&["branch", "ann/empty", "main"]);
    house.remote.commit(&Change {
        branch: "main",
        from: Some("main"),
        files: &[("README", Some("theirs\n"))],
    });
    let tip = house.remote.head("main");
    house.start(&[]).await;
    house.announce("ann", "ann/missing").await;
    house.announce_with("ann", "ann/moved", &json!({"commit": announced})).await;
    for branch in ["ann/stranger", "ann/clash", "ann/red", "ann/empty"] {
        house.announce("ann", branch).await;
    }
    let mut told = Vec::new();
    for branch in ["ann/missing", "ann/moved", "ann/stranger", "ann/clash", "ann/red"] {
        let event = house.events.end_of(branch).await;
        assert_eq!(event["type"], "merge_failed", "{event}");
        let answer = json!({"cause": event["cause"], "blame": event["blame"], "evidence": event["evidence"], "next": event["next"]});
        told.push(format!("{branch} {}", serde_json::to_string_pretty(&answer).expect("JSON")));
    }
    // Nothing to merge is no failure, and takes nothing back.
    let empty = house.events.end_of("ann/empty").await;
    assert_eq!((&empty["type"], &empty["commit"]), (&json!("merge_complete"), &Value::Null), "{empty}");
    assert_eq!(house.events.of("ann/empty"), ["queued", "complete"]);
    assert_eq!(house.remote.head("main"), tip);
    house.stop().await;
    house.check().await;
    insta::assert_snapshot!(house.redacted(&told.join("\n")));
}

/// The fault is the command's, and the answer says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_is_not_there_is_red_with_what_the_shell_says() {
    let mut house = House::build().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&["--gate", "./nope.sh"]).await;
    let red = house.events.wait_for("target_red", |e| e["type"] == "target_red").await;
    assert!(red["why"].as_str().is_some_and(|w| w.contains("step `gate` ended with 127")), "{red}");
    house.announce("ann", "ann/one").await;
    let blocked = house.events.of_type("ann/one", "blocked").await;
    assert_eq!(blocked["blockers"][0]["kind"], "target_red", "{blocked}");
    house.stop().await;
}

/// Who takes the gate away is told so.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_removes_the_gate_is_red_with_what_the_shell_says() {
    let mut house = House::build().await;
    let away = Change { branch: "ann/one", from: Some("main"), files: &[("gate.sh", None)] };
    house.remote.commit(&away);
    house.start(&[]).await;
    house.announce("ann", "ann/one").await;
    let event = house.events.end_of("ann/one").await;
    let evidence = &event["evidence"];
    assert_eq!((&event["cause"], &evidence["exit_code"]), (&json!("gate_red"), &json!(127)), "{event}");
    assert!(evidence["log_tail"].as_str().is_some_and(|t| t.contains("gate.sh")), "{event}");
    house.stop().await;
    house.check().await;
}

/// A gate that never ends is ended, with everything that it started.
#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_never_ends_is_timed_out_and_killed() {
    let project = "[gate]\nrun = \"test -e one.txt || exit 0; trap '' TERM; sleep 1000 & sleep 1001\"\ntimeout = \"300ms\"\n";
    let mut house = House::build_with(&[(".yardmaster.toml", project)]).await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&[]).await;
    house.announce("ann", "ann/one").await;
    let event = house.events.end_of("ann/one").await;
    assert_eq!(event["cause"], "gate_timeout", "{event}");
    assert_eq!(
        house.processes().iter().filter(|p| p.contains("sleep")).count(),
        0,
        "{:?}",
        house.processes()
    );
    house.stop().await;
    house.check().await;
}

/// An agent that floods is refused with what it can do; the others are served, and it is served again when
/// some of its own have ended.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_floods_is_refused_and_the_others_are_served() {
    let (mut house, gate) = House::held().await;
    for n in 0..5 {
        house.branch(&format!("roy/{n}"), &[(&format!("roy{n}.txt"), "x\n")]);
    }
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start_with(&[], &[("YARDMASTER__QUEUE__MAX_PENDING_PER_AGENT", "3")]).await;
    for n in 0..4 {
        house.announce("roy", &format!("roy/{n}")).await;
    }
    let rejected = house.events.wait_for("rejected", |e| e["type"] == "request_rejected").await;
    assert_eq!(rejected["why"]["code"], "quota_exceeded", "{rejected}");
    let flags = ["--agent", "roy", "--requirement", "R4", "--nats-url", &house.url];
    let submitted = Command::new(yardmaster())
        .args(["submit", "roy/4"])
        .args(flags)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("it runs");
    let told = String::from_utf8_lossy(&submitted.stderr).into_owned();
    assert_eq!(submitted.status.code(), Some(7), "{told}");
    assert!(told.contains("3 requests of `roy` are pending already"), "{told}");
    house.announce("ann", "ann/one").await;
    house.events.of_type("ann/one", "queued").await;
    gate.open_wide();
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    for n in 0..3 {
        assert_eq!(house.events.end_of(&format!("roy/{n}")).await["type"], json!("merge_complete"));
    }
    house.announce("roy", "roy/3").await;
    assert_eq!(house.events.end_of("roy/3").await["type"], "merge_complete");
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}
