use crate::{AppendError, JournalError, Snapshot};
use yardmaster_protocol::Entry;

/// The most that a record may have, in bytes.
pub const MAX_RECORD_BYTES: usize = 512 * 1024;

/// The size that `entries` have as one record, in bytes.
pub fn encoded_len(entries: &[Entry]) -> usize {
    unimplemented!("{}", entries.len())
}

/// What was appended by one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its stream sequence.
    pub seq: u64,
    /// What happened.
    pub entries: Vec<Entry>,
}

/// The facts, written by one daemon at a time.
#[derive(Debug)]
pub struct Journal {}

impl Journal {
    /// Hands every record after `after` to `each`, in order; returns the last sequence. Needed before the first append.
    pub async fn read(&mut self, after: u64, each: impl FnMut(Record) + Send) -> Result<u64, JournalError> {
        unimplemented!()
    }
    /// Appends all of it as one record; returns its sequence.
    pub async fn append(&mut self, entries: &[Entry]) -> Result<u64, AppendError> {
        unimplemented!()
    }
    /// The sequence of the last record; 0: none.
    pub fn last(&self) -> u64 {
        unimplemented!()
    }
    /// Stores what the records up to `seq` amount to and drops what two snapshots ago was needed.
    pub async fn store_snapshot(&self, seq: u64, bytes: &[u8]) -> Result<(), JournalError> {
        unimplemented!()
    }
    /// The newest snapshot that can be read; `below`: older than this sequence.
    pub async fn load_snapshot(&self, below: Option<u64>) -> Result<Option<Snapshot>, JournalError> {
        unimplemented!()
    }
}
