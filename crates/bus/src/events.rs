use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::context::PublishAckFuture;
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::Instant;
use yardmaster_failpoint::{Point, hit};
use yardmaster_protocol::{
    BaseMoved, Event, EventBody, JournalPosition, STREAM_RELEASES, agent_copy_subject, event_subject,
};

use crate::BusError;
use crate::bus::Inner;
use crate::error::away;
use crate::names::{AFTER_HEADER, JOURNAL_HEADER, TRACE_HEADER};
use crate::replay::Replay;
use crate::retry::{Fault, PATIENCE, until};

/// Events in flight at the same time; all of them are confirmed before the next ones are sent.
const CHUNK: usize = 256;
/// How far a look back goes at first, in messages; each further look goes eight times as far.
const LOOK_BACK: u64 = 1_024;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

type Outgoing = (JournalPosition, Event, Option<String>);

/// What is in the stream of our events. Each event says which position was complete before it was sent,
/// so that a hole that a lost connection tore is found whatever the duplicate window is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Published {
    /// Everything up to here.
    complete: Option<JournalPosition>,
    /// And some after it.
    also: BTreeSet<JournalPosition>,
}

impl Published {
    fn has(&self, position: JournalPosition) -> bool {
        self.complete.is_some_and(|complete| position <= complete) || self.also.contains(&position)
    }
}

pub(crate) async fn last_published(inner: &Arc<Inner>) -> Result<Option<JournalPosition>, BusError> {
    let mut known = inner.published.lock().await;
    let published = look_back(inner).await?;
    let complete = published.complete;
    *known = Some(published);
    Ok(complete)
}

pub(crate) async fn publish(inner: &Arc<Inner>, events: &[Outgoing]) -> Result<(), BusError> {
    let mut known = inner.published.lock().await;
    let mut published = match known.take() {
        Some(published) => published,
        None => look_back(inner).await?,
    };
    let new: Vec<&Outgoing> = events.iter().filter(|(p, _, _)| Some(*p) > published.complete).collect();
    for chunk in new.chunks(CHUNK) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(why) = publish_chunk(inner, &mut published, chunk).await {
            tracing::debug!(why, "looks which events are in the stream");
            tokio::time::sleep(PAUSE).await;
            inner.connected(PATIENCE).await;
            // Whether an unconfirmed one is there cannot be left to the stream's duplicate window.
            published = look_back(inner).await?;
            if Instant::now() >= deadline {
                *known = Some(published);
                return Err(away("publish events", &why));
            }
        }
        let newest = chunk.last().map(|(position, _, _)| *position);
        published.complete = published.complete.max(newest);
        published.also.retain(|p| Some(*p) > newest);
    }
    *known = Some(published);
    Ok(())
}

async fn publish_chunk(inner: &Inner, published: &mut Published, chunk: &[&Outgoing]) -> Result<(), String> {
    let after = published.complete;
    let size = chunk.iter().filter(|(position, _, _)| Some(*position) > after).count();
    let mut sent: Vec<(&Outgoing, Bytes)> = Vec::with_capacity(chunk.len());
    let mut acks: Vec<PublishAckFuture> = Vec::with_capacity(chunk.len());
    for outgoing in chunk.iter().filter(|(position, _, _)| !published.has(*position)) {
        let payload = Bytes::from(serde_json::to_vec(&outgoing.1).map_err(|e| e.to_string())?);
        let headers = headers(inner, Chunk { after, size }, outgoing);
        let subject = event_subject(outgoing.1.body.token());
        let ack = inner.js.publish_with_headers(subject, headers, payload.clone()).await;
        acks.push(ack.map_err(|e| e.to_string())?);
        hit(Point::MidEventPublish);
        sent.push((outgoing, payload));
    }
    // Together: one after the other, each lost one would cost a time-out of its own.
    let acks = join_all(acks.into_iter().map(IntoFuture::into_future)).await;
    let mut trouble = Ok(());
    for ((outgoing, payload), ack) in sent.into_iter().zip(acks) {
        match ack {
            Ok(_) => {
                published.also.insert(outgoing.0);
                copy_to_agent(inner, &outgoing.1, payload).await;
            }
            Err(error) => trouble = Err(error.to_string()),
        }
    }
    trouble
}

/// For those who listen now; the stream has it for the others.
async fn copy_to_agent(inner: &Inner, event: &Event, payload: Bytes) {
    if let Some(about) = &event.about {
        let _ = inner.client.publish(agent_copy_subject(&about.agent), payload).await;
    }
}

pub(crate) async fn tell_agents(inner: &Inner, told: &[BaseMoved]) {
    for message in told {
        let Ok(payload) = serde_json::to_vec(message) else { continue };
        let _ = inner.client.publish(agent_copy_subject(&message.agent), payload.into()).await;
    }
}

fn headers(inner: &Inner, chunk: Chunk, outgoing: &Outgoing) -> HeaderMap {
    let (position, event, traceparent) = outgoing;
    let name = &inner.names.instance;
    let id = format!("ym-{name}-{position}");
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", id.as_str());
    headers.insert(JOURNAL_HEADER, format!("{name}/{position}"));
    headers.insert(AFTER_HEADER, chunk.header());
    headers.insert("content-type", "application/json");
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", id.as_str());
    headers.insert("ce-type", format!("dev.yardmaster.{}", type_name(&event.body)));
    headers.insert("ce-source", format!("/yardmaster/{name}"));
    headers.insert("ce-time", one_line(&event.time));
    if let Some(about) = &event.about {
        headers.insert("ce-subject", about.request.to_string());
    }
    if let Some(traceparent) = traceparent {
        headers.insert(TRACE_HEADER, one_line(traceparent));
    }
    headers
}

