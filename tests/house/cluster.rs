use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream;
use serde_json::{Value, json};
use yardmaster_bus::{Bus, BusOptions, Client, EventStart, EventStream};
use yardmaster_tests::{House, PATIENCE, PROJECT, announcement};

const GATE: &str = "#!/bin/sh\nsleep 0.1\n[ ! -e red ]\n";
const JOURNAL: &str = "YARDMASTER_JOURNAL";
const THREE: [(&str, &str); 1] = [("YARDMASTER__NATS__REPLICAS", "3")];

/// How each branch ended, as the stream tells.
struct Ends {
    stream: EventStream,
    seen: BTreeMap<String, Value>,
}

impl Ends {
    async fn wait_for(&mut self, count: usize, house: &House) {
        while self.seen.len() < count {
            let next = tokio::time::timeout(PATIENCE, self.stream.next()).await;
            let told = || format!("{} of {count} ended:\n{}", self.seen.len(), house.log());
            let next = next.unwrap_or_else(|_| panic!("{}", told()));
            let event = next.unwrap_or_else(|e| panic!("{e}: {}", told()));
            if event.event.is_some_and(|e| e.body.is_terminal()) {
                let branch = event.payload["branch"].as_str().unwrap_or_default().to_owned();
                self.seen.insert(branch, event.payload);
            }
        }
    }
}

async fn announce(bus: &Bus, branches: &[String]) {
    for branch in branches {
        let message = announcement("ann", branch, &json!({})).to_string();
        let agent = "ann".parse().expect("a name");
        let until = tokio::time::Instant::now() + PATIENCE;
        // An agent that is not told that its word was taken says it again.
        while let Err(why) = bus.client().publish_announcement(&agent, message.as_bytes()).await {
            assert!(tokio::time::Instant::now() < until, "{branch}: {why}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The node that leads the journal is killed in the middle of the work and comes back, then the next one
/// that leads it, and the daemon with it, which starts again on the two that are left: each request ends
/// once, what is told is on main, nothing is there twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_loses_one_node_after_another_loses_and_doubles_nothing() {
    let (mut house, mut cluster) =
        House::on_cluster(&[("gate.sh", GATE), (".yardmaster.toml", PROJECT)]).await;
    let mut branches: Vec<String> = (0..40).map(|n| format!("ann/{n}")).collect();
    for branch in &branches {
        house.branch(branch, &[(branch, "x\n")]);
    }
    house.branch("ann/red", &[("red", "")]);
    branches.insert(6, "ann/red".into());
    house.start_with(&["--slots", "2"], &THREE).await;
    for stream in
        ["INTEGRATION", "RELEASES", "REVIEWS", JOURNAL, "YARDMASTER_JOBS", "OBJ_yardmaster-snapshots-default"]
    {
        let found = jetstream::new(house.nats.clone()).get_stream(stream).await.expect("is there");
        assert_eq!(found.cached_info().config.num_replicas, 3, "{stream}");
    }
    let options = BusOptions { url: house.url.clone(), name: "agent".into(), ..BusOptions::default() };
    let bus = Bus::connect(options).await.expect("connected");
    let stream = bus.client().events(EventStart::All).await.expect("a stream");
    let mut ends = Ends { stream, seen: BTreeMap::new() };

    announce(&bus, &branches[..5]).await;
    ends.wait_for(2, &house).await;
    let first = cluster.leader_of(&house.nats, JOURNAL).await;
    cluster.kill(first).await;
    announce(&bus, &branches[5..9]).await;
    ends.wait_for(4, &house).await;
    cluster.restart(first).await;
    ends.wait_for(7, &house).await;
    let second = cluster.led_by_another(&house.nats, JOURNAL, first).await;
    assert_ne!(first, second, "who was killed leads again");
    cluster.kill(second).await;
    house.kill().await;
    house.start_with(&["--slots", "2"], &THREE).await;
    announce(&bus, &branches[9..]).await;
    cluster.restart(second).await;
    ends.wait_for(branches.len(), &house).await;

    for (branch, end) in &ends.seen {
        let wanted = if branch == "ann/red" { "merge_failed" } else { "merge_complete" };
        assert_eq!(end["type"], wanted, "{branch}: {end}");
    }
    assert_eq!(house.stop().await, Some(0));
    let ledger = house.check().await;
    assert_eq!(ledger.by_request().len(), branches.len());
}

/// For seconds after a node has died the others go on giving it work, a consumer among it.
#[tokio::test(flavor = "multi_thread")]
async fn who_begins_to_read_just_after_a_node_has_died_is_served() {
    let (mut house, mut cluster) = House::on_cluster(&[(".yardmaster.toml", PROJECT)]).await;
    house.start_with(&[], &THREE).await;
    house.branch("ann/1", &[("new", "x\n")]);
    let options = BusOptions { url: house.url.clone(), name: "agent".into(), ..BusOptions::default() };
    let bus = Bus::connect(options).await.expect("connected");
    announce(&bus, &["ann/1".to_owned()]).await;
    bus.client().events(EventStart::All).await.expect("a stream").next().await.expect("an event");
    let leader = cluster.leader_of(&house.nats, "RELEASES").await;
    cluster.kill((leader + 1) % 3).await;
    let read = async |client: Client| {
        let mut stream = client.events(EventStart::All).await.map_err(|why| why.message)?;
        stream.next().await.map(|event| event.seq).map_err(|why| why.message)
    };
    let begun = futures_util::future::join_all((0..40).map(|_| read(bus.client())));
    for first in tokio::time::timeout(PATIENCE, begun).await.expect("in time") {
        assert_eq!(first, Ok(1));
    }
    assert_eq!(house.stop().await, Some(0));
}
