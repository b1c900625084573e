use std::path::Path;
use std::process::Command;

use serde_json::Value;
use yardmaster_tests::{Change, Remote, yardmaster};

/// A daemon and NATS are not there: nothing of the environment leads to one.
fn rehearse(repo: &Path, args: &[&str]) -> (i32, String) {
    rehearse_with(repo, args, "")
}

/// With a value for `queue.definitions` in the environment, if it is one.
fn rehearse_with(repo: &Path, args: &[&str], definitions: &str) -> (i32, String) {
    let done = Command::new(yardmaster())
        .env("YARDMASTER__QUEUE__DEFINITIONS", definitions)
        .args(["rehearse", "--repo"])
        .arg(repo)
        .args(args)
        .env("NATS_URL", "nats://127.0.0.1:1")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    (done.status.code().expect("a code"), text + &String::from_utf8_lossy(&done.stderr))
}

/// Everything below a directory, with sizes. Not with times: git renews that of an object that it would write
/// and finds.
fn listed(dir: &Path) -> Vec<String> {
    let found = Command::new("find").arg(dir).args(["-printf", "%p %s\n"]).output().expect("find runs");
    let mut lines: Vec<String> = String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn what_would_land_is_known_on_a_plain_repository() {
    let dir = tempfile::tempdir().expect("a directory");
    let remote = Remote::create(&dir.path().join("plain.git"));
    let text = |changed: usize, by: &str| {
        (0..20)
            .map(|n| if n == changed { format!("{by}\n") } else { format!("line {n}\n") })
            .collect::<String>()
    };
    put(&remote, "main", None, "src/a.txt", &text(99, ""));
    put(&remote, "roy/1", Some("main"), "src/a.txt", &text(3, "roy"));
    put(&remote, "moss/1", Some("main"), "src/a.txt", &text(3, "moss"));
    put(&remote, "jen/1", Some("main"), "src/a.txt", &text(15, "jen"));
    put(&remote, "jen/2", Some("main"), "docs/b.txt", "new\n");
    remote.git(&["branch", "old/1", "main"]);
    let before = listed(remote.path());

    let (code, json) = rehearse(remote.path(), &["roy/1", "moss/1", "jen/*", "old/1", "--json"]);
    assert_eq!(code, 5, "{json}");
    let told: Value = serde_json::from_str(&json).expect("JSON");
    let of = |branch: &str| {
        let found = told["branches"].as_array().expect("a list").iter().find(|b| b["branch"] == branch);
        found.unwrap_or_else(|| panic!("{branch} in {json}")).clone()
    };
    for branch in ["roy/1", "jen/1", "jen/2"] {
        assert_eq!(of(branch)["outcome"], "lands", "{json}");
    }
    assert_eq!(of("old/1")["outcome"], "contained", "{json}");
    let moss = of("moss/1");
    assert_eq!((&moss["outcome"], &moss["paths"][0]), (&"fails".into(), &"src/a.txt".into()), "{json}");
    assert_eq!(moss["conflicts_with"], serde_json::json!(["roy/1"]), "{json}");
    assert_eq!(moss["conflicts_with_target"], false);
    let pairs = told["pairs"].as_array().expect("a list");
    assert_eq!(pairs.iter().filter(|p| p["conflict"] == true).count(), 1, "{json}");
    assert_eq!(pairs.iter().filter(|p| p["conflict"] == false).count(), 2, "{json}");

    let (code, text) = rehearse(remote.path(), &["roy/1", "jen/*"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("3 of 3 would land"), "{text}");
    let (code, text) = rehearse(remote.path(), &["nobody/*"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("no branch `nobody/*`"), "{text}");
    assert_eq!(listed(remote.path()), before, "something was written to the repository");
}

/// What `--json` says, which has to be valid.
fn told(repo: &Path, args: &[&str], definitions: &str) -> Value {
    let (code, json) = rehearse_with(repo, &[args, &["--json"]].concat(), definitions);
    assert_eq!(code, 0, "{json}");
    let told: Value = serde_json::from_str(&json).expect("JSON");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol/rehearsal.json");
    let schema = std::fs::read_to_string(path).expect("a schema");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let problems: Vec<String> = validator.iter_errors(&told).map(|e| e.to_string()).collect();
    assert!(problems.is_empty(), "{json}\n{problems:#?}");
    told
}

#[test]
fn branches_that_merge_and_may_break_each_other_are_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let remote = Remote::create(&dir.path().join("plain.git"));
    let repo = remote.path();
    put(&remote, "main", None, "door.rs", "pub fn open() {}\n");
    put(&remote, "main", Some("main"), "main.rs", "fn start() {}\n");
    put(&remote, "mia/call", Some("main"), "main.rs", "fn start() { open() }\n");
    put(&remote, "roy/rename", Some("main"), "door.rs", "pub fn unlock() {}\n");
    put(&remote, "max/large", Some("main"), "large.rs", &"fn open() {}\n".repeat(50_000));
    let before = listed(repo);

    let all = told(repo, &["--all"], "");
    let sentence = "roy/rename removes `open` from door.rs, and mia/call newly uses it in main.rs";
    assert_eq!(
        all["definitions"],
        serde_json::json!([{
            "one": "roy/rename", "other": "mia/call", "meeting": "removed_and_used", "symbol": "open",
            "paths": ["door.rs", "main.rs"], "sentence": sentence,
        }])
    );
    assert_eq!((&all["definitions_policy"], &all["definitions_unread"]), (&"advise".into(), &Value::Null));
    let of = |told: &Value, branch: &str, field: &str| {
        let found = told["branches"].as_array().expect("a list").iter().find(|b| b["branch"] == branch);
        found.unwrap_or_else(|| panic!("{branch} in {told}"))[field].clone()
    };
    assert_eq!(of(&all, "mia/call", "meets"), serde_json::json!(["roy/rename"]));
    assert_eq!(of(&all, "max/large", "meets"), Value::Null);
    assert_eq!(of(&all, "max/large", "not_read")["paths"], serde_json::json!(["large.rs"]));
    let (code, text) = rehearse(repo, &["--all"]);
    assert_eq!(code, 0, "{text}");
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains(sentence) && flat.contains("max/large: not read: large.rs ("), "{text}");

    let off = told(repo, &["--all"], "off");
    assert_eq!((&off["definitions"], &off["definitions_policy"]), (&Value::Null, &"off".into()));
    assert_eq!(of(&off, "max/large", "not_read"), Value::Null);

    assert_eq!(listed(repo), before, "something was written to the repository");
    // As a daemon would read it that is started there.
    let settings = |text: &str| std::fs::write(repo.join("yardmaster.toml"), text).expect("written");
    settings("[queue]\ndefinitions = \"enforce\"\n");
    let enforced = told(repo, &["--all"], "");
    assert_eq!(enforced["definitions_policy"], "enforce");
    assert_eq!(
        (&enforced["definitions"], of(&enforced, "roy/rename", "outcome")),
        (&all["definitions"], "lands".into())
    );
    settings("[queue]\ndefinitions = 7\n");
    let broken = told(repo, &["--all"], "");
    assert_eq!(
        (&broken["definitions_policy"], &broken["definitions"]),
        (&"advise".into(), &all["definitions"])
    );
    let why = broken["settings_unread"].as_str().expect("a sentence");
    assert!(why.contains("yardmaster.toml") || why.contains("queue.definitions"), "{why}");
}

fn put(remote: &Remote, branch: &str, from: Option<&str>, path: &str, text: &str) {
    remote.commit(&Change { branch, from, files: &[(path, Some(text))] });
}