/// The `type` that the body has as JSON.
fn type_name(body: &EventBody) -> String {
    let value = serde_json::to_value(body).unwrap_or_default();
    value.get("type").and_then(|t| t.as_str()).unwrap_or_else(|| body.token()).to_owned()
}

/// A header cannot hold line breaks.
fn one_line(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).take(256).collect()
}

/// Reads the end of the stream, and further back until the newest events of ours are all in view.
async fn look_back(inner: &Arc<Inner>) -> Result<Published, BusError> {
    let state = until(inner, "look at the events", PATIENCE, || async {
        let stream = inner.js.get_stream(STREAM_RELEASES).await.map_err(Fault::from)?;
        Ok(stream.cached_info().state.clone())
    })
    .await?;
    let (first, last) = (state.first_sequence.max(1), state.last_sequence);
    let mut span = LOOK_BACK;
    loop {
        let start = last.saturating_sub(span - 1).max(first);
        let ours = read_ours(inner, start, last).await?;
        if let Some(published) = conclude(&ours, start == first) {
            return Ok(published);
        }
        span = span.saturating_mul(8);
    }
}

/// What an event says of the chunk that it was sent in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Chunk {
    /// Complete before it.
    after: Option<JournalPosition>,
    /// Events that follow `after` in it.
    size: usize,
}

impl Chunk {
    fn header(self) -> String {
        self.after.map_or_else(|| format!("-+{}", self.size), |after| format!("{after}+{}", self.size))
    }

    fn parse(text: &str) -> Option<Chunk> {
        let (after, size) = text.split_once('+')?;
        let after = if after == "-" { None } else { Some(after.parse().ok()?) };
        Some(Chunk { after, size: size.parse().ok()? })
    }
}

/// None: has to be read further back. `all`: there is nothing further back.
fn conclude(ours: &BTreeMap<JournalPosition, Chunk>, all: bool) -> Option<Published> {
    let (Some(oldest), Some(newest)) = (ours.keys().next().copied(), ours.keys().next_back().copied()) else {
        return all.then(Published::default);
    };
    let after = ours.values().filter_map(|chunk| chunk.after).max();
    // Everything up to `after` was stored before anything beyond it was sent.
    if !all && Some(oldest) > after {
        return None;
    }
    let also: BTreeSet<_> = ours.keys().copied().filter(|p| Some(*p) > after).collect();
    let size = ours.values().filter(|chunk| chunk.after == after).map(|chunk| chunk.size).max();
    if also.is_empty() || size.is_some_and(|size| also.len() >= size) {
        return Some(Published { complete: after.max(Some(newest)), also: BTreeSet::new() });
    }
    Some(Published { complete: after, also })
}

async fn read_ours(
    inner: &Arc<Inner>,
    start: u64,
    last: u64,
) -> Result<BTreeMap<JournalPosition, Chunk>, BusError> {
    let mut ours = BTreeMap::new();
    if last < start {
        return Ok(ours);
    }
    let from = DeliverPolicy::ByStartSequence { start_sequence: start };
    let mut replay = Replay::new(inner, STREAM_RELEASES, from, PATIENCE).headers_only();
    let prefix = format!("{}/", inner.names.instance);
    while let Some((seq, message)) = replay.next_to_end().await? {
        if let Some((position, chunk)) = ours_of(&prefix, &message) {
            ours.insert(position, chunk);
        }
        if seq >= last {
            break;
        }
    }
    replay.close().await;
    Ok(ours)
}

fn ours_of(prefix: &str, message: &Message) -> Option<(JournalPosition, Chunk)> {
    let headers = message.headers.as_ref()?;
    let position = headers.get(JOURNAL_HEADER)?.as_str().strip_prefix(prefix)?.parse().ok()?;
    Some((position, Chunk::parse(headers.get(AFTER_HEADER)?.as_str())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(record: u64) -> JournalPosition {
        JournalPosition { record, index: 0 }
    }

    fn seen(events: &[(u64, Option<u64>, usize)]) -> BTreeMap<JournalPosition, Chunk> {
        let chunk = |(r, after, size): &(u64, Option<u64>, usize)| {
            (at(*r), Chunk { after: after.map(at), size: *size })
        };
        events.iter().map(chunk).collect()
    }

    #[test]
    fn holes_are_found_and_whole_chunks_recognised() {
        let whole =
            conclude(&seen(&[(1, None, 2), (2, None, 2), (5, Some(2), 1)]), true).expect("all in view");
        assert_eq!((whole.complete, whole.also.len()), (Some(at(5)), 0));

        let hole =
            conclude(&seen(&[(2, None, 1), (4, Some(2), 3), (9, Some(2), 3)]), false).expect("in view");
        assert_eq!(hole.complete, Some(at(2)));
        assert!(hole.has(at(1)) && hole.has(at(4)) && hole.has(at(9)) && !hole.has(at(5)));

        let mended =
            conclude(&seen(&[(2, None, 1), (4, Some(2), 3), (9, Some(2), 3), (5, Some(2), 3)]), false);
        assert_eq!(mended.expect("in view").complete, Some(at(9)));

        assert!(conclude(&seen(&[(4, Some(2), 3)]), false).is_none(), "the chunk may begin further back");
        assert!(conclude(&seen(&[]), false).is_none());
        assert_eq!(conclude(&seen(&[]), true).expect("nothing there").complete, None);
    }

    #[test]
    fn chunk_headers_are_read_back() {
        for chunk in [Chunk { after: None, size: 3 }, Chunk { after: Some(at(17)), size: 256 }] {
            assert_eq!(Chunk::parse(&chunk.header()), Some(chunk));
        }
        for bad in ["", "+", "x+1", "1.0+", "1.0"] {
            assert_eq!(Chunk::parse(bad), None, "{bad}");
        }
    }
}
