/// A daemon, a journal or a remote that is broken on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A message is acked before its record is in the journal.
    AckBeforeAppend,
    /// A message is acked once it is in the journal, before its head is in custody.
    AckBeforeCustody,
    /// A push leaves before its record is in the journal.
    PushBeforeAppend,
    /// The push overwrites whatever the target has.
    PushWithoutLease,
    /// A push whose end nobody saw counts as refused.
    UnknownIsRefused,
    /// A push whose end nobody saw counts as taken.
    UnknownIsTaken,
    /// The remote is not read back: a refusal counts as if the target had stayed where it was.
    NoReadBack,
    /// A daemon whose append was refused goes on.
    DeposedGoesOn,
    /// The journal takes records that do not follow what their writer has read.
    AppendWithoutExpectation,
    /// A record whose answer was lost is written once more.
    AppendAgain,
    /// A message that was handed out is not handed out again.
    NoRedelivery,
    /// After a push whose end nobody saw the hand at the remote stays busy.
    HandStaysBusy,
    /// A runner reports green whatever it saw.
    AlwaysGreen,
}

impl Flaw {
    /// Every one.
    pub const ALL: [Flaw; 13] = [
        Flaw::AckBeforeAppend,
        Flaw::AckBeforeCustody,
        Flaw::PushBeforeAppend,
        Flaw::PushWithoutLease,
        Flaw::UnknownIsRefused,
        Flaw::UnknownIsTaken,
        Flaw::NoReadBack,
        Flaw::DeposedGoesOn,
        Flaw::AppendWithoutExpectation,
        Flaw::AppendAgain,
        Flaw::NoRedelivery,
        Flaw::HandStaysBusy,
        Flaw::AlwaysGreen,
    ];
}
