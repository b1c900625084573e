use yardmaster_tests::{House, PATIENCE, PROJECT};

/// Two daemons on one server and one remote, each with a state directory of its own: the journal has one
/// writer, the other one steps down and says so, and every request has one end.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_daemons_one_steps_down_and_nothing_is_doubled() {
    let gate = "#!/bin/sh\nsleep 0.05\n";
    let mut house = House::build_with(&[("gate.sh", gate), (".yardmaster.toml", PROJECT)]).await;
    let branches: Vec<String> = (0..12).map(|n| format!("ann/{n}")).collect();
    for branch in &branches {
        house.branch(branch, &[(branch, "x\n")]);
    }
    house.start(&["--slots", "2"]).await;
    for branch in &branches[..6] {
        house.announce("ann", branch).await;
    }
    let other = house.dir.path().join("other").to_string_lossy().into_owned();
    let mut second = house.launch(&["--slots", "2", "--state-dir", &other]);
    second.ready_or_ended().await;
    for branch in &branches[6..] {
        house.announce("ann", branch).await;
    }
    for branch in &branches {
        let logs = || format!("the first:\n{}\nthe second:\n{}", house.log(), second.log());
        let end = tokio::time::timeout(PATIENCE * 2 / 3, house.events.end_of(branch)).await;
        let end = end.unwrap_or_else(|_| panic!("{branch} does not end\n{}", logs()));
        assert_eq!(end["type"], "merge_complete", "{branch}: {end}\n{}", logs());
    }
    let mut first = house.daemon.take().expect("it was started");
    let ((code, log), survivor) = tokio::select! {
        ended = first.ended() => (ended, second),
        ended = second.ended() => (ended, first),
    };
    assert_ne!(code, Some(0), "{log}");
    let told = log.lines().find(|l| l.starts_with("error:")).unwrap_or_default();
    assert!(told.contains("another daemon") || told.contains("another state directory"), "{told}");
    assert_eq!(survivor.stop().await, Some(0));
    let ledger = house.check().await;
    assert_eq!(ledger.by_request().len(), branches.len());
}

/// A daemon that does not have the heads does not take over: the one that has them goes on undisturbed.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_the_heads_that_are_pending_does_not_take_over() {
    let (mut house, gate) = House::held().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&[]).await;
    house.announce("ann", "ann/one").await;
    let run = gate.run_of("r1").await;
    let other = house.dir.path().join("other").to_string_lossy().into_owned();
    let refused = house.refused(&["--state-dir", &other], &[]).await;
    insta::assert_snapshot!(refused.text);
    assert_eq!(refused.code, Some(2));
    run.green();
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    assert_eq!(house.events.of("ann/one"), ["queued", "testing", "complete"]);
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}
