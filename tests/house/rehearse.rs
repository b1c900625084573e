use std::path::Path;
use std::process::Command;

use serde_json::Value;
use yardmaster_tests::{Change, Remote, yardmaster};

/// A daemon and NATS are not there: nothing of the environment leads to one.
fn rehearse(repo: &Path, args: &[&str]) -> (i32, String) {
    let done = Command::new(yardmaster())
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
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("no branch `nobody/*`"), "{text}");
    assert_eq!(listed(remote.path()), before, "something was written to the repository");
}

fn put(remote: &Remote, branch: &str, from: Option<&str>, path: &str, text: &str) {
    remote.commit(&Change { branch, from, files: &[(path, Some(text))] });
}
