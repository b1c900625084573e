use std::time::Duration;

use async_nats::jetstream::stream::Config;
use futures_util::StreamExt;
use yardmaster_bus::{Bus, BusOptions, EventStart};
use yardmaster_protocol::{Event, EventBody, JournalPosition, Notice};

use crate::support::{World, at, event, options, within};

type Outgoing = (JournalPosition, Event, Option<String>);

pub(crate) fn outgoing(range: std::ops::RangeInclusive<u64>) -> Vec<Outgoing> {
    range.map(|n| (at(n, 0), event(n), None)).collect()
}

/// The requests of all events in the stream, in its order.
pub(crate) async fn published(world: &World) -> Vec<u64> {
    let js = world.raw().await;
    let stream = js.get_stream("RELEASES").await.expect("is there");
    let last = stream.cached_info().state.last_sequence;
    let mut requests = Vec::new();
    for seq in 1..=last {
        let message = stream.get_raw_message(seq).await.expect("is there");
        let event: Event = serde_json::from_slice(&message.payload).expect("is an event");
        requests.push(event.about.expect("is about a request").request.0);
    }
    requests
}

#[tokio::test]
async fn an_event_goes_out_as_the_contract_says_with_a_copy_for_its_agent() {
    let world = World::new().await;
    let client = async_nats::connect(world.server().url()).await.expect("connects");
    let mut copies = client.subscribe("work.agents.roy").await.expect("subscribes");
    client.flush().await.expect("flushes");
    let paused = Event {
        about: None,
        time: "2026-01-01T00:00:01.000Z".into(),
        body: EventBody::Paused(Notice { why: "a\nb".into(), who: "ops".into() }),
    };
    let events = [(at(17, 3), event(5), Some("00-aa-bb-01".to_owned())), (at(17, 4), paused, None)];
    world.bus.publish_events(&events).await.expect("publishes");

    let js = world.raw().await;
    let stream = js.get_stream("RELEASES").await.expect("is there");
    let queued = stream.get_raw_message(1).await.expect("is there");
    assert_eq!(queued.subject.as_str(), "work.releases.queued");
    let header = |name: &str| queued.headers.get(name).map(ToString::to_string).unwrap_or_default();
    for (name, value) in [
        ("Nats-Msg-Id", "ym-default-17.3"),
        ("Yardmaster-Journal", "default/17.3"),
        ("ce-id", "ym-default-17.3"),
        ("ce-type", "dev.yardmaster.merge_queued"),
        ("ce-source", "/yardmaster/default"),
        ("ce-subject", "r5"),
        ("ce-time", "2026-01-01T00:00:00.000Z"),
        ("ce-specversion", "1.0"),
        ("content-type", "application/json"),
        ("traceparent", "00-aa-bb-01"),
    ] {
        assert_eq!(header(name), value, "{name}");
    }
    let copy = within(5, copies.next()).await.expect("a copy");
    assert_eq!(copy.payload, queued.payload);
    let second = stream.get_raw_message(2).await.expect("is there");
    assert_eq!(second.subject.as_str(), "work.releases.paused");
    assert!(second.headers.get("ce-subject").is_none());
}

#[tokio::test]
async fn what_is_published_is_known_after_a_restart_and_not_published_again() {
    let world = World::new().await;
    assert_eq!(world.bus.last_published().await, Ok(None));
    world.bus.publish_events(&outgoing(1..=600)).await.expect("publishes");
    assert_eq!(world.bus.last_published().await, Ok(Some(at(600, 0))));

    let next = world.another().await;
    assert_eq!(next.last_published().await, Ok(Some(at(600, 0))));
    next.publish_events(&outgoing(590..=605)).await.expect("publishes");
    let fresh = world.another().await;
    fresh.publish_events(&outgoing(1..=606)).await.expect("publishes");
    assert_eq!(published(&world).await, (1..=606).collect::<Vec<_>>());
}

