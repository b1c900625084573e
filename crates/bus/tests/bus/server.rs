use std::path::Path;
use std::time::Duration;

use yardmaster_bus::server::{Embedded, EmbeddedOptions, ServerBinary, ServerError};
use yardmaster_bus::{Bus, BusOptions};

use crate::support::{World, binary, entry, options, within};

fn alive(pid: u32) -> bool {
    // A zombie has no command line.
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|text| !text.is_empty())
}

async fn gone(pid: u32) {
    within(5, async {
        while alive(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn it_is_bound_to_loopback_synced_and_ends_in_good_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Embedded::start(binary(), dir.path(), EmbeddedOptions::default()).await.expect("starts");
    assert!(server.url().starts_with("nats://127.0.0.1:"), "{}", server.url());
    let bus = Bus::connect(options(&server)).await.expect("connects");
    assert_eq!(bus.server_version(), binary().version);
    let config = std::fs::read_to_string(dir.path().join("nats-server.conf")).expect("is there");
    assert!(config.contains("sync_interval: always") && config.contains("max_payload: 8388608"), "{config}");
    let pid = server.pid();
    assert!(alive(pid));
    server.stop().await;
    assert!(!alive(pid));
}

#[tokio::test]
async fn dropped_it_is_killed_and_what_it_had_confirmed_is_there_next_time() {
    let mut world = World::new().await;
    let mut journal = world.bus.journal().await.expect("opens");
    journal.read(0, |_| {}).await.expect("reads");
    journal.append(&[entry(1)]).await.expect("appends");
    let pid = world.server().pid();
    world.kill().await;
    gone(pid).await;
    world.revive().await;
    let mut records = 0;
    let bus = world.another().await;
    bus.journal().await.expect("opens").read(0, |_| records += 1).await.expect("reads");
    assert_eq!(records, 1);
}

#[tokio::test]
async fn two_do_not_use_one_directory() {
    let world = World::bare().await;
    let second = Embedded::start(binary(), world.dir.path(), EmbeddedOptions::default()).await;
    assert!(matches!(second, Err(ServerError::InUse { .. })), "{second:?}");
    let bus: BusOptions = options(world.server());
    Bus::connect(bus).await.expect("the first one still serves");
}

#[tokio::test]
async fn a_server_that_a_crash_left_behind_is_ended_first() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().canonicalize().expect("is there").join("nats-server.conf");
    // As a predecessor leaves it that was killed: the server runs, the lock is free.
    let first = Embedded::start(binary(), dir.path(), EmbeddedOptions::default()).await.expect("starts");
    first.stop().await;
    let mut orphan = tokio::process::Command::new(&binary().path)
        .arg("--config")
        .arg(&config)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .expect("starts");
    let pid = orphan.id().expect("runs");
    let pid_file = dir.path().join("nats-server.pid");
    within(10, async {
        while std::fs::read_to_string(&pid_file).ok().and_then(|t| t.trim().parse().ok()) != Some(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let second = Embedded::start(binary(), dir.path(), EmbeddedOptions::default()).await.expect("starts");
    assert_ne!(second.pid(), pid);
    within(5, orphan.wait()).await.expect("was ended");
}

#[tokio::test]
async fn a_stranger_with_the_old_number_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut stranger = tokio::process::Command::new("sleep")
        .arg("60")
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .expect("starts");
    let pid = stranger.id().expect("runs");
    std::fs::write(dir.path().join("nats-server.pid"), pid.to_string()).expect("writes");
    let _server = Embedded::start(binary(), dir.path(), EmbeddedOptions::default()).await.expect("starts");
    assert!(alive(pid));
    stranger.kill().await.expect("ends");
}

#[tokio::test]
async fn what_does_not_start_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = taken.local_addr().expect("an address").port();
    let options = EmbeddedOptions { port: Some(port), token: None };
    let error = within(20, Embedded::start(binary(), dir.path(), options)).await.expect_err("port in use");
    assert!(error.to_string().contains("address already in use"), "{error}");

    let missing =
        ServerBinary { path: Path::new("/nonexistent/nats-server").into(), version: "9.9.9".into() };
    let error =
        Embedded::start(&missing, dir.path(), EmbeddedOptions::default()).await.expect_err("no such file");
    assert!(matches!(error, ServerError::Start { .. }), "{error}");
}

#[tokio::test]
async fn awkward_directories_are_fine() {
    let dir = tempfile::tempdir().expect("a directory");
    let awkward = dir.path().join("a \"b\" c\\d $e #f");
    let server = Embedded::start(binary(), &awkward, EmbeddedOptions::default()).await.expect("starts");
    Bus::connect(options(&server)).await.expect("connects").ensure_streams().await.expect("stores");
}
