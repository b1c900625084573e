use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::object_store::ObjectStore;
use async_nats::{Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use yardmaster_protocol::{
    CandidateRequest, CandidateStored, ErrorBody, ErrorReply, LogReply, LogRequest, RunnerBeat, RunnerName,
    RunnerOrders, ServiceErrorCode,
};

use crate::BusError;
use crate::bus::Inner;
use crate::error::away;

/// A larger pack does not go into a message: servers take 1 MiB by default.
pub const MAX_INLINE_BYTES: u64 = 512 * 1024;
/// How an answer says that it is a pack and no JSON.
pub(crate) const PACK_TYPE: &str = "application/x-git-pack";
const LOG: Duration = Duration::from_secs(2);
const BEAT: Duration = Duration::from_secs(3);
/// The daemon makes the pack first.
const CANDIDATE: Duration = Duration::from_secs(120);
/// For one object, whatever its size.
const TRANSFER: Duration = Duration::from_secs(600);

/// Tells the daemon of a runner.
pub(crate) async fn beat(inner: &Inner, beat: &RunnerBeat) -> Result<RunnerOrders, ErrorBody> {
    let reply = ask(inner, "beat", beat, BEAT).await?;
    read(&reply.payload)
}

/// Has the daemon make the pack of a candidate and writes it to `to`.
pub(crate) async fn candidate(inner: &Inner, asked: &CandidateRequest, to: &Path) -> Result<(), ErrorBody> {
    let reply = ask(inner, "candidate", asked, CANDIDATE).await?;
    let headers = reply.headers.unwrap_or_default();
    if headers.get("content-type").is_some_and(|kind| kind.as_str() == PACK_TYPE) {
        let written = tokio::fs::write(to, &reply.payload).await;
        return written
            .map_err(|e| trouble(format!("the candidate cannot be written to {}: {e}", to.display())));
    }
    let stored: CandidateStored = read(&reply.payload)?;
    let fetched = fetch(inner, &inner.names.candidates, &stored.object, to).await;
    fetched.map_err(|why| trouble(why.to_string()))
}

/// A piece of the log of a run that a runner has.
pub(crate) async fn log(
    inner: &Inner,
    runner: &RunnerName,
    what: &LogRequest,
) -> Result<LogReply, ErrorBody> {
    read(&ask_at(inner, inner.names.runner_at(runner), what, LOG).await?.payload)
}

/// Calls for pieces of logs, at a runner.
#[derive(Debug)]
pub struct LogCalls {
    inner: Arc<Inner>,
    calls: Subscriber,
}

/// One call for a piece of a log.
#[derive(Debug)]
pub struct LogCall {
    inner: Arc<Inner>,
    reply: Subject,
    /// What is asked for; always a run.
    pub asked: LogRequest,
}

impl LogCalls {
    pub(crate) async fn listen(inner: &Arc<Inner>, runner: &RunnerName) -> Result<LogCalls, BusError> {
        let calls = inner.client.subscribe(inner.names.runner_at(runner)).await;
        Ok(LogCalls { inner: Arc::clone(inner), calls: calls.map_err(|e| away("listen for log calls", &e))? })
    }

    /// The next one; none once the connection is closed. Safe to drop at any point.
    pub async fn next(&mut self) -> Option<LogCall> {
        loop {
            let message = self.calls.next().await?;
            if let (Some(reply), Ok(asked)) = (message.reply, serde_json::from_slice(&message.payload)) {
                return Some(LogCall { inner: Arc::clone(&self.inner), reply, asked });
            }
        }
    }
}

impl LogCall {
    /// Answers it.
    pub async fn respond(self, answer: Result<LogReply, ErrorBody>) {
        let body = match answer {
            Ok(piece) => serde_json::to_vec(&piece),
            Err(error) => serde_json::to_vec(&ErrorReply { ok: false, error }),
        };
        if let Err(error) = self.inner.client.publish(self.reply, body.unwrap_or_default().into()).await {
            tracing::debug!(%error, "nobody waits for a piece of a log");
        }
    }
}

async fn ask(
    inner: &Inner,
    verb: &str,
    body: &(impl Serialize + Sync),
    patience: Duration,
) -> Result<async_nats::Message, ErrorBody> {
    ask_at(inner, inner.names.runner_verb(verb), body, patience).await
}

async fn ask_at(
    inner: &Inner,
    subject: String,
    body: &(impl Serialize + Sync),
    patience: Duration,
) -> Result<async_nats::Message, ErrorBody> {
    let payload = serde_json::to_vec(body).map_err(|e| trouble(e.to_string()))?;
    let request = async_nats::Request::new().payload(Bytes::from(payload)).timeout(Some(patience));
    let reply = inner.client.send_request(subject, request).await;
    let reply = reply.map_err(|error| {
        let heard = inner.connection.borrow().trouble.clone();
        let heard = heard.map(|t| format!(" ({t})")).unwrap_or_default();
        trouble(format!("no daemon of `{}` answers at {}: {error}{heard}", inner.names.instance, inner.url))
    })?;
    match serde_json::from_slice::<ErrorReply>(&reply.payload) {
        Ok(refused) if !refused.ok => Err(refused.error),
        _ => Ok(reply),
    }
}

fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, ErrorBody> {
    serde_json::from_slice(payload).map_err(|e| ErrorBody {
        code: ServiceErrorCode::Unexpected,
        message: format!("the daemon's answer is not what this version understands: {e}"),
        retryable: false,
        next: vec!["yardmaster --version".to_owned()],
    })
}

fn trouble(message: String) -> ErrorBody {
    ErrorBody { code: ServiceErrorCode::Unreachable, message, retryable: true, next: Vec::new() }
}

async fn bucket(inner: &Inner, name: &str) -> Result<ObjectStore, BusError> {
    inner.js.get_object_store(name).await.map_err(|e| away("find a bucket", &e))
}

/// Puts a file into a bucket, in place of what had the name.
pub(crate) async fn store(
    inner: &Inner,
    bucket_name: &str,
    object: &str,
    file: &Path,
) -> Result<(), BusError> {
    let store = bucket(inner, bucket_name).await?;
    let mut file = File::open(file).await.map_err(|e| away("read what is to be stored", &e))?;
    let put = timeout(TRANSFER, store.put(object, &mut file)).await;
    put.map_err(|_| away("store an object", &"no answer"))?.map_err(|e| away("store an object", &e))?;
    Ok(())
}

/// Writes an object of a bucket to a file; its digest is checked.
pub(crate) async fn fetch(inner: &Inner, bucket_name: &str, object: &str, to: &Path) -> Result<(), BusError> {
    let store = bucket(inner, bucket_name).await?;
    let copied = timeout(TRANSFER, async {
        let mut found = store.get(object).await.map_err(|e| away("find an object", &e))?;
        let mut file = File::create(to).await.map_err(|e| away("write an object", &e))?;
        tokio::io::copy(&mut found, &mut file).await.map_err(|e| away("read an object", &e))?;
        file.flush().await.map_err(|e| away("write an object", &e))
    });
    copied.await.map_err(|_| away("read an object", &"no answer"))?
}

/// Removes the oldest objects until the rest has at most `bytes`.
pub(crate) async fn evict(inner: &Inner, bucket_name: &str, bytes: u64) -> Result<(), BusError> {
    let store = bucket(inner, bucket_name).await?;
    let mut listed = store.list().await.map_err(|e| away("list a bucket", &e))?;
    let mut objects = Vec::new();
    while let Some(object) = listed.next().await {
        let object = object.map_err(|e| away("list a bucket", &e))?;
        objects.push((object.modified, object.size as u64, object.name));
    }
    objects.sort_by_key(|object| std::cmp::Reverse(object.0));
    let mut total = 0u64;
    for (_, size, name) in objects {
        total = total.saturating_add(size);
        if total > bytes {
            store.delete(&name).await.map_err(|e| away("remove an object", &e))?;
        }
    }
    Ok(())
}

pub(crate) async fn remove(inner: &Arc<Inner>, bucket_name: &str, object: &str) -> Result<(), BusError> {
    let store = bucket(inner, bucket_name).await?;
    store.delete(object).await.map_err(|e| away("remove an object", &e))
}
