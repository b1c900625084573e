use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Trouble;
use crate::agents::{Agents, announcement};
use crate::daemon::{Program, Serve};
use crate::git;
use crate::nats::{Server, Sync};
use crate::stats::{median, rate, spread};

const BRANCHES: usize = 200;
const FILES: [usize; 2] = [200, 5_000];
const SLOTS: u32 = 8;

#[derive(Default)]
struct Rates {
    plain: Vec<f64>,
    no_gate: Vec<f64>,
    gate: Vec<f64>,
}

pub(super) async fn table(program: &Program, rounds: usize) -> Result<String, Trouble> {
    let mut text = format!(
        "\n### Landing\n\n{BRANCHES} branches, {SLOTS} slots, one run and one merge commit for each; landed merges a second.\n\n| repository | `--gate none`, of plain | `--gate true`, of plain | plain commands /s | `--gate none` /s | `--gate true` /s |\n| --- | ---: | ---: | ---: | ---: | ---: |\n"
    );
    for files in FILES {
        let mut rates = Rates::default();
        for round in 1..=rounds {
            eprintln!("landing: {files} files, round {round}");
            let dir = tempfile::tempdir()?;
            let fresh = |name: &str| {
                let path = dir.path().join(name);
                git::create_generated(&path, files, BRANCHES).map(|()| path)
            };
            rates.plain.push(rate(BRANCHES, plain(&fresh("plain.git")?, &dir.path().join("clone"))?));
            for (gate, into) in [("none", &mut rates.no_gate), ("true", &mut rates.gate)] {
                let remote = fresh(&format!("{gate}.git"))?;
                into.push(rate(BRANCHES, through_daemon(program, &remote, gate).await?));
            }
        }
        let of_plain = |values: &[f64]| median(values) / median(&rates.plain).max(f64::EPSILON);
        text.push_str(&format!(
            "| {files} files | {:.1} | {:.1} | {} | {} | {} |\n",
            of_plain(&rates.no_gate),
            of_plain(&rates.gate),
            spread(&rates.plain),
            spread(&rates.no_gate),
            spread(&rates.gate),
        ));
    }
    Ok(text)
}

/// What a person or a script types for each branch, in one clone.
fn plain(remote: &Path, clone: &Path) -> Result<Duration, Trouble> {
    let (from, to) = (remote.to_string_lossy(), clone.to_string_lossy());
    git::run(remote, &["clone", "--quiet", &from, &to])?;
    let started = Instant::now();
    for n in 0..BRANCHES {
        let branch = format!("origin/{}", git::branch(n));
        git::run(clone, &["checkout", "--quiet", "main"])?;
        git::run(clone, &["pull", "--quiet", "--ff-only"])?;
        git::run(clone, &["merge", "--quiet", "--no-ff", "-m", "merged", &branch])?;
        git::run(clone, &["push", "--quiet", "origin", "main"])?;
    }
    Ok(started.elapsed())
}

async fn through_daemon(program: &Program, remote: &Path, gate: &str) -> Result<Duration, Trouble> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(&dir.path().join("nats"), Sync::Always).await?;
    let state_dir = dir.path().join("state");
    // Each branch is tested itself and lands by itself, as the plain commands do it.
    let env = [("YARDMASTER__QUEUE__BATCH", "1".to_owned())];
    let serve =
        Serve { nats_url: server.url(), remote, state_dir: &state_dir, gate, slots: SLOTS, env: &env };
    let daemon = program.serve(&serve).await?;
    let agents = Agents::connect(server.url()).await?;
    let mut complete = agents.listen("complete").await?;
    let message = |n| announcement("roy", &git::branch(n), &json!({}));
    let started = Instant::now();
    agents.publish("work.integration.roy", (0..BRANCHES).map(message).collect()).await?;
    let took = complete.wait_for(BRANCHES, started).await?;
    daemon.stop().await?;
    server.stop().await;
    let merges = git::run(remote, &["rev-list", "--count", "--first-parent", "--merges", "main"])?;
    if merges != BRANCHES.to_string() {
        return Err(format!("{merges} merges on main instead of {BRANCHES}").into());
    }
    Ok(took)
}
