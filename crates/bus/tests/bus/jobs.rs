use std::time::{Duration, Instant};

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt;
use yardmaster_bus::{Bus, BusError};
use yardmaster_protocol::{RunOutcome, Step};

use crate::support::{World, job, report, within};

async fn waiting(world: &World) -> u64 {
    let stream = world.raw().await.get_stream("YARDMASTER_JOBS").await.expect("is there");
    stream.cached_info().state.messages
}

#[tokio::test]
async fn a_job_is_run_once_and_reported() {
    let world = World::new().await;
    let runner = world.another().await;
    world.bus.publish_job(&job("run-1"), "life-1").await.expect("publishes");
    let (got, lease, cancelled) = within(5, runner.jobs().next()).await.expect("comes");
    assert_eq!(got, job("run-1"));
    assert!(!cancelled.is_cancelled());
    runner.report(&report("run-1")).await.expect("reports");
    lease.ack().await.expect("acks");

    let mut reports = world.bus.reports();
    let (told, ack) = within(5, reports.next()).await.expect("comes");
    assert_eq!(told, report("run-1"));
    ack.ack().await.expect("acks");
    world.bus.flush().await.expect("flushes");
    let none = tokio::time::timeout(Duration::from_millis(300), runner.jobs().next()).await;
    assert!(none.is_err(), "it is done");
    assert_eq!(waiting(&world).await, 0);
}

#[tokio::test]
async fn a_report_that_was_not_acked_comes_again_at_the_next_start() {
    let world = World::new().await;
    world.bus.report(&report("run-1")).await.expect("reports");
    drop(within(5, world.bus.reports().next()).await.expect("comes"));
    let next = world.another().await;
    let (told, _) = within(5, next.reports().next()).await.expect("comes again");
    assert_eq!(told.run.as_str(), "run-1");
}

