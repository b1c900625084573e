use std::collections::BTreeMap;

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Something that goes wrong in a history. Each is counted where it comes to pass.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[$doc])* $variant,)*
        }

        impl Fault {
            /// Every fault.
            pub const ALL: &[Fault] = &[$(Fault::$variant,)*];

            /// As it is told in the summary.
            pub fn name(self) -> &'static str {
                match self {
                    $(Fault::$variant => $name,)*
                }
            }
        }
    };
}

faults! {
    /// The process is killed at any moment.
    Killed = "killed at any moment",
    /// Killed after the journal was read.
    AfterReplay = "killed after replay",
    /// Killed with messages in hand.
    AfterDelivery = "killed after delivery",
    /// Killed with facts decided and not written.
    BeforeAppend = "killed before append",
    /// Killed between two records of a batch.
    MidAppend = "killed mid append",
    /// Killed with facts written and nothing done about them.
    AfterAppend = "killed after append",
    /// Killed before events are published.
    BeforeEvent = "killed before events",
    /// Killed between two events.
    MidEvent = "killed mid events",
    /// Killed after events are published.
    AfterEvent = "killed after events",
    /// Killed before heads are unpinned.
    BeforeUnpin = "killed before unpin",
    /// Killed after heads are unpinned.
    AfterUnpin = "killed after unpin",
    /// Killed before an ack.
    BeforeAck = "killed before ack",
    /// Killed after an ack.
    AfterAck = "killed after ack",
    /// Killed with a report in hand.
    BeforeReportTaken = "killed before report taken",
    /// Killed with a report written and not acked.
    BeforeReportAck = "killed before report ack",
    /// Killed after a report's ack.
    AfterReportAck = "killed after report ack",
    /// Killed before a snapshot.
    BeforeSnapshot = "killed before snapshot",
    /// Killed after a snapshot.
    AfterSnapshot = "killed after snapshot",
    /// Killed before heads are fetched.
    BeforePin = "killed before pin",
    /// Killed with heads pinned and nothing written.
    AfterPin = "killed after pin",
    /// Killed before candidates are made.
    BeforeAssemble = "killed before assemble",
    /// Killed with candidates made and nothing written.
    AfterAssemble = "killed after assemble",
    /// Killed before a job is published.
    BeforeJob = "killed before job",
    /// Killed after a job is published.
    AfterJob = "killed after job",
    /// Killed before a job is taken back.
    BeforeRetract = "killed before retract",
    /// Killed after a job is taken back.
    AfterRetract = "killed after retract",
    /// Killed before a push goes out.
    BeforePush = "killed before push",
    /// Killed while a push is under way; the push goes on without it.
    MidPush = "killed mid push",
    /// Killed after a push, before its outcome is read.
    AfterPush = "killed after push",
    /// Killed before a look.
    BeforeLook = "killed before look",
    /// Killed with a look done and nothing written.
    AfterLook = "killed after look",
    /// A message comes a second time though it was acked.
    MessageDoubled = "message doubled",
    /// A message comes late.
    MessageLate = "message late",
    /// An ack of a message does not arrive.
    AckLost = "ack lost",
    /// An answer of a hand comes twice, the second time late.
    AnswerDoubled = "answer doubled",
    /// A report comes twice.
    ReportDoubled = "report doubled",
    /// A report of a run that was called off comes all the same.
    ReportUncalled = "report of a dropped run",
    /// The journal took a record, and the daemon does not hear of it.
    AppendUnheard = "append's answer lost",
    /// A runner is lost with its run.
    RunnerLost = "runner lost",
    /// A gate says of a tree what is not so.
    GateFlaked = "gate flaked",
    /// A second daemon starts on the same journal.
    Rival = "second leader",
    /// The leader sleeps, another one takes over, the first wakes and goes on.
    Sleep = "leader sleeps and wakes",
    /// A daemon that was not the leader any more found out by its append.
    Fenced = "deposed daemon fenced",
    /// The remote took a push of a deposed or dead daemon.
    StalePushTaken = "push of a gone daemon taken",
    /// The remote refused such a push.
    StalePushRefused = "push of a gone daemon refused",
    /// A hook refuses a push.
    PushDeclined = "push declined",
    /// The target had moved under a push.
    PushOvertaken = "push overtaken",
    /// A push does not reach the remote, and nobody knows.
    PushLost = "push lost",
    /// The remote takes a push, and nobody hears of it.
    PushUnheard = "push taken, answer lost",
    /// Somebody pushes to the target.
    Foreign = "foreign push",
    /// Somebody pushes what is red to the target.
    ForeignRed = "red foreign push",
    /// Somebody rewinds the target.
    Rewind = "target rewound",
    /// The target is deleted for a while.
    TargetGone = "target deleted",
    /// An announced branch is deleted.
    BranchDeleted = "branch deleted",
    /// The remote answers nobody for a while.
    RemoteAway = "remote away",
    /// NATS answers nobody for a while.
    NatsAway = "nats away",
    /// The journal's disk is full for a while; whoever appends ends.
    JournalFull = "journal's disk full",
    /// The mirror's disk is full for a while.
    MirrorFull = "mirror's disk full",
    /// The clock jumps, forward or back, by hours.
    ClockJump = "clock jumps",
    /// A person freezes a target.
    Freeze = "target frozen",
    /// Another policy takes effect at once.
    Reload = "policy reloaded",
    /// Somebody pushes other rules of who may touch what.
    Rules = "other rules pushed",
    /// A reviewer speaks.
    Review = "reviewer's verdict",
    /// A request is told that the rules keep it out.
    Barred = "kept out by rules",
}

/// How often each fault came to pass.
pub type Tally = BTreeMap<Fault, u64>;

/// Moments at which a daemon can be made to die.
pub(crate) fn points() -> &'static [Fault] {
    let of = |fault| Fault::ALL.iter().position(|f| *f == fault).unwrap_or(0);
    Fault::ALL.get(of(Fault::AfterReplay)..of(Fault::MessageDoubled)).unwrap_or(&[])
}
