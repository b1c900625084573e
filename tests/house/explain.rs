//! `explain` as a new user meets it. What it prints stands in `docs/guide/why-is-it-waiting.md`, and is held true
//! here; `YARDMASTER_GUIDE=write` writes it there anew.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::{Value, json};
use yardmaster_tests::{Change, House, yardmaster};

/// The tests of this file write to one page.
static PAGE: Mutex<()> = Mutex::new(());

const SMALL: [(&str, &str); 3] = [
    ("YARDMASTER__QUEUE__WINDOW_MIN", "2"),
    ("YARDMASTER__QUEUE__WINDOW_MAX", "2"),
    // So that nothing but requests is tested: what is told does not depend on whose run ends first.
    ("YARDMASTER__QUEUE__BASE_RED", "ignore"),
];

async fn explain(house: &House, args: &[&str]) -> (Option<i32>, String) {
    let out = tokio::process::Command::new(yardmaster())
        .arg("explain")
        .args(args)
        .args(["--nats-url", &house.url])
        .env("NO_COLOR", "1")
        .output()
        .await
        .expect("the program runs");
    let text = if out.status.success() { out.stdout } else { out.stderr };
    (out.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// What is told of `what` is what the page says under that name.
async fn told(house: &House, name: &str, what: &str) {
    let (code, text) = explain(house, &[what]).await;
    assert_eq!(code, Some(0), "{text}");
    let shown: Vec<String> = text.lines().map(|line| settled(house, line).trim_end().to_owned()).collect();
    let shown = format!("$ yardmaster explain {what}\n{}\n", shown.join("\n"));
    let _page = PAGE.lock().expect("nobody panics with it");
    let path = page();
    let text = std::fs::read_to_string(&path).expect("the page is there");
    let mark = format!("<!-- told: {name} -->\n```text\n");
    let (before, rest) = text.split_once(&mark).unwrap_or_else(|| panic!("the page has no `{name}`"));
    let (stands, after) = rest.split_once("```").expect("the block ends");
    if std::env::var_os("YARDMASTER_GUIDE").is_some_and(|v| v == "write") {
        std::fs::write(&path, format!("{before}{mark}{shown}```{after}")).expect("written");
        return;
    }
    // Where lines break depends on how long a number is.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(settled(house, &words(&shown)), words(stands), "{name}: the page says otherwise");
}

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/why-is-it-waiting.md")
}

/// Without what differs from day to day: addresses, object ids and seconds.
fn settled(house: &House, text: &str) -> String {
    let text = text.replace(std::env::consts::ARCH, "[arch]").replace(std::env::consts::OS, "[os]");
    let text = house.redacted(&text).replace(&house.dir.path().to_string_lossy().into_owned(), "[house]");
    let lead: String = text.chars().take_while(|c| *c == ' ').collect();
    let words: Vec<&str> = text.trim_start().split(' ').collect();
    let is_seconds = |i: usize| {
        let unit = words.get(i + 1).map(|w| w.trim_end_matches([',', ';', ')', ':']));
        words[i].parse::<f64>().is_ok() && unit == Some("s")
    };
    let settle = |(i, word): (usize, &&str)| if is_seconds(i) { "N".to_owned() } else { (*word).to_owned() };
    lead + &words.iter().enumerate().map(settle).collect::<Vec<_>>().join(" ")
}

/// Announces, and waits until it has a place in the queue.
async fn queued(house: &House, branch: &str, more: &Value) {
    let agent = branch.split('/').next().unwrap_or_default();
    house.announce_with(agent, branch, more).await;
    house.events.of_type(branch, "queued").await;
}

async fn freeze(house: &House, args: &[&str]) {
    let status = tokio::process::Command::new(yardmaster())
        .args(args)
        .args(["--by", "olga", "--nats-url", &house.url])
        .stdout(std::process::Stdio::null())
        .status()
        .await;
    assert!(status.is_ok_and(|s| s.success()), "{args:?}");
}

/// One after the other: nothing is in the way but those in front.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_the_target_is_explained() {
    let (mut house, gate) = House::held().await;
    for branch in ["ann/warm-up", "ann/login", "bob/search", "cid/theme"] {
        house.branch(branch, &[(branch.split('/').nth(1).unwrap_or_default(), "1\n")]);
    }
    house.start_with(&["--slots", "4"], &SMALL).await;
    queued(&house, "ann/warm-up", &json!({})).await;
    gate.run_of("r1").await.green();
    house.events.end_of("ann/warm-up").await;
    for branch in ["ann/login", "bob/search", "cid/theme"] {
        queued(&house, branch, &json!({})).await;
    }
    let (login, search) = (gate.run_of("r2").await, gate.run_of("r3").await);
    told(&house, "turn", "cid/theme").await;
    told(&house, "on-top", "bob/search").await;

    search.red();
    house.events.of_type("bob/search", "blocked").await;
    let theme = gate.run_of("r4").await;
    told(&house, "red-on-top", "bob/search").await;

    freeze(&house, &["freeze", "--why", "release 2.1 is being cut"]).await;
    house.events.of_type("ann/login", "blocked").await;
    login.green();
    theme.green();
    // Asked only when both are known to be green: nothing tells of it while the target is frozen.
    for branch in ["ann/login", "cid/theme"] {
        green(&house, branch).await;
    }
    told(&house, "frozen", "cid/theme").await;
    freeze(&house, &["unfreeze"]).await;
    assert_eq!(house.events.end_of("bob/search").await["type"], "merge_failed");
    told(&house, "failed", "bob/search").await;
    assert_eq!(house.events.end_of("cid/theme").await["type"], "merge_complete");

    queued(&house, "bob/search", &json!({"commit": house.branch("bob/search", &[("search", "2\n")])})).await;
    // A run that nobody holds ends at once.
    let _older = gate.run_of("r5").await;
    let newer = house.branch("bob/search", &[("search", "3\n")]);
    house.announce_with("bob", "bob/search", &json!({"commit": newer})).await;
    house.events.wait_for("superseded", |e| e["type"] == "merge_superseded").await;
    let newest = gate.run_of("r6").await;
    told(&house, "superseded", "r5").await;

    let (code, text) = explain(&house, &["r99"]).await;
    assert_eq!(code, Some(3), "{text}");
    let (code, text) = explain(&house, &["r6", "--json"]).await;
    let told: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &told["chain"][0]["kind"]), (Some(0), &json!("testing")), "{text}");
    assert!(text.len() <= 16 * 1_024);
    newest.green();
    assert_eq!(house.stop().await, Some(0));
    let (code, text) = explain(&house, &["r6"]).await;
    assert_eq!(code, Some(9), "{text}");
}

