use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, pull, push};
use futures_util::StreamExt;
use yardmaster_bus::{BusError, Inbox};
use yardmaster_protocol::AgentName;

use crate::support::{World, within};

async fn announce(world: &World, texts: &[&str]) {
    let roy = AgentName::new("roy").expect("fits");
    for text in texts {
        world.bus.client().publish_announcement(&roy, text.as_bytes()).await.expect("is taken");
    }
}

async fn texts(inbox: &mut Inbox, n: usize) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    while texts.len() < n {
        let delivery = within(10, inbox.next()).await.expect("delivers");
        texts.insert(String::from_utf8_lossy(&delivery.payload).into_owned());
        delivery.ack().await.expect("acks");
    }
    texts
}

#[tokio::test]
async fn a_message_comes_with_all_that_is_known_of_it_and_once() {
    let world = World::new().await;
    let js = world.raw().await;
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", "00-aa-bb-01");
    let ack = js.publish_with_headers("work.integration.roy", headers, "hello".into()).await.expect("goes");
    ack.await.expect("is taken");

    let mut inbox = world.bus.inbox();
    let delivery = within(5, inbox.next()).await.expect("delivers");
    assert_eq!((delivery.seq.0, delivery.subject.as_str()), (1, "work.integration.roy"));
    assert_eq!((&delivery.payload[..], delivery.deliveries), (&b"hello"[..], 1));
    assert_eq!(delivery.traceparent.as_deref(), Some("00-aa-bb-01"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    assert!(now.as_millis().abs_diff(delivery.published.0.into()) < 60_000, "{:?}", delivery.published);
    delivery.ack().await.expect("acks");
    world.bus.flush().await.expect("flushes");

    announce(&world, &["next"]).await;
    let next = within(5, inbox.next()).await.expect("delivers");
    assert_eq!(&next.payload[..], b"next");
    next.ack().await.expect("acks");
}

#[tokio::test]
async fn what_is_there_comes_as_a_batch_without_waiting() {
    let world = World::new().await;
    announce(&world, &["1", "2", "3", "4", "5"]).await;
    let mut inbox = world.bus.inbox();
    let mut got = vec![within(5, inbox.next()).await.expect("delivers").seq.0];
    while got.len() < 5 {
        got.push(within(5, inbox.next()).await.expect("delivers").seq.0);
        got.extend(inbox.drain_ready(2).iter().map(|d| d.seq.0));
    }
    got.sort_unstable();
    assert_eq!(got, [1, 2, 3, 4, 5]);
    assert!(inbox.drain_ready(10).is_empty());
}

#[tokio::test]
async fn what_a_dead_process_held_comes_again_at_once_and_acked_messages_do_not() {
    let world = World::new().await;
    announce(&world, &["1", "2", "3"]).await;
    let mut first = world.bus.inbox();
    for _ in 0..3 {
        let delivery = within(5, first.next()).await.expect("delivers");
        if &delivery.payload[..] == b"2" {
            delivery.ack().await.expect("acks");
        }
    }
    world.bus.flush().await.expect("flushes");
    drop(first);

    let started = Instant::now();
    let second = world.another().await;
    let mut inbox = second.inbox();
    let again = texts(&mut inbox, 2).await;
    assert_eq!(again, BTreeSet::from(["1".to_owned(), "3".to_owned()]));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let js = world.raw().await;
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        js.get_consumer_from_stream("release-manager", "INTEGRATION").await.expect("is there");
    assert_eq!(consumer.cached_info().config.ack_wait, Duration::from_secs(300));
}

#[tokio::test]
async fn a_killed_server_costs_a_moment_not_half_a_minute() {
    let mut world = World::new().await;
    let mut inbox = world.bus.inbox();
    announce(&world, &["before"]).await;
    assert_eq!(texts(&mut inbox, 1).await.len(), 1);
    for round in 0..3 {
        world.kill().await;
        world.revive().await;
        let text = format!("after {round}");
        announce(&world, &[&text]).await;
        let started = Instant::now();
        let mut seen = BTreeSet::new();
        while !seen.contains(&text) {
            seen.extend(texts(&mut inbox, 1).await);
        }
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn two_that_wait_through_a_restart_both_come_back() {
    let mut world = World::new().await;
    let other = world.another().await;
    let (mut one, mut two) = (world.bus.inbox(), other.inbox());
    announce(&world, &["a"]).await;
    tokio::select! {
        d = one.next() => d.expect("delivers").ack().await.expect("acks"),
        d = two.next() => d.expect("delivers").ack().await.expect("acks"),
    }
    let waiting = tokio::spawn(async move { (within(20, one.next()).await, one) });
    world.kill().await;
    world.revive().await;
    let mut state = world.bus.connection();
    within(5, state.wait_for(|c| c.up)).await.expect("is up again");
    let started = Instant::now();
    announce(&world, &["b"]).await;
    let (delivery, _one) = waiting.await.expect("no panic");
    delivery.expect("delivers").ack().await.expect("acks");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_deleted_consumer_is_made_again() {
    let world = World::new().await;
    let mut inbox = world.bus.inbox();
    announce(&world, &["1"]).await;
    texts(&mut inbox, 1).await;
    let js = world.raw().await;
    js.delete_consumer_from_stream("release-manager", "INTEGRATION").await.expect("goes");
    announce(&world, &["2"]).await;
    assert!(texts(&mut inbox, 2).await.contains("2"));
}

#[tokio::test]
async fn a_terminated_message_never_comes_again_and_the_reason_is_told() {
    let world = World::new().await;
    let js = world.raw().await;
    let client = async_nats::connect(world.server().url()).await.expect("connects");
    let subject = "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.INTEGRATION.release-manager";
    let mut advisories = client.subscribe(subject).await.expect("subscribes");
    client.flush().await.expect("flushes");
    announce(&world, &["poison"]).await;
    let delivery = within(5, world.bus.inbox().next()).await.expect("delivers");
    delivery.terminate("not JSON\r\nat all").await.expect("terminates");
    let advisory = within(5, advisories.next()).await.expect("is told");
    assert!(String::from_utf8_lossy(&advisory.payload).contains("not JSON  at all"));
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        js.get_consumer_from_stream("release-manager", "INTEGRATION").await.expect("is there");
    assert_eq!(consumer.cached_info().num_ack_pending, 0);
}

#[tokio::test]
async fn a_consumer_that_would_lose_messages_is_refused_and_left_alone() {
    let world = World::new().await;
    let js = world.raw().await;
    let name = || Some("release-manager".to_owned());
    let limited = pull::Config {
        durable_name: name(),
        max_deliver: 3,
        ack_policy: AckPolicy::Explicit,
        ..Default::default()
    };
    let careless = pull::Config { durable_name: name(), ack_policy: AckPolicy::None, ..Default::default() };
    for (config, why) in [(limited, "3 deliveries"), (careless, "ack policy")] {
        js.create_consumer_on_stream(config, "INTEGRATION").await.expect("makes it");
        let error = within(5, world.bus.inbox().next()).await.expect_err(why);
        assert!(matches!(error, BusError::ConsumerCannotServe { .. }), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
        assert!(error.to_string().contains("nats consumer rm INTEGRATION release-manager"), "{error}");
        js.delete_consumer_from_stream("release-manager", "INTEGRATION").await.expect("goes");
    }
    let pushing = push::Config {
        durable_name: name(),
        deliver_subject: "x".into(),
        ack_policy: AckPolicy::Explicit,
        ..Default::default()
    };
    js.create_consumer_on_stream(pushing, "INTEGRATION").await.expect("makes it");
    let error = within(5, world.bus.inbox().next()).await.expect_err("it pushes").to_string();
    assert!(error.contains("pushes"), "{error}");
}
