use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use yardmaster_git::{GitError, Mirror, Worktree};
use yardmaster_protocol::CommitId;

use crate::remote::{World, git, main};

fn two_commits(world: &World) -> (Mirror, CommitId, CommitId) {
    let first = world.head();
    world.write("api/a.txt", "second\n");
    world.write("tool.sh", "#!/bin/sh\n");
    world.git(&["rm", "-q", "web/c.txt"]);
    let second = world.commit("second");
    world.push("main");
    let mirror = world.mirror();
    mirror.look(&main(), None, &[]).expect("a sighting");
    (mirror, first, second)
}

/// What git says is not as it should be, ignored files left out.
fn differences(dir: &Path) -> String {
    git(dir, &["status", "--porcelain", "--untracked-files=all"])
}

#[test]
fn a_checkout_is_exactly_the_tree_whatever_a_gate_did() {
    let world = World::new();
    let (mirror, first, second) = two_commits(&world);
    let lane = world.dir.path().join("lane");
    let tree = Worktree::open(mirror.path(), &lane).expect("a worktree");
    tree.checkout(second).expect("checked out");
    assert_eq!(git(&lane, &["rev-parse", "HEAD"]), second.to_string());
    assert_eq!(differences(&lane), "");

    fs::write(lane.join("api/a.txt"), "changed by a gate\n").expect("written");
    fs::remove_file(lane.join("api/b.txt")).expect("removed");
    fs::create_dir(lane.join("api/b.txt")).expect("a directory in the place of a file");
    fs::write(lane.join("api/b.txt/x"), "").expect("written");
    fs::set_permissions(lane.join("tool.sh"), PermissionsExt::from_mode(0o777)).expect("mode");
    fs::create_dir_all(lane.join("stray/deep")).expect("made");
    fs::write(lane.join("stray/deep/file"), "").expect("written");
    fs::create_dir(lane.join("nested")).expect("made");
    git(&lane.join("nested"), &["init", "-q"]);
    fs::create_dir(lane.join("cache")).expect("made");
    fs::write(lane.join("cache/warm"), "").expect("written");
    git(&lane, &["update-index", "--assume-unchanged", "api/a.txt"]);
    tree.checkout(second).expect("checked out");
    assert_eq!(differences(&lane), "");
    assert!(!lane.join("stray").exists() && !lane.join("nested").exists());
    assert!(lane.join("cache/warm").exists(), "ignored files are kept");
    assert_eq!(fs::read_to_string(lane.join("api/a.txt")).expect("read"), "second\n");

    tree.checkout(first).expect("checked out");
    assert_eq!(differences(&lane), "");
    assert!(!lane.join("tool.sh").exists() && lane.join("web/c.txt").exists());
}

#[test]
fn what_did_not_change_is_not_written() {
    let world = World::new();
    let (mirror, first, second) = two_commits(&world);
    let tree = Worktree::open(mirror.path(), &world.dir.path().join("lane")).expect("a worktree");
    tree.checkout(first).expect("checked out");
    let modified =
        |path: &str| fs::metadata(tree.dir().join(path)).and_then(|m| m.modified()).expect("a time");
    let before = (modified("api/a.txt"), modified("api/b.txt"));
    tree.checkout(second).expect("checked out");
    assert_ne!(modified("api/a.txt"), before.0);
    assert_eq!(modified("api/b.txt"), before.1);
}

#[test]
fn what_a_crash_left_is_mended() {
    let world = World::new();
    let (mirror, first, second) = two_commits(&world);
    let lane = world.dir.path().join("lane");
    Worktree::open(mirror.path(), &lane).expect("a worktree").checkout(first).expect("checked out");
    let gitdir = git(&lane, &["rev-parse", "--absolute-git-dir"]);
    let gitdir = Path::new(&gitdir);
    for lock in ["index.lock", "yardmaster-index.lock", "HEAD.lock"] {
        fs::write(gitdir.join(lock), "").expect("a lock");
    }
    let tree = Worktree::open(mirror.path(), &lane).expect("a worktree");
    tree.checkout(second).expect("locks are gone");
    assert_eq!(differences(&lane), "");

    fs::write(gitdir.join("yardmaster-index"), "torn").expect("written");
    tree.checkout(first).expect("a torn index is made anew");
    assert_eq!(differences(&lane), "");

    fs::remove_file(lane.join(".git")).expect("removed");
    git(&lane, &["init", "-q"]);
    tree.checkout(second).expect("a repository of a gate's own is replaced");
    assert_eq!(differences(&lane), "");

    fs::remove_dir_all(gitdir).expect("removed");
    let tree = Worktree::open(mirror.path(), &lane).expect("adopted");
    tree.checkout(first).expect("checked out");
    assert_eq!(differences(&lane), "");
}

#[test]
fn directories_without_permission_are_removed() {
    let world = World::new();
    let (mirror, first, _) = two_commits(&world);
    let tree = Worktree::open(mirror.path(), &world.dir.path().join("lane")).expect("a worktree");
    tree.checkout(first).expect("checked out");
    let locked = tree.dir().join("locked");
    fs::create_dir(&locked).expect("made");
    fs::write(locked.join("file"), "").expect("written");
    fs::set_permissions(&locked, PermissionsExt::from_mode(0o500)).expect("mode");
    tree.checkout(first).expect("checked out");
    assert!(!locked.exists());
}

#[test]
fn a_directory_with_other_things_in_it_is_refused_and_an_unknown_commit_told() {
    let world = World::new();
    let (mirror, first, _) = two_commits(&world);
    let refused = Worktree::open(mirror.path(), &world.author);
    assert!(matches!(refused, Err(GitError::Refused(_))));
    let tree = Worktree::open(mirror.path(), &world.dir.path().join("lane")).expect("a worktree");
    tree.checkout(first).expect("checked out");
    let unknown = "0123456789012345678901234567890123456789".parse().expect("an id");
    assert!(matches!(tree.checkout(unknown), Err(GitError::NoCommit(id)) if id == unknown));
    tree.checkout(first).expect("still usable");
}
