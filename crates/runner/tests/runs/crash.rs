use std::io::{Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::timeout;
use yardmaster_protocol::{RunId, RunOutcome, Step};
use yardmaster_runner::{Lane, LogStore, RunnerError};

use crate::world::{PATIENCE, World, entries, run, step};

#[test]
fn a_lane_is_for_one_process() {
    let world = World::new();
    let first = world.lane();
    let second = Lane::open(world.config());
    assert!(matches!(second, Err(RunnerError::LaneInUse { .. })), "{second:?}");
    drop(first);
    world.lane();
}

/// Not a test: the process that is killed in `what_a_killed_runner_left_is_ended`.
#[tokio::test]
#[ignore = "run by another test"]
async fn predecessor() {
    let root = PathBuf::from(std::env::var_os("PREDECESSOR_ROOT").unwrap());
    let job = std::fs::read(root.join("job.json")).unwrap();
    let mut config = World::new().config();
    config.dir = root.join("lanes/3");
    config.mirror = root.join("mirror");
    config.logs = root.join("logs");
    let mut lane = Lane::open(config).unwrap();
    lane.run(&serde_json::from_slice(&job).unwrap(), std::future::pending()).await;
}

#[cfg(target_os = "linux")]
fn predecessor_of(world: &World) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::predecessor", "--ignored"])
        .env("PREDECESSOR_ROOT", world.dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Until so many steps are in the records. A step runs before its record is written, and what runs then without the
/// lane in its environment is found by the record alone.
#[cfg(target_os = "linux")]
async fn recorded(world: &World, steps: usize) {
    let is_record = |name: &String| name.starts_with("running") && !name.contains(".new-");
    let written = async {
        while entries(&world.path("lanes/3")).iter().filter(|name| is_record(name)).count() < steps {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, written).await.expect("records in time");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_a_killed_runner_left_is_ended() {
    let world = World::new();
    let (mut inside, mut outside) = (world.fifo("inside"), world.fifo("outside"));
    let command = format!(
        "setsid sh -c 'echo $$ >&9; exec sleep 600' 9>{} >/dev/null 2>&1 & \
         env -i sh -c 'exec 9>{}; echo $$ >&9; exec sleep 600'",
        outside.shown(),
        inside.shown()
    );
    std::fs::write(world.path("job.json"), serde_json::to_vec(&world.job(&command)).unwrap()).unwrap();
    let mut predecessor = predecessor_of(&world);
    inside.line().await;
    outside.line().await;
    recorded(&world, 1).await;
    predecessor.kill().unwrap();
    predecessor.wait().unwrap();
    assert!(inside.is_held() && outside.is_held());

    let mut lane = world.lane();
    inside.released().await;
    outside.released().await;
    assert!(!world.path("lanes/3/running").exists());
    let log = LogStore::new(world.path("logs")).read(&RunId::new("run-1").unwrap(), 0, 1 << 20).unwrap();
    assert!(log.done, "a log whose writer died does not grow any more");
    let next = world.job_of("run-2", "one", vec![step("gate", "test \"$(cat a.txt)\" = one")]);
    assert_eq!(run(&mut lane, &next).await.outcome, RunOutcome::Green);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_a_killed_runner_left_of_steps_beside_each_other_is_ended() {
    let world = World::new();
    let mut fifos = [world.fifo("f0"), world.fifo("f1")];
    let hidden =
        |n: usize| format!("env -i sh -c 'exec 9>{}; echo $$ >&9; exec sleep 600'", fifos[n].shown());
    let beside = |n: usize| Step { after: Some(Vec::new()), ..step(&format!("s{n}"), &hidden(n)) };
    let job = world.job_of("run-1", "two", vec![beside(0), beside(1)]);
    std::fs::write(world.path("job.json"), serde_json::to_vec(&job).unwrap()).unwrap();
    let mut predecessor = predecessor_of(&world);
    for fifo in &mut fifos {
        fifo.line().await;
    }
    recorded(&world, 2).await;
    predecessor.kill().unwrap();
    predecessor.wait().unwrap();
    assert!(fifos.iter_mut().all(|fifo| fifo.is_held()));
    drop(world.lane());
    for fifo in &mut fifos {
        fifo.released().await;
    }
    assert_eq!(entries(&world.path("lanes/3")).iter().filter(|e| e.starts_with("running")).count(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_that_only_has_the_recorded_id_is_left_alone() {
    let world = World::new();
    let mut bystander =
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
    record(&world, &bystander, 1);
    world.lane();
    // Only a living process answers; one that is dying may still look alive.
    bystander.stdin.as_mut().unwrap().write_all(b"?").unwrap();
    bystander.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    record(&world, &bystander, 0);
    world.lane();
    assert_eq!(bystander.wait().unwrap().signal(), Some(9));
}

/// Records `process` as what a predecessor ran, `off` ticks away from when it really started.
#[cfg(target_os = "linux")]
fn record(world: &World, process: &Child, off: u64) {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let ticks: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let record = serde_json::json!({
        "run": "run-1",
        "group": process.id(),
        "started": {"boot": boot.trim(), "ticks": ticks + off},
    });
    std::fs::create_dir_all(world.path("lanes/3")).unwrap();
    std::fs::write(world.path("lanes/3/running"), record.to_string()).unwrap();
}
