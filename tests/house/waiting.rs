use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use yardmaster_tests::{House, PROJECT, yardmaster};

/// A command of ours that goes on, with what it prints, line by line.
struct Going {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    told: Lines<BufReader<ChildStderr>>,
}

fn begin(house: &House, args: &[&str]) -> Going {
    let mut child = Command::new(yardmaster())
        .args(args)
        .args(["--nats-url", &house.url])
        .env("NO_COLOR", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let out = BufReader::new(child.stdout.take().expect("piped")).lines();
    let told = BufReader::new(child.stderr.take().expect("piped")).lines();
    Going { child, out, told }
}

/// Reads on until a line has `text`.
macro_rules! until {
    ($lines:expr, $text:expr) => {{
        let found = tokio::time::timeout(Duration::from_secs(60), async {
            while let Some(line) = $lines.next_line().await.expect("it can be read") {
                if line.contains($text) {
                    return line;
                }
            }
            panic!("it ended without `{}`", $text)
        });
        found.await.unwrap_or_else(|_| panic!("`{}` was not told", $text))
    }};
}

/// Who waits is told that nobody works on it, which looks like any other wait; and goes on waiting.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_told_when_nobody_serves_and_when_somebody_does_again() {
    let mut house = House::build().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&[]).await;
    house.announce_with("ann", "ann/one", &json!({"depends_on": ["REQ-never"]})).await;
    house.events.of_type("ann/one", "blocked").await;
    let mut wait = begin(&house, &["wait", "r1"]);
    let mut watch = begin(&house, &["queue", "--watch"]);
    until!(wait.told, "r1 ");
    until!(watch.out, "ann/one");
    house.kill().await;
    let told = until!(wait.told, "no daemon");
    assert_eq!(told, "no daemon answers: r1 is kept, and goes on when one serves again");
    let told = until!(watch.out, "no daemon");
    assert_eq!(told, "  no daemon answers: what is above is from before, and all of it is kept");
    house.start(&[]).await;
    until!(wait.told, "a daemon answers again");
    until!(watch.out, "a daemon answers again");
    house.withdraw("ann", "ann/one").await;
    assert_eq!(wait.child.wait().await.expect("it ends").code(), Some(8), "taken back");
    house.stop().await;
    house.check().await;
}

/// Who follows the log of what is not tested yet sees it from its first line on.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_followed_begins_with_the_first_run() {
    let gate = "#!/bin/sh\nls | sort | tr '\\n' ' '\n";
    let mut house = House::build_with(&[("gate.sh", gate), (".yardmaster.toml", PROJECT)]).await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.branch("bob/two", &[("two.txt", "2\n")]);
    house.start(&[]).await;
    house.announce_with("ann", "ann/one", &json!({"depends_on": ["REQ-bob/two"]})).await;
    house.events.of_type("ann/one", "blocked").await;
    let mut log = begin(&house, &["logs", "-f", "r1"]);
    until!(log.told, "its log begins with its first run");
    house.announce("bob", "bob/two").await;
    until!(log.out, "one.txt two.txt");
    assert_eq!(log.child.wait().await.expect("it ends").code(), Some(0));
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    let mut nobody = begin(&house, &["logs", "-f", "r7"]);
    assert_eq!(nobody.child.wait().await.expect("it ends").code(), Some(3));
    house.stop().await;
    house.check().await;
}
