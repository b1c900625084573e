use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use yardmaster_protocol::{RunOutcome, Step};
use yardmaster_runner::{Lane, LaneConfig, RunLimits};

use crate::world::{PATIENCE, World, run, step};

fn beside(name: &str, command: &str) -> Step {
    Step { stage: Some("beside".into()), ..step(name, command) }
}

#[tokio::test]
async fn steps_of_a_stage_run_at_the_same_time_and_what_stands_below_waits_for_all() {
    let world = World::new();
    // Neither ends without the other.
    let steps = vec![
        step("first", "mkfifo there back"),
        beside("ask", "echo over there >there; read x <back; echo got $x; touch asked"),
        beside("answer", "read x <there; echo half; echo hello >back; touch answered"),
        step("last", "test -e asked -a -e answered"),
    ];
    let report = run(&mut world.lane(), &world.job_of("run-1", "two", steps)).await;
    assert_eq!(report.outcome, RunOutcome::Green, "{}", world.log("run-1"));
    let mut names: Vec<&str> = report.steps.iter().map(|s| s.name.as_str()).collect();
    assert_eq!((names.remove(0), names.pop()), ("first", Some("last")));
    let log = world.log("run-1");
    assert!(log.contains("\n[ask] got hello\n") && log.contains("\n[answer] $ read x"), "{log}");
}

