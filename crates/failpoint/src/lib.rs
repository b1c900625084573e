//! Exists so that a process can be made to die at a named moment, before or after each of its effects.
//! Without the feature `failpoints` a point is nothing at all; no published binary has it.

/// The variable that arms a point: `NAME:N` kills the process with SIGKILL when `NAME` is passed for
/// the `N`-th time; `NAME:N:MS` holds the one who passes there for so many milliseconds before, in
/// which everything else goes on.
pub const VARIABLE: &str = "YARDMASTER_FAILPOINT";

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A moment of the daemon's life at which nothing may be lost and nothing may happen twice.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Point {
            $($(#[$doc])* $variant,)*
        }

        impl Point {
            /// Every point.
            pub const ALL: &[Point] = &[$(Point::$variant,)*];

            /// As it is written in [`VARIABLE`].
            pub fn name(self) -> &'static str {
                match self {
                    $(Point::$variant => $name,)*
                }
            }

            /// As it is written in the source.
            pub fn variant(self) -> &'static str {
                match self {
                    $(Point::$variant => stringify!($variant),)*
                }
            }
        }
    };
}

points! {
    /// The journal was replayed and nothing was done about it yet.
    AfterReplay = "after-replay",
    /// What nobody needs any more was unpinned.
    AfterPinSweep = "after-pin-sweep",
    /// The jobs of an earlier life were taken back.
    AfterJobPurge = "after-job-purge",
    /// Announcements were delivered and not looked at.
    AfterDelivery = "after-delivery",
    /// Facts are decided and not in the journal.
    BeforeJournalAppend = "before-journal-append",
    /// Facts are in the journal and nothing was done about them.
    AfterJournalAppend = "after-journal-append",
    /// Heads are about to be fetched.
    BeforePinFetch = "before-pin-fetch",
    /// Heads are pinned and nobody knows.
    AfterPinFetch = "after-pin-fetch",
    /// Candidates are about to be made.
    BeforeAssemble = "before-assemble",
    /// Candidates are made and nobody knows.
    AfterAssemble = "after-assemble",
    /// A job is about to be published.
    BeforeJobPublish = "before-job-publish",
    /// A job is published and its ticket is not held.
    AfterJobPublish = "after-job-publish",
    /// A job is about to be taken back.
    BeforeJobRetract = "before-job-retract",
    /// A job's message is gone, and its runner was not told.
    MidJobRetract = "mid-job-retract",
    /// A job was taken back.
    AfterJobRetract = "after-job-retract",
    /// A runner has a job and has not begun.
    AfterJobTaken = "after-job-taken",
    /// A gate's process runs and no record names it.
    AfterGateSpawn = "after-gate-spawn",
    /// A gate's process runs and a record names it.
    AfterGateRecord = "after-gate-record",
    /// A verdict is about to be reported.
    BeforeReportPublish = "before-report-publish",
    /// A verdict is reported and its job is not acked.
    AfterReportPublish = "after-report-publish",
    /// A job is acked.
    AfterJobAck = "after-job-ack",
    /// A verdict came and was not looked at.
    BeforeReportTaken = "before-report-taken",
    /// A verdict is in the journal and not acked.
    AfterReportTaken = "after-report-taken",
    /// A verdict is acked.
    AfterReportAck = "after-report-ack",
    /// A push is about to be made.
    BeforePush = "before-push",
    /// A push was made and is not read back.
    AfterPush = "after-push",
    /// A push was read back, and nobody knows.
    AfterReadBack = "after-read-back",
    /// The remote is about to be looked at.
    BeforeLook = "before-look",
    /// The remote was looked at, and nobody knows.
    AfterLook = "after-look",
    /// Events are about to be published.
    BeforeEventPublish = "before-event-publish",
    /// Some events of a chunk were sent.
    MidEventPublish = "mid-event-publish",
    /// Events are published.
    AfterEventPublish = "after-event-publish",
    /// An announcement is about to be acked.
    BeforeAck = "before-ack",
    /// An announcement is acked.
    AfterAck = "after-ack",
    /// Heads that have ended are about to be unpinned.
    BeforeUnpin = "before-unpin",
    /// Heads that have ended are unpinned.
    AfterUnpin = "after-unpin",
    /// A snapshot is about to be stored.
    BeforeSnapshotStore = "before-snapshot-store",
    /// A snapshot is stored and older records are not dropped.
    AfterSnapshotStore = "after-snapshot-store",
    /// Records that no snapshot needs are dropped.
    AfterJournalPurge = "after-journal-purge",
}

/// Dies here if this point is armed and was passed often enough.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn hit(_: Point) {}

/// The variable that makes something poisonous: `PLACE:HOW:MARK` lets what has `MARK` in it end the process
/// (`abort`) or panic (`panic`) at `PLACE`.
pub const TAINT: &str = "YARDMASTER_TAINT";

/// Fails here if this is what is to be poisonous.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn taint(_place: &str, _what: &[u8]) {}

/// Fails here if this is what is to be poisonous.
#[cfg(feature = "failpoints")]
pub fn taint(place: &str, what: &[u8]) {
    let Ok(text) = std::env::var(TAINT) else { return };
    let mut fields = text.splitn(3, ':');
    let (at, how, mark) = (fields.next(), fields.next(), fields.next().unwrap_or_default().as_bytes());
    if at != Some(place) || mark.is_empty() || !what.windows(mark.len()).any(|w| w == mark) {
        return;
    }
    if how == Some("abort") {
        std::process::abort();
    }
    panic!("poison at {place}");
}

#[cfg(feature = "failpoints")]
pub use armed::hit;

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    use crate::{Point, VARIABLE};

    static PASSED: AtomicU64 = AtomicU64::new(0);

    struct Armed {
        point: Point,
        nth: u64,
        held: Duration,
    }

    /// Dies here if this point is armed and was passed often enough.
    pub fn hit(point: Point) {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        let Some(armed) = ARMED.get_or_init(read) else { return };
        if armed.point == point && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == armed.nth {
            std::thread::sleep(armed.held);
            let _ = kill_process(getpid(), Signal::KILL);
            // The signal may take a moment, in which this thread must not go on.
            loop {
                std::thread::park();
            }
        }
    }

    /// A point that nobody knows would be one that is never tried: it ends the process instead.
    fn read() -> Option<Armed> {
        let text = std::env::var(VARIABLE).ok()?;
        let armed = parse(&text);
        if armed.is_none() {
            eprintln!("error: {VARIABLE}={text} is not NAME:N[:MS] with a known name and a number from 1");
            std::process::exit(2);
        }
        armed
    }

    fn parse(text: &str) -> Option<Armed> {
        let mut fields = text.split(':');
        let name = fields.next()?;
        let point = Point::ALL.iter().copied().find(|p| p.name() == name)?;
        let nth = fields.next()?.parse().ok().filter(|n| *n > 0)?;
        let held = Duration::from_millis(fields.next().map_or(Some(0), |ms| ms.parse().ok())?);
        fields.next().is_none().then_some(Armed { point, nth, held })
    }
}

#[cfg(test)]
mod tests {
    use super::Point;

    #[test]
    fn names_differ_and_read_as_one_word() {
        let mut names: Vec<&str> = Point::ALL.iter().map(|p| p.name()).collect();
        assert!(names.iter().all(|n| n.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Point::ALL.len());
    }
}
