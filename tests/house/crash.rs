use std::time::Duration;

use serde_json::json;
use yardmaster_bus::{Bus, BusOptions, EventStart};
use yardmaster_tests::{House, PROJECT, announcement};

const GATE: &str = "#!/bin/sh\nsleep 0.1\n[ ! -e red ]\n";

/// Moments that look random and are the same every time.
struct Moments(u64);

impl Moments {
    fn next_below(&mut self, ms: u64) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis((self.0 >> 33) % ms)
    }
}

/// kill -9 again and again with ten pending: one end each, every green one lands, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    let mut house = House::build_with(&[("gate.sh", GATE), (".yardmaster.toml", PROJECT)]).await;
    let branches: Vec<String> = (0..10).map(|n| format!("ann/{n}")).collect();
    for branch in &branches {
        house.branch(branch, &[(branch, "x\n")]);
    }
    house.branch("bob/red", &[("red", "")]);
    let mut moments = Moments(42);
    house.start(&["--slots", "2"]).await;
    for branch in &branches {
        house.announce("ann", branch).await;
    }
    house.announce("bob", "bob/red").await;
    for _ in 0..8 {
        let moment = moments.next_below(400);
        tokio::time::sleep(moment).await;
        house.kill().await;
        house.start(&["--slots", "2"]).await;
    }
    for branch in &branches {
        assert_eq!(house.events.end_of(branch).await["type"], "merge_complete", "{branch}");
    }
    let red = house.events.end_of("bob/red").await;
    assert_eq!((&red["cause"], &red["blame"]), (&json!("gate_red"), &json!("own")), "{red}");
    assert_eq!(house.stop().await, Some(0));
    assert_eq!(house.processes(), Vec::<String>::new());
    let ledger = house.check().await;
    assert_eq!(ledger.by_request().len(), 11);
}

/// The server is killed and comes back while work is announced, tested and landed.
#[tokio::test(flavor = "multi_thread")]
async fn a_nats_server_that_is_killed_under_load_loses_and_doubles_nothing() {
    let mut house = House::build_with(&[("gate.sh", GATE), (".yardmaster.toml", PROJECT)]).await;
    let branches: Vec<String> = (0..10).map(|n| format!("ann/{n}")).collect();
    for branch in &branches {
        house.branch(branch, &[(branch, "x\n")]);
    }
    house.start(&["--slots", "2"]).await;
    let bus = Bus::connect(BusOptions { url: house.url.clone(), ..BusOptions::default() })
        .await
        .expect("connected");
    let mut stream = bus.client().events(EventStart::All).await.expect("a stream");
    for (n, branch) in branches.iter().enumerate() {
        let message = announcement("ann", branch, &json!({})).to_string();
        let agent = "ann".parse().expect("a name");
        bus.client().publish_announcement(&agent, message.as_bytes()).await.expect("published");
        if n % 4 == 3 {
            house.restart_nats().await;
        }
    }
    let mut landed = 0;
    while landed < branches.len() {
        let next = tokio::time::timeout(yardmaster_tests::PATIENCE, stream.next()).await;
        let event = next
            .unwrap_or_else(|_| panic!("{landed} landed and no more:\n{}", house.log()))
            .expect("an event");
        assert_ne!(event.payload["type"], "merge_failed", "{}", event.payload);
        landed += usize::from(event.payload["type"] == "merge_complete");
    }
    assert_eq!(house.stop().await, Some(0));
    let ledger = house.check().await;
    assert_eq!(ledger.by_request().len(), branches.len());
}
