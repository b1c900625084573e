use std::time::Duration;

use async_nats::HeaderMap;
use yardmaster_bus::{AppendError, Bus, Journal, JournalError, MAX_RECORD_BYTES, Snapshot, encoded_len};
use yardmaster_protocol::{Entry, Fact, Millis};

use crate::support::{World, entry, within};

async fn open(bus: &Bus) -> (Journal, Vec<(u64, Vec<Entry>)>) {
    open_after(bus, 0).await
}

async fn open_after(bus: &Bus, after: u64) -> (Journal, Vec<(u64, Vec<Entry>)>) {
    let mut journal = bus.journal().await.expect("opens");
    let mut records = Vec::new();
    journal.read(after, |record| records.push((record.seq, record.entries))).await.expect("reads");
    (journal, records)
}

#[tokio::test]
async fn what_was_appended_is_read_back_in_order() {
    let world = World::new().await;
    let (mut journal, nothing) = open(&world.bus).await;
    assert!(nothing.is_empty());
    assert_eq!(journal.append(&[entry(1), entry(2)]).await, Ok(1));
    assert_eq!(journal.append(&[entry(3)]).await, Ok(2));
    assert_eq!(journal.last(), 2);

    let (mut again, records) = open(&world.another().await).await;
    assert_eq!(records, [(1, vec![entry(1), entry(2)]), (2, vec![entry(3)])]);
    assert_eq!(again.append(&[entry(4)]).await, Ok(3));
}

#[tokio::test]
async fn nothing_is_appended_before_it_was_read() {
    let world = World::new().await;
    let mut journal = world.bus.journal().await.expect("opens");
    assert_eq!(journal.append(&[entry(1)]).await, Err(AppendError::NotRead));
}

#[tokio::test]
async fn of_two_writers_one_is_deposed_for_ever() {
    let world = World::new().await;
    let other = world.another().await;
    let (mut old, _) = open(&world.bus).await;
    let (mut new, _) = open(&other).await;
    assert_eq!(new.append(&[entry(1)]).await, Ok(1));
    assert_eq!(old.append(&[entry(1)]).await, Err(AppendError::Deposed { seq: 1 }));
    assert_eq!(new.append(&[entry(2)]).await, Ok(2));
    assert_eq!(old.append(&[entry(3)]).await, Err(AppendError::Deposed { seq: 1 }));
    assert_eq!(open(&other).await.1.len(), 2);
}

#[tokio::test]
async fn a_deposed_writer_is_deposed_even_where_the_record_was_purged() {
    let world = World::new().await;
    let other = world.another().await;
    let (mut old, _) = open(&world.bus).await;
    let (mut new, _) = open(&other).await;
    for n in 1..=4 {
        new.append(&[entry(n)]).await.expect("appends");
    }
    new.store_snapshot(3, b"three").await.expect("stores");
    new.store_snapshot(4, b"four").await.expect("stores");
    assert_eq!(old.append(&[entry(1)]).await, Err(AppendError::Deposed { seq: 1 }));
}

#[tokio::test]
async fn an_append_waits_for_a_killed_server_and_is_in_once() {
    let mut world = World::new().await;
    let (mut journal, _) = open(&world.bus).await;
    for n in 1..=3u64 {
        assert_eq!(journal.append(&[entry(2 * n)]).await, Ok(2 * n - 1));
        world.kill().await;
        let waiting = tokio::spawn(async move { (journal.append(&[entry(2 * n + 1)]).await, journal) });
        world.revive().await;
        let (appended, back) = within(10, waiting).await.expect("no panic");
        assert_eq!(appended, Ok(2 * n));
        journal = back;
    }
    assert_eq!(open(&world.bus).await.1.len(), 6);
}

