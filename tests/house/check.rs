use std::process::Stdio;

use async_nats::jetstream;
use async_nats::jetstream::consumer::pull;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use yardmaster_tests::{Change, House, yardmaster};

const GATE: &str = "#!/bin/sh\n[ ! -e red ]\n";
const RULES: &str = "[gate]\nrun = \"./gate.sh\"\n[systems.web]\npaths = [\"web/**\"]\n[scope.agents.eve]\ndeny = [\"api/**\"]\n";

/// `at` replaced in a file of twenty lines.
fn lines(at: usize, text: &str) -> String {
    (1..=20).map(|n| if n == at { format!("{text}\n") } else { format!("{n}\n") }).collect()
}

async fn ask(house: &House, args: &[&str], stdin: &str) -> (i32, Value) {
    let mut child = Command::new(yardmaster())
        .args(args)
        .args(["--json", "--nats-url", &house.url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(stdin.as_bytes()).await.expect("it reads");
    drop(input);
    let out = child.wait_with_output().await.expect("it ends");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let reply = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}\n{text}"));
    (out.status.code().expect("an exit code"), reply)
}

/// What reads definitions writes to the journal when it is done, whatever is asked meanwhile.
const QUIET: (&str, &str) = ("YARDMASTER__QUEUE__DEFINITIONS", "off");

/// Everything that a check could have left behind: each stream's last message, and every ref of the mirror.
async fn traces(house: &House) -> (Vec<(String, u64)>, String) {
    let js = jetstream::new(house.nats.clone());
    let mut found = Vec::new();
    let mut names = js.stream_names();
    while let Some(name) = futures_util::TryStreamExt::try_next(&mut names).await.expect("names") {
        if name.starts_with("KV_") {
            continue;
        }
        let stream = js.get_stream(&name).await.expect("a stream");
        found.push((name, stream.cached_info().state.last_sequence));
    }
    found.sort();
    let mirror = yardmaster_tests::Remote::at(&house.state_dir().join("mirror.git"));
    (found, mirror.git(&["for-each-ref"]))
}

fn requests(reply: &Value, key: &str) -> Vec<(String, Value)> {
    let list = reply[key].as_array().expect("a list").iter();
    list.map(|m| (m["request"].as_str().expect("an id").to_owned(), m["paths"].clone())).collect()
}

async fn house() -> House {
    let files = [("gate.sh", GATE), (".yardmaster.toml", RULES), ("api/a", &lines(0, ""))];
    let house = House::build_with(&files).await;
    house.branch("ann/1", &[("api/a", &lines(2, "ann"))]);
    house.branch("bob/1", &[("api/a", &lines(18, "bob")), ("web/b", "b\n")]);
    house
}

/// They stay in custody and wait for what nobody announces.
async fn pend(house: &House) {
    for (agent, branch) in [("ann", "ann/1"), ("bob", "bob/1")] {
        house.announce_with(agent, branch, &json!({"depends_on": ["REQ-never"]})).await;
        house.events.of_type(branch, "blocked").await;
    }
    // Some seconds after the start the journal learns what runners there are.
    house.daemon.as_ref().expect("it runs").says("what runners have").await;
    // Who listens may hear an event before the stream has it: a replay ends with the last one.
    let js = jetstream::new(house.nats.clone());
    let stream = js.get_stream("RELEASES").await.expect("a stream");
    let consumer = stream.create_consumer(pull::OrderedConfig::default()).await.expect("a consumer");
    let mut stored = consumer.messages().await.expect("messages").take(4);
    while let Some(event) = stored.next().await {
        event.expect("an event");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_what_would_come_and_changes_nothing() {
    let mut house = house().await;
    house.branch("roy/clean", &[("docs/x", "x\n")]);
    house.branch("roy/clash", &[("api/a", &lines(2, "roy"))]);
    house.branch("roy/stale", &[("api/c", "stale\n")]);
    house.branch("eve/1", &[("api/e", "e\n")]);
    let files: &[(&str, Option<&str>)] = &[("api/c", Some("main\n"))];
    house.remote.commit(&Change { branch: "main", from: Some("main"), files });
    house.start_with(&[], &[QUIET]).await;
    pend(&house).await;
    let before = traces(&house).await;

    let args = ["check", "roy/clean", "--depends-on", "ann/1", "--depends-on", "REQ-x"];
    let (code, clean) = ask(&house, &args, "").await;
    assert_eq!((code, &clean["verdict"], &clean["agent"]), (0, &json!("clean"), &json!("roy")), "{clean}");
    assert_eq!(clean["head"], house.remote.head("roy/clean").as_str(), "{clean}");
    assert_eq!((&clean["gate"], &clean["files"]), (&json!(["step-1"]), &json!(["docs/x"])), "{clean}");
    assert_eq!(clean["dependencies"][0], json!({"name": "ann/1", "state": "pending", "requests": ["r1"]}));
    assert_eq!(clean["dependencies"][1], json!({"name": "REQ-x", "state": "unknown", "requests": []}));
    assert_eq!(clean["blockers"][0]["kind"], "dependency", "{clean}");
    let (_, alone) = ask(&house, &["check", "roy/clean"], "").await;
    assert_eq!((&alone["position"], &alone["blockers"]), (&json!(1), &json!([])), "{alone}");

    let (code, clash) = ask(&house, &["check", "roy/clash"], "").await;
    assert_eq!((code, &clash["verdict"]), (5, &json!("conflict")), "{clash}");
    assert_eq!(requests(&clash, "conflicts"), [("r1".to_owned(), json!(["api/a"]))], "{clash}");
    assert_eq!(requests(&clash, "overlaps"), [("r2".to_owned(), json!(["api/a"]))], "{clash}");
    let (code, stale) = ask(&house, &["check", "roy/stale"], "").await;
    assert_eq!((code, &stale["target_conflict"]), (5, &json!(["api/c"])), "{stale}");

    let (code, scope) = ask(&house, &["check", "eve/1"], "").await;
    assert_eq!((code, &scope["verdict"]), (7, &json!("policy")), "{scope}");
    assert_eq!((&scope["blockers"][0]["kind"], &scope["agent"]), (&json!("scope"), &json!("eve")), "{scope}");
    let (code, other) = ask(&house, &["check", "eve/1", "--agent", "roy"], "").await;
    assert_eq!((code, &other["verdict"]), (0, &json!("clean")), "{other}");

    let (code, again) = ask(&house, &["check", "ann/1"], "").await;
    assert_eq!((code, &again["repeats"]), (0, &json!("r1")), "{again}");
    let (code, missing) = ask(&house, &["check", "roy/none"], "").await;
    assert_eq!((code, &missing["error"]["code"]), (3, &json!("not_found")), "{missing}");

    assert_eq!(traces(&house).await, before, "a check left something behind");
    for (agent, branch) in [("ann", "ann/1"), ("bob", "bob/1")] {
        house.withdraw(agent, branch).await;
        house.events.of_type(branch, "withdrawn").await;
    }
    house.stop().await;
    house.check().await;
}

/// By what is named, by what is pending, and by what used to change together.
#[tokio::test(flavor = "multi_thread")]
async fn requirements_are_told_which_can_run_side_by_side() {
    let mut house = house().await;
    for n in 0..4 {
        let text = format!("{n}\n");
        let files: &[(&str, Option<&str>)] = &[("db/schema", Some(&text)), ("docs/schema", Some(&text))];
        house.remote.commit(&Change { branch: "main", from: Some("main"), files });
    }
    house.start_with(&[], &[QUIET]).await;
    pend(&house).await;
    let before = traces(&house).await;
    let plan = json!([
        {"requirement": "A", "files": ["db/**"]},
        {"requirement": "B", "files": ["docs/schema"]},
        {"requirement": "C", "files": ["web/**"]},
    ]);
    let (code, reply) = ask(&house, &["should-parallelize"], &plan.to_string()).await;
    assert_eq!((code, &reply["parallel"], &reply["commits"]), (0, &json!(true), &json!(5)), "{reply}");
    assert_eq!(reply["sequences"], json!([["A", "B"], ["C"]]), "{reply}");
    assert_eq!(reply["rounds"], json!([["A", "C"], ["B"]]), "{reply}");
    assert_eq!((&reply["ties"][0]["kind"], &reply["ties"][1]), (&json!("history"), &Value::Null), "{reply}");
    let ahead = &reply["pending"][0];
    assert_eq!((&ahead["requirement"], &ahead["request"]), (&json!("C"), &json!("r2")), "{reply}");

    let strict = json!([{"requirement": "A", "files": ["web/x"]}, {"requirement": "B", "files": ["web/y"]}]);
    let (_, reply) = ask(&house, &["should-parallelize"], &strict.to_string()).await;
    assert_eq!((&reply["parallel"], &reply["ties"][0]["what"]), (&json!(false), &json!(["web"])), "{reply}");
    let (code, refused) = ask(&house, &["should-parallelize"], "[]").await;
    assert_eq!((code, &refused["error"]["code"]), (2, &json!("usage")), "{refused}");
    assert_eq!(traces(&house).await, before, "a question left something behind");
    for (agent, branch) in [("ann", "ann/1"), ("bob", "bob/1")] {
        house.withdraw(agent, branch).await;
        house.events.of_type(branch, "withdrawn").await;
    }
    house.stop().await;
    house.check().await;
}
