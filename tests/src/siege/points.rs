use yardmaster_failpoint::Point;

/// How often a life can be expected to pass a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Often {
    /// Many times.
    Many,
    /// Once or a few times.
    Few,
    /// Once, before it serves.
    AtStart,
    /// Only when a run is not needed any more.
    WhenOvertaken,
    /// Only when much has happened.
    Late,
}

/// What is known of each point.
pub(crate) fn often(point: Point) -> Often {
    match point {
        Point::AfterReplay | Point::AfterPinSweep | Point::AfterJobPurge => Often::AtStart,
        Point::AfterDelivery
        | Point::BeforePinFetch
        | Point::AfterPinFetch
        | Point::BeforeAssemble
        | Point::AfterAssemble
        | Point::AfterReportAck
        | Point::BeforePush
        | Point::AfterPush
        | Point::AfterReadBack
        | Point::BeforeUnpin
        | Point::AfterUnpin => Often::Few,
        Point::BeforeJobRetract | Point::MidJobRetract | Point::AfterJobRetract => Often::WhenOvertaken,
        Point::BeforeSnapshotStore | Point::AfterSnapshotStore | Point::AfterJournalPurge => Often::Late,
        Point::BeforeJournalAppend
        | Point::AfterJournalAppend
        | Point::BeforeJobPublish
        | Point::AfterJobPublish
        | Point::AfterJobTaken
        | Point::AfterGateSpawn
        | Point::AfterGateRecord
        | Point::BeforeReportPublish
        | Point::AfterReportPublish
        | Point::AfterJobAck
        | Point::BeforeReportTaken
        | Point::AfterReportTaken
        | Point::BeforeLook
        | Point::AfterLook
        | Point::BeforeEventPublish
        | Point::MidEventPublish
        | Point::AfterEventPublish
        | Point::BeforeAck
        | Point::AfterAck => Often::Many,
    }
}

/// Whether only somebody else's push makes sure that the point is passed.
pub(crate) fn needs_a_stranger(point: Point) -> bool {
    often(point) == Often::WhenOvertaken
}