#[tokio::test]
async fn other_instances_and_strangers_in_the_stream_do_not_hide_ours() {
    let world = World::new().await;
    world.bus.publish_events(&outgoing(1..=3)).await.expect("publishes");
    let blue = BusOptions { name: "blue".into(), ..options(world.server()) };
    let blue = Bus::connect(blue).await.expect("connects");
    assert_eq!(blue.last_published().await, Ok(None));
    blue.publish_events(&outgoing(1..=2_000)).await.expect("publishes");
    assert_eq!(world.another().await.last_published().await, Ok(Some(at(3, 0))));
    assert_eq!(blue.last_published().await, Ok(Some(at(2_000, 0))));
}

/// The stream's own recognition of doubles is as good as off: 100 ms.
pub(crate) async fn forgetful() -> World {
    let world = World::bare().await;
    let config = Config {
        name: "RELEASES".into(),
        subjects: vec!["work.releases.>".into()],
        duplicate_window: Duration::from_millis(100),
        ..Config::default()
    };
    world.raw().await.create_stream(config).await.expect("makes it");
    world.bus.ensure_streams().await.expect("will do");
    world
}

#[tokio::test]
async fn a_server_killed_in_between_neither_doubles_nor_loses_nor_reorders_events() {
    let mut world = forgetful().await;
    let bus = world.bus.clone();
    let publishing = tokio::spawn(async move {
        for from in (1..=3_000).step_by(20) {
            while bus.publish_events(&outgoing(from..=from + 19)).await.is_err() {}
        }
    });
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        world.kill().await;
        world.revive().await;
    }
    within(60, publishing).await.expect("no panic");
    assert_eq!(published(&world).await, (1..=3_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_hole_that_a_crash_left_is_filled_whatever_the_window_is() {
    let world = forgetful().await;
    world.bus.publish_events(&outgoing(1..=10)).await.expect("publishes");
    let js = world.raw().await;
    let stream = js.get_stream("RELEASES").await.expect("is there");
    stream.delete_message(7).await.expect("deletes");
    tokio::time::sleep(Duration::from_millis(200)).await;

    let next = world.another().await;
    let known = next.last_published().await.expect("looks");
    assert!(known < Some(at(7, 0)), "{known:?}");
    next.publish_events(&outgoing(1..=11)).await.expect("publishes");
    let last = stream.get_info().await.expect("looks").state.last_sequence;
    let mut requests = Vec::new();
    for seq in (1..=last).filter(|seq| *seq != 7) {
        let message = stream.get_raw_message(seq).await.expect("is there");
        let event: Event = serde_json::from_slice(&message.payload).expect("is an event");
        requests.push(event.about.expect("is about a request").request.0);
    }
    assert_eq!(requests, [1, 2, 3, 4, 5, 6, 8, 9, 10, 7, 11]);
}

#[tokio::test]
async fn listeners_see_what_was_and_what_comes_through_a_restart() {
    let mut world = World::new().await;
    world.bus.publish_events(&outgoing(1..=3)).await.expect("publishes");
    let client = world.bus.client();
    let mut all = client.events(EventStart::All).await.expect("listens");
    let mut third = client.events(EventStart::Sequence(3)).await.expect("listens");
    let mut new = client.events(EventStart::New).await.expect("listens");
    let mut since = client.events(EventStart::Since(yardmaster_protocol::Millis(0))).await.expect("listens");
    for n in 1..=3 {
        assert_eq!(within(5, all.next()).await.expect("comes").seq, n);
    }
    assert_eq!(within(5, third.next()).await.expect("comes").seq, 3);
    assert_eq!(within(5, since.next()).await.expect("comes").seq, 1);
    world.kill().await;
    world.revive().await;
    world.bus.publish_events(&outgoing(4..=5)).await.expect("publishes");
    for events in [&mut all, &mut third, &mut new] {
        for n in 4..=5 {
            let got = within(10, events.next()).await.expect("comes");
            assert_eq!((got.seq, got.subject.as_str()), (n, "work.releases.queued"));
            assert_eq!(got.event, Some(event(n)));
            assert_eq!(got.payload["type"], "merge_queued");
        }
    }
}
