//! The landing protocol gone through completely for the smallest bounds, and the judge judged: each
//! thing that can be broken in the world around the queue is found.

use yardmaster_sim::exhaust::{Case, Faults, Flaw, Scenario, explore};

const NONE: Faults =
    Faults { crashes: 0, takeovers: 0, foreign: 0, unclear: 0, lost_acks: 0, lost_runs: 0, declines: 0 };
const CRASH: Faults = Faults { crashes: 1, ..NONE };
const TAKEOVER: Faults = Faults { takeovers: 1, ..NONE };
const FOREIGN: Faults = Faults { foreign: 1, ..NONE };
const UNCLEAR: Faults = Faults { unclear: 1, ..NONE };

fn case(scenario: Scenario, faults: Faults) -> Case {
    Case { scenario, faults, flaw: None, sleepers: false, most_states: 1_000_000 }
}

fn holds(case: &Case) {
    match explore(case) {
        Ok(explored) => assert!(explored.over > 0 && explored.depth > 10, "{case:?}: {explored}"),
        Err(found) => panic!("{case:?}: {}\n{}", found.violation, found.story.join("\n")),
    }
}

#[test]
fn every_scenario_holds_without_faults_and_with_one_crash() {
    for scenario in Scenario::ALL {
        holds(&case(scenario, NONE));
        if scenario != Scenario::Withdrawn {
            holds(&case(scenario, CRASH));
        }
    }
}

#[test]
fn a_daemon_that_sleeps_and_wakes_up_does_no_harm() {
    for faults in [TAKEOVER, Faults { takeovers: 1, foreign: 1, ..NONE }] {
        holds(&Case { sleepers: true, ..case(Scenario::One, faults) });
        holds(&case(Scenario::One, faults));
    }
}

/// What finds a flaw, in a world in which nothing is found without it.
fn found(flaw: Flaw) -> (Scenario, Faults, bool, &'static str) {
    use Scenario::One;
    match flaw {
        Flaw::AckBeforeAppend => (One, CRASH, false, "everything ends"),
        Flaw::AckBeforeCustody => (One, NONE, false, "acked only what is in custody"),
        Flaw::PushBeforeAppend => (One, CRASH, false, "every push is in the journal first"),
        Flaw::PushWithoutLease => (One, FOREIGN, false, "the target moves only forward"),
        Flaw::UnknownIsRefused => (One, UNCLEAR, false, "the innocent stay"),
        Flaw::UnknownIsTaken => (One, UNCLEAR, false, "what is said to have landed is on the target"),
        Flaw::NoReadBack => (One, FOREIGN, false, "the innocent stay"),
        Flaw::DeposedGoesOn => (One, TAKEOVER, true, "acked only what is in custody"),
        Flaw::AppendWithoutExpectation => (One, TAKEOVER, true, "replay gives the state that was lived"),
        Flaw::AppendAgain => (One, NONE, false, "the state's own rules"),
        Flaw::NoRedelivery => (One, CRASH, false, "everything ends"),
        Flaw::HandStaysBusy => (One, UNCLEAR, false, "everything ends"),
        Flaw::AlwaysGreen => (Scenario::SecondRed, NONE, false, "every pushed commit is green"),
    }
}

#[test]
fn every_flaw_is_found() {
    let mut wrong = Vec::new();
    for flaw in Flaw::ALL {
        let (scenario, faults, sleepers, rule) = found(flaw);
        let sound = Case { sleepers, ..case(scenario, faults) };
        holds(&sound);
        match explore(&Case { flaw: Some(flaw), ..sound }) {
            Err(found) if found.violation.rule == rule && !found.story.is_empty() => {}
            Err(found) => {
                wrong.push(format!("{flaw:?}: {}\n  {}", found.violation, found.story.join("\n  ")));
            }
            Ok(explored) => wrong.push(format!("{flaw:?}: not found in {explored}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_counterexample_is_the_shortest_story() {
    let flawed = Case { flaw: Some(Flaw::UnknownIsTaken), ..case(Scenario::One, UNCLEAR) };
    let found = explore(&flawed).expect_err("it is found");
    let last = found.story.iter().rev().take(3).map(String::as_str).collect::<Vec<_>>();
    assert_eq!(
        last,
        [
            "the daemon takes in what the hand at the remote found",
            "the remote is read back after the push",
            "a push is cut off; it may arrive later",
        ]
    );
}

#[test]
fn too_many_states_are_an_error_and_not_a_success() {
    let found = explore(&Case { most_states: 100, ..case(Scenario::Two, CRASH) });
    assert_eq!(found.expect_err("it is cut").violation.rule, "few enough states");
}

/// A limit that is known: nobody can tell a push that is gone from one that the remote still works on.
/// When its end was not seen, the next try is declined for good, and the remote would have taken the
/// first all the same, the request has failed and is on the target. A remote that declines the same
/// commit every time, or one push at a time, cannot do this.
#[test]
fn a_remote_that_changes_its_mind_about_a_push_under_way_is_beyond_us() {
    holds(&case(Scenario::Moody, Faults { foreign: 1, declines: 2, ..NONE }));
    for faults in [Faults { declines: 1, ..UNCLEAR }, Faults { declines: 1, ..CRASH }] {
        let found = explore(&case(Scenario::Moody, faults)).expect_err("it is found");
        assert_eq!(found.violation.rule, "what ended otherwise is not on the target");
        for told in [
            "the remote declines a push that it would take at another time",
            "a push without a living pusher arrives at the remote",
        ] {
            assert!(found.story.iter().any(|line| line == told), "{told}: {:?}", found.story);
        }
    }
}
