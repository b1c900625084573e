use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::kv::{Operation, Store};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use yardmaster_protocol::Millis;

use crate::BusError;
use crate::bus::{Inner, REQUEST_TIMEOUT};
use crate::retry::{Fault, PATIENCE, until};

/// Who has not renewed it for so long has lost it.
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(2);
const RENEWAL: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(250);
/// So many looks in a row must find nobody. After a restart of the server the leader renews before that.
const LOOKS_WITHOUT_LEADER: u32 = 3;
const KEY: &str = "leader";

/// Who leads, in the words of the lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Whoever comes with the same id is the same one, started again.
    pub id: String,
    /// For people: machine and process.
    pub place: String,
    /// Since when.
    pub since: Millis,
}

/// Somebody who would lead if nobody else did. The lease only says who tries: who writes is decided by
/// the journal's expected sequence, so that a leader that slept cannot do harm when it wakes.
#[derive(Debug)]
pub struct Candidacy {
    lease: Lease,
}

/// The lease, renewed until it is released, dropped or lost.
#[derive(Debug)]
pub struct Leadership {
    lost: watch::Receiver<Option<Leader>>,
    release: Option<oneshot::Sender<()>>,
    renewal: JoinHandle<()>,
}

#[derive(Clone)]
struct Lease {
    inner: Arc<Inner>,
    bucket: Store,
    me: Leader,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("me", &self.me).finish_non_exhaustive()
    }
}

/// What the bucket has, with the revision that a change of it must expect.
enum Found {
    Nobody,
    Released(u64),
    Mine(u64),
    Other(Leader),
}

impl Candidacy {
    pub(crate) async fn open(inner: &Arc<Inner>, id: &str, place: &str) -> Result<Candidacy, BusError> {
        let bucket = until(inner, "open the lease", PATIENCE, || async {
            inner.js.get_key_value(&inner.names.lease).await.map_err(Fault::from)
        })
        .await?;
        let me = Leader { id: id.to_owned(), place: place.to_owned(), since: Millis(0) };
        Ok(Candidacy { lease: Lease { inner: Arc::clone(inner), bucket, me } })
    }

    /// Waits until nobody else leads, and takes the lease; `since` is asked for the time at that moment.
    /// Whoever leads meanwhile is told to `waiting`, each time that it is somebody else. Safe to drop.
    pub async fn lead(
        mut self,
        since: impl Fn() -> Millis + Send,
        waiting: impl Fn(&Leader) + Send,
    ) -> Leadership {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut nobody, mut leader) = (LOOKS_WITHOUT_LEADER - 1, None);
        let mut trouble = Trouble::default();
        loop {
            looks.tick().await;
            let expected = match self.lease.look().await {
                Ok(Found::Nobody) => {
                    nobody += 1;
                    (nobody >= LOOKS_WITHOUT_LEADER).then_some(None)
                }
                Ok(Found::Released(revision) | Found::Mine(revision)) => Some(Some(revision)),
                Ok(Found::Other(other)) => {
                    nobody = 0;
                    if leader.as_ref() != Some(&other) {
                        waiting(&other);
                        leader = Some(other);
                    }
                    None
                }
                Err(why) => {
                    trouble.tell(why);
                    None
                }
            };
            if let Some(expected) = expected {
                self.lease.me.since = since();
                match self.lease.write(expected).await {
                    Ok(revision) => {
                        self.lease.inner.succeeds.store(leader.is_some(), Ordering::Relaxed);
                        return self.lease.keep(revision);
                    }
                    Err(why) => trouble.tell(why),
                }
            }
        }
    }
}

/// Why the lease is not to be had; told again only when it changes.
#[derive(Default)]
struct Trouble(Option<String>);

impl Trouble {
    fn tell(&mut self, why: String) {
        if self.0.as_ref() != Some(&why) {
            tracing::warn!(why, "nobody leads, and the lease cannot be had; it is tried again");
            self.0 = Some(why);
        }
    }
}

impl Leadership {
    /// Resolves once somebody else has the lease; never otherwise.
    pub fn lost(&self) -> impl Future<Output = Leader> + Send + use<> {
        let mut lost = self.lost.clone();
        async move {
            match lost.wait_for(Option::is_some).await.map(|leader| leader.clone()) {
                Ok(Some(leader)) => leader,
                Ok(None) | Err(_) => std::future::pending().await,
            }
        }
    }

    /// Gives the lease back, so that the next one need not wait until it has run out.
    pub async fn release(mut self) {
        if let Some(release) = self.release.take() {
            let _ = release.send(());
        }
        let _ = timeout(REQUEST_TIMEOUT, &mut self.renewal).await;
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl Lease {
    async fn look(&self) -> Result<Found, String> {
        let entry = timeout(REQUEST_TIMEOUT, self.bucket.entry(KEY)).await;
        let Some(entry) = entry.map_err(|_| "no answer".to_owned())?.map_err(|e| e.to_string())? else {
            return Ok(Found::Nobody);
        };
        if entry.operation != Operation::Put {
            return Ok(Found::Released(entry.revision));
        }
        match serde_json::from_slice::<Leader>(&entry.value) {
            Ok(leader) if leader.id == self.me.id => Ok(Found::Mine(entry.revision)),
            Ok(leader) => Ok(Found::Other(leader)),
            Err(why) => Err(format!("the lease cannot be read: {why}")),
        }
    }

    /// Writes our name, if the bucket is still as expected; none: has no entry.
    async fn write(&self, expected: Option<u64>) -> Result<u64, String> {
        let value = Bytes::from(serde_json::to_vec(&self.me).map_err(|e| e.to_string())?);
        let written = timeout(REQUEST_TIMEOUT, self.bucket.update(KEY, value, expected.unwrap_or(0))).await;
        written.map_err(|_| "no answer".to_owned())?.map_err(|e| e.to_string())
    }

    fn keep(self, revision: u64) -> Leadership {
        let (tell, lost) = watch::channel(None);
        let (release, released) = oneshot::channel();
        let renewal = tokio::spawn(self.renew(revision, tell, released));
        Leadership { lost, release: Some(release), renewal }
    }

    /// A lease that ran out while nobody could renew it is taken again, unless somebody else has it.
    async fn renew(
        self,
        mut revision: u64,
        lost: watch::Sender<Option<Leader>>,
        mut released: oneshot::Receiver<()>,
    ) {
        let mut ticks = interval(RENEWAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = &mut released => {
                    let _ = self.bucket.delete_expect_revision(KEY, Some(revision)).await;
                    return;
                }
                _ = ticks.tick() => {}
            }
            if let Ok(next) = self.write(Some(revision)).await {
                revision = next;
                continue;
            }
            let expected = match self.look().await {
                Ok(Found::Mine(current) | Found::Released(current)) => Some(current),
                Ok(Found::Nobody) => None,
                Ok(Found::Other(leader)) => {
                    lost.send_replace(Some(leader));
                    return;
                }
                Err(why) => {
                    tracing::debug!(why, "the lease is not renewed");
                    self.inner.connected(RENEWAL).await;
                    continue;
                }
            };
            if let Ok(next) = self.write(expected).await {
                revision = next;
            }
        }
    }
}
