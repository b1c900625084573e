use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};

use super::record::{Announced, Commit, Evidence, Foreign};
use crate::{House, Ledger, OnMain, Remote};

/// Reads the stream and the repository, and runs the gate once more at every commit of `main`.
pub(crate) async fn collect(house: &House, announced: Vec<Announced>, foreign: Vec<Foreign>) -> Evidence {
    let events = Ledger::read(&house.nats).await.messages;
    let scratch = house.dir.path().join("again");
    Evidence {
        announced,
        events,
        main: history(&house.remote, &scratch),
        files: files(&house.remote),
        foreign,
        declined: 0,
        left_over: left_over(house),
    }
}

fn history(remote: &Remote, scratch: &Path) -> Vec<Commit> {
    let commit = |found: OnMain| {
        let OnMain { id, tree, request, rollup } = found;
        let green = is_green(remote, &tree, scratch);
        let (changes, asked) = match request {
            Some(_) => (lines(remote, &format!("{id}^1"), &id), asked(remote, &id)),
            None => (Vec::new(), Vec::new()),
        };
        Commit { id, tree, request, green, changes, asked, rollup }
    };
    remote.on_main().into_iter().map(commit).collect()
}

/// What the branch that `merge` landed does, since it left the target.
fn asked(remote: &Remote, merge: &str) -> Vec<String> {
    let (target, branch) = (format!("{merge}^1"), format!("{merge}^2"));
    if !remote.holds(&["rev-parse", "-q", "--verify", &branch]) {
        return vec!["nothing: it has one parent".to_owned()];
    }
    lines(remote, &remote.git(&["merge-base", &target, &branch]), &branch)
}

/// The lines that differ, each behind its path and `-` or `+`.
fn lines(remote: &Remote, from: &str, to: &str) -> Vec<String> {
    let diff = remote.git(&["diff", "-U0", "--no-color", "--no-renames", "--no-ext-diff", from, to]);
    let mut path = "";
    let mut lines = Vec::new();
    for line in diff.lines() {
        if let Some(found) = line.strip_prefix("diff --git a/") {
            path = found.split(" b/").next().unwrap_or_default();
        } else if line.starts_with(['-', '+']) && !line.starts_with("--- ") && !line.starts_with("+++ ") {
            lines.push(format!("{path} {line}"));
        }
    }
    lines
}

/// Trees never change, so one verdict a tree is enough for a whole siege.
fn is_green(remote: &Remote, tree: &str, scratch: &Path) -> bool {
    static KNOWN: OnceLock<Mutex<BTreeMap<String, bool>>> = OnceLock::new();
    let known = KNOWN.get_or_init(Mutex::default);
    if let Some(green) = known.lock().expect("nobody panics here").get(tree) {
        return *green;
    }
    let _ = std::fs::remove_dir_all(scratch);
    std::fs::create_dir_all(scratch).expect("a directory");
    let archive = remote.path().to_str().expect("UTF-8");
    let unpacked = Command::new("sh")
        .args(["-c", "git -C \"$0\" archive \"$1\" | tar -x -C \"$2\"", archive, tree])
        .arg(scratch)
        .status();
    assert!(unpacked.is_ok_and(|s| s.success()), "{tree} could not be checked out");
    let gate = Command::new("./gate.sh")
        .current_dir(scratch)
        .env("SIEGE_AGAIN", "1")
        .stdout(Stdio::null())
        .status()
        .expect("the gate runs");
    known.lock().expect("nobody panics here").insert(tree.to_owned(), gate.success());
    gate.success()
}

fn files(remote: &Remote) -> BTreeMap<String, String> {
    let paths = remote.git(&["ls-tree", "-r", "--name-only", "main"]);
    paths.lines().filter_map(|path| Some((path.to_owned(), remote.file("main", path)?))).collect()
}

/// What must not be there once a daemon has been started after the last fault and was stopped.
fn left_over(house: &House) -> Vec<String> {
    let mut left: Vec<String> = house.processes().into_iter().map(|p| format!("the process {p}")).collect();
    let find = |dir: &Path| {
        let found = Command::new("find").arg(dir).args(["-name", "*.lock"]).output().expect("find runs");
        String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let locks = find(&house.state_dir()).into_iter().chain(find(house.remote.path()));
    left.extend(locks.map(|l| format!("the lock {l}")));
    let mirror = Remote::at(&house.state_dir().join("mirror.git"));
    let pins = mirror.git(&["for-each-ref", "--format=%(refname)", "refs/yardmaster/requests/"]);
    left.extend(pins.lines().map(|p| format!("the pin {p}")));
    let lanes = std::fs::read_dir(house.state_dir().join("lanes"));
    let records = lanes.into_iter().flatten().flatten().map(|lane| lane.path().join("running"));
    left.extend(records.filter(|r| r.exists()).map(|r| format!("the record {}", r.display())));
    left
}
