use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use yardmaster_failpoint::{Point, hit};
use yardmaster_protocol::Entry;

use crate::bus::{Inner, REQUEST_TIMEOUT};
use crate::names::COMMIT_HEADER;
use crate::replay::Replay;
use crate::retry::{Fault, PATIENCE, until};
use crate::snapshot::Snapshots;
use crate::{AppendError, BusError, JournalError, Snapshot};

/// The most that a record may have, in bytes: half of a server's usual limit.
pub const MAX_RECORD_BYTES: usize = 512 * 1024;

const VERSION: u64 = 1;
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Serialize)]
struct Written<'a> {
    v: u64,
    entries: &'a [Entry],
}

#[derive(Deserialize)]
struct Read {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Version {
    v: u64,
}

/// The size that `entries` have as one record, in bytes; to be kept below [`MAX_RECORD_BYTES`].
pub fn encoded_len(entries: &[Entry]) -> usize {
    encode(entries).len()
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    // Ids, strings and numbers under string keys: nothing here can fail to become JSON.
    serde_json::to_vec(&Written { v: VERSION, entries }).unwrap_or_default()
}

fn decode(seq: u64, payload: &[u8]) -> Result<Record, JournalError> {
    let broken = |e: serde_json::Error| JournalError::BrokenRecord { seq, why: e.to_string() };
    // The prefix is what every record of this version begins with; anything else is looked at with care.
    if !payload.starts_with(b"{\"v\":1,") {
        let version: Version = serde_json::from_slice(payload).map_err(broken)?;
        if version.v != VERSION {
            return Err(JournalError::UnknownVersion { seq, version: version.v });
        }
    }
    let read: Read = serde_json::from_slice(payload).map_err(broken)?;
    Ok(Record { seq, entries: read.entries })
}

/// What was appended by one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its stream sequence.
    pub seq: u64,
    /// What happened.
    pub entries: Vec<Entry>,
}

/// The facts, written by one daemon at a time: whoever appends first after reading wins, the other is deposed.
#[derive(Debug)]
pub struct Journal {
    inner: Arc<Inner>,
    stream: Stream,
    snapshots: Snapshots,
    /// Sequence of the last record; none: not read yet.
    last: Option<u64>,
    /// Sent, but nobody knows whether it is in.
    undecided: Option<Attempt>,
    deposed: Option<u64>,
}

#[derive(Debug, Clone)]
struct Attempt {
    commit: String,
    payload: Bytes,
}

/// What stands where our record should be.
enum Found {
    Ours,
    Other,
    Nothing,
}

impl Journal {
    pub(crate) async fn open(inner: &Arc<Inner>) -> Result<Journal, BusError> {
        let name = &inner.names.journal_stream;
        let stream = until(inner, "open the journal", PATIENCE, || async {
            inner.js.get_stream(name).await.map_err(Fault::from)
        })
        .await?;
        let snapshots = Snapshots::open(inner).await?;
        Ok(Journal {
            inner: Arc::clone(inner),
            stream,
            snapshots,
            last: None,
            undecided: None,
            deposed: None,
        })
    }

    /// Hands every record after `after` (0: all) to `each`, in order; returns the sequence of the last one.
    /// Needed before the first append, which then must follow that one.
    ///
    /// # Errors
    /// `Gap` when records after `after` are gone, `Behind` when the journal ends before `after`; records that
    /// cannot be understood; `Away` after ten seconds without an answer.
    pub async fn read(
        &mut self,
        after: u64,
        mut each: impl FnMut(Record) + Send,
    ) -> Result<u64, JournalError> {
        let state = until(&self.inner, "look at the journal", PATIENCE, || async {
            self.stream.get_info().await.map(|info| info.state).map_err(Fault::from)
        })
        .await?;
        let (first, last) = (state.first_sequence.max(1), state.last_sequence);
        if last < after {
            return Err(JournalError::Behind { wanted: after, last });
        }
        if last > after && first > after + 1 {
            return Err(JournalError::Gap { wanted: after + 1, first });
        }
        let from = DeliverPolicy::ByStartSequence { start_sequence: after + 1 };
        let mut replay = Replay::new(&self.inner, &self.inner.names.journal_stream, from, PATIENCE);
        let mut done = after;
        while done < last {
            let (seq, message) = replay.next().await?;
            if seq != done + 1 {
                return Err(JournalError::Gap { wanted: done + 1, first: seq });
            }
            each(decode(seq, &message.payload)?);
            done = seq;
        }
        replay.close().await;
        self.last = Some(done);
        Ok(done)
    }

