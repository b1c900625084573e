use std::time::Duration;

use yardmaster_git::{GitOptions, Mirror};
use yardmaster_protocol::{Assembly, CommitId, LandOutcome, Movement};

use crate::remote::{World, main, spec};

/// A mirror with one candidate on the tip.
fn candidate(world: &World) -> (Mirror, CommitId, CommitId) {
    let head = world.branch("roy/1", |w| w.write("x", "1\n"));
    let mirror = world.mirror();
    let (tip, to) = assembled(&mirror, head);
    (mirror, tip, to)
}

fn assembled(mirror: &Mirror, head: CommitId) -> (CommitId, CommitId) {
    let tip = mirror.look(&main(), None, &[]).expect("a sighting").tip;
    let ask = yardmaster_git::PinAsk {
        request: yardmaster_protocol::RequestId(1),
        branch: crate::remote::branch("roy/1"),
        commit: Some(head),
    };
    mirror.pin(&[ask], tip).expect("pinned");
    let stack = mirror.assemble(tip, &[spec(1, head)]).expect("assembled");
    let Assembly::Clean { commit, .. } = stack[0].assembly else { panic!("{stack:?}") };
    (tip, commit)
}

#[test]
fn a_candidate_lands() {
    let world = World::new();
    let (mirror, tip, to) = candidate(&world);
    let LandOutcome::Landed { seen } = mirror.land(&main(), tip, to, &[tip]) else { panic!("landed") };
    assert_eq!((seen.tip, seen.movement, seen.contains), (to, Movement::Forward, vec![tip]));
    assert_eq!(world.remote_tip("main"), to);
    let again = mirror.land(&main(), tip, to, &[to]);
    assert!(matches!(again, LandOutcome::Landed { seen } if seen.contains == [to]), "twice is once");
}

#[test]
fn somebody_elses_push_in_between_is_never_lost() {
    let world = World::new();
    let (mirror, tip, to) = candidate(&world);
    world.write("y", "theirs\n");
    let theirs = world.commit("theirs");
    world.push("main");
    let outcome = mirror.land(&main(), tip, to, &[tip, to]);
    let LandOutcome::Moved { seen } = outcome else { panic!("{outcome:?}") };
    assert_eq!((seen.tip, seen.contains), (theirs, vec![tip]));
    assert_eq!(world.remote_tip("main"), theirs);
}

#[test]
fn our_landing_is_recognised_beneath_somebody_elses_push() {
    let world = World::new();
    world.hook(
        "post-receive",
        "test -e once && exit 0; touch once\n\
         new=$(git commit-tree -p main -m theirs main^{tree} </dev/null)\n\
         git update-ref refs/heads/main $new",
    );
    for (key, value) in [("user.name", "x"), ("user.email", "x@example.com")] {
        crate::remote::git(&world.remote, &["config", key, value]);
    }
    std::fs::write(world.remote.join("once"), "").expect("a file");
    let (mirror, tip, to) = candidate(&world);
    std::fs::remove_file(world.remote.join("once")).expect("removed");
    let outcome = mirror.land(&main(), tip, to, &[]);
    let LandOutcome::Landed { seen } = outcome else { panic!("{outcome:?}") };
    assert_ne!(seen.tip, to);
}

#[test]
fn a_hook_that_declines_is_told_in_its_own_words() {
    let world = World::new();
    let (mirror, tip, to) = candidate(&world);
    world.hook("pre-receive", "echo 'no merges on Fridays' >&2; exit 1");
    let outcome = mirror.land(&main(), tip, to, &[]);
    let LandOutcome::Declined { why, seen } = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("no merges on Fridays"), "{why}");
    assert_eq!((seen.tip, world.remote_tip("main")), (tip, tip));
}

#[test]
fn a_hook_that_fails_after_the_push_was_taken_changes_nothing() {
    let world = World::new();
    let (mirror, tip, to) = candidate(&world);
    world.hook("post-receive", "echo boom >&2; exit 1");
    assert!(matches!(mirror.land(&main(), tip, to, &[]), LandOutcome::Landed { .. }));
}

#[test]
fn a_step_back_is_never_pushed() {
    let world = World::new();
    let (mirror, tip, to) = candidate(&world);
    assert!(matches!(mirror.land(&main(), tip, to, &[]), LandOutcome::Landed { .. }));
    let outcome = mirror.land(&main(), to, tip, &[]);
    assert!(matches!(outcome, LandOutcome::Landed { .. }), "contained already: {outcome:?}");
    assert_eq!(world.remote_tip("main"), to);
    let stray = world.branch("roy/1", |w| w.write("z", "1\n"));
    let (_, other) = assembled(&mirror, stray);
    let side = mirror.land(&main(), to, stray, &[]);
    assert!(matches!(side, LandOutcome::Declined { .. }), "{side:?}");
    assert_ne!(other, to);
    assert_eq!(world.remote_tip("main"), to);
}

#[test]
fn a_remote_that_does_not_answer_leaves_it_open() {
    let world = World::new();
    let (mirror, tip, to) = candidate(&world);
    std::fs::rename(&world.remote, world.dir.path().join("away")).expect("renamed");
    assert!(matches!(mirror.land(&main(), tip, to, &[]), LandOutcome::Unknown { .. }));
}

#[test]
fn a_push_that_takes_too_long_is_ended_and_looked_at() {
    let world = World::new();
    let (mirror, tip, to) = candidate(&world);
    let path = mirror.path().to_owned();
    drop(mirror);
    world.hook("pre-receive", "exec sleep 30");
    let options = GitOptions { net_timeout: Duration::from_millis(1_500), ..GitOptions::default() };
    let mirror = Mirror::open(&path, world.remote.to_str().expect("plain"), options).expect("a mirror");
    let outcome = mirror.land(&main(), tip, to, &[]);
    let LandOutcome::Unknown { why } = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("no answer in time"), "{why}");
}
