use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::object_store::{GetErrorKind, Object, ObjectStore};
use futures_util::StreamExt;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::BusError;
use crate::bus::Inner;
use crate::error::away;
use crate::retry::{Fault, PATIENCE, until};

/// For one object, whatever its size.
const TRANSFER: Duration = Duration::from_secs(30);
/// For all chunks of an object to come.
const SILENCE: Duration = Duration::from_secs(5);
const PIECE_BYTES: usize = 128 * 1024;
/// As many as are kept; more only for moments.
const MAX_LISTED: usize = 64;

/// What the records up to `seq` amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last record that it contains.
    pub seq: u64,
    /// As it was stored.
    pub bytes: Vec<u8>,
}

pub(crate) struct Snapshots {
    inner: Arc<Inner>,
    store: ObjectStore,
}

impl std::fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshots").finish_non_exhaustive()
    }
}

impl Snapshots {
    pub(crate) async fn open(inner: &Arc<Inner>) -> Result<Snapshots, BusError> {
        let store = until(inner, "open the snapshots", PATIENCE, || async {
            inner.js.get_object_store(&inner.names.snapshots).await.map_err(Fault::from)
        })
        .await?;
        Ok(Snapshots { inner: Arc::clone(inner), store })
    }

    /// Stores one and removes all but it and the one before it; returns the sequence of that one.
    pub(crate) async fn store(&self, seq: u64, bytes: &[u8]) -> Result<Option<u64>, BusError> {
        until(&self.inner, "store a snapshot", PATIENCE, || async {
            let mut source = bytes;
            let put = timeout(TRANSFER, self.store.put(object_name(seq).as_str(), &mut source)).await;
            put.map_err(|_| Fault::Passing("no answer".into()))?.map(|_| ()).map_err(Fault::from)
        })
        .await?;
        let older: Vec<u64> = self.list().await?.into_iter().filter(|s| *s < seq).collect();
        for old in older.iter().skip(1) {
            // What cannot be removed now is removed by the next one.
            if let Err(error) = self.store.delete(object_name(*old)).await {
                tracing::debug!(%error, "could not remove an old snapshot");
            }
        }
        Ok(older.first().copied())
    }

    /// The newest below `below` that is whole.
    pub(crate) async fn load(&self, below: u64) -> Result<Option<Snapshot>, BusError> {
        for seq in self.list().await?.into_iter().filter(|seq| *seq < below) {
            let read = until(&self.inner, "load a snapshot", PATIENCE, || self.get(seq)).await?;
            match read {
                Ok(bytes) => return Ok(Some(Snapshot { seq, bytes })),
                Err(why) => tracing::warn!(seq, why, "a snapshot is broken; takes the one before it"),
            }
        }
        Ok(None)
    }

    /// The bytes, or why they are not whole.
    async fn get(&self, seq: u64) -> Result<Result<Vec<u8>, String>, Fault> {
        let mut object = match self.store.get(object_name(seq)).await {
            Ok(object) => object,
            Err(error) => match error.kind() {
                GetErrorKind::NotFound => return Ok(Err("it is gone".into())),
                _ => return Err(Fault::from(error)),
            },
        };
        let size = object.info().size;
        // The reader compares the digest at the end; chunks that are missing look like silence.
        match timeout(SILENCE, read(&mut object, size)).await {
            Ok(Ok(bytes)) if bytes.len() == size => Ok(Ok(bytes)),
            Ok(Ok(bytes)) => Ok(Err(format!("it has {} of {size} bytes", bytes.len()))),
            Ok(Err(error)) => Ok(Err(error.to_string())),
            Err(_) if self.inner.connection.borrow().up => Ok(Err("chunks of it are missing".into())),
            Err(_) => Err(Fault::Passing("no answer".into())),
        }
    }

    /// Sequences of what is stored, newest first.
    async fn list(&self) -> Result<Vec<u64>, BusError> {
        let listed = timeout(PATIENCE, async {
            let mut seqs = Vec::new();
            let mut objects = self.store.list().await.map_err(|e| away("list the snapshots", &e))?;
            while let Some(object) = objects.next().await {
                let object = object.map_err(|e| away("list the snapshots", &e))?;
                if let Some(seq) = seq_of(&object.name)
                    && seqs.len() < MAX_LISTED
                {
                    seqs.push(seq);
                }
            }
            seqs.sort_unstable_by(|a, b| b.cmp(a));
            Ok(seqs)
        });
        listed.await.map_err(|_| away("list the snapshots", &"no answer"))?
    }
}

/// Not `read_to_end`: the client's reader fills the buffer and fails in one call, which that one panics at.
async fn read(object: &mut Object, size: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; PIECE_BYTES];
    while bytes.len() <= size {
        let n = object.read(&mut piece).await?;
        if n == 0 {
            break;
        }
        bytes.extend(piece.iter().take(n));
    }
    Ok(bytes)
}

fn object_name(seq: u64) -> String {
    format!("snapshot-{seq:020}")
}

fn seq_of(name: &str) -> Option<u64> {
    name.strip_prefix("snapshot-")?.parse().ok()
}
