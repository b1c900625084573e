use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Which of our crates each of our crates may use; whoever is not named here is free.
const ALLOWED: [(&str, &[&str]); 10] = [
    ("protocol", &[]),
    ("failpoint", &[]),
    ("queue", &["protocol"]),
    ("sim", &["protocol", "queue"]),
    ("git", &["protocol", "failpoint"]),
    ("runner", &["protocol", "failpoint", "git"]),
    ("bus", &["protocol", "failpoint"]),
    ("symbols", &[]),
    ("daemon", &["protocol", "failpoint", "queue", "git", "runner", "bus", "symbols"]),
    ("cli", &["protocol", "daemon", "bus"]),
];
const FREE: [&str; 3] = ["bench", "tests", "xtask"];

fn metadata() -> Value {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--no-deps"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    serde_json::from_slice(&cargo.stdout).expect("metadata is JSON")
}

/// The room of a package: the name of its folder.
fn room(package: &Value) -> String {
    let manifest = PathBuf::from(package["manifest_path"].as_str().expect("a path"));
    let folder = manifest.parent().and_then(Path::file_name).expect("a folder");
    folder.to_string_lossy().into_owned()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[test]
fn arrows_between_rooms_are_those_that_were_drawn() {
    let metadata = metadata();
    let rooms: BTreeMap<&str, String> =
        list(&metadata["packages"]).map(|p| (p["name"].as_str().expect("a name"), room(p))).collect();
    let allowed = BTreeMap::from(ALLOWED);
    for package in list(&metadata["packages"]) {
        let from = room(package);
        if FREE.contains(&from.as_str()) {
            continue;
        }
        let may = allowed.get(from.as_str()).unwrap_or_else(|| panic!("no arrows are drawn for `{from}`"));
        // Tests of a room may use more, the room itself not.
        for dependency in list(&package["dependencies"]).filter(|d| d["kind"] != "dev") {
            if let Some(to) = rooms.get(dependency["name"].as_str().expect("a name")) {
                assert!(may.contains(&to.as_str()), "`{from}` uses `{to}`, which is not drawn");
            }
        }
    }
}

/// What each room must not have, at any depth.
const WALLS: [(&str, &[&str]); 6] = [
    ("protocol", &["tokio", "git2", "async-nats"]),
    ("queue", &["tokio", "git2", "async-nats", "futures-util", "rand"]),
    ("git", &["async-nats", "yardmaster-queue"]),
    ("runner", &["async-nats", "yardmaster-queue"]),
    ("bus", &["git2", "yardmaster-queue"]),
    ("symbols", &["tokio", "git2", "async-nats", "yardmaster-queue"]),
];

/// Everything that ships with a package, by name.
fn tree(package: &str) -> BTreeSet<String> {
    cargo_tree(package, "{p}").lines().filter_map(|l| l.split(' ').next()).map(str::to_owned).collect()
}

fn cargo_tree(package: &str, format: &str) -> String {
    let cargo = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            format,
            "--package",
            package,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    String::from_utf8_lossy(&cargo.stdout).into_owned()
}

/// The moments at which a process can be made to die are for tests alone.
#[test]
fn the_binary_that_is_shipped_has_no_failpoints() {
    let tree = cargo_tree("yardmaster", "{p} features:{f}");
    let lines: Vec<&str> = tree.lines().filter(|l| l.starts_with("yardmaster-failpoint ")).collect();
    assert!(!lines.is_empty(), "the crate has gone, and this test can too");
    assert!(!lines.iter().any(|l| l.contains("features:failpoints")), "{lines:?}");
}

#[test]
fn walls_hold_at_any_depth_and_the_simulator_is_not_in_the_binary() {
    for (room, absent) in WALLS {
        let tree = tree(&format!("yardmaster-{room}"));
        let found: Vec<_> = absent.iter().filter(|name| tree.contains(**name)).collect();
        assert!(found.is_empty(), "`{room}` has {found:?} in its tree");
    }
    let binary = tree("yardmaster");
    assert!(binary.contains("yardmaster-queue"), "the tree is not what it was taken for: {binary:?}");
    assert!(!binary.contains("yardmaster-sim"), "the simulator is linked into the binary");
}

/// By the workspace's lints, which every crate has to take over.
#[test]
fn every_crate_forbids_unsafe_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &Path| std::fs::read_to_string(path).expect("a manifest");
    let lints = read(&root.join("Cargo.toml"));
    assert!(lints.contains("\n[workspace.lints.rust]\nunsafe_code = \"forbid\"\n"));
    for package in list(&metadata()["packages"]) {
        let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
        assert!(read(manifest).contains("\n[lints]\nworkspace = true\n"), "{}", manifest.display());
    }
}
