use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use yardmaster_bus::{Bus, MAX_INLINE_BYTES, ServiceCall};
use yardmaster_git::{GitError, Mirror};
use yardmaster_protocol::{CandidateRequest, CandidateStored, ErrorBody, MAX_KNOWN, ServiceErrorCode};

/// Packs that are made at the same time.
const AT_ONCE: usize = 2;
/// Packs that wait in the bucket; older ones have been fetched long ago.
const STORED: usize = 32;
/// A larger one belongs to a runner that should have a remote to fetch from.
const MOST_BYTES: u64 = 4 << 30;

/// Hands candidates, which are on no remote, to runners elsewhere.
#[derive(Debug)]
pub(crate) struct Candidates {
    bus: Bus,
    mirror: Arc<Mirror>,
    dir: PathBuf,
    number: AtomicU64,
    making: Semaphore,
    stored: Mutex<VecDeque<String>>,
}

/// Where a pack went.
enum Made {
    Small(Vec<u8>),
    Stored(CandidateStored),
}

impl Candidates {
    /// Packs are made in `dir`, which is emptied.
    pub(crate) fn new(bus: &Bus, mirror: &Arc<Mirror>, dir: PathBuf) -> Candidates {
        // What a crash left; nobody else has this directory.
        let _ = std::fs::remove_dir_all(&dir);
        Candidates {
            bus: bus.clone(),
            mirror: Arc::clone(mirror),
            dir,
            number: AtomicU64::new(0),
            making: Semaphore::new(AT_ONCE),
            stored: Mutex::default(),
        }
    }

    pub(crate) async fn answer(&self, call: ServiceCall) {
        let made = match serde_json::from_slice(&call.payload) {
            Ok(asked) => self.made(asked).await,
            Err(why) => Err(body(ServiceErrorCode::Usage, false, format!("the call cannot be read: {why}"))),
        };
        match made {
            Ok(Made::Small(pack)) => call.respond_with_pack(pack.into()).await,
            Ok(Made::Stored(stored)) => call.respond(Ok(json!(stored))).await,
            Err(why) => call.respond(Err(why)).await,
        }
    }

    async fn made(&self, mut asked: CandidateRequest) -> Result<Made, ErrorBody> {
        let _one = self.making.acquire().await.map_err(|e| trouble(e.to_string()))?;
        asked.known.truncate(MAX_KNOWN);
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let file = self.dir.join(format!("{number}.pack"));
        let made = self.packed(&asked, &file, number).await;
        let _ = tokio::fs::remove_file(&file).await;
        made
    }

    async fn packed(&self, asked: &CandidateRequest, file: &Path, number: u64) -> Result<Made, ErrorBody> {
        let (mirror, dir, to, wanted) =
            (Arc::clone(&self.mirror), self.dir.clone(), file.to_owned(), asked.clone());
        let packing = spawn_blocking(move || {
            std::fs::create_dir_all(&dir).map_err(|source| GitError::Io { path: dir, source })?;
            mirror.pack(wanted.candidate, &wanted.known, &to)
        });
        let bytes = match packing.await.map_err(|e| trouble(e.to_string()))? {
            Ok(bytes) => bytes,
            Err(why @ GitError::NoCommit(_)) => {
                return Err(body(ServiceErrorCode::NotFound, true, why.to_string()));
            }
            Err(why) => return Err(trouble(why.to_string())),
        };
        tracing::debug!(candidate = %asked.candidate, bytes, known = asked.known.len(), "packed for a runner");
        if bytes <= MAX_INLINE_BYTES {
            let pack = tokio::fs::read(file).await.map_err(|e| trouble(e.to_string()))?;
            return Ok(Made::Small(pack));
        }
        if bytes > MOST_BYTES {
            let message = format!(
                "{bytes} bytes of {} are missing there: start the runner with --remote, so that it fetches most of it",
                asked.candidate
            );
            return Err(body(ServiceErrorCode::Refused, false, message));
        }
        let object = format!("{}-{number}", asked.candidate);
        self.bus.store_candidate(&object, file).await.map_err(|e| trouble(e.to_string()))?;
        self.make_room(object.clone()).await;
        Ok(Made::Stored(CandidateStored { object, bytes }))
    }

    async fn make_room(&self, newest: String) {
        let oldest = {
            let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
            stored.push_back(newest);
            if stored.len() > STORED { stored.pop_front() } else { None }
        };
        if let Some(oldest) = oldest
            && let Err(why) = self.bus.remove_candidate(&oldest).await
        {
            tracing::debug!(%why, "a pack stays until its time is over");
        }
    }
}

fn trouble(message: String) -> ErrorBody {
    body(ServiceErrorCode::Unexpected, true, message)
}

fn body(code: ServiceErrorCode, retryable: bool, message: String) -> ErrorBody {
    ErrorBody { code, message, retryable, next: Vec::new() }
}
