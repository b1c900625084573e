use std::time::Duration;

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use async_nats::jetstream::{kv, object_store};
use yardmaster_protocol::{
    INTEGRATION_PREFIX, RELEASES_PREFIX, REVIEWS_PREFIX, STREAM_INTEGRATION, STREAM_RELEASES, STREAM_REVIEWS,
};

use crate::BusError;
use crate::bus::Inner;
use crate::leader::LEASE_TTL;
use crate::names::Names;
use crate::retry::{Fault, until};

/// The oldest server that will do: older ones drop settings silently.
pub const MIN_SERVER: (u64, u64) = (2, 12);

const NAME_IN_USE: u64 = 10_058;
const NOT_FOUND: u64 = 10_059;
const SUBJECTS_OVERLAP: u64 = 10_065;
const DUPLICATE_WINDOW: Duration = Duration::from_secs(24 * 3_600);
/// A runner takes a candidate at once.
const CANDIDATES_KEPT: Duration = Duration::from_secs(900);
/// For people who ask what went wrong last week.
const LOGS_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
const SHORTEST_AGE: Duration = Duration::from_secs(600);
/// Records stay below 512 KiB; the rest is headers and room.
const MAX_MESSAGE_BYTES: i32 = 1024 * 1024;

/// What `ensure_streams` found and made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Streams {
    /// Names of those that were missing.
    pub created: Vec<String>,
    /// Names of those that were there.
    pub found: Vec<String>,
    /// Those among them that have fewer copies than was asked for.
    pub thin: Vec<Thin>,
}

/// A stream that was there, with fewer copies than was asked for: it survives the loss of fewer servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thin {
    /// Its name.
    pub stream: String,
    /// Copies that it has.
    pub replicas: usize,
    /// The command that gives it as many as were asked for.
    pub mend: String,
}

pub(crate) async fn ensure(inner: &Inner) -> Result<Streams, BusError> {
    let mut streams = Streams::default();
    for wanted in wanted(inner) {
        let name = wanted.name.clone();
        let found =
            until(inner, "look at the streams", inner.patience, || ensure_one(inner, &wanted)).await?;
        match found {
            None => streams.created.push(name),
            Some(found) => {
                streams.thin.extend(thin(inner, &found));
                streams.found.push(name);
            }
        }
    }
    let buckets = [
        (&inner.names.snapshots, Duration::ZERO),
        (&inner.names.candidates, CANDIDATES_KEPT),
        (&inner.names.logs, LOGS_KEPT),
    ];
    for (name, kept) in buckets {
        let ensured = || ensure_bucket(inner, name, kept);
        let bucket = until(inner, "look at the buckets", inner.patience, ensured).await?;
        streams.thin.extend(bucket.and_then(|found| thin(inner, &found)));
    }
    let lease = until(inner, "look at the lease", inner.patience, || ensure_lease(inner)).await?;
    streams.thin.extend(lease.and_then(|found| thin(inner, &found)));
    Ok(streams)
}

/// Told, not refused: it serves, only not as safely as was asked for.
fn thin(inner: &Inner, found: &Config) -> Option<Thin> {
    let (stream, replicas, wanted) = (found.name.clone(), found.num_replicas.max(1), inner.replicas);
    if replicas >= wanted {
        return None;
    }
    let mend = format!("nats stream edit {stream} --replicas {wanted}");
    tracing::warn!(stream, replicas, wanted, mend, "a stream has fewer copies than nats.replicas asks for");
    Some(Thin { stream, replicas, mend })
}

