use std::future::{pending, ready};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;
use yardmaster_protocol::RunOutcome;
use yardmaster_runner::RunLimits;

use crate::world::{PATIENCE, World, limited, run, step, tail_of};

#[tokio::test]
async fn a_gate_that_ignores_term_is_killed_after_the_grace() {
    let world = World::new();
    let mut fifo = world.fifo("f");
    let command = format!("trap '' TERM; exec 9>{}; echo begun; while :; do sleep 600; done", fifo.shown());
    let report = run(&mut world.lane(), &world.job_of("run-1", "two", limited(&command, 200))).await;
    let RunOutcome::TimedOut { step, limit_ms: 200, log_tail } = &report.outcome else {
        panic!("{report:?}");
    };
    assert_eq!((step.as_str(), log_tail.as_str()), ("gate", "begun\n"));
    assert_eq!(report.steps[0].exit_code, None);
    assert!(report.steps[0].ms >= 500, "{report:?}");
    fifo.released().await;
}

#[tokio::test]
async fn what_handles_term_may_clean_up_even_after_its_shell_died() {
    let world = World::new();
    let limits = RunLimits { grace: PATIENCE, ..RunLimits::default() };
    let command =
        "sh -c 'trap \"sleep 0.2; echo cleaned; exit\" TERM; echo up; while :; do sleep 0.01; done'; echo";
    let began = Instant::now();
    let report =
        run(&mut world.lane_with(limits), &world.job_of("run-1", "two", limited(command, 500))).await;
    assert!(tail_of(&report.outcome).ends_with("cleaned\n"), "{report:?}");
    assert!(matches!(report.outcome, RunOutcome::TimedOut { .. }));
    assert!(began.elapsed() < PATIENCE / 2);
}

#[tokio::test]
async fn the_whole_run_has_a_limit() {
    let world = World::new();
    let limits = RunLimits { wall: Duration::from_secs(2), ..world.config().limits };
    let steps = vec![step("first", "true"), step("second", "sleep 600")];
    let report = run(&mut world.lane_with(limits), &world.job_of("run-1", "two", steps)).await;
    let RunOutcome::TimedOut { step, limit_ms: 2_000, .. } = &report.outcome else { panic!("{report:?}") };
    assert_eq!(step, "second");
}

#[tokio::test]
async fn limits_beyond_all_counting_are_no_trouble() {
    let world = World::new();
    let limits = RunLimits { wall: Duration::MAX, ..RunLimits::default() };
    let job = world.job_of("run-1", "two", limited("true", u64::MAX));
    assert_eq!(run(&mut world.lane_with(limits), &job).await.outcome, RunOutcome::Green);
}

#[tokio::test]
async fn a_cancelled_run_ends_at_once_with_all_its_processes() {
    let world = World::new();
    let mut fifo = world.fifo("f");
    let mut lane = world.lane();
    let job = world.job(&format!("exec 9>{}; echo $$ >&9; sleep 600", fifo.shown()));
    let (cancel, cancelled) = oneshot::channel::<()>();
    let running = tokio::spawn(async move {
        let report = lane.run(&job, async { drop(cancelled.await) }).await;
        (report, lane)
    });
    fifo.line().await;
    let began = Instant::now();
    cancel.send(()).unwrap();
    let (report, mut lane) = timeout(PATIENCE, running).await.unwrap().unwrap();
    assert_eq!(report.outcome, RunOutcome::Cancelled);
    assert!(began.elapsed() < Duration::from_secs(5));
    fifo.released().await;
    assert!(world.log("run-1").contains("\ncancelled after "));
    let next = world.job_of("run-2", "one", vec![step("gate", "true")]);
    assert_eq!(run(&mut lane, &next).await.outcome, RunOutcome::Green);
}

#[tokio::test]
async fn what_is_cancelled_before_it_starts_does_not_start() {
    let world = World::new();
    let report = world.lane().run(&world.job("true"), ready(())).await;
    assert_eq!(report.outcome, RunOutcome::Cancelled);
    assert!(report.steps.is_empty());
}

