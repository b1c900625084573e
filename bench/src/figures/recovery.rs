use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Trouble;
use crate::agents::{Agents, announcement};
use crate::daemon::{Program, Serve};
use crate::git;
use crate::nats::{Server, Sync};
use crate::stats::spread;

const PENDING: [usize; 3] = [10, 1_000, 10_000];
const SLOTS: u32 = 4;
const GATE_SECONDS: f64 = 2.0;
/// Runs are well under way when the daemon dies.
const INTO_THE_RUNS: Duration = Duration::from_millis(1_200);

#[derive(Default)]
struct Found {
    ready: Vec<f64>,
    consuming: Vec<f64>,
    lost: Vec<f64>,
    running: Vec<f64>,
}

/// From kill -9 until announcements are consumed again, and the gate's work that is done again.
pub(super) async fn table(program: &Program, rounds: usize) -> Result<String, Trouble> {
    let mut text = format!(
        "\n### Recovery\n\n{SLOTS} slots, a gate of {GATE_SECONDS} s, started again at once.\n\n| pending | ms from kill -9 to `ready` | ms to the first new request `queued` | gate seconds repeated | gate seconds that were running |\n| ---: | ---: | ---: | ---: | ---: |\n"
    );
    for pending in PENDING {
        let dir = tempfile::tempdir()?;
        let remote = dir.path().join("remote.git");
        git::create_generated(&remote, 100, pending + 1)?;
        let mut found = Found::default();
        for round in 1..=rounds {
            eprintln!("recovery: {pending} pending, round {round}");
            one_round(program, &remote, pending, &mut found).await?;
        }
        text.push_str(&format!(
            "| {pending} | {} | {} | {} | {} |\n",
            spread(&found.ready),
            spread(&found.consuming),
            spread(&found.lost),
            spread(&found.running)
        ));
    }
    Ok(text)
}

async fn one_round(
    program: &Program,
    remote: &Path,
    pending: usize,
    found: &mut Found,
) -> Result<(), Trouble> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(&dir.path().join("nats"), Sync::Always).await?;
    let diary = dir.path().join("diary");
    let gate = gate(&diary);
    let state_dir = dir.path().join("state");
    let serve =
        Serve { nats_url: server.url(), remote, state_dir: &state_dir, gate: &gate, slots: SLOTS, env: &[] };
    let daemon = program.serve(&serve).await?;
    let agents = Agents::connect(server.url()).await?;
    let mut queued = agents.listen("queued").await?;
    let message = |n: usize| announcement("roy", &git::branch(n), &json!({"systems_touched": ["backend"]}));
    let started = Instant::now();
    agents.publish("work.integration.roy", (0..pending).map(message).collect()).await?;
    queued.wait_for(pending, started).await?;
    tokio::time::sleep(INTO_THE_RUNS).await;

    let mut queued = agents.listen("queued").await?;
    let killed_at = now()?;
    daemon.kill().await?;
    let died = Instant::now();
    agents.publish("work.integration.roy", vec![message(pending)]).await?;
    let daemon = program.serve(&serve).await?;
    found.ready.push(died.elapsed().as_secs_f64() * 1_000.0);
    found.consuming.push(queued.wait_for(1, died).await?.as_secs_f64() * 1_000.0);
    // Long enough for everything that was running to have been started again.
    tokio::time::sleep(Duration::from_secs_f64(GATE_SECONDS + 1.0)).await;
    let work = repeated(&std::fs::read_to_string(&diary)?, killed_at)?;
    found.lost.push(work.repeated);
    found.running.push(work.running);
    daemon.stop().await?;
    server.stop().await;
    git::run(
        remote,
        &["update-ref", "refs/heads/main", &git::run(remote, &["rev-list", "--max-parents=0", "main"])?],
    )?;
    Ok(())
}

/// Writes a line when it starts and one when it ends, with the tree that it was given.
fn gate(diary: &Path) -> String {
    let note = |word: &str| {
        format!("echo {word} $(git rev-parse 'HEAD^{{tree}}') $(date +%s.%N) >> '{}'", diary.display())
    };
    format!("{}; sleep {GATE_SECONDS}; {}", note("start"), note("end"))
}

struct Work {
    /// Seconds of runs that were cut off and whose trees were tested again.
    repeated: f64,
    /// Seconds that all the runs under way had taken when the daemon died.
    running: f64,
}

/// A tree whose run had ended before the crash and that was tested again was lost work too, and counts whole.
fn repeated(diary: &str, killed_at: f64) -> Result<Work, Trouble> {
    let (mut open, mut done, mut again) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    for line in diary.lines() {
        let mut words = line.split(' ');
        let (Some(word), Some(tree), Some(at)) = (words.next(), words.next(), words.next()) else { continue };
        let at: f64 = at.parse()?;
        match (word, at < killed_at) {
            ("start", true) => drop(open.insert(tree, at)),
            ("end", true) => {
                open.remove(tree);
                done.insert(tree);
            }
            ("start", false) => drop(again.insert(tree)),
            _ => {}
        }
    }
    let seconds = |tree: &&str| open.get(tree).map_or(0.0, |at| killed_at - at);
    let cut_off: f64 = again.iter().map(seconds).sum();
    let twice = again.intersection(&done).count() as f64 * GATE_SECONDS;
    Ok(Work { repeated: cut_off + twice, running: open.keys().map(seconds).sum() })
}

fn now() -> Result<f64, Trouble> {
    Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64())
}
