use yardmaster_git::{GitError, GitOptions, Mirror};
use yardmaster_protocol::Movement;

use crate::remote::{World, branch, git, main};

#[test]
fn every_movement_is_told_apart() {
    let world = World::new();
    let mirror = world.mirror();
    let first = mirror.look(&main(), None, &[]).expect("a sighting");
    assert_eq!((first.tip, first.movement), (world.head(), Movement::First));
    assert_eq!(mirror.look(&main(), Some(first.tip), &[]).expect("a sighting").movement, Movement::Same);

    world.write("api/a.txt", "new\n");
    let second = world.commit("second");
    world.push("main");
    let seen = mirror.look(&main(), Some(first.tip), &[second, first.tip]).expect("a sighting");
    assert_eq!((seen.tip, seen.movement), (second, Movement::Forward));
    assert_eq!(seen.contains, [second, first.tip]);

    world.git(&["reset", "-q", "--hard", "HEAD~1"]);
    world.push("main");
    let seen = mirror.look(&main(), Some(second), &[second, first.tip]).expect("a sighting");
    assert_eq!((seen.tip, seen.movement), (first.tip, Movement::Rewound));
    assert_eq!(seen.contains, [first.tip]);

    world.git(&["commit", "-q", "--amend", "-m", "other"]);
    world.push("main");
    let seen = mirror.look(&main(), Some(first.tip), &[first.tip]).expect("a sighting");
    assert_eq!((seen.tip, seen.movement, seen.contains), (world.head(), Movement::Diverged, vec![]));
}

#[test]
fn a_missing_target_an_empty_remote_and_no_remote_are_told_apart() {
    let world = World::empty();
    let mirror = world.mirror();
    assert!(matches!(mirror.look(&main(), None, &[]), Err(GitError::RemoteEmpty)));
    world.commit("first");
    world.push("other");
    let missing = mirror.look(&main(), None, &[]);
    assert!(matches!(missing, Err(GitError::TargetMissing(target)) if target == main()));
    std::fs::rename(&world.remote, world.dir.path().join("away")).expect("renamed");
    assert!(matches!(mirror.look(&main(), None, &[]), Err(GitError::Unreachable { .. })));
    std::fs::rename(world.dir.path().join("away"), &world.remote).expect("renamed");
    world.push("main");
    assert!(mirror.look(&main(), None, &[]).is_ok());
}

#[test]
fn a_target_may_take_the_place_of_a_directory_of_targets() {
    let world = World::new();
    let mirror = world.mirror();
    world.push("release/1");
    assert!(mirror.look(&branch("release/1"), None, &[]).is_ok());
    git(&world.remote, &["update-ref", "-d", "refs/heads/release/1"]);
    world.push("release");
    assert!(mirror.look(&branch("release"), None, &[]).is_ok());
}

#[test]
fn the_project_file_is_read_and_one_that_cannot_be_read_is_not_taken_for_none() {
    let world = World::new();
    let mirror = world.mirror();
    assert_eq!(mirror.look(&main(), None, &[]).expect("a sighting").project_file, None);
    let text = "[gate]\nrun = \"make test\"\n";
    world.write(".yardmaster.toml", text);
    world.commit("gate");
    world.push("main");
    let seen = mirror.look(&main(), None, &[]).expect("a sighting");
    assert_eq!(seen.project_file.as_deref(), Some(text));
    world.write(".yardmaster.toml", &"#".repeat(300 * 1024));
    world.commit("too large");
    world.push("main");
    let text = mirror.look(&main(), None, &[]).expect("a sighting").project_file.expect("some text");
    assert!(text.contains("64 KiB") && yardmaster_protocol::Project::parse(&text).is_err());
}

#[test]
fn opening_again_sweeps_stale_locks_and_keeps_what_is_pinned() {
    let world = World::new();
    let mirror = world.mirror();
    mirror.look(&main(), None, &[]).expect("a sighting");
    let path = mirror.path().to_owned();
    let locks = ["packed-refs.lock", "refs/yardmaster/targets/main.lock", "config.lock"];
    for lock in locks {
        std::fs::write(path.join(lock), "").expect("a lock");
    }
    assert!(matches!(mirror.look(&main(), None, &[]), Err(_) | Ok(_)));
    let second = Mirror::open(&path, world.remote.to_str().expect("plain"), GitOptions::default());
    assert!(second.is_ok() && path.join(locks[0]).exists(), "locks of a mirror in use are left alone");
    drop((mirror, second));
    let mirror = world.mirror();
    assert!(locks.iter().all(|lock| !path.join(lock).exists()));
    world.commit("more");
    world.push("main");
    assert_eq!(mirror.look(&main(), None, &[]).expect("a sighting").tip, world.head());
}
