use std::fs;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tokio::time::timeout;
use yardmaster_protocol::RunId;
use yardmaster_runner::{LogStore, RunLimits, RunnerError};

use crate::world::{PATIENCE, World, entries, run};

fn id(text: &str) -> RunId {
    RunId::new(text).unwrap()
}

#[tokio::test]
async fn a_log_can_be_followed_while_it_grows() {
    let world = World::new();
    let mut fifo = world.fifo("f");
    let mut lane = world.lane();
    let job = world.job(&format!("echo early; exec 9>{}; echo $$ >&9; sleep 600", fifo.shown()));
    let (cancel, cancelled) = oneshot::channel::<()>();
    let running = tokio::spawn(async move { lane.run(&job, async { drop(cancelled.await) }).await });
    fifo.line().await;
    let store = LogStore::new(world.path("logs"));
    // The gate has written it; that it has gone through our hands can only be seen by looking.
    let early = timeout(PATIENCE, async {
        loop {
            let piece = store.read(&id("run-1"), 0, 1 << 20).unwrap();
            assert!(!piece.done);
            if piece.bytes.ends_with(b"early\n") {
                break piece;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    cancel.send(()).unwrap();
    timeout(PATIENCE, running).await.unwrap().unwrap();
    let rest = store.read(&id("run-1"), early.next, 9).unwrap();
    assert_eq!((rest.bytes.as_slice(), rest.next, rest.done), (&b"cancelled"[..], early.next + 9, false));
    let end = store.read(&id("run-1"), rest.next, 1 << 20).unwrap();
    assert!(end.done);
    let beyond = store.read(&id("run-1"), u64::MAX, 1 << 20).unwrap();
    assert_eq!((beyond.bytes.len(), beyond.next, beyond.done), (0, end.next, true));
}

#[tokio::test]
async fn the_oldest_logs_make_room() {
    let world = World::new();
    let logs = world.path("logs");
    fs::create_dir_all(&logs).unwrap();
    for age in 1..=5u64 {
        let file = fs::File::create(logs.join(format!("old-{age}.log"))).unwrap();
        file.set_len(1000).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60 * age)).unwrap();
    }
    // The oldest of all is still being written by another lane.
    let live = fs::File::open(logs.join("old-5.log")).unwrap();
    live.lock().unwrap();
    let few = RunLimits { kept_logs: 4, ..RunLimits::default() };
    run(&mut world.lane_with(few), &world.job("true")).await;
    assert_eq!(entries(&logs), ["old-1.log", "old-2.log", "old-5.log", "run-1.log"]);
    let small = RunLimits { log_bytes: 1000, kept_log_bytes: 3100, ..RunLimits::default() };
    run(&mut world.lane_with(small), &world.job("true")).await;
    assert_eq!(entries(&logs), ["old-1.log", "old-5.log", "run-1.log"]);
}

#[test]
fn only_plain_files_are_logs() {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::new(dir.path());
    assert!(matches!(store.read(&id("none"), 0, 10), Err(RunnerError::NoLog { .. })));
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link.log")).unwrap();
    assert!(matches!(store.read(&id("link"), 0, 10), Err(RunnerError::Log { .. })));
    fs::create_dir(dir.path().join("dir.log")).unwrap();
    assert!(matches!(store.read(&id("dir"), 0, 10), Err(RunnerError::Log { .. })));
    let fifo = dir.path().join("fifo.log");
    assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
    assert!(matches!(store.read(&id("fifo"), 0, 10), Err(RunnerError::Log { .. })));
    assert!(RunId::new("../x").is_err());
}
