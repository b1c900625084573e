use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpListener;
use yardmaster_bus::server::{Embedded, EmbeddedOptions};
use yardmaster_bus::{Bus, BusError, BusOptions};

use crate::support::{World, binary, within};

fn at(url: String) -> BusOptions {
    BusOptions { url, patience: Duration::from_millis(300), ..BusOptions::default() }
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    listener.local_addr().expect("an address").port()
}

#[tokio::test]
async fn nobody_there() {
    let url = format!("nats://me:secret@127.0.0.1:{}", free_port().await);
    let error = Bus::connect(at(url)).await.expect_err("nobody there");
    assert!(matches!(error, BusError::Unreachable { .. }), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn of_several_addresses_one_that_answers_is_enough() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Embedded::start(binary(), dir.path(), EmbeddedOptions::default()).await.expect("starts");
    let nobody = format!("nats://127.0.0.1:{}", free_port().await);
    for url in [format!("{nobody},{}", server.url()), format!("{}, {nobody}", server.url())] {
        Bus::connect(at(url)).await.expect("connects");
    }
}

#[tokio::test]
async fn a_server_that_starts_a_little_later_is_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let port = free_port().await;
    let url = format!("nats://127.0.0.1:{port}");
    let options = BusOptions { patience: Duration::from_secs(20), ..at(url) };
    let connecting = tokio::spawn(Bus::connect(options));
    tokio::task::yield_now().await;
    let options = EmbeddedOptions { port: Some(port), token: None };
    let _server = Embedded::start(binary(), dir.path(), options).await.expect("starts");
    within(20, connecting).await.expect("no panic").expect("connects");
}

#[tokio::test]
async fn wrong_credentials_are_told_from_an_absent_server() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = EmbeddedOptions { port: None, token: Some("right \"quoted\"".into()) };
    let server = Embedded::start(binary(), dir.path(), options).await.expect("starts");
    let url = server.url().to_owned();
    for token in [None, Some("wrong".to_owned())] {
        let error = Bus::connect(BusOptions { token, ..at(url.clone()) }).await.expect_err("not let in");
        assert!(matches!(error, BusError::Denied { .. }), "{error:?}");
        assert!(!error.to_string().contains("wrong"), "{error}");
    }
    let missing = BusOptions { credentials: Some(dir.path().join("none.creds")), ..at(url.clone()) };
    let error = Bus::connect(missing).await.expect_err("no such file");
    assert!(error.to_string().contains("none.creds"), "{error}");
    Bus::connect(BusOptions { token: Some("right \"quoted\"".into()), ..at(url) }).await.expect("let in");
}

#[tokio::test]
async fn a_server_without_jetstream_is_named_as_such() {
    let port = free_port().await;
    let mut server = tokio::process::Command::new(&binary().path)
        .args(["-a", "127.0.0.1", "-p", &port.to_string()])
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("starts");
    let options = BusOptions { patience: Duration::from_secs(5), ..at(format!("nats://127.0.0.1:{port}")) };
    let error = Bus::connect(options).await.expect_err("no JetStream");
    assert!(matches!(error, BusError::NoJetStream { .. }), "{error:?}");
    server.kill().await.expect("ends");
}

#[tokio::test]
async fn losses_of_the_connection_are_told() {
    let mut world = World::bare().await;
    let mut state = world.bus.connection();
    assert!(state.borrow().up);
    world.kill().await;
    world.revive().await;
    within(5, state.wait_for(|c| c.up)).await.expect("is up again");
    assert_eq!(state.borrow().losses, 1);
}

#[tokio::test]
async fn an_instance_needs_a_plain_name() {
    let world = World::bare().await;
    let options = BusOptions { name: "a.b".into(), ..at(world.server().url().into()) };
    assert!(matches!(Bus::connect(options).await, Err(BusError::BadName { .. })));
}
