use std::time::Instant;

use yardmaster_tests::{Daemon, House, PROJECT};

const GATE: &str = "#!/bin/sh\nsleep 0.1\n";

/// A house with twelve branches that are all green.
async fn busy_house() -> (House, Vec<String>) {
    let house = House::build_with(&[("gate.sh", GATE), (".yardmaster.toml", PROJECT)]).await;
    let branches: Vec<String> = (0..12).map(|n| format!("ann/{n}")).collect();
    for branch in &branches {
        house.branch(branch, &[(branch, "x\n")]);
    }
    (house, branches)
}

/// One that waits, with a state directory of its own.
async fn stand_by(house: &House, name: &str, more: &[&str]) -> Daemon {
    let dir = house.dir.path().join(name).to_string_lossy().into_owned();
    let flags: Vec<&str> =
        ["--slots", "2", "--state-dir", &dir].into_iter().chain(more.iter().copied()).collect();
    let daemon = house.launch(&flags);
    let told = daemon.prints("standing by").await;
    assert!(told.contains("leads since 20"), "{told}");
    daemon
}

async fn all_land(house: &House, branches: &[String], logs: impl Fn() -> String) {
    for branch in branches {
        let end = house.events.end_of(branch).await;
        assert_eq!(end["type"], "merge_complete", "{branch}: {end}\n{}", logs());
    }
}

/// The leader dies in the middle of its work; who stood by has nothing but the journal and the remote.
#[tokio::test(flavor = "multi_thread")]
async fn a_stand_by_takes_over_from_a_leader_that_dies() {
    let (mut house, branches) = busy_house().await;
    house.start(&["--slots", "2"]).await;
    let mut second = stand_by(&house, "second", &[]).await;
    for branch in &branches {
        house.announce("ann", branch).await;
    }
    house.events.of_type(&branches[2], "testing").await;
    house.kill().await;
    let died = Instant::now();
    second.ready().await;
    let took = died.elapsed();
    eprintln!("served again after {took:?}");
    assert!(took.as_secs() < 10, "{took:?}\n{}", second.log());
    all_land(&house, &branches, || second.log()).await;
    assert_eq!(second.stop().await, Some(0));
    let ledger = house.check().await;
    assert_eq!(ledger.by_request().len(), branches.len());
}

/// The leader sleeps, another one leads meanwhile, and the first wakes: it steps down, and stands by.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_slept_does_no_harm_when_it_wakes() {
    let (mut house, branches) = busy_house().await;
    house.start(&["--slots", "2"]).await;
    let mut second = stand_by(&house, "second", &[]).await;
    for branch in &branches[..6] {
        house.announce("ann", branch).await;
    }
    house.events.of_type(&branches[0], "testing").await;
    let first = house.daemon.take().expect("it runs");
    first.signal("STOP").await;
    second.ready().await;
    for branch in &branches[6..9] {
        house.announce("ann", branch).await;
    }
    house.events.end_of(&branches[5]).await;
    first.signal("CONT").await;
    first.prints("standing by").await;
    for branch in &branches[9..] {
        house.announce("ann", branch).await;
    }
    all_land(&house, &branches, || format!("{}\n--- the second:\n{}", first.log(), second.log())).await;
    let mut first = first;
    first.signal("TERM").await;
    let (code, log) = first.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(second.stop().await, Some(0));
    let ledger = house.check().await;
    assert_eq!(ledger.by_request().len(), branches.len());
}

/// Of two that wait one takes over at once from a leader that is stopped, and the other goes on waiting.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_stand_by_one_takes_over_and_a_waiting_one_can_be_stopped() {
    let (mut house, branches) = busy_house().await;
    house.start(&["--slots", "2"]).await;
    let mut second = stand_by(&house, "second", &[]).await;
    let mut third = stand_by(&house, "third", &[]).await;
    for branch in &branches[..4] {
        house.announce("ann", branch).await;
    }
    all_land(&house, &branches[..4], || house.log()).await;
    assert_eq!(house.stop().await, Some(0));
    let stopped = Instant::now();
    let waiting = tokio::select! {
        () = second.ready() => { drop(house.daemon.replace(second)); third }
        () = third.ready() => { drop(house.daemon.replace(third)); second }
    };
    assert!(stopped.elapsed().as_secs() < 5, "{:?}", stopped.elapsed());
    for branch in &branches[4..] {
        house.announce("ann", branch).await;
    }
    all_land(&house, &branches, || house.log()).await;
    assert!(!waiting.log().lines().any(|l| l.starts_with("ready")), "{}", waiting.log());
    assert_eq!(waiting.stop().await, Some(0));
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

