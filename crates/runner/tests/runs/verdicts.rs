use std::collections::BTreeSet;

use yardmaster_protocol::{RunOutcome, Step};
use yardmaster_runner::LaneConfig;

use crate::world::{World, entries, run, step, tail_of};

#[tokio::test]
async fn green_steps_run_in_order_and_leave_one_log() {
    let world = World::new();
    let steps = vec![step("unit", "echo a; echo b >&2; printf c"), step("e2e", "cat; echo d")];
    let report = run(&mut world.lane(), &world.job_of("run-1", "two", steps)).await;
    assert_eq!(report.outcome, RunOutcome::Green);
    assert_eq!(report.runner, "host/3");
    assert!(report.started.0 > 1_700_000_000_000);
    let names: Vec<_> = report.steps.iter().map(|s| (s.name.as_str(), s.exit_code)).collect();
    assert_eq!(names, [("unit", Some(0)), ("e2e", Some(0))]);
    let log = world.log("run-1");
    let lines: Vec<&str> = log.lines().map(|l| l.split(" after ").next().unwrap()).collect();
    let unit = ["$ echo a; echo b >&2; printf c", "a", "b", "c", "exit 0"];
    assert_eq!(lines, [&unit[..], &["$ cat; echo d", "d", "exit 0"]].concat());
}

#[tokio::test]
async fn the_first_red_step_ends_the_run() {
    let world = World::new();
    let steps =
        vec![step("ok", "echo fine"), step("bad", "echo '\u{1b}[31mno'; exit 3"), step("late", "true")];
    let report = run(&mut world.lane(), &world.job_of("run-1", "two", steps)).await;
    let expected = RunOutcome::Red { step: "bad".into(), exit_code: Some(3), log_tail: "no\n".into() };
    assert_eq!(report.outcome, expected);
    assert_eq!(report.steps.len(), 2);
    assert!(!world.log("run-1").contains("late"));
}

#[tokio::test]
async fn death_by_a_signal_is_red_without_a_code() {
    let world = World::new();
    let report = run(&mut world.lane(), &world.job("kill -SEGV $$")).await;
    assert!(matches!(report.outcome, RunOutcome::Red { exit_code: None, .. }), "{report:?}");
    assert!(world.log("run-1").contains("signal: 11"), "{}", world.log("run-1"));
}

#[tokio::test]
async fn the_tail_is_the_end_of_the_output_and_bounded() {
    let world = World::new();
    let report = run(&mut world.lane(), &world.job("seq 1 100000; false")).await;
    let tail = tail_of(&report.outcome);
    assert!(tail.ends_with("\n99999\n100000\n"), "{tail}");
    assert_eq!(tail.len(), 4096);
}

#[tokio::test]
async fn the_gate_sees_the_candidate_and_not_what_the_last_gate_left() {
    let world = World::new();
    let mut lane = world.lane();
    let dirty =
        "test \"$(cat a.txt)\" = one && echo x > a.txt && mkdir -p $TMPDIR/ro/x && chmod 500 $TMPDIR/ro";
    let report = run(&mut lane, &world.job_of("run-1", "one", vec![step("gate", dirty)])).await;
    assert_eq!(report.outcome, RunOutcome::Green, "{}", world.log("run-1"));
    for (run_id, commit) in [("run-2", "two"), ("run-3", "one")] {
        let look = format!("test \"$(cat a.txt)\" = {commit} && test -z \"$(ls $TMPDIR)\"");
        let report = run(&mut lane, &world.job_of(run_id, commit, vec![step("gate", &look)])).await;
        assert_eq!(report.outcome, RunOutcome::Green, "{run_id}: {}", world.log(run_id));
    }
}

#[tokio::test]
async fn the_environment_is_scrubbed_and_says_what_is_tested() {
    let world = World::new();
    let job = world.job_of(
        "run-1",
        "two",
        vec![Step {
            env: [("DB", "x y"), ("YARDMASTER_RUN", "forged")].map(|(k, v)| (k.into(), v.into())).into(),
            ..step("gate", "env | sort; false")
        }],
    );
    let mut lane = yardmaster_runner::Lane::open(LaneConfig {
        pass_env: vec!["CARGO_PKG_NAME".into()],
        ..world.config()
    })
    .unwrap();
    let report = run(&mut lane, &job).await;
    let tail = tail_of(&report.outcome);
    let candidate = format!("YARDMASTER_CANDIDATE={}", job.candidate);
    let tmp = format!("TMPDIR={}", world.path("lanes/3/tmp").canonicalize().unwrap().display());
    let told = [
        "CI=true",
        "TERM=dumb",
        "DB=x y",
        "CARGO_PKG_NAME=yardmaster-runner",
        "YARDMASTER_LANE=3",
        "YARDMASTER_REQUEST=r12",
        "YARDMASTER_RUN=run-1",
        "YARDMASTER_STEP=1",
        "YARDMASTER_TARGET=main",
        &candidate,
        &tmp,
    ];
    for line in told {
        assert!(tail.lines().any(|l| l == line), "{line} is not in\n{tail}");
    }
    let names: BTreeSet<&str> = tail.lines().filter_map(|l| l.split_once('=')).map(|(n, _)| n).collect();
    let known =
        ["PATH", "HOME", "USER", "SHELL", "LANG", "PWD", "OLDPWD", "SHLVL", "_", "YARDMASTER_LANE_DIR"];
    let told: Vec<&str> = told.iter().map(|l| l.split_once('=').unwrap().0).collect();
    let strange: Vec<_> =
        names.iter().filter(|n| !known.contains(n) && !told.contains(n) && !n.starts_with("LC_")).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[tokio::test]
async fn trouble_of_our_own_is_lost_and_not_red() {
    let world = World::new();
    let nul = run(&mut world.lane(), &world.job("echo \0")).await;
    assert!(matches!(&nul.outcome, RunOutcome::Lost { why } if why.contains("gate")), "{nul:?}");
    let mut lane =
        yardmaster_runner::Lane::open(LaneConfig { mirror: world.path("none"), ..world.config() }).unwrap();
    let no_mirror = run(&mut lane, &world.job("true")).await;
    assert!(
        matches!(&no_mirror.outcome, RunOutcome::Lost { why } if why.contains("check out")),
        "{no_mirror:?}"
    );
    assert!(no_mirror.steps.is_empty());
}

#[tokio::test]
async fn a_lane_goes_on_after_its_worktree_was_destroyed() {
    let world = World::new();
    let mut lane = world.lane();
    run(&mut lane, &world.job("true")).await;
    std::fs::remove_dir_all(world.path("lanes/3/worktree")).unwrap();
    let job = world.job_of("run-2", "one", vec![step("gate", "test \"$(cat a.txt)\" = one")]);
    let report = run(&mut lane, &job).await;
    assert_eq!(report.outcome, RunOutcome::Green, "{report:?}");
}

#[tokio::test]
async fn a_log_that_cannot_be_written_fails_nothing_and_is_told() {
    let world = World::new();
    let mut lane = world.lane();
    std::fs::create_dir_all(world.path("logs/run-1.log/x")).unwrap();
    let report = run(&mut lane, &world.job("echo hello; exit 1")).await;
    let tail = tail_of(&report.outcome);
    assert!(tail.starts_with("hello\n[the log is incomplete: "), "{tail}");
}

#[tokio::test]
async fn a_gate_without_steps_is_green() {
    let world = World::new();
    let report = run(&mut world.lane(), &world.job_of("run-1", "two", vec![])).await;
    assert_eq!(report.outcome, RunOutcome::Green);
    assert!(entries(&world.path("lanes/3")).iter().all(|name| name != "worktree"));
}
