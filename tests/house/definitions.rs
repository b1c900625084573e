use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::process::Command;
use yardmaster_tests::{Change, GateKeeper, House, PATIENCE, yardmaster};

const ENFORCE: (&str, &str) = ("YARDMASTER__QUEUE__DEFINITIONS", "enforce");
const CALLS: &str = "fn start() { open() }\n";

/// One renames a function, another newly calls it, a third does something else; all of it merges.
async fn house() -> (House, GateKeeper) {
    let (house, gate) = House::held().await;
    let files = [("door.rs", Some("pub fn open() {}\n")), ("main.rs", Some("fn start() {}\n"))];
    house.remote.commit(&Change { branch: "main", from: Some("main"), files: &files });
    house.branch("roy/rename", &[("door.rs", "pub fn unlock() {}\n")]);
    house.branch("mia/call", &[("main.rs", CALLS)]);
    house.branch("zoe/other", &[("other.rs", "pub fn other() {}\n")]);
    (house, gate)
}

async fn explained(house: &House, request: &str) -> Value {
    let args = ["explain", request, "--json", "--nats-url", &house.url];
    let out = Command::new(yardmaster()).args(args).output().await.expect("it runs");
    serde_json::from_slice(&out.stdout).expect("JSON")
}

async fn checked(house: &House, branch: &str) -> Value {
    let args = ["check", branch, "--json", "--nats-url", &house.url];
    let out = Command::new(yardmaster()).args(args).output().await.expect("it runs");
    serde_json::from_slice(&out.stdout).expect("JSON")
}

/// The process that reads for this daemon.
fn reader(house: &House) -> Option<u32> {
    let daemon = house.daemon.as_ref().expect("it runs").pid().to_string();
    for entry in std::fs::read_dir("/proc").expect("a process list").flatten() {
        let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let parent = read("stat").rsplit(") ").next().and_then(|s| s.split(' ').nth(1).map(str::to_owned));
        if parent.as_ref() == Some(&daemon) && read("cmdline").contains("read-definitions") {
            return entry.file_name().to_string_lossy().parse().ok();
        }
    }
    None
}

