/// Why the bus cannot do what it was asked; every text says what mends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Nobody answers at the address.
    #[error("reach NATS at {url}: {why}; start a server there, or name another with --nats-url")]
    Unreachable {
        /// Where, without secrets.
        url: String,
        /// What went wrong.
        why: String,
    },
    /// The address is none.
    #[error("use `{url}` as the address of NATS: {why}; give one such as nats://HOST:4222")]
    BadAddress {
        /// What was given, without secrets.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server does not accept the credentials, or they cannot be read.
    #[error("be let in by NATS at {url}: {why}; check nats.credentials, or user and password")]
    Denied {
        /// Where, without secrets.
        url: String,
        /// What went wrong.
        why: String,
    },
    /// The server is older than what was tested.
    #[error(
        "work with nats-server {found}: at least {wanted} is needed; install a newer one (2.9 drops settings silently)"
    )]
    TooOld {
        /// The version that answered.
        found: String,
        /// The oldest that will do.
        wanted: String,
    },
    /// The server or the account has no JetStream.
    #[error("use JetStream at {url}: {why}; start nats-server with -js, or enable it for the account")]
    NoJetStream {
        /// Where, without secrets.
        url: String,
        /// What went wrong.
        why: String,
    },
    /// A stream is there but cannot serve.
    #[error("use the stream {stream}: {why}; mend it with: {mend}")]
    StreamCannotServe {
        /// Its name.
        stream: String,
        /// What is wrong with it.
        why: String,
        /// A command.
        mend: String,
    },
    /// A consumer is there but cannot serve.
    #[error("use the consumer {consumer} of {stream}: {why}; mend it with: {mend}")]
    ConsumerCannotServe {
        /// Its stream.
        stream: String,
        /// Its name.
        consumer: String,
        /// What is wrong with it.
        why: String,
        /// A command.
        mend: String,
    },
    /// The instance's name cannot be a subject token.
    #[error("use the instance name `{name}`: it must be 1 to 32 characters of a-z 0-9 _ -")]
    BadName {
        /// What was given.
        name: String,
    },
    /// The job was asked for by a daemon of another version.
    #[error(
        "take a job of wire {theirs}, while this runner speaks {ours}; install the daemon's version of yardmaster here"
    )]
    OtherWire {
        /// What the job speaks.
        theirs: u32,
        /// What this program speaks.
        ours: u32,
    },
    /// The message is over our own limit.
    #[error("publish {what} of {bytes} bytes: at most {limit} are taken")]
    TooLarge {
        /// What it was.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// It did not work within the time; the same call may be made again.
    #[error("{what} on NATS in time: {why}; the server is away or overloaded, try again")]
    Away {
        /// What was tried.
        what: &'static str,
        /// The last thing that went wrong.
        why: String,
    },
}

/// Why the journal cannot be read or its snapshots not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The server went away or refused.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// Records that are needed are gone.
    #[error(
        "read the journal from record {wanted}: the stream begins at {first}; restore the snapshot or the stream from a backup"
    )]
    Gap {
        /// The first record that is needed.
        wanted: u64,
        /// The first that is there.
        first: u64,
    },
    /// The snapshot is newer than the journal's end.
    #[error(
        "continue the journal at record {wanted}: the stream ends at {last}, so records are lost; restore the stream from a backup"
    )]
    Behind {
        /// The record that must be there.
        wanted: u64,
        /// The last that is there.
        last: u64,
    },
    /// A record was written by a newer program.
    #[error(
        "read record {seq} of the journal: its version is {version}, this program knows 1; upgrade yardmaster"
    )]
    UnknownVersion {
        /// Which record.
        seq: u64,
        /// What it says.
        version: u64,
    },
    /// A record is not what this program writes.
    #[error("read record {seq} of the journal: {why}; somebody else wrote to its subject")]
    BrokenRecord {
        /// Which record.
        seq: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// Why an append is not in the journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Somebody else writes the journal now. Final: this process must stop to act.
    #[error("append to the journal: another daemon wrote record {seq}; this one steps down")]
    Deposed {
        /// The record that is not ours.
        seq: u64,
    },
    /// Nobody knows yet whether it is in: make the same call again.
    #[error("append to the journal in time: {why}; the same append may be tried again")]
    Away {
        /// The last thing that went wrong.
        why: String,
    },
    /// An earlier append is still undecided, and this is another one.
    #[error("append to the journal: the append before is undecided; repeat that one first")]
    Undecided,
    /// Over the limit; split it.
    #[error("append {bytes} bytes to the journal: at most {limit} fit in a record; split it")]
    TooLarge {
        /// Size of the record.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The stream lost records that had been acknowledged.
    #[error("append to the journal: the stream ends at {last} but record {expected} was written; restore it")]
    Lost {
        /// What this process has written last.
        expected: u64,
        /// Where the stream ends.
        last: u64,
    },
    /// Nothing was read yet, so that nothing can be expected.
    #[error("append to the journal: it was not read to its end yet")]
    NotRead,
}

pub(crate) fn away(what: &'static str, why: &dyn std::fmt::Display) -> BusError {
    BusError::Away { what, why: why.to_string() }
}
