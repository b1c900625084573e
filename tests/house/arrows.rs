use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Which of our crates each of our crates may use; whoever is not named here is free.
const ALLOWED: [(&str, &[&str]); 8] = [
    ("protocol", &[]),
    ("queue", &["protocol"]),
    ("sim", &["protocol", "queue"]),
    ("git", &["protocol"]),
    ("runner", &["protocol", "git"]),
    ("bus", &["protocol"]),
    ("daemon", &["protocol", "queue", "git", "runner", "bus"]),
    ("cli", &["protocol", "daemon", "bus"]),
];
const FREE: [&str; 2] = ["tests", "xtask"];

fn metadata(more: &[&str]) -> Value {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline"])
        .args(more)
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
    let metadata = metadata(&["--no-deps"]);
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
const WALLS: [(&str, &[&str]); 5] = [
    ("protocol", &["tokio", "git2", "async-nats"]),
    ("queue", &["tokio", "git2", "async-nats", "futures-util", "rand"]),
    ("git", &["async-nats", "yardmaster-queue"]),
    ("runner", &["async-nats", "yardmaster-queue"]),
    ("bus", &["git2", "yardmaster-queue"]),
];

#[test]
fn walls_hold_at_any_depth_and_the_simulator_is_not_in_the_binary() {
    let metadata = metadata(&[]);
    let names: BTreeMap<&str, &str> = list(&metadata["packages"])
        .map(|p| (p["id"].as_str().expect("an id"), p["name"].as_str().expect("a name")))
        .collect();
    let uses: BTreeMap<&str, Vec<&str>> = list(&metadata["resolve"]["nodes"])
        .map(|node| {
            let ships = |d: &&Value| list(&d["dep_kinds"]).any(|k| k["kind"].is_null());
            let deps = list(&node["deps"]).filter(ships).filter_map(|d| d["pkg"].as_str()).collect();
            (node["id"].as_str().expect("an id"), deps)
        })
        .collect();
    let tree = |room_name: &str| -> BTreeSet<&str> {
        let root = list(&metadata["packages"]).find(|p| room(p) == room_name && p["source"].is_null());
        let mut open = vec![root.and_then(|p| p["id"].as_str()).unwrap_or_else(|| panic!("no room {room_name}"))];
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(uses.get(id).into_iter().flatten());
            }
        }
        seen.into_iter().filter_map(|id| names.get(id).copied()).collect()
    };
    for (room, absent) in WALLS {
        let found: Vec<_> = absent.iter().filter(|name| tree(room).contains(*name)).collect();
        assert!(found.is_empty(), "`{room}` has {found:?} in its tree");
    }
    let binary = tree("cli");
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
    for package in list(&metadata(&["--no-deps"])["packages"]) {
        let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
        assert!(read(manifest).contains("\n[lints]\nworkspace = true\n"), "{}", manifest.display());
    }
}
