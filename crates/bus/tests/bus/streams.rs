use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use yardmaster_bus::{Bus, BusError, BusOptions};

use crate::support::{World, options};

const ALL: [&str; 5] = ["INTEGRATION", "RELEASES", "REVIEWS", "YARDMASTER_JOURNAL", "YARDMASTER_JOBS"];

#[tokio::test]
async fn missing_streams_are_made_once() {
    let world = World::bare().await;
    let first = world.bus.ensure_streams().await.expect("makes them");
    assert_eq!((first.created, first.found.len()), (ALL.map(String::from).to_vec(), 0));
    let second = world.bus.ensure_streams().await.expect("finds them");
    assert_eq!((second.created.len(), second.found), (0, ALL.map(String::from).to_vec()));

    let js = world.raw().await;
    for (name, retention) in [("INTEGRATION", RetentionPolicy::Limits), ("RELEASES", RetentionPolicy::Limits)]
    {
        let config = js.get_stream(name).await.expect("is there").cached_info().config.clone();
        assert_eq!((config.storage, config.retention), (StorageType::File, retention));
    }
    let releases = js.get_stream("RELEASES").await.expect("is there");
    assert_eq!(releases.cached_info().config.duplicate_window.as_secs(), 24 * 3_600);
}

#[tokio::test]
async fn a_second_instance_has_streams_of_its_own() {
    let world = World::new().await;
    let blue = BusOptions { name: "blue".into(), ..options(world.server()) };
    let blue = Bus::connect(blue).await.expect("connects");
    let streams = blue.ensure_streams().await.expect("makes its own");
    assert_eq!(streams.created, ["YARDMASTER_JOURNAL_BLUE", "YARDMASTER_JOBS_BLUE"]);
    assert_eq!(streams.found, ["INTEGRATION", "RELEASES", "REVIEWS"]);
}

fn integration(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config {
        name: "INTEGRATION".into(),
        subjects: vec!["work.integration.>".into()],
        ..Config::default()
    };
    change(&mut config);
    config
}

#[tokio::test]
async fn a_stream_that_cannot_serve_is_refused_with_the_command_that_mends_it_and_left_alone() {
    let world = World::bare().await;
    let js = world.raw().await;
    let cases = [
        (integration(|c| c.storage = StorageType::Memory), "memory", "nats stream rm INTEGRATION"),
        (
            integration(|c| c.subjects = vec!["work.integration.roy".into()]),
            "does not take",
            "nats stream edit INTEGRATION --subjects 'work.integration.>'",
        ),
        (integration(|c| c.retention = RetentionPolicy::WorkQueue), "WorkQueue", "nats stream rm"),
        (integration(|c| c.retention = RetentionPolicy::Interest), "Interest", "nats stream rm"),
        (integration(|c| c.max_messages_per_subject = 1), "drops older", "--max-msgs-per-subject=-1"),
        (integration(|c| c.no_ack = true), "confirm", "--ack"),
    ];
    for (config, why, mend) in cases {
        js.create_stream(config).await.expect("makes it");
        let before = js.get_stream("INTEGRATION").await.expect("is there").cached_info().config.clone();
        let error = world.bus.ensure_streams().await.expect_err(why);
        assert!(matches!(error, BusError::StreamCannotServe { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(why) && text.contains(mend), "{text}");
        let after = js.get_stream("INTEGRATION").await.expect("is there").cached_info().config.clone();
        assert_eq!(before, after);
        js.delete_stream("INTEGRATION").await.expect("goes");
    }
}

#[tokio::test]
async fn a_stream_with_another_window_limits_and_wider_subjects_will_do() {
    let world = World::bare().await;
    let js = world.raw().await;
    let config = integration(|c| {
        c.subjects = vec!["other".into(), "work.integration.*".into()];
        c.max_messages = 1_000_000;
        c.max_age = std::time::Duration::from_secs(86_400);
    });
    js.create_stream(config).await.expect("makes it");
    world.bus.ensure_streams().await.expect("will do");
}

#[tokio::test]
async fn subjects_that_another_stream_has_are_named() {
    let world = World::bare().await;
    let js = world.raw().await;
    let wide = Config { name: "WIDE".into(), subjects: vec!["work.>".into()], ..Config::default() };
    js.create_stream(wide).await.expect("makes it");
    let error = world.bus.ensure_streams().await.expect_err("overlap").to_string();
    assert!(error.contains("INTEGRATION") && error.contains("nats stream find"), "{error}");
}

#[tokio::test]
async fn streams_with_fewer_copies_than_asked_for_are_told_and_left_alone() {
    let world = World::new().await;
    let asking = BusOptions { replicas: 3, ..options(world.server()) };
    let asking = Bus::connect(asking).await.expect("connects");
    let streams = asking.ensure_streams().await.expect("they will do");
    let told: Vec<_> = streams.thin.iter().map(|t| (t.stream.as_str(), t.replicas)).collect();
    let buckets = [
        "OBJ_yardmaster-snapshots-default",
        "OBJ_yardmaster-candidates-default",
        "OBJ_yardmaster-logs-default",
        "KV_yardmaster-lease-default",
    ];
    assert_eq!(told, [ALL.as_slice(), &buckets].concat().iter().map(|s| (*s, 1)).collect::<Vec<_>>());
    assert_eq!(streams.thin[0].mend, "nats stream edit INTEGRATION --replicas 3");
    let js = world.raw().await;
    for name in ALL {
        assert_eq!(js.get_stream(name).await.expect("is there").cached_info().config.num_replicas, 1);
    }
    assert_eq!(world.bus.ensure_streams().await.expect("finds them").thin, []);
}
