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

/// A commit that only another machine has, asked for by a job of who leads now.
#[test]
fn a_commit_that_is_not_here_leaves_the_lane_and_the_mirror_as_they_are() {
    let world = World::new();
    let (mirror, first, second) = two_commits(&world);
    let tree = Worktree::open(mirror.path(), &world.dir.path().join("lane")).expect("a worktree");
    let nowhere = "deadbeef".repeat(5).parse::<CommitId>().expect("an id");
    let news = || {
        world.write("api/a.txt", &world.head().to_string());
        let tip = world.commit("more");
        world.push("main");
        assert_eq!(mirror.look(&main(), None, &[]).expect("a sighting").tip, tip);
    };
    for before in [None, Some(first), Some(second)] {
        if let Some(commit) = before {
            tree.checkout(commit).expect("checked out");
        }
        assert!(matches!(tree.checkout(nowhere), Err(GitError::NoCommit(id)) if id == nowhere));
        news();
    }
    assert_eq!(git(tree.dir(), &["rev-parse", "HEAD"]), second.to_string());
    assert_eq!(differences(tree.dir()), "");

    // What a gate writes there, or a power cut leaves.
    let head = git(tree.dir(), &["rev-parse", "--git-path", "HEAD"]);
    for left in [&*nowhere.to_string(), "", "nonsense"] {
        fs::write(&head, left).expect("written");
        news();
        tree.checkout(first).expect("checked out");
        assert_eq!(differences(tree.dir()), "");
    }
    fs::write(&head, nowhere.to_string()).expect("written");
    drop(mirror);
    world.mirror().tidy().expect("packed");
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

/// Whether git was asked: a reset notes where it came from.
fn by_git(tree: &Worktree, commit: CommitId) -> bool {
    let noted = Path::new(&git(tree.dir(), &["rev-parse", "--absolute-git-dir"])).join("ORIG_HEAD");
    drop(fs::remove_file(&noted));
    tree.checkout(commit).expect("checked out");
    noted.exists()
}

#[test]
fn where_a_gate_left_nothing_git_is_not_asked_and_its_index_is_right() {
    let world = World::new();
    let (mirror, first, second) = two_commits(&world);
    let tree = Worktree::open(mirror.path(), &world.dir.path().join("lane")).expect("a worktree");
    assert!(by_git(&tree, first));
    for commit in [second, first, first, second] {
        assert!(!by_git(&tree, commit));
        assert_eq!(differences(tree.dir()), "");
        assert_eq!(git(tree.dir(), &["diff-files", "--raw"]), "", "no file has to be looked into");
        assert_eq!(git(tree.dir(), &["write-tree"]), git(tree.dir(), &["rev-parse", "HEAD^{tree}"]));
    }
    // What is ignored is asked about once, as a whole.
    fs::create_dir_all(tree.dir().join("cache/deep")).expect("made");
    assert!(by_git(&tree, first));
    fs::write(tree.dir().join("cache/deep/more"), "").expect("written");
    assert!(!by_git(&tree, second));
    assert!(tree.dir().join("cache/deep/more").exists());
}

#[test]
fn nothing_that_a_gate_does_to_a_file_is_overlooked() {
    let world = World::new();
    let (mirror, first, second) = two_commits(&world);
    let lane = world.dir.path().join("lane");
    let tree = Worktree::open(mirror.path(), &lane).expect("a worktree");
    let meddle: [&dyn Fn(); 8] = [
        // As long as before, and as old.
        &|| {
            let file = lane.join("api/a.txt");
            let old = fs::metadata(&file).and_then(|m| m.modified()).expect("a time");
            let text = fs::read_to_string(&file).expect("read").replace('s', "S").replace('o', "O");
            fs::write(&file, text).expect("written");
            fs::File::options().write(true).open(&file).and_then(|f| f.set_modified(old)).expect("set");
        },
        &|| fs::set_permissions(lane.join("api/b.txt"), PermissionsExt::from_mode(0o755)).expect("mode"),
        &|| fs::remove_file(lane.join("api/b.txt")).expect("removed"),
        &|| fs::remove_dir_all(lane.join("api")).expect("removed"),
        &|| drop(fs::create_dir(lane.join("empty"))),
        &|| fs::write(lane.join("api/new"), "").expect("written"),
        &|| {
            fs::rename(lane.join("api"), lane.join("elsewhere")).expect("moved");
            std::os::unix::fs::symlink("elsewhere", lane.join("api")).expect("linked");
        },
        &|| {
            fs::create_dir_all(lane.join("cache")).expect("made");
            fs::write(lane.join("cache/.gitignore"), "!*\n").expect("written");
            fs::write(lane.join("new.rs"), "").expect("written");
        },
    ];
    for (n, act) in meddle.iter().enumerate() {
        for (from, to) in [(first, second), (first, first), (second, first)] {
            tree.checkout(from).expect("checked out");
            act();
            tree.checkout(to).expect("checked out");
            assert_eq!(differences(&lane), "", "{n}");
            assert_eq!(git(&lane, &["write-tree"]), git(&lane, &["rev-parse", "HEAD^{tree}"]), "{n}");
        }
    }
}

/// Trees that differ in everything that trees can differ in, one after the other, with and without git.
#[test]
fn any_tree_follows_any_other() {
    let world = World::new();
    let mut commits = vec![world.head()];
    let mut chance = 7_u32;
    let mut next = |below: u32| {
        chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (chance >> 16) % below
    };
    let paths = ["a", "a/x", "a/x/y", "b.txt", "b/c d/e", "é", "b", "deep/er/and/deeper", "tool"];
    for n in 0..40 {
        let path = paths[next(9) as usize];
        let file = world.author.join(path);
        drop(fs::remove_dir_all(&file));
        drop(fs::remove_file(&file));
        if next(4) > 0 {
            let above: Vec<&Path> = Path::new(path).ancestors().skip(1).collect();
            for dir in above.iter().filter(|d| world.author.join(d).is_file()) {
                fs::remove_file(world.author.join(dir)).expect("removed");
            }
            fs::create_dir_all(file.parent().expect("a parent")).expect("made");
            if next(5) == 0 {
                std::os::unix::fs::symlink("b.txt", &file).expect("linked");
            } else {
                fs::write(&file, format!("{n}\n")).expect("written");
                let mode = if next(3) == 0 { 0o755 } else { 0o644 };
                fs::set_permissions(&file, PermissionsExt::from_mode(mode)).expect("mode");
            }
        }
        world.git(&["add", "-A"]);
        world.git(&["commit", "-q", "--allow-empty", "-m", "x"]);
        commits.push(world.head());
    }
    world.push("main");
    let mirror = world.mirror();
    mirror.look(&main(), None, &[]).expect("a sighting");
    let tree = Worktree::open(mirror.path(), &world.dir.path().join("lane")).expect("a worktree");
    let mut asked = 0;
    for _ in 0..120 {
        let commit = commits[next(41) as usize];
        asked += u32::from(by_git(&tree, commit));
        assert_eq!(differences(tree.dir()), "", "{commit}");
        assert_eq!(git(tree.dir(), &["diff-index", "--raw", "HEAD"]), "", "{commit}");
    }
    assert!(asked <= 2, "git was asked {asked} times");
}

#[test]
fn a_half_written_switch_and_attributes_that_convert_are_left_to_git() {
    let world = World::new();
    let (mirror, first, _) = two_commits(&world);
    let lane = world.dir.path().join("lane");
    let tree = Worktree::open(mirror.path(), &lane).expect("a worktree");
    tree.checkout(first).expect("checked out");
    // As after a kill: some files are of the next tree, the index is not.
    fs::write(lane.join("api/a.txt"), "second\n").expect("written");
    fs::write(lane.join("tool.sh"), "#!/bin/").expect("written");
    drop(tree);
    let tree = Worktree::open(mirror.path(), &lane).expect("a worktree");
    tree.checkout(first).expect("checked out");
    assert_eq!(differences(&lane), "");

    world.write(".gitattributes", "*.txt text eol=crlf\n");
    let converting = world.commit("attributes");
    world.write("api/a.txt", "third\n");
    let third = world.commit("third");
    world.push("main");
    mirror.look(&main(), None, &[]).expect("a sighting");
    for commit in [converting, third, converting, third] {
        tree.checkout(commit).expect("checked out");
        assert_eq!(differences(&lane), "", "{commit}");
    }
    assert_eq!(fs::read(lane.join("api/a.txt")).expect("read"), b"third\r\n");
}