#[tokio::test]
async fn background_processes_do_not_survive_their_step() {
    let world = World::new();
    let mut fifo = world.fifo("f");
    let fork = format!("exec 9>{}; sleep 600 >/dev/null 2>&1 & true", fifo.shown());
    let steps = vec![step("fork", &fork), step("next", "true")];
    let report = run(&mut world.lane(), &world.job_of("run-1", "two", steps)).await;
    assert_eq!(report.outcome, RunOutcome::Green);
    fifo.released().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn processes_that_leave_their_group_are_found() {
    let world = World::new();
    let mut fifo = world.fifo("f");
    let escape = format!(
        "exec 9>{}; mkfifo up; setsid sh -c 'echo out >up; exec sleep 600' & read x <up; exit 2",
        fifo.shown()
    );
    let report = run(&mut world.lane(), &world.job(&escape)).await;
    assert!(matches!(report.outcome, RunOutcome::Red { exit_code: Some(2), .. }), "{report:?}");
    fifo.released().await;
}

#[tokio::test]
async fn a_holder_of_the_output_that_cannot_be_found_does_not_hang_the_run() {
    let world = World::new();
    let mut fifo = world.fifo("f");
    let hidden = format!(
        "exec 9>{}; mkfifo up; setsid env -i sh -c 'echo $$ >&9; echo >up; exec sleep 60' & read x <up; true",
        fifo.shown()
    );
    let report = run(&mut world.lane(), &world.job(&hidden)).await;
    assert_eq!(report.outcome, RunOutcome::Green);
    assert!(report.ms < 10_000, "{report:?}");
    // Nothing but its environment marks an escaped process: this one has to be ended by hand.
    assert!(fifo.is_held());
    let pid = fifo.line().await;
    assert!(std::process::Command::new("kill").arg(pid).status().unwrap().success());
    fifo.released().await;
}

#[tokio::test]
async fn closing_the_output_does_not_end_a_step() {
    let world = World::new();
    let report = run(&mut world.lane(), &world.job("exec >&- 2>&-; sleep 0.3; exit 4")).await;
    assert!(matches!(report.outcome, RunOutcome::Red { exit_code: Some(4), .. }), "{report:?}");
    assert!(report.ms >= 300);
}

#[tokio::test]
async fn a_dropped_run_takes_its_processes_with_it() {
    let world = World::new();
    let mut fifo = world.fifo("f");
    let mut lane = world.lane();
    let job = world.job(&format!("exec 9>{}; echo $$ >&9; sleep 600", fifo.shown()));
    tokio::select! {
        report = lane.run(&job, pending()) => panic!("{report:?}"),
        _ = fifo.line() => {}
    }
    fifo.released().await;
    let next = world.job_of("run-2", "one", vec![step("gate", "true")]);
    assert_eq!(run(&mut lane, &next).await.outcome, RunOutcome::Green);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_flood_is_bounded_on_disk_and_in_memory_and_slows_nobody() {
    let world = World::new();
    let limits = RunLimits { log_bytes: 4 << 20, ..world.config().limits };
    let mut lane = world.lane_with(limits);
    let job = world.job_of("run-1", "two", limited("echo first; yes flooding", 2_000));
    let before = resident_bytes();
    // On this test's only thread: if the run took it over, the ticks would stop.
    let ticking = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let mut last = Instant::now();
        loop {
            ticks.tick().await;
            let gap = last.elapsed();
            if gap > Duration::from_secs(1) {
                return gap;
            }
            last = Instant::now();
        }
    };
    tokio::select! {
        gap = ticking => panic!("nothing else ran for {gap:?}"),
        report = run(&mut lane, &job) => {
            // The kill may come in the middle of a line.
            let tail = tail_of(&report.outcome);
            let whole_lines = tail.get(..=tail.rfind('\n').unwrap_or(0)).unwrap_or_default();
            assert!(whole_lines.ends_with("flooding\nflooding\n"), "{report:?}");
        }
    }
    assert!(resident_bytes().saturating_sub(before) < 24 << 20);
    let len = std::fs::metadata(world.path("logs/run-1.log")).unwrap().len();
    assert!((3 << 20..=4 << 20).contains(&len), "{len}");
    let log = std::fs::read_to_string(world.path("logs/run-1.log")).unwrap();
    assert!(log.starts_with("$ echo first; yes flooding\nfirst\nflooding\n"));
    assert!(log.contains(" bytes left out here]\n"));
    assert!(log.trim_end().lines().last().unwrap().starts_with("timed out after "));
}

#[cfg(target_os = "linux")]
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
