use yardmaster_tests::{House, PROJECT};

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
        let end = house.events.end_of(branch).await;
        let logs = || format!("the first:\n{}\nthe second:\n{}", house.log(), second.log());
        assert_eq!(end["type"], "merge_complete", "{branch}: {end}\n{}", logs());
    }
    let mut first = house.daemon.take().expect("it was started");
    let ((code, log), survivor) = tokio::select! {
        ended = first.ended() => (ended, second),
        ended = second.ended() => (ended, first),
    };
    assert_ne!(code, Some(0), "{log}");
    let told = log.lines().find(|l| l.starts_with("error:")).unwrap_or_default();
    assert!(told.contains("another daemon"), "{told}");
    assert_eq!(survivor.stop().await, Some(0));
    let ledger = house.check().await;
    assert_eq!(ledger.by_request().len(), branches.len());
}