    /// Appends all of it as one record and returns its sequence; on return it is stored, once. Dropped or
    /// `Away` in the middle, the same append has to be made again before another one.
    ///
    /// # Errors
    /// `Deposed` when somebody else has written, for ever after; `Away` after ten seconds.
    pub async fn append(&mut self, entries: &[Entry]) -> Result<u64, AppendError> {
        if let Some(seq) = self.deposed {
            return Err(AppendError::Deposed { seq });
        }
        let Some(last) = self.last else { return Err(AppendError::NotRead) };
        let attempt = self.attempt(entries)?;
        self.undecided = Some(attempt.clone());
        let deadline = Instant::now() + PATIENCE;
        let mut told = false;
        loop {
            let why = match self.publish(&attempt, last).await {
                Ok(seq) => return Ok(self.decided(seq)),
                Err((PublishErrorKind::MaxPayloadExceeded, _)) => {
                    self.undecided = None;
                    let limit = self.inner.client.max_payload();
                    return Err(AppendError::TooLarge { bytes: attempt.payload.len(), limit });
                }
                Err((_, why)) => why,
            };
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(why, "the journal was not written; it is tried again until it is");
            }
            // The server looks at the expected sequence before it looks for doubles, so a second try of a
            // record that is in is refused like a stranger's: only reading it back tells.
            match self.look_at(last + 1, &attempt.commit).await {
                Ok(Found::Ours) => return Ok(self.decided(last + 1)),
                Ok(Found::Other) => {
                    self.deposed = Some(last + 1);
                    return Err(AppendError::Deposed { seq: last + 1 });
                }
                Ok(Found::Nothing) => self.still_there(last).await?,
                Err(_) => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(AppendError::Away { why });
            }
            tokio::time::sleep(PAUSE.min(left)).await;
            self.inner.connected(left).await;
        }
    }

    fn attempt(&self, entries: &[Entry]) -> Result<Attempt, AppendError> {
        let payload = Bytes::from(encode(entries));
        match &self.undecided {
            Some(attempt) if attempt.payload == payload => return Ok(attempt.clone()),
            Some(_) => return Err(AppendError::Undecided),
            None => {}
        }
        if payload.len() > MAX_RECORD_BYTES {
            return Err(AppendError::TooLarge { bytes: payload.len(), limit: MAX_RECORD_BYTES });
        }
        Ok(Attempt { commit: self.inner.random_id(), payload })
    }

    fn decided(&mut self, seq: u64) -> u64 {
        self.undecided = None;
        self.last = Some(seq);
        seq
    }

    async fn publish(&self, attempt: &Attempt, last: u64) -> Result<u64, (PublishErrorKind, String)> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Sequence", last.to_string());
        headers.insert("Nats-Expected-Stream", self.inner.names.journal_stream.as_str());
        headers.insert(COMMIT_HEADER, attempt.commit.as_str());
        let subject = self.inner.names.journal_subject.clone();
        let publish = async {
            self.inner.js.publish_with_headers(subject, headers, attempt.payload.clone()).await?.await
        };
        match publish.await {
            Ok(ack) => Ok(ack.sequence),
            Err(error) => Err((error.kind(), error.to_string())),
        }
    }

    async fn look_at(&self, seq: u64, commit: &str) -> Result<Found, String> {
        let looked = tokio::time::timeout(REQUEST_TIMEOUT, self.stream.get_raw_message(seq)).await;
        match looked.map_err(|_| "no answer".to_owned())? {
            Ok(message) => match message.headers.get(COMMIT_HEADER) {
                Some(found) if found.as_str() == commit => Ok(Found::Ours),
                _ => Ok(Found::Other),
            },
            Err(error) => match error.kind() {
                RawMessageErrorKind::NoMessageFound => Ok(Found::Nothing),
                kind => Err(kind.to_string()),
            },
        }
    }

    /// A stream that ends before our last record has lost what it had confirmed; one that ends after it,
    /// without the next record, was purged by somebody who has read further.
    async fn still_there(&mut self, last: u64) -> Result<(), AppendError> {
        let Ok(info) = self.stream.get_info().await else { return Ok(()) };
        let end = info.state.last_sequence;
        if end < last {
            return Err(AppendError::Lost { expected: last, last: end });
        }
        if end > last && info.state.first_sequence > last + 1 {
            self.deposed = Some(last + 1);
            return Err(AppendError::Deposed { seq: last + 1 });
        }
        Ok(())
    }

    /// The sequence of the last record that was read or written; 0: none.
    pub fn last(&self) -> u64 {
        self.last.unwrap_or(0)
    }

    /// Stores what the records up to `seq` amount to, keeps this snapshot and the one before it, and drops the
    /// records that neither needs.
    ///
    /// # Errors
    /// `Away` when it did not work in time; nothing is dropped then.
    pub async fn store_snapshot(&self, seq: u64, bytes: &[u8]) -> Result<(), JournalError> {
        let older = self.snapshots.store(seq, bytes).await?;
        hit(Point::AfterSnapshotStore);
        if let Some(older) = older {
            until(&self.inner, "drop old records", PATIENCE, || async {
                self.stream.purge().sequence(older + 1).await.map(|_| ()).map_err(Fault::from)
            })
            .await?;
            hit(Point::AfterJournalPurge);
        }
        Ok(())
    }

    /// The newest snapshot that is whole, older than `below` where given (for a caller that cannot use what
    /// it got); none: the journal is to be read from its beginning.
    ///
    /// # Errors
    /// `Away` when the store cannot be read in time.
    pub async fn load_snapshot(&self, below: Option<u64>) -> Result<Option<Snapshot>, JournalError> {
        Ok(self.snapshots.load(below.unwrap_or(u64::MAX)).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yardmaster_protocol::{Fact, Millis};

    #[test]
    fn records_say_their_version() {
        let entries = vec![Entry { at: Millis(7), facts: vec![Fact::RemoteBack] }];
        let payload = encode(&entries);
        assert_eq!(payload, br#"{"v":1,"entries":[{"at":7,"facts":[{"fact":"remote_back"}]}]}"#);
        assert_eq!(decode(3, &payload), Ok(Record { seq: 3, entries }));
        let newer = decode(3, br#"{"v":2,"entries":[]}"#);
        assert_eq!(newer, Err(JournalError::UnknownVersion { seq: 3, version: 2 }));
        assert!(matches!(decode(3, b"hello"), Err(JournalError::BrokenRecord { seq: 3, .. })));
        assert!(matches!(
            decode(3, br#"{"v":1,"entries":[{"at":7,"facts":[{"fact":"x"}]}]}"#),
            Err(JournalError::BrokenRecord { .. })
        ));
    }
}
