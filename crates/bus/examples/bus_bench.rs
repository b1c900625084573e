//! Measures the bus on a nats-server of its own: `cargo run --release -p yardmaster-bus --example bus_bench`.

use std::error::Error;
use std::time::{Duration, Instant};

use yardmaster_bus::server::{self, Embedded, EmbeddedOptions};
use yardmaster_bus::{Bus, BusOptions};
use yardmaster_protocol::{
    Assembly, CommitId, Entry, Fact, Gate, GateJob, MergedBy, Millis, ObjectId, RequestId, RunId, TreeId,
};

const FACTS: usize = 100_000;
const FACTS_A_RECORD: usize = 128;
const MESSAGES: usize = 20_000;
const JOBS: usize = 300;

type Outcome = Result<(), Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let dir = std::env::temp_dir().join(format!("yardmaster-bus-bench-{}", std::process::id()));
    let binary = server::find(None, &[])?;
    let embedded = Embedded::start(&binary, &dir, EmbeddedOptions::default()).await?;
    let bus = Bus::connect(BusOptions { url: embedded.url().into(), ..BusOptions::default() }).await?;
    bus.ensure_streams().await?;
    println!("nats-server {}, one replica, every message synced", bus.server_version());
    let outcome = measure(&bus).await;
    embedded.stop().await;
    std::fs::remove_dir_all(&dir)?;
    outcome
}

async fn measure(bus: &Bus) -> Outcome {
    journal(bus).await?;
    intake(bus).await?;
    jobs(bus).await
}

fn entry(n: u64) -> Entry {
    let assembly = Assembly::Clean {
        commit: CommitId(ObjectId([1; 20])),
        tree: TreeId(ObjectId([2; 20])),
        by: MergedBy::Memory,
    };
    let base = CommitId(ObjectId([3; 20]));
    Entry { at: Millis(n), facts: vec![Fact::Assembled { request: RequestId(n), base, assembly }] }
}

async fn journal(bus: &Bus) -> Outcome {
    let entries: Vec<Entry> = (0..FACTS as u64).map(entry).collect();
    let mut journal = bus.journal().await?;
    journal.read(0, |_| {}).await?;
    let started = Instant::now();
    for record in entries.chunks(FACTS_A_RECORD) {
        journal.append(record).await?;
    }
    let records = FACTS.div_ceil(FACTS_A_RECORD);
    rate("journal: appends of 128 facts", records, started.elapsed());
    rate("journal: facts appended", FACTS, started.elapsed());
    let started = Instant::now();
    let mut facts = 0;
    bus.journal().await?.read(0, |record| facts += record.entries.len()).await?;
    rate("journal: facts read", facts, started.elapsed());
    let started = Instant::now();
    for n in 0..1_000 {
        journal.append(&[entry(n)]).await?;
    }
    rate("journal: appends of 1 fact", 1_000, started.elapsed());
    let bytes = vec![7; 10_000_000];
    let started = Instant::now();
    journal.store_snapshot(journal.last(), &bytes).await?;
    journal.load_snapshot(None).await?.ok_or("no snapshot")?;
    rate("snapshot of 10 MB stored and loaded", 1, started.elapsed());
    Ok(())
}

async fn intake(bus: &Bus) -> Outcome {
    let agent = yardmaster_protocol::AgentName::new("roy")?;
    let payload = vec![b'x'; 562];
    let started = Instant::now();
    let mut publishers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (client, agent, payload) = (bus.client(), agent.clone(), payload.clone());
        publishers.spawn(async move {
            for _ in 0..MESSAGES / 100 {
                client.publish_announcement(&agent, &payload).await?;
            }
            Ok::<(), yardmaster_protocol::ErrorBody>(())
        });
    }
    while let Some(published) = publishers.join_next().await {
        published??;
    }
    rate("intake: announcements published by 100", MESSAGES, started.elapsed());
    let mut inbox = bus.inbox();
    let started = Instant::now();
    for _ in 0..MESSAGES {
        inbox.next().await?.ack().await?;
    }
    bus.flush().await?;
    rate("intake: received and acked", MESSAGES, started.elapsed());
    Ok(())
}

async fn jobs(bus: &Bus) -> Outcome {
    let mut source = bus.jobs();
    let mut dispatch = Vec::with_capacity(JOBS);
    for n in 0..JOBS {
        let job = GateJob {
            run: RunId::new(format!("run-{n}"))?,
            request: Some(RequestId(1)),
            target: yardmaster_protocol::BranchName::new("main")?,
            candidate: CommitId(ObjectId([1; 20])),
            tree: TreeId(ObjectId([2; 20])),
            base: CommitId(ObjectId([3; 20])),
            attempt: 1,
            gate: Gate::command("true"),
            since: None,
            learned_ms: Default::default(),
        };
        let started = Instant::now();
        let (published, taken) = tokio::join!(bus.publish_job(&job, "bench"), source.next());
        published?;
        let (_, lease, _) = taken?;
        dispatch.push(started.elapsed());
        lease.ack().await?;
    }
    dispatch.sort_unstable();
    println!(
        "job: published to held by a runner: p50 {:?}, p99 {:?}",
        dispatch[JOBS / 2],
        dispatch[JOBS * 99 / 100]
    );
    Ok(())
}

fn rate(what: &str, n: usize, took: Duration) {
    println!("{what}: {n} in {took:.3?}, {:.0}/s", n as f64 / took.as_secs_f64());
}
