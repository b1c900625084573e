use yardmaster_protocol::{GateJob, RunOutcome, Step};

use crate::world::{World, run, step};

fn when(name: &str, globs: &[&str]) -> Step {
    Step { when: globs.iter().map(|g| (*g).to_owned()).collect(), ..step(name, "true") }
}

/// `two` differs from `one` in `a.txt` only.
fn job(world: &World, run: &str) -> GateJob {
    let steps = vec![
        when("a", &["*.txt"]),
        when("b", &["b/**"]),
        when("not-a", &["!a.txt"]),
        Step { after: Some(vec!["b".into()]), ..when("after-b", &["a.*"]) },
        step("always", "true"),
    ];
    let mut job = world.job_of(run, "two", steps);
    job.since = Some(world.git(&["rev-parse", "one"]).parse().expect("a commit"));
    job
}

#[tokio::test]
async fn steps_run_where_their_paths_differ_from_what_is_known() {
    let world = World::new();
    let report = run(&mut world.lane(), &job(&world, "run-1")).await;
    assert_eq!(report.outcome, RunOutcome::Green, "{}", world.log("run-1"));
    assert_eq!(report.skipped, ["b", "not-a"]);
    let mut ran: Vec<&str> = report.steps.iter().map(|s| s.name.as_str()).collect();
    ran.sort_unstable();
    assert_eq!(ran, ["a", "after-b", "always"]);
    assert!(world.log("run-1").contains("step `b` is left out: nothing of its `when` differs from "));
}

#[tokio::test]
async fn everything_runs_on_a_tip_on_an_unknown_one_and_where_nothing_can_be_compared() {
    let world = World::new();
    let mut lane = world.lane();
    let known = job(&world, "run-1");
    let missing = "0123456789012345678901234567890123456789".parse().unwrap();
    let cases = [
        GateJob { since: None, ..known.clone() },
        GateJob { request: None, ..known.clone() },
        GateJob { since: Some(missing), ..known.clone() },
    ];
    for job in cases {
        let report = run(&mut lane, &job).await;
        assert_eq!((&report.outcome, report.steps.len(), report.skipped.len()), (&RunOutcome::Green, 5, 0));
    }
    assert!(world.log("run-1").contains("every step runs, whatever its `when`: failed to compare"));
}

#[tokio::test]
async fn a_run_without_any_step_left_is_green() {
    let world = World::new();
    let mut job = job(&world, "run-1");
    job.since = Some(job.candidate);
    job.gate.steps.truncate(2);
    let report = run(&mut world.lane(), &job).await;
    assert_eq!((report.outcome, report.steps.len()), (RunOutcome::Green, 0));
}