/// The one who stands by on the same directory of the same machine has the mirror, whatever became of
/// the branches.
#[tokio::test(flavor = "multi_thread")]
async fn a_stand_by_on_the_same_directory_takes_over_what_is_in_custody() {
    let (mut house, gate) = House::held().await;
    let head = house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&[]).await;
    house.announce("ann", "ann/one").await;
    let _held = gate.run_of("r1").await;
    let mut second = house.launch(&[]);
    second.prints("standing by").await;
    house.remote.git(&["update-ref", "-d", "refs/heads/ann/one"]);
    house.kill().await;
    second.ready().await;
    gate.open_wide();
    assert_eq!(house.events.end_of("ann/one").await["head"], head);
    assert_eq!(house.events.of("ann/one").last().map(String::as_str), Some("complete"));
    assert_eq!(second.stop().await, Some(0));
    house.check().await;
}

/// Elsewhere a head is lost with the machine if the remote has neither its branch nor its commit: that
/// request ends and says what to do, and the others go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_only_the_dead_leader_had_ends_its_request_and_no_other() {
    let lost = end_of_deleted_after_takeover(&["prune", "--expire=now"]).await;
    assert_eq!((&lost["cause"], &lost["blame"]), (&"branch_missing".into(), &"infra".into()), "{lost}");
}

/// A remote that has not cleaned up yet gives the head out by its id.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_whose_branch_is_gone_is_asked_for_by_its_id() {
    let landed = end_of_deleted_after_takeover(&["count-objects"]).await;
    assert_eq!(landed["type"], "merge_complete", "{landed}");
}

/// How `bob/deleted` ends when the leader dies after the branch was deleted and `git` was run on the remote;
/// those beside it land, also one whose branch has grown since.
async fn end_of_deleted_after_takeover(git: &[&str]) -> serde_json::Value {
    let mut house = House::build().await;
    let open = house.dir.path().join("open");
    // Not the keeper's: the dead leader's gate lives on, as it would on another machine.
    let gate = format!("until [ -e {} ]; do sleep 0.05; done", open.display());
    let branches = ["ann/kept", "bob/deleted", "cid/grown", "dan/other"];
    for branch in branches {
        house.branch(branch, &[(branch, "x\n")]);
    }
    let announced = house.remote.head("cid/grown");
    house.start(&["--gate", &gate]).await;
    for branch in branches {
        house.announce(branch.split('/').next().unwrap_or_default(), branch).await;
        house.events.of_type(branch, "queued").await;
    }
    house.events.of_type("ann/kept", "testing").await;
    let mut second = stand_by(&house, "second", &["--gate", &gate]).await;
    house.remote.git(&["update-ref", "-d", "refs/heads/bob/deleted"]);
    house.remote.commit(&yardmaster_tests::Change {
        branch: "cid/grown",
        from: Some("cid/grown"),
        files: &[("later.txt", Some("not announced\n"))],
    });
    house.remote.git(git);
    house.kill().await;
    second.ready().await;
    std::fs::write(&open, "").expect("written");
    let deleted = house.events.end_of("bob/deleted").await;
    for branch in ["ann/kept", "cid/grown", "dan/other"] {
        assert_eq!(house.events.end_of(branch).await["type"], "merge_complete", "{branch}");
    }
    assert_eq!(house.events.end_of("cid/grown").await["head"], announced);
    assert_eq!(house.remote.file("main", "later.txt"), None);
    assert_eq!(second.stop().await, Some(0));
    house.check().await;
    deleted
}

/// A server whose store has no room, or that refuses writes for another reason, takes no lease.
#[tokio::test]
async fn who_cannot_have_the_lease_says_why() {
    let mut house = House::build().await;
    house.start(&[]).await;
    assert_eq!(house.stop().await, Some(0));
    let js = async_nats::jetstream::new(house.nats.clone());
    let lease = js.get_stream("KV_yardmaster-lease-default").await.expect("the lease");
    let sealed = async_nats::jetstream::stream::Config { sealed: true, ..lease.cached_info().config.clone() };
    js.update_stream(sealed).await.expect("sealed");
    let daemon = house.launch(&[]);
    let said = daemon.says("the lease cannot be had").await;
    assert!(said.contains("sealed"), "{said}");
    daemon.kill().await;
}