/// The daemon tells nobody of a green run while nothing lands: it has to be asked.
async fn green(house: &House, branch: &str) {
    let until = tokio::time::Instant::now() + yardmaster_tests::PATIENCE;
    loop {
        let body = json!({"what": branch}).to_string();
        let reply = house.nats.request("yardmaster.v1.explain", body.into()).await.expect("an answer");
        let reply: Value = serde_json::from_slice(&reply.payload).expect("JSON");
        if reply["chain"][0]["kind"] == "ahead" {
            return;
        }
        assert!(tokio::time::Instant::now() < until, "{branch} is never green: {reply}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Conflicts and dependencies: the chain leads through them.
#[tokio::test(flavor = "multi_thread")]
async fn what_requests_wait_for_is_explained() {
    let (mut house, gate) = House::held().await;
    for (branch, path, text) in [
        ("ann/readme", "README", "a better project\n"),
        ("bob/title", "README", "another project\n"),
        ("cid/site", "site", "1\n"),
        ("dan/billing", "billing", "1\n"),
    ] {
        house.branch(branch, &[(path, text)]);
    }
    house.start_with(&["--slots", "4"], &SMALL).await;
    queued(&house, "ann/readme", &json!({})).await;
    let readme = gate.run_of("r1").await;
    queued(&house, "bob/title", &json!({})).await;
    house.events.of_type("bob/title", "blocked").await;
    told(&house, "conflict", "bob/title").await;
    queued(&house, "cid/site", &json!({"depends_on": ["REQ-bob/title"]})).await;
    house.events.of_type("cid/site", "blocked").await;
    told(&house, "dependency", "cid/site").await;
    queued(&house, "dan/billing", &json!({"depends_on": ["REQ-accounts"]})).await;
    house.events.of_type("dan/billing", "blocked").await;
    told(&house, "unknown", "dan/billing").await;
    readme.green();
    assert_eq!(house.stop().await, Some(0));
}

/// The target is red, somebody may not touch what he did, and the remote goes away.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_target_is_explained() {
    let project =
        "[gate]\nrun = \"test ! -e broken\"\ntimeout = \"1m\"\n[scope]\nprotected = [\"deploy/**\"]\n";
    let files = [(".yardmaster.toml", project), ("README", "a project\n"), ("broken", "by somebody\n")];
    let mut house = House::build_with(&files).await;
    house.branch("ann/innocent", &[("innocent.txt", "1\n")]);
    house.branch("eve/deploy", &[("deploy/now.sh", "1\n")]);
    house.branch("bob/late", &[("late.txt", "1\n")]);
    let mend = Change { branch: "cid/mend", from: Some("main"), files: &[("broken", None)] };
    house.remote.commit(&mend);
    house.start(&[]).await;
    house.events.wait_for("target_red", |e| e["type"] == "target_red").await;
    queued(&house, "ann/innocent", &json!({})).await;
    house.events.of_type("ann/innocent", "blocked").await;
    told(&house, "target-red", "ann/innocent").await;
    queued(&house, "eve/deploy", &json!({})).await;
    house.events.of_type("eve/deploy", "blocked").await;
    told(&house, "scope", "eve/deploy").await;

    let (here, away) = (house.remote.path().to_owned(), house.dir.path().join("away.git"));
    std::fs::rename(&here, &away).expect("moved");
    house.announce("bob", "bob/late").await;
    house.events.wait_for("stalled", |e| e["type"] == "stalled").await;
    told(&house, "remote-away", "bob/late").await;
    std::fs::rename(&away, &here).expect("moved back");
    house.events.of_type("bob/late", "queued").await;
    assert_eq!(house.stop().await, Some(0));
}

/// The gate needs what no runner has. What is told is told again when runners come and go.
#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_missing_is_explained() {
    let project = "[[gate.steps]]\nname = \"train\"\nrun = \"true\"\nlabels = [\"gpu\"]\n";
    let mut house = House::build_with(&[(".yardmaster.toml", project)]).await;
    house.branch("ann/model", &[("model.txt", "1\n")]);
    house.start_with(&["--slots", "1"], &SMALL).await;
    let mut plain = house.runner("ci-1", &[]);
    plain.ready().await;
    queued(&house, "ann/model", &json!({})).await;
    let names_it = |e: &Value| e.to_string().contains("ci-1");
    let blocked = house
        .events
        .wait_for("the runner that is there", |e| e["type"] == "merge_blocked" && names_it(e))
        .await;
    assert_eq!(blocked["blockers"][0]["kind"], "runner", "{blocked}");
    told(&house, "runner", "ann/model").await;
    let mut gpu = house.runner("gpu-1", &["--label", "gpu"]);
    gpu.ready().await;
    assert_eq!(house.events.end_of("ann/model").await["type"], "merge_complete");
    assert_eq!((gpu.stop().await, plain.stop().await), (Some(0), Some(0)));
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}
