use std::time::{Duration, Instant};

use serde_json::{Value, json};
use yardmaster_tests::{Events, House, announcement};

/// SIGTERM under load: within ten seconds, with 0, and nothing is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_asked_to_stop_leaves_nothing_behind() {
    let (mut house, gate) = House::held().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&[]).await;
    house.announce("ann", "ann/one").await;
    let run = gate.run_of("r1").await;
    let asked = Instant::now();
    assert_eq!(house.stop().await, Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    assert!(run.is_dead(), "the gate outlived the daemon");
    assert_eq!(house.processes(), Vec::<String>::new());
    assert_eq!(lock_files(&house), Vec::<String>::new());
    house.start(&[]).await;
    gate.run_of("r1").await.green();
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

fn lock_files(house: &House) -> Vec<String> {
    let found = std::process::Command::new("find").arg(house.state_dir()).args(["-name", "*.lock"]).output();
    let found = found.expect("find runs").stdout;
    String::from_utf8_lossy(&found).lines().map(str::to_owned).collect()
}

/// Without an address of a server it brings its own, which ends with it and keeps what it knows.
#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_server_ends_with_the_daemon_and_keeps_its_state() {
    let mut house = House::build().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&["--nats-url", "embedded"]).await;
    let url = std::fs::read_to_string(house.state_dir().join("nats-url")).expect("an address");
    let nats = async_nats::connect(url.trim()).await.expect("connected");
    let events = Events::listen(&nats).await;
    let message = announcement("ann", "ann/one", &json!({})).to_string();
    nats.publish("work.integration.ann", message.into()).await.expect("published");
    assert_eq!(events.end_of("ann/one").await["type"], "merge_complete");
    assert_eq!(house.stop().await, Some(0));
    assert_eq!(house.processes(), Vec::<String>::new());
    assert!(!house.state_dir().join("nats-url").exists(), "the address outlived the server");

    house.start(&["--nats-url", "embedded"]).await;
    let url = std::fs::read_to_string(house.state_dir().join("nats-url")).expect("an address");
    let nats = async_nats::connect(url.trim()).await.expect("connected");
    let reply = nats.request("yardmaster.v1.status", "".into()).await.expect("an answer");
    let status: Value = serde_json::from_slice(&reply.payload).expect("JSON");
    assert_eq!(status["landed"], 1, "{status}");
    assert_eq!(house.stop().await, Some(0));
}

/// The server outlives a daemon that is killed; the next one ends it before it brings its own.
#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_server_that_a_crash_left_is_replaced() {
    let mut house = House::build().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&["--nats-url", "embedded"]).await;
    house.kill().await;
    house.start(&["--nats-url", "embedded"]).await;
    let mut servers = house.processes();
    servers.retain(|p| p.contains("nats-server"));
    assert_eq!(servers.len(), 1, "one server, not {servers:?}");
    assert_eq!(house.stop().await, Some(0));
    assert_eq!(house.processes(), Vec::<String>::new());
}

/// Somebody empties the job stream: what waited in it and what ran is asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_vanish_from_the_stream_are_asked_for_again() {
    let (mut house, gate) = House::held().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.branch("bob/two", &[("two.txt", "2\n")]);
    let config = house.dir.path().join("quick.toml");
    std::fs::write(&config, "[repo]\npoll = \"200ms\"\n").expect("written");
    let config = config.to_string_lossy().into_owned();
    house.start(&["--slots", "1", "--config", &config]).await;
    house.announce("ann", "ann/one").await;
    house.announce("bob", "bob/two").await;
    house.events.of_type("bob/two", "testing").await;
    let first = gate.run_of("r1").await;
    let jobs = async_nats::jetstream::new(house.nats.clone()).get_stream("YARDMASTER_JOBS").await;
    jobs.expect("is there").purge().await.expect("purged");
    gate.open_wide();
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    assert_eq!(house.events.end_of("bob/two").await["type"], "merge_complete");
    assert!(first.is_dead(), "nobody wanted it any more");
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}