fn wanted(inner: &Inner) -> [Config; 5] {
    let names = &inner.names;
    let common = |name: &str, subjects: Vec<String>| Config {
        name: name.to_owned(),
        subjects,
        storage: StorageType::File,
        retention: RetentionPolicy::Limits,
        num_replicas: inner.replicas,
        allow_direct: true,
        ..Config::default()
    };
    [
        common(STREAM_INTEGRATION, vec![format!("{INTEGRATION_PREFIX}>")]),
        Config {
            duplicate_window: DUPLICATE_WINDOW,
            ..common(STREAM_RELEASES, vec![format!("{RELEASES_PREFIX}>")])
        },
        common(STREAM_REVIEWS, vec![format!("{REVIEWS_PREFIX}>")]),
        Config {
            deny_delete: true,
            max_message_size: MAX_MESSAGE_BYTES,
            ..common(&names.journal_stream, vec![names.journal_subject.clone()])
        },
        Config {
            retention: RetentionPolicy::WorkQueue,
            max_message_size: MAX_MESSAGE_BYTES,
            ..common(&names.jobs_stream, jobs_subjects(names))
        },
    ]
}

fn jobs_subjects(names: &Names) -> Vec<String> {
    vec![names.run_subject.clone(), format!("{}.*", names.run_subject), names.report_subject.clone()]
}

/// The stream of jobs is ours alone and emptied at every start: one of an older version gets what it lacks.
async fn with_labels(inner: &Inner, found: Config) -> Config {
    let names = &inner.names;
    let (old, new) = ([names.run_subject.clone(), names.report_subject.clone()], jobs_subjects(names));
    if found.name != names.jobs_stream || found.subjects != old {
        return found;
    }
    let wider = Config { subjects: new, ..found.clone() };
    match inner.js.update_stream(wider.clone()).await {
        Ok(_) => wider,
        Err(why) => {
            tracing::warn!(stream = found.name, %why, "the stream takes no jobs that need labels");
            found
        }
    }
}

/// What was there; none: it had to be created.
async fn ensure_one(inner: &Inner, wanted: &Config) -> Result<Option<Config>, Fault> {
    match inner.js.get_stream(&wanted.name).await {
        Ok(found) => {
            let found = with_labels(inner, found.cached_info().config.clone()).await;
            return check(wanted, &found).map(|()| Some(found)).map_err(Fault::Final);
        }
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(refusal) if refusal.error_code().0 == NOT_FOUND => {}
            _ => return Err(Fault::from(error)),
        },
    }
    let Err(error) = inner.js.create_stream(wanted.clone()).await else {
        tracing::info!(stream = wanted.name, replicas = inner.replicas, "created a stream");
        return Ok(None);
    };
    match error.kind() {
        CreateStreamErrorKind::JetStream(refusal) => match refusal.error_code().0 {
            NAME_IN_USE => Err(Fault::from(refusal)),
            SUBJECTS_OVERLAP => Err(Fault::Final(cannot_serve(
                &wanted.name,
                format!("another stream has its subjects ({}) already", wanted.subjects.join(", ")),
                format!(
                    "nats stream find --subject '{}', then take the subject out of that stream",
                    wanted.subjects.first().map_or("", String::as_str)
                ),
            ))),
            10_008 | 10_004 | 10_005 => Err(Fault::from(refusal)),
            _ => Err(Fault::Final(cannot_serve(
                &wanted.name,
                format!("it is missing and cannot be created: {refusal}"),
                format!(
                    "nats stream add {} --subjects '{}' --storage file --defaults",
                    wanted.name,
                    wanted.subjects.join(",")
                ),
            ))),
        },
        _ => Err(Fault::from(error)),
    }
}

/// As `ensure_one`; what is older than `kept` goes by itself, zero: nothing does.
async fn ensure_bucket(inner: &Inner, bucket: &str, kept: Duration) -> Result<Option<Config>, Fault> {
    if let Ok(found) = inner.js.get_stream(format!("OBJ_{bucket}")).await {
        return Ok(Some(found.cached_info().config.clone()));
    }
    let config = object_store::Config {
        bucket: bucket.to_owned(),
        max_age: kept,
        num_replicas: inner.replicas,
        storage: StorageType::File,
        ..object_store::Config::default()
    };
    inner.js.create_object_store(config).await.map(|_| None).map_err(Fault::from)
}

