use std::time::Duration;

use yardmaster_failpoint::Point;
use yardmaster_tests::siege::{Fault, Full, Kind, NetFault, Plan, disks_can_be_had, run};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The faults come to pass, but perhaps for one that everything was over before; and the judge finds nothing.
async fn holds(kind: Kind, faults: Vec<Fault>) {
    let end = run(Plan { seed: 1, kind, faults: faults.clone(), aimed_at: Vec::new() }).await;
    assert_eq!(end.violations, Vec::new(), "kept in {:?}", end.dir);
    let happened: Vec<Fault> = end.faults.iter().filter(|(_, happened)| *happened).map(|(f, _)| *f).collect();
    let most = faults.len().saturating_sub(1).max(1);
    assert!(happened.len() >= most, "too little came to pass: {happened:?} of {faults:?}");
}

/// A slice of the siege: killed at one moment of each kind of effect, nothing is lost, doubled or red.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_its_effects_the_daemon_loses_and_doubles_nothing() {
    let points = [
        Point::AfterDelivery,
        Point::AfterPinFetch,
        Point::BeforeAck,
        Point::AfterJournalAppend,
        Point::AfterJobPublish,
        Point::AfterGateSpawn,
        Point::AfterPush,
        Point::MidEventPublish,
    ];
    // An effect that is ahead of its turn has time to get out.
    holds(Kind::Daemon, points.into_iter().map(|point| Fault::DiesAt(point, 1, ms(40))).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_from_its_server_the_daemon_loses_and_doubles_nothing() {
    let faults = [
        Fault::Network(NetFault::Cut, ms(50), Duration::ZERO),
        Fault::Network(NetFault::BlockedThenCut, ms(50), ms(1_500)),
        Fault::NetworkAndDies(NetFault::Refused, ms(50), ms(800)),
        Fault::Network(NetFault::BlockedDown, ms(50), ms(1_500)),
    ];
    holds(Kind::Network, faults.to_vec()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_nobody_fails_for_what_the_machine_lacks() {
    if let Err(why) = disks_can_be_had() {
        return eprintln!("SKIPPED: no tmpfs can be mounted here: {why}");
    }
    holds(Kind::Disk, vec![Fault::DiskFull(Full::State, ms(20), ms(4_000))]).await;
}
