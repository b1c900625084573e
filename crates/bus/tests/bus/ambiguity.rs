//! What the server has done and could not tell.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt;
use yardmaster_bus::{Bus, BusOptions};
use yardmaster_protocol::AgentName;

use crate::events::{forgetful, outgoing, published};
use crate::proxy::{Downstream, Proxy};
use crate::support::{World, entry, job, within};

async fn through(world: &World) -> (Proxy, Bus) {
    let proxy = Proxy::to(world.server().url()).await;
    let options = BusOptions { url: proxy.url.clone(), ..BusOptions::default() };
    let bus = Bus::connect(options).await.expect("connects");
    (proxy, bus)
}

async fn listen(world: &World, subject: &'static str) -> async_nats::Subscriber {
    let client = async_nats::connect(world.server().url()).await.expect("connects");
    let heard = client.subscribe(subject).await.expect("subscribes");
    client.flush().await.expect("flushes");
    heard
}

#[tokio::test]
async fn an_append_whose_ack_got_lost_is_recognised_as_ours() {
    let world = World::new().await;
    let (proxy, bus) = through(&world).await;
    let mut journal = bus.journal().await.expect("opens");
    journal.read(0, |_| {}).await.expect("reads");
    let mut heard = listen(&world, "yardmaster.journal.default").await;
    proxy.set(Downstream::Drop);
    let appending = tokio::spawn(async move { (journal.append(&[entry(1)]).await, journal) });
    within(5, heard.next()).await.expect("arrives at the server");
    proxy.cut();
    let (appended, mut journal) = within(10, appending).await.expect("no panic");
    assert_eq!(appended, Ok(1));
    assert_eq!(journal.append(&[entry(2)]).await, Ok(2));
    let mut records = Vec::new();
    let mut again = world.bus.journal().await.expect("opens");
    again.read(0, |record| records.push(record.entries)).await.expect("reads");
    assert_eq!(records, [vec![entry(1)], vec![entry(2)]]);
}

#[tokio::test]
async fn events_whose_acks_got_lost_are_not_published_again() {
    let world = forgetful().await;
    let (proxy, bus) = through(&world).await;
    bus.publish_events(&outgoing(1..=3)).await.expect("publishes");
    let mut heard = listen(&world, "work.releases.*").await;
    proxy.set(Downstream::Drop);
    let publishing = tokio::spawn(async move { bus.publish_events(&outgoing(4..=8)).await });
    for _ in 4..=8 {
        within(5, heard.next()).await.expect("arrives at the server");
    }
    // Longer than the stream recognises doubles.
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.cut();
    within(15, publishing).await.expect("no panic").expect("publishes");
    assert_eq!(published(&world).await, (1..=8).collect::<Vec<_>>());
}

async fn until_consumer(world: &World, stream: &str, name: &str, holds: impl Fn(&PullConsumer) -> bool) {
    let js = world.raw().await;
    within(10, async {
        loop {
            if let Ok(consumer) = js.get_consumer_from_stream(name, stream).await
                && holds(&consumer)
            {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_delivered_into_a_broken_connection_comes_again_at_once() {
    let world = World::new().await;
    let (proxy, bus) = through(&world).await;
    let mut inbox = bus.inbox();
    let waiting = tokio::spawn(async move { within(30, inbox.next()).await });
    until_consumer(&world, "INTEGRATION", "release-manager", |c| c.cached_info().num_waiting == 1).await;
    proxy.set(Downstream::Drop);
    let roy = AgentName::new("roy").expect("fits");
    world.bus.client().publish_announcement(&roy, b"lost").await.expect("is taken");
    until_consumer(&world, "INTEGRATION", "release-manager", |c| c.cached_info().num_ack_pending == 1).await;
    proxy.cut();
    let started = Instant::now();
    let delivery = waiting.await.expect("no panic").expect("comes");
    assert_eq!((&delivery.payload[..], delivery.deliveries), (&b"lost"[..], 2));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_job_that_is_retracted_on_its_way_to_the_runner_is_not_started() {
    let world = World::new().await;
    let (proxy, runner) = through(&world).await;
    let mut source = runner.jobs();
    let waiting = tokio::spawn(async move { within(15, source.next()).await });
    until_consumer(&world, "YARDMASTER_JOBS", "runners", |c| c.cached_info().num_waiting == 1).await;
    proxy.set(Downstream::Hold);
    let ticket = world.bus.publish_job(&job("unwanted"), "e").await.expect("publishes");
    until_consumer(&world, "YARDMASTER_JOBS", "runners", |c| c.cached_info().num_ack_pending == 1).await;
    world.bus.retract_job(&ticket).await.expect("takes it back");
    world.bus.flush().await.expect("flushes");
    proxy.set(Downstream::Pass);
    world.bus.publish_job(&job("wanted"), "e").await.expect("publishes");
    let (got, lease, _) = waiting.await.expect("no panic").expect("comes");
    assert_eq!(got.run.as_str(), "wanted");
    lease.ack().await.expect("acks");
}