#[tokio::test]
async fn appends_while_the_server_is_killed_again_and_again_are_in_once() {
    let mut world = World::new().await;
    let (mut journal, _) = open(&world.bus).await;
    let writing = tokio::spawn(async move {
        for n in 1..=600 {
            assert_eq!(journal.append(&[entry(n)]).await, Ok(n));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        world.kill().await;
        world.revive().await;
    }
    within(40, writing).await.expect("every append is in");
    let (_, records) = open(&world.bus).await;
    let expected: Vec<_> = (1..=600).map(|n| (n, vec![entry(n)])).collect();
    assert_eq!(records, expected);
}

#[tokio::test]
async fn an_append_that_was_away_has_to_be_repeated_before_another_one() {
    let mut world = World::new().await;
    let (mut journal, _) = open(&world.bus).await;
    journal.append(&[entry(1)]).await.expect("appends");
    world.kill().await;
    let cut = tokio::time::timeout(Duration::from_millis(300), journal.append(&[entry(2)])).await;
    assert!(cut.is_err(), "nobody can have confirmed it");
    assert_eq!(journal.append(&[entry(3)]).await, Err(AppendError::Undecided));
    let away = within(15, journal.append(&[entry(2)])).await;
    assert!(matches!(away, Err(AppendError::Away { .. })), "{away:?}");
    world.revive().await;
    assert_eq!(within(10, journal.append(&[entry(2)])).await, Ok(2));
    assert_eq!(journal.append(&[entry(3)]).await, Ok(3));
    let (_, records) = open(&world.bus).await;
    assert_eq!(records.last(), Some(&(3, vec![entry(3)])));
    assert_eq!(records.len(), 3);
}

#[tokio::test]
async fn a_record_over_the_limit_is_refused_and_nothing_is_lost_by_it() {
    let world = World::new().await;
    let (mut journal, _) = open(&world.bus).await;
    let big = |n: usize| Entry { at: Millis(1), facts: vec![Fact::RemoteLost { why: "x".repeat(n) }] };
    let over = [big(MAX_RECORD_BYTES)];
    assert!(encoded_len(&over) > MAX_RECORD_BYTES);
    assert!(matches!(journal.append(&over).await, Err(AppendError::TooLarge { .. })));
    let fits = [big(MAX_RECORD_BYTES - 200)];
    assert!(encoded_len(&fits) <= MAX_RECORD_BYTES);
    assert_eq!(journal.append(&fits).await, Ok(1));
}

async fn forge(world: &World, payload: &'static str) {
    let js = world.raw().await;
    let ack = js.publish_with_headers("yardmaster.journal.default", HeaderMap::new(), payload.into()).await;
    ack.expect("goes").await.expect("is taken");
}

#[tokio::test]
async fn records_that_cannot_be_understood_are_named() {
    let world = World::new().await;
    forge(&world, r#"{"v":2,"entries":[]}"#).await;
    let mut journal = world.bus.journal().await.expect("opens");
    let error = journal.read(0, |_| {}).await;
    assert_eq!(error, Err(JournalError::UnknownVersion { seq: 1, version: 2 }));
    forge(&world, "hello").await;
    let error = journal.read(1, |_| {}).await;
    assert!(matches!(error, Err(JournalError::BrokenRecord { seq: 2, .. })), "{error:?}");
}

#[tokio::test]
async fn two_snapshots_are_kept_and_the_records_that_the_older_one_needs() {
    let world = World::new().await;
    let (mut journal, _) = open(&world.bus).await;
    assert_eq!(journal.load_snapshot(None).await, Ok(None));
    for n in 1..=9 {
        journal.append(&[entry(n)]).await.expect("appends");
    }
    for (seq, bytes) in [(2, b"two".to_vec()), (5, vec![7; 3_000_000]), (8, b"eight".to_vec())] {
        journal.store_snapshot(seq, &bytes).await.expect("stores");
    }
    let newest = journal.load_snapshot(None).await;
    assert_eq!(newest, Ok(Some(Snapshot { seq: 8, bytes: b"eight".to_vec() })));
    let older = journal.load_snapshot(Some(8)).await;
    assert_eq!(older, Ok(Some(Snapshot { seq: 5, bytes: vec![7; 3_000_000] })));
    assert_eq!(journal.load_snapshot(Some(5)).await, Ok(None));

    let (_, records) = open_after(&world.bus, 5).await;
    assert_eq!(records.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [6, 7, 8, 9]);
    let mut fresh = world.bus.journal().await.expect("opens");
    assert_eq!(fresh.read(2, |_| {}).await, Err(JournalError::Gap { wanted: 3, first: 6 }));
    assert_eq!(fresh.read(12, |_| {}).await, Err(JournalError::Behind { wanted: 12, last: 9 }));
    let (mut journal, nothing) = open_after(&world.bus, 9).await;
    assert!(nothing.is_empty());
    assert_eq!(journal.append(&[entry(10)]).await, Ok(10));
}

#[tokio::test]
async fn a_snapshot_whose_bytes_are_gone_or_changed_is_passed_over() {
    let world = World::new().await;
    let (mut journal, _) = open(&world.bus).await;
    for n in 1..=6 {
        journal.append(&[entry(n)]).await.expect("appends");
    }
    journal.store_snapshot(2, b"two").await.expect("stores");
    journal.store_snapshot(5, &vec![9; 400_000]).await.expect("stores");
    let js = world.raw().await;
    let store = js.get_stream("OBJ_yardmaster-snapshots-default").await.expect("is there");
    // The last chunk of the newest: chunks come before the object's own message.
    let last = store.cached_info().state.last_sequence;
    assert!(store.delete_message(last - 1).await.expect("deletes"));
    let found = within(15, journal.load_snapshot(None)).await;
    assert_eq!(found, Ok(Some(Snapshot { seq: 2, bytes: b"two".to_vec() })));
}