#[tokio::test]
async fn a_dropped_or_returned_lease_gives_the_job_to_the_next_runner_at_once() {
    let world = World::new().await;
    world.bus.publish_job(&job("run-1"), "e").await.expect("publishes");
    let (mut one, mut two) = (world.another().await.jobs(), world.another().await.jobs());
    let started = Instant::now();
    let (_, lease, _) = within(5, one.next()).await.expect("comes");
    drop(lease);
    let (_, lease, _) = within(5, two.next()).await.expect("comes");
    lease.nak().await.expect("returns it");
    let (_, lease, _) = within(5, one.next()).await.expect("comes");
    lease.ack().await.expect("acks");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_lease_outlives_the_ack_wait_and_a_dead_runner_does_not() {
    let world = World::new().await;
    world.bus.publish_job(&job("long"), "e").await.expect("publishes");
    let (_, lease, _) = within(5, world.bus.jobs().next()).await.expect("comes");
    let other = world.another().await;
    let mut source = other.jobs();
    let stolen = tokio::time::timeout(Duration::from_secs(12), source.next()).await;
    assert!(stolen.is_err(), "it was kept alive");
    lease.ack().await.expect("acks");

    // A runner that is killed: its message is fetched and never heard of again.
    world.bus.publish_job(&job("orphan"), "e").await.expect("publishes");
    let consumer: PullConsumer =
        world.raw().await.get_consumer_from_stream("runners", "YARDMASTER_JOBS").await.expect("is there");
    let mut batch = consumer.fetch().max_messages(1).messages().await.expect("fetches");
    let fetched = batch.next().await.expect("comes").expect("is whole");
    let (taken, lease, _) = within(15, source.next()).await.expect("is taken over");
    assert_eq!(taken.run.as_str(), "orphan");
    lease.ack().await.expect("acks");
    drop(fetched);
}

#[tokio::test]
async fn a_retracted_job_is_not_given_out_and_a_running_one_is_told() {
    let world = World::new().await;
    let runner = world.another().await;
    let first = world.bus.publish_job(&job("first"), "e").await.expect("publishes");
    let second = world.bus.publish_job(&job("second"), "e").await.expect("publishes");
    world.bus.retract_job(&first).await.expect("takes it back");
    let (got, lease, mut cancelled) = within(5, runner.jobs().next()).await.expect("comes");
    assert_eq!(got.run.as_str(), "second");

    world.bus.retract_job(&second).await.expect("takes it back");
    let started = Instant::now();
    within(5, cancelled.cancelled()).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(cancelled.is_cancelled());
    lease.ack().await.expect("settles");
    world.bus.retract_job(&second).await.expect("is no error twice");
    assert_eq!(waiting(&world).await, 0);
}

#[tokio::test]
async fn a_retraction_that_nobody_heard_is_noticed_by_the_missing_job() {
    let world = World::new().await;
    let ticket = world.bus.publish_job(&job("quiet"), "e").await.expect("publishes");
    let (_, _lease, mut cancelled) = within(5, world.bus.jobs().next()).await.expect("comes");
    let stream = world.raw().await.get_stream("YARDMASTER_JOBS").await.expect("is there");
    stream.delete_message(ticket.stream_seq).await.expect("deletes");
    within(6, cancelled.cancelled()).await;
}

#[tokio::test]
async fn purging_takes_back_what_waits_and_what_runs_but_no_reports() {
    let world = World::new().await;
    for n in 1..=3 {
        world.bus.publish_job(&job(&format!("run-{n}")), "e").await.expect("publishes");
    }
    let (_, lease, mut cancelled) = within(5, world.bus.jobs().next()).await.expect("comes");
    world.bus.report(&report("run-0")).await.expect("reports");
    assert_eq!(world.bus.purge_jobs().await, Ok(3));
    within(2, cancelled.cancelled()).await;
    lease.ack().await.expect("settles");
    world.bus.publish_job(&job("fresh"), "e").await.expect("publishes");
    let (got, lease, cancelled) = within(5, world.bus.jobs().next()).await.expect("comes");
    assert_eq!((got.run.as_str(), cancelled.is_cancelled()), ("fresh", false));
    lease.ack().await.expect("acks");
    assert_eq!(within(5, world.bus.reports().next()).await.expect("comes").0.run.as_str(), "run-0");
}

#[tokio::test]
async fn a_job_that_five_runners_died_of_is_reported_as_lost() {
    let world = World::new().await;
    world.bus.publish_job(&job("poison"), "e").await.expect("publishes");
    let mut source = world.bus.jobs();
    drop(within(5, source.next()).await.expect("comes"));
    let consumer: PullConsumer =
        world.raw().await.get_consumer_from_stream("runners", "YARDMASTER_JOBS").await.expect("is there");
    // What was returned may not be there yet for the next fetch, which then comes back empty.
    while waiting_deliveries(&consumer).await < 5 {
        let mut batch = consumer.fetch().max_messages(1).messages().await.expect("fetches");
        while let Some(message) = batch.next().await {
            message.expect("is whole").ack_with(AckKind::Nak(None)).await.expect("returns it");
        }
    }
    let mut reports = world.bus.reports();
    let told = tokio::select! {
        job = source.next() => panic!("given out again: {job:?}"),
        told = within(10, reports.next()) => told.expect("comes").0,
    };
    assert_eq!(told.run.as_str(), "poison");
    assert!(matches!(told.outcome, RunOutcome::Lost { .. }), "{told:?}");
}

async fn waiting_deliveries(consumer: &PullConsumer) -> u64 {
    consumer.get_info().await.expect("looks").delivered.consumer_sequence
}

#[tokio::test]
async fn what_is_no_job_is_put_away() {
    let world = World::new().await;
    let js = world.raw().await;
    js.publish("yardmaster.jobs.default.run", "hello".into()).await.expect("goes").await.expect("is taken");
    js.publish("yardmaster.jobs.default.report", "hello".into())
        .await
        .expect("goes")
        .await
        .expect("is taken");
    world.bus.publish_job(&job("good"), "e").await.expect("publishes");
    world.bus.report(&report("good")).await.expect("reports");
    assert_eq!(within(5, world.bus.jobs().next()).await.expect("comes").0.run.as_str(), "good");
    assert_eq!(within(5, world.bus.reports().next()).await.expect("comes").0.run.as_str(), "good");
}

#[tokio::test]
async fn a_job_over_the_limit_is_refused() {
    let world = World::new().await;
    let mut big = job("big");
    big.gate.steps = vec![Step { run: "x".repeat(600_000), ..big.gate.steps.remove(0) }];
    let refused = world.bus.publish_job(&big, "e").await;
    assert!(matches!(refused, Err(BusError::TooLarge { .. })), "{refused:?}");
}

#[tokio::test]
async fn runners_wait_through_a_restart_of_the_server() {
    let mut world = World::new().await;
    let runner: Bus = world.another().await;
    let mut source = runner.jobs();
    let waiting = tokio::spawn(async move { within(20, source.next()).await });
    world.kill().await;
    world.revive().await;
    world.bus.publish_job(&job("after"), "e").await.expect("publishes");
    let published = Instant::now();
    let (got, lease, _) = waiting.await.expect("no panic").expect("comes");
    assert_eq!(got.run.as_str(), "after");
    assert!(published.elapsed() < Duration::from_secs(4), "{:?}", published.elapsed());
    lease.ack().await.expect("acks");
}