fn is_there(process: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

async fn gone(process: u32) {
    let since = Instant::now();
    while is_there(process) {
        assert!(since.elapsed() < PATIENCE, "{process} stays");
        tokio::task::yield_now().await;
    }
}

/// The later one is told as it is queued, both can ask for it, and nothing waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn who_meets_another_at_a_definition_is_told_and_does_not_wait() {
    let (mut house, gate) = house().await;
    house.start(&["--slots", "2"]).await;
    house.announce("roy", "roy/rename").await;
    let renames = gate.run_of("r1").await;
    assert_eq!(house.events.of_type("roy/rename", "queued").await["advice"], Value::Null);
    house.announce("mia", "mia/call").await;
    let queued = house.events.of_type("mia/call", "queued").await;
    assert_eq!(
        queued["advice"],
        json!([{
            "with": "r1", "agent": "roy", "branch": "roy/rename", "meeting": "removed_and_used",
            "symbol": "open", "paths": ["door.rs", "main.rs"],
            "sentence": "r1 removes `open` from door.rs, and r2 newly uses it in main.rs",
        }])
    );
    let calls = gate.run_of("r2").await;
    house.branch("eve/call", &[("other.rs", "fn other() { open() }\n")]);
    let told = &checked(&house, "eve/call").await["advice"];
    assert_eq!(told.as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!(told[0]["sentence"], "r1 removes `open` from door.rs, and r3 newly uses it in other.rs");
    house.branch("eve/doc", &[("doc.rs", "fn doc() {}\n")]);
    assert_eq!(checked(&house, "eve/doc").await["advice"], Value::Null);
    for request in ["r1", "r2"] {
        let told = &explained(&house, request).await["definitions"];
        assert_eq!(told[0]["symbol"], "open", "{told}");
    }
    let reader = reader(&house).expect("somebody reads");
    renames.green();
    calls.green();
    assert_eq!(house.events.end_of("mia/call").await["type"], "merge_complete");
    assert_eq!(house.events.of("mia/call"), ["queued", "testing", "complete"]);
    assert_eq!(house.stop().await, Some(0));
    gone(reader).await;
    house.check().await;
}

/// The later one waits, and says for whom and why; who meets nobody goes past it.
#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_enforced_the_later_one_waits_until_the_earlier_one_has_landed() {
    let (mut house, gate) = house().await;
    house.start_with(&["--slots", "3"], &[ENFORCE]).await;
    house.announce("roy", "roy/rename").await;
    let renames = gate.run_of("r1").await;
    house.announce("mia", "mia/call").await;
    let blocked = house.events.of_type("mia/call", "blocked").await;
    let blocker = &blocked["blockers"][0];
    assert_eq!((&blocker["kind"], &blocker["with"]), (&json!("semantic_conflict"), &json!("r1")));
    assert_eq!(blocker["until"], "r1 has landed or left the queue");
    assert_eq!(
        blocked["reason"],
        json!([
            "meets r1 (roy/rename by roy), which is ahead of it, at a definition: r1 removes `open` from door.rs, and r2 newly uses it in main.rs"
        ])
    );
    assert_eq!(blocked["advice"][0]["with"], "r1");
    house.announce("zoe", "zoe/other").await;
    let other = gate.run_of("r3").await;
    assert_eq!(gate.started(), 2, "r2 is not tested");
    renames.green();
    other.green();
    for branch in ["roy/rename", "zoe/other"] {
        assert_eq!(house.events.end_of(branch).await["type"], "merge_complete");
    }
    gate.run_of("r2").await.red();
    let end = house.events.end_of("mia/call").await;
    assert_eq!(
        (&end["type"], &end["cause"], &end["blame"]),
        (&json!("merge_failed"), &json!("gate_red"), &json!("own"))
    );
    assert_eq!(house.events.of("mia/call"), ["queued", "blocked", "testing", "failed"]);
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

/// What is too large to be read holds nobody and is held by nobody, and whoever counts on that is told.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_read_waits_for_nobody_and_is_told() {
    let (mut house, gate) = house().await;
    house.branch("mia/large", &[("large.rs", &CALLS.repeat(30_000))]);
    house.start_with(&["--slots", "3"], &[ENFORCE]).await;
    house.announce("roy", "roy/rename").await;
    let renames = gate.run_of("r1").await;
    let large = json!({"why": "left_out", "files": 1, "paths": ["large.rs"],
        "sentence": "not read: large.rs (too large, too many, no text, or not in time), so what it does there to definitions is not known, and holds up nobody"});
    let told = checked(&house, "mia/large").await;
    assert_eq!((&told["not_read"], &told["advice"]), (&large, &Value::Null));
    house.announce("mia", "mia/large").await;
    let calls = gate.run_of("r2").await;
    assert_eq!(house.events.of_type("mia/large", "queued").await["not_read"], large);
    assert_eq!(house.events.of_type("roy/rename", "queued").await["not_read"], Value::Null);
    assert_eq!(explained(&house, "r2").await["not_read"], large);
    assert_eq!(explained(&house, "r1").await["not_read"], Value::Null);
    renames.green();
    calls.green();
    assert_eq!(house.events.end_of("mia/large").await["type"], "merge_complete");
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

/// A parser that does not come back is killed. Its change is left out, and the next one is read by another process.
#[tokio::test(flavor = "multi_thread")]
async fn who_stops_the_reader_is_left_out_and_nobody_else() {
    let (mut house, gate) = house().await;
    gate.open_wide();
    house.start_with(&["--slots", "2"], &[ENFORCE]).await;
    house.announce("zoe", "zoe/other").await;
    house.events.end_of("zoe/other").await;
    let stopped = reader(&house).expect("somebody reads");
    let sent = Command::new("kill").args(["-STOP", &stopped.to_string()]).status().await;
    assert!(sent.is_ok_and(|s| s.success()));
    house.announce("roy", "roy/rename").await;
    assert_eq!(house.events.end_of("roy/rename").await["type"], "merge_complete");
    house.daemon.as_ref().expect("it runs").says("was killed after").await;
    gone(stopped).await;
    house.announce("mia", "mia/call").await;
    assert_eq!(house.events.end_of("mia/call").await["type"], "merge_complete");
    assert_ne!(reader(&house), None);
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}