/// As `ensure_one`; its entries run out by themselves.
async fn ensure_lease(inner: &Inner) -> Result<Option<Config>, Fault> {
    let bucket = &inner.names.lease;
    if let Ok(found) = inner.js.get_stream(format!("KV_{bucket}")).await {
        return Ok(Some(found.cached_info().config.clone()));
    }
    let config = kv::Config {
        bucket: bucket.clone(),
        history: 1,
        max_age: LEASE_TTL,
        num_replicas: inner.replicas,
        storage: StorageType::File,
        ..kv::Config::default()
    };
    inner.js.create_key_value(config).await.map(|_| None).map_err(Fault::from)
}

/// Looks for what would lose unread work; limits and windows are the owner's business.
fn check(wanted: &Config, found: &Config) -> Result<(), BusError> {
    let name = &wanted.name;
    let edit = |flags: &str| format!("nats stream edit {name} {flags}");
    let again = || format!("nats stream rm {name} (its messages go with it), then start yardmaster again");
    let refuse = |why: String, mend: String| Err(cannot_serve(name, why, mend));
    let missing: Vec<&str> = wanted
        .subjects
        .iter()
        .map(String::as_str)
        .filter(|subject| !found.subjects.iter().any(|pattern| covers(pattern, subject)))
        .collect();
    if found.mirror.is_some() {
        return refuse("it is a mirror".into(), again());
    }
    if !missing.is_empty() {
        let subjects = wanted.subjects.join(",");
        return refuse(
            format!("it does not take {}, only {}", missing.join(", "), found.subjects.join(", ")),
            edit(&format!("--subjects '{subjects}'")),
        );
    }
    if found.storage != StorageType::File {
        return refuse("it is kept in memory".into(), again());
    }
    if found.sealed {
        return refuse("it is sealed".into(), again());
    }
    if found.retention != wanted.retention {
        let retention = format!("its retention is {:?}, not {:?}", found.retention, wanted.retention);
        return refuse(format!("{retention}, so messages would be dropped unread or kept"), again());
    }
    if found.no_ack {
        return refuse("it does not confirm messages".into(), edit("--ack"));
    }
    if found.max_messages_per_subject > 0 {
        return refuse("it drops older messages of a subject".into(), edit("--max-msgs-per-subject=-1"));
    }
    if found.max_age > Duration::ZERO && found.max_age < SHORTEST_AGE {
        return refuse(format!("it drops messages after {:?}", found.max_age), edit("--max-age=0"));
    }
    let smallest = if wanted.max_message_size > 0 { wanted.max_message_size } else { 64 * 1024 };
    if found.max_message_size > 0 && found.max_message_size < smallest {
        let why = format!("it takes messages of {} bytes at most", found.max_message_size);
        return refuse(why, edit(&format!("--max-msg-size={smallest}")));
    }
    Ok(())
}

fn cannot_serve(stream: &str, why: String, mend: String) -> BusError {
    BusError::StreamCannotServe { stream: stream.to_owned(), why, mend }
}

/// Whether `pattern` takes every message of `wanted`; a `>` of ours stands for one token, because no name of
/// ours has more.
fn covers(pattern: &str, wanted: &str) -> bool {
    let wanted: Vec<&str> = wanted.split('.').collect();
    let pattern: Vec<&str> = pattern.split('.').collect();
    for (i, token) in pattern.iter().enumerate() {
        match (*token, wanted.get(i)) {
            (">", Some(_)) => return true,
            (_, None) => return false,
            ("*", Some(_)) => {}
            (token, Some(w)) if token == *w => {}
            _ => return false,
        }
    }
    pattern.len() == wanted.len()
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn subjects_are_covered_or_not() {
        for pattern in ["work.integration.>", "work.integration.*", "work.>", ">", "*.integration.*"] {
            assert!(covers(pattern, "work.integration.>"), "{pattern}");
        }
        for pattern in ["work.integration", "work.integration.roy", "work.releases.>", "work.*", "a.*.>.x"] {
            assert!(!covers(pattern, "work.integration.>"), "{pattern}");
        }
    }
}
