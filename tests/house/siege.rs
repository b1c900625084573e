use std::time::Duration;

use yardmaster_failpoint::Point;
use yardmaster_tests::siege::{Fault, Kind, Plan, run};

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
    let held = Duration::from_millis(40);
    let faults: Vec<Fault> = points.into_iter().map(|point| Fault::DiesAt(point, 1, held)).collect();
    let end = run(Plan { seed: 1, kind: Kind::Daemon, faults: faults.clone(), aimed_at: Vec::new() }).await;
    assert_eq!(end.violations, Vec::new(), "kept in {:?}", end.dir);
    let died: Vec<Fault> = end.faults.iter().filter(|(_, happened)| *happened).map(|(f, _)| *f).collect();
    assert_eq!(died, faults, "not every point was passed");
}
