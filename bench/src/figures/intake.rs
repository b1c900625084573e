use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream;
use futures_util::StreamExt as _;
use serde_json::json;
use yardmaster_bus::{Bus, BusOptions, Journal};
use yardmaster_protocol::Fact;

use crate::Trouble;
use crate::agents::{Agents, announcement};
use crate::daemon::{Program, Serve};
use crate::git;
use crate::nats::{Server, Sync};
use crate::stats::{median, rate, spread};

const ANNOUNCEMENTS: usize = 10_000;
const BRANCHES: usize = 1_000;
/// Nothing lands while the intake is measured.
const GATE: &str = "sleep 600";

#[derive(Default)]
struct Rates {
    raw: Vec<f64>,
    journalled: Vec<f64>,
    pinned: Vec<f64>,
}

pub(super) async fn table(program: &Program, rounds: usize) -> Result<String, Trouble> {
    let dir = tempfile::tempdir()?;
    let remote = dir.path().join("remote.git");
    git::create_generated(&remote, 100, ANNOUNCEMENTS)?;
    let mut text = String::from(
        "\n### Intake\n\n| nats-server | journalled, of raw | raw publish, consume, ack /s | journalled /s | pinned heads /s |\n| --- | ---: | ---: | ---: | ---: |\n",
    );
    for sync in [Sync::Always, Sync::Default] {
        let mut rates = Rates::default();
        for round in 1..=rounds {
            eprintln!("intake: {}, round {round}", sync.name());
            one_round(program, &remote, sync, &mut rates).await?;
        }
        text.push_str(&format!(
            "| {} | {:.2} | {} | {} | {} |\n",
            sync.name(),
            median(&rates.journalled) / median(&rates.raw).max(1.0),
            spread(&rates.raw),
            spread(&rates.journalled),
            spread(&rates.pinned),
        ));
    }
    Ok(text)
}

async fn one_round(program: &Program, remote: &Path, sync: Sync, rates: &mut Rates) -> Result<(), Trouble> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(&dir.path().join("nats"), sync).await?;
    rates.raw.push(raw(server.url()).await?);
    server.stop().await;
    for (count, by) in [(ANNOUNCEMENTS, Stage::Announced), (BRANCHES, Stage::Pinned)] {
        let dir = tempfile::tempdir()?;
        let server = Server::start(&dir.path().join("nats"), sync).await?;
        let took = through_daemon(program, server.url(), remote, dir.path(), count, by).await?;
        match by {
            Stage::Announced => rates.journalled.push(rate(count, took)),
            Stage::Pinned => rates.pinned.push(rate(count, took)),
        }
        server.stop().await;
    }
    Ok(())
}

fn messages(count: usize) -> Vec<Vec<u8>> {
    let more = json!({"files_changed": ["src/a.txt", "src/b.txt"], "systems_touched": ["backend"], "priority": 2, "title": "as agents write them"});
    (0..count).map(|n| announcement("roy", &git::branch(n), &more)).collect()
}

/// The same messages on the same server, without us: published, consumed and acked at the same time.
async fn raw(url: &str) -> Result<f64, Trouble> {
    let agents = Agents::connect(url).await?;
    let consumer = raw_consumer(&agents).await?;
    let messages = messages(ANNOUNCEMENTS);
    let started = Instant::now();
    let consume = async {
        let mut inbox = consumer.messages().await?;
        for _ in 0..ANNOUNCEMENTS {
            inbox.next().await.ok_or("the stream ended")??.ack().await?;
        }
        Ok::<(), Trouble>(())
    };
    let (published, consumed) = tokio::join!(agents.publish("raw.roy", messages), consume);
    published?;
    consumed?;
    Ok(rate(ANNOUNCEMENTS, started.elapsed()))
}

async fn raw_consumer(agents: &Agents) -> Result<PullConsumer, Trouble> {
    let config =
        stream::Config { name: "RAW".into(), subjects: vec!["raw.>".into()], ..stream::Config::default() };
    let stream = agents.jetstream().create_stream(config).await?;
    let config = pull::Config {
        durable_name: Some("raw".into()),
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: 10_000,
        ..pull::Config::default()
    };
    Ok(stream.create_consumer(config).await?)
}

/// What is waited for: the fact in the journal.
#[derive(Clone, Copy)]
enum Stage {
    Announced,
    Pinned,
}

async fn through_daemon(
    program: &Program,
    url: &str,
    remote: &Path,
    dir: &Path,
    count: usize,
    stage: Stage,
) -> Result<Duration, Trouble> {
    let state_dir = dir.join("state");
    let serve = Serve { nats_url: url, remote, state_dir: &state_dir, gate: GATE, slots: 1, env: &[] };
    let daemon = program.serve(&serve).await?;
    let agents = Agents::connect(url).await?;
    let bus = Bus::connect(BusOptions { url: url.to_owned(), ..BusOptions::default() }).await?;
    let journal = bus.journal().await?;
    let started = Instant::now();
    let (published, seen) =
        tokio::join!(agents.publish("work.integration.roy", messages(count)), seen(journal, count, stage));
    published?;
    seen?;
    let took = started.elapsed();
    daemon.stop().await?;
    Ok(took)
}

/// Reads the journal while it grows.
async fn seen(mut journal: Journal, count: usize, stage: Stage) -> Result<(), Trouble> {
    let deadline = Instant::now() + Duration::from_secs(120);
    let (mut after, mut found) = (0, 0);
    while found < count {
        if Instant::now() > deadline {
            return Err(format!("{found} of {count} were journalled in 120 s").into());
        }
        after = journal
            .read(after, |record| {
                let facts = record.entries.iter().flat_map(|e| &e.facts);
                found += facts.filter(|fact| is(stage, fact)).count();
            })
            .await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

fn is(stage: Stage, fact: &Fact) -> bool {
    match stage {
        Stage::Announced => matches!(fact, Fact::Announced { .. }),
        Stage::Pinned => matches!(fact, Fact::Pinned { .. }),
    }
}
