use std::path::Path;

use yardmaster_bus::{Bus, BusOptions};
use yardmaster_protocol::{Entry, Event, JournalPosition};

use super::facts::{Life, lived};
use crate::Trouble;
use crate::daemon::{Program, Serve};
use crate::git;
use crate::nats::{Server, Sync};
use crate::stats::spread;

const FACTS: [usize; 3] = [0, 10_000, 100_000];
/// As the daemon groups them when it is busy.
const FACTS_A_RECORD: usize = 128;

pub(super) async fn table(program: &Program, rounds: usize) -> Result<String, Trouble> {
    let mut text = String::from(
        "\n### Start-up\n\n| facts in the journal | ms from process start to `ready` |\n| ---: | ---: |\n",
    );
    for facts in FACTS {
        let dir = tempfile::tempdir()?;
        let remote = dir.path().join("remote.git");
        git::create_generated(&remote, 100, 0)?;
        let store = dir.path().join("nats");
        let lived = lived(facts, &git::run(&remote, &["rev-parse", "main"])?)?;
        let written = Box::pin(write(&store, lived)).await?;
        let mut took = Vec::new();
        // The first start makes the mirror, which a restart has.
        for round in 0..=rounds {
            eprintln!("startup: {written} facts, round {round}");
            let ms = start(program, &store, dir.path(), &remote).await?;
            if round > 0 {
                took.push(ms);
            }
        }
        text.push_str(&format!("| {written} | {} |\n", spread(&took)));
    }
    Ok(text)
}

/// Journals a life as the daemon would, events published, but without any snapshot.
async fn write(store: &Path, life: Life) -> Result<usize, Trouble> {
    let server = Server::start(store, Sync::Always).await?;
    let bus = Bus::connect(BusOptions { url: server.url().to_owned(), ..BusOptions::default() }).await?;
    bus.ensure_streams().await?;
    let mut journal = bus.journal().await?;
    journal.read(0, |_| {}).await?;
    let facts = life.facts;
    let mut events: Vec<(JournalPosition, Event, Option<String>)> = Vec::new();
    let mut open: Vec<Entry> = Vec::new();
    let mut waiting = Vec::new();
    let mut index = 0;
    let last = life.steps.len().saturating_sub(1);
    for (n, step) in life.steps.into_iter().enumerate() {
        waiting.extend(step.events.into_iter().map(|e| (index + e.index, e)));
        index += u32::try_from(step.entry.facts.len())?;
        open.push(step.entry);
        if index as usize >= FACTS_A_RECORD || n == last {
            let record = journal.append(&std::mem::take(&mut open)).await?;
            let placed = waiting
                .drain(..)
                .map(|(index, e)| (JournalPosition { record, index }, e.event, e.traceparent));
            events.extend(placed);
            index = 0;
        }
    }
    for some in events.chunks(1_000) {
        bus.publish_events(some).await?;
    }
    server.stop().await;
    Ok(facts)
}

/// On a copy of the store, for a daemon takes a snapshot once it has read so much.
async fn start(program: &Program, store: &Path, dir: &Path, remote: &Path) -> Result<f64, Trouble> {
    let copy = tempfile::tempdir_in(dir)?;
    let copied =
        std::process::Command::new("cp").arg("-r").arg(store).arg(copy.path().join("nats")).status()?;
    if !copied.success() {
        return Err("the store could not be copied".into());
    }
    let server = Server::start(&copy.path().join("nats"), Sync::Always).await?;
    let state_dir = dir.join("state");
    let serve =
        Serve { nats_url: server.url(), remote, state_dir: &state_dir, gate: "true", slots: 4, env: &[] };
    let daemon = program.serve(&serve).await?;
    let ms = daemon.ready_after.as_secs_f64() * 1_000.0;
    daemon.stop().await?;
    server.stop().await;
    Ok(ms)
}