#[tokio::test]
async fn the_first_red_step_ends_the_others_with_all_their_processes() {
    let world = World::new();
    let (mut inside, mut outside) = (world.fifo("inside"), world.fifo("outside"));
    let slow = format!(
        "setsid sh -c 'echo out >&9; exec sleep 600' 9>{} & exec 9>{}; trap '' TERM; echo in >&9; mkfifo up; \
         echo >up; while :; do sleep 600; done",
        outside.shown(),
        inside.shown()
    );
    let red = "while ! test -p up; do sleep 0.01; done; read x <up; sleep 0.2; exit 3";
    let steps = vec![beside("slow", &slow), beside("red", red), step("never", "true")];
    let report = run(&mut world.lane(), &world.job_of("run-1", "two", steps)).await;
    let RunOutcome::Red { step, exit_code: Some(3), .. } = &report.outcome else { panic!("{report:?}") };
    assert_eq!(step, "red");
    let told: Vec<(&str, Option<i32>)> =
        report.steps.iter().map(|s| (s.name.as_str(), s.exit_code)).collect();
    assert_eq!(told, [("red", Some(3)), ("slow", None)]);
    inside.released().await;
    outside.released().await;
    assert!(world.log("run-1").contains("[slow] cancelled after "));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_one_step_leaves_behind_is_ended_and_the_step_beside_it_is_not() {
    let world = World::new();
    let (mut left, go) = (world.fifo("left"), world.path("go"));
    let leaves = format!(
        "setsid sh -c 'echo up >&9; exec sleep 600' 9>{} >/dev/null 2>&1 & mkfifo met; read x <met",
        left.shown()
    );
    let stays =
        format!("while ! test -p met; do sleep 0.01; done; echo >met; read x <{}; exit 7", go.display());
    assert!(std::process::Command::new("mkfifo").arg(&go).status().unwrap().success());
    let steps = vec![beside("leaves", &leaves), beside("stays", &stays)];
    let (job, mut lane) = (world.job_of("run-1", "two", steps), world.lane());
    let running = tokio::spawn(async move { run(&mut lane, &job).await });
    left.released().await;
    // Nobody reads it any more if the second step was ended as well.
    tokio::task::spawn_blocking(move || std::fs::write(go, "go\n").unwrap()).await.unwrap();
    let report = timeout(PATIENCE, running).await.unwrap().unwrap();
    assert!(matches!(report.outcome, RunOutcome::Red { exit_code: Some(7), .. }), "{report:?}");
}

#[tokio::test]
async fn a_cancelled_run_ends_all_its_steps() {
    let world = World::new();
    let mut fifos = [world.fifo("f0"), world.fifo("f1"), world.fifo("f2")];
    let hold = |n: usize| format!("exec 9>{}; echo $$ >&9; sleep 600", fifos[n].shown());
    let steps = (0..3).map(|n| beside(&format!("s{n}"), &hold(n))).collect();
    let (job, mut lane) = (world.job_of("run-1", "two", steps), world.lane());
    let (cancel, cancelled) = oneshot::channel::<()>();
    let running = tokio::spawn(async move { lane.run(&job, async { drop(cancelled.await) }).await });
    for fifo in &mut fifos {
        fifo.line().await;
    }
    cancel.send(()).unwrap();
    let report = timeout(PATIENCE, running).await.unwrap().unwrap();
    assert_eq!((report.outcome, report.steps.len()), (RunOutcome::Cancelled, 3));
    for fifo in &mut fifos {
        fifo.released().await;
    }
}

#[tokio::test]
async fn a_step_that_hangs_beside_one_that_floods_times_out_and_the_log_is_bounded() {
    let world = World::new();
    let limits = RunLimits { log_bytes: 1 << 20, ..world.config().limits };
    let hangs = Step { timeout_ms: 1_000, ..beside("hangs", "trap '' TERM; while :; do sleep 600; done") };
    let steps = vec![beside("floods", "yes flooding"), hangs];
    let report = run(&mut world.lane_with(limits), &world.job_of("run-1", "two", steps)).await;
    let RunOutcome::TimedOut { step, limit_ms: 1_000, .. } = &report.outcome else { panic!("{report:?}") };
    assert_eq!(step, "hangs");
    let log = std::fs::read_to_string(world.path("logs/run-1.log")).unwrap();
    assert!(log.len() <= 1 << 20 && log.contains("\n[floods] flooding\n"), "{}", log.len());
}

#[tokio::test]
async fn steps_that_share_a_lock_or_lack_a_processor_wait_for_each_other_in_all_lanes() {
    let world = World::new();
    let taken = world.path("taken");
    let alone = format!("mkdir {0} && sleep 0.1 && rmdir {0}", taken.display());
    let locked = |n: u32| Step { locks: vec!["database".into()], ..beside(&format!("l{n}"), &alone) };
    let host = world.config().host;
    let lane = |number: u32| {
        let dir = world.path(&format!("lanes/{number}"));
        Lane::open(LaneConfig { number, dir, host: host.clone(), ..world.config() }).unwrap()
    };
    let job = |run: &str| world.job_of(run, "two", (0..3).map(locked).collect());
    let (mut first, mut second) = (lane(1), lane(2));
    let (one, two) = (job("run-1"), job("run-2"));
    let (one, two) = tokio::join!(run(&mut first, &one), run(&mut second, &two));
    assert_eq!([one.outcome, two.outcome], [RunOutcome::Green, RunOutcome::Green]);

    // The world has two processors: who asks for more gets both.
    let wide = |n: u32| Step { cpu: 1 + n, ..beside(&format!("c{n}"), &alone) };
    let job = world.job_of("run-3", "two", vec![wide(1), wide(9)]);
    assert_eq!(run(&mut first, &job).await.outcome, RunOutcome::Green, "{}", world.log("run-3"));
}

/// Waiting for what others have is not the fault of who waits.
#[tokio::test]
async fn waiting_for_a_lock_takes_nothing_of_a_steps_time() {
    let world = World::new();
    let limits = RunLimits { wall: Duration::from_secs(3), ..world.config().limits };
    let locked = |name: &str, run: &str| Step { locks: vec!["db".into()], ..step(name, run) };
    let host = world.config().host;
    let lane = |number: u32| {
        let dir = world.path(&format!("lanes/{number}"));
        Lane::open(LaneConfig { number, dir, host: host.clone(), limits, ..world.config() }).unwrap()
    };
    let mut fifo = world.fifo("f");
    let holds = format!("exec 9>{}; echo up >&9; sleep 2", fifo.shown());
    let (mut first, mut second) = (lane(1), lane(2));
    let holder = world.job_of("run-1", "two", vec![locked("holds", &holds)]);
    let waiter = Step { timeout_ms: 1_500, ..locked("waits", "sleep 1.2") };
    let waiter = world.job_of("run-2", "two", vec![waiter]);
    let waits = async {
        fifo.line().await;
        run(&mut second, &waiter).await
    };
    let (one, two) = tokio::join!(run(&mut first, &holder), waits);
    assert_eq!([one.outcome, two.outcome], [RunOutcome::Green, RunOutcome::Green]);
    assert!(two.ms > 2_000, "it did wait: {} ms", two.ms);
}

#[tokio::test]
async fn a_learned_limit_is_no_verdict_and_the_own_one_is() {
    let world = World::new();
    let mut job = world.job_of("run-1", "two", vec![Step { timeout_ms: 1_000, ..step("unit", "sleep 600") }]);
    job.learned_ms.insert("unit".into(), 200);
    let mut lane = world.lane();
    let RunOutcome::Lost { why } = run(&mut lane, &job).await.outcome else { panic!("no verdict yet") };
    assert!(why.contains("`unit` did not end within 0 s") && why.contains("own limit of 1 s"), "{why}");
    job.learned_ms.insert("unit".into(), 5_000);
    let outcome = run(&mut lane, &job).await.outcome;
    assert!(matches!(outcome, RunOutcome::TimedOut { limit_ms: 1_000, .. }), "{outcome:?}");
}
