use serde_json::json;
use yardmaster_tests::{GateKeeper, House, Run};

/// A house whose gate has two steps beside each other, each of which asks the test: the runs of `r1` are
/// `…-one` and `…-two`.
async fn two_checks() -> (House, GateKeeper, tempfile::TempDir) {
    let pipes = tempfile::tempdir().expect("a directory");
    let keeper = GateKeeper::open(pipes.path());
    let step = |name: &str| {
        format!(
            "[[gate.steps]]\nname = \"{name}\"\nstage = \"checks\"\n\
             run = \"YARDMASTER_RUN=$YARDMASTER_RUN-{name} exec ./gate.sh\"\n"
        )
    };
    let project = format!("{}{}", step("one"), step("two"));
    let script = keeper.script();
    let house = House::build_with(&[("gate.sh", &script), (".yardmaster.toml", &project)]).await;
    for name in ["a", "b", "c"] {
        house.branch(&format!("ann/{name}"), &[(name, "x\n")]);
    }
    (house, keeper, pipes)
}

/// Both checks of one run, `one` first.
async fn checks_of(keeper: &GateKeeper, request: &str) -> [Run; 2] {
    let (first, second) = (keeper.run_of(request).await, keeper.run_of(request).await);
    if first.id.ends_with("-one") { [first, second] } else { [second, first] }
}

/// How often a branch was tested.
fn tests_of(house: &House, branch: &str) -> usize {
    house.events.of(branch).iter().filter(|e| *e == "testing").count()
}

/// Two checks of A fail at the same moment: it ends once, and who is tested on it is stopped once.
#[tokio::test(flavor = "multi_thread")]
async fn two_red_checks_of_one_request_are_one_failure() {
    let (mut house, keeper, _pipes) = two_checks().await;
    house.start(&["--slots", "8"]).await;
    for name in ["ann/a", "ann/b", "ann/c"] {
        house.announce("ann", name).await;
        house.events.of_type(name, "testing").await;
    }
    let [one, two] = checks_of(&keeper, "r1").await;
    let mut old = Vec::new();
    for request in ["r2", "r3"] {
        old.extend(checks_of(&keeper, request).await);
    }
    one.red();
    two.red();
    let end = house.events.end_of("ann/a").await;
    assert_eq!((&end["cause"], &end["blame"]), (&json!("gate_red"), &json!("own")), "{end}");
    for run in &old {
        run.dead().await;
    }
    for request in ["r2", "r3"] {
        checks_of(&keeper, request).await.into_iter().for_each(Run::green);
    }
    for name in ["ann/b", "ann/c"] {
        assert_eq!(house.events.end_of(name).await["type"], "merge_complete");
        assert_eq!(tests_of(&house, name), 2, "stopped once and tested again once");
    }
    assert_eq!(house.events.of("ann/a"), ["queued", "testing", "failed"]);
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

/// B stands on A and one of its two checks is red: the other one is killed at once, and B is told of it only when
/// A has been decided.
#[tokio::test(flavor = "multi_thread")]
async fn a_red_check_ends_its_neighbour_and_waits_for_who_is_beneath() {
    let (mut house, keeper, _pipes) = two_checks().await;
    house.start(&["--slots", "8"]).await;
    for name in ["ann/a", "ann/b"] {
        house.announce("ann", name).await;
        house.events.of_type(name, "testing").await;
    }
    let beneath = checks_of(&keeper, "r1").await;
    let [one, two] = checks_of(&keeper, "r2").await;
    one.red();
    two.dead().await;
    let blocked = house.events.of_type("ann/b", "blocked").await;
    assert_eq!(blocked["blockers"][0]["with"], "r1", "{blocked}");
    assert_eq!(house.events.of("ann/b"), ["queued", "testing", "blocked"]);
    assert!(beneath.iter().all(|run| !run.is_dead()), "nobody disturbs who is beneath");
    beneath.into_iter().for_each(Run::green);
    assert_eq!(house.events.end_of("ann/a").await["type"], "merge_complete");
    let end = house.events.end_of("ann/b").await;
    assert_eq!((&end["cause"], &end["blame"]), (&json!("gate_red"), &json!("own")), "{end}");
    assert_eq!(end["evidence"]["step"], "one", "{end}");
    assert_eq!(tests_of(&house, "ann/b"), 1);
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}
