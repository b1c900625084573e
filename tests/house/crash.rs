use std::time::Duration;

use serde_json::json;
use yardmaster_bus::{Bus, BusOptions, EventStart};
use yardmaster_tests::siege::armed_program;
use yardmaster_tests::{House, PROJECT, announcement};

/// Faults come in the middle of batches, too.
const BATCHES: (&str, &str) = ("YARDMASTER__QUEUE__BATCH", "32");
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
    house.start_with(&["--slots", "2"], &[BATCHES]).await;
    for branch in &branches {
        house.announce("ann", branch).await;
    }
    house.announce("bob", "bob/red").await;
    for _ in 0..8 {
        let moment = moments.next_below(400);
        tokio::time::sleep(moment).await;
        house.kill().await;
        house.start_with(&["--slots", "2"], &[BATCHES]).await;
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
    house.start_with(&["--slots", "2"], &[BATCHES]).await;
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

/// Ten honest branches and one that is poison in the way that `taint` says. Gives how often the daemon died.
async fn lives_with_poison(
    house: &mut House,
    taint: &str,
    ended: impl Fn(&serde_json::Value) -> bool,
) -> u32 {
    house.program = Some(armed_program());
    let branches: Vec<String> = (0..10).map(|n| format!("ann/{n}")).collect();
    for branch in branches.iter().map(String::as_str).chain(["bob/poison"]) {
        house.branch(branch, &[(branch, "x\n")]);
    }
    // The streams must be there before anything can be announced.
    house.start(&[]).await;
    assert_eq!(house.stop().await, Some(0));
    for branch in &branches[..5] {
        house.announce("ann", branch).await;
    }
    house.announce("bob", "bob/poison").await;
    for branch in &branches[5..] {
        house.announce("ann", branch).await;
    }
    let deaths = dies_until(house, taint, ended).await;
    for branch in &branches {
        assert_eq!(house.events.end_of(branch).await["type"], "merge_complete", "{branch}\n{}", house.log());
    }
    house.wait_until_acked().await;
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
    deaths
}

/// The daemon is started again whenever it dies, as a supervisor would, until the poison has ended.
async fn dies_until(house: &mut House, taint: &str, ended: impl Fn(&serde_json::Value) -> bool) -> u32 {
    let mut deaths = 0;
    loop {
        let mut daemon = house.launch_with(&["--slots", "2"], &[("YARDMASTER_TAINT", taint)]);
        tokio::select! {
            _ = daemon.gone() => deaths += 1,
            _ = house.events.wait_for("end of the poison", &ended) => {
                house.daemon = Some(daemon);
                return deaths;
            }
        }
        assert!(deaths < 12, "it dies again and again");
    }
}

/// A message that kills the daemon twice is set aside with an event, and its neighbours are served.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_the_daemon_is_set_aside() {
    for how in ["abort", "panic"] {
        let mut house = House::build().await;
        let ended = |e: &serde_json::Value| e["type"] == "request_rejected";
        let deaths = lives_with_poison(&mut house, &format!("message:{how}:bob/poison"), ended).await;
        let rejected = house.events.wait_for("rejected", ended).await;
        assert_eq!(rejected["why"]["code"], "poison", "{rejected}");
        assert!(rejected["payload"].as_str().is_some_and(|p| p.contains("bob/poison")), "{rejected}");
        assert_eq!(deaths, 2);
    }
}

/// The same for a verdict: without the ones around it the honest branches could not land.
#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_that_kills_the_daemon_is_set_aside() {
    let project = format!("review.required = true\n{PROJECT}");
    let mut house = House::build_with(&[("gate.sh", GATE), (".yardmaster.toml", &project)]).await;
    house.program = Some(armed_program());
    let branches: Vec<String> = (0..6).map(|n| format!("ann/{n}")).collect();
    let heads: Vec<String> = branches.iter().map(|b| house.branch(b, &[(b, "x\n")])).collect();
    house.start(&[]).await;
    assert_eq!(house.stop().await, Some(0));
    for (n, head) in heads.iter().enumerate() {
        house.review("eve", head, "approved").await;
        if n == 2 {
            let review = json!({"reviewer": "eve", "head": head, "verdict": "blocked", "comment": "poison"});
            house.publish_review("eve", json!({"type": "review", "review": review}).to_string()).await;
        }
    }
    for branch in &branches {
        house.announce("ann", branch).await;
    }
    let ended = |e: &serde_json::Value| e["type"] == "request_rejected";
    let deaths = dies_until(&mut house, "review:abort:poison", ended).await;
    let rejected = house.events.wait_for("rejected", ended).await;
    assert_eq!((&rejected["why"]["code"], deaths), (&json!("poison"), 2), "{rejected}");
    assert_eq!(rejected["subject"], "work.reviews.eve");
    for branch in &branches {
        assert_eq!(house.events.end_of(branch).await["type"], "merge_complete", "{branch}\n{}", house.log());
    }
    house.wait_until_acked_in("REVIEWS").await;
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

/// A branch whose fetch kills the daemon ends, and so does one that only makes it panic; nobody hangs.
#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_kills_the_daemon_ends_and_its_neighbours_land() {
    for (taint, most) in
        [("pin:abort:bob/poison", 7), ("pin:panic:bob/poison", 0), ("assemble:panic:REQ-bob", 0)]
    {
        let mut house = House::build_with(&[("gate.sh", GATE), (".yardmaster.toml", PROJECT)]).await;
        let ended = |e: &serde_json::Value| e["type"] == "merge_failed";
        let deaths = lives_with_poison(&mut house, taint, ended).await;
        let end = house.events.end_of("bob/poison").await;
        assert_eq!(end["type"], "merge_failed", "{taint}: {end}");
        if taint.starts_with("pin") {
            assert_eq!((&end["cause"], &end["blame"]), (&json!("policy"), &json!("infra")), "{end}");
        }
        assert_eq!(deaths, most, "{taint}");
    }
}
