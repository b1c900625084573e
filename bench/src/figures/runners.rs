use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Trouble;
use crate::agents::{Agents, announcement};
use crate::daemon::{Program, Serve, Work};
use crate::git;
use crate::nats::{Server, Sync};
use crate::stats::{median, spread};

const RUNNERS: [usize; 4] = [2, 4, 8, 16];
/// Runs for each runner.
const EACH: usize = 3;
const GATE_S: f64 = 10.0;

pub(super) async fn table(program: &Program, rounds: usize) -> Result<String, Trouble> {
    let mut text = format!(
        "\n### Runners elsewhere\n\n`serve --slots 0` and so many processes `yardmaster work --slots 1`, each with a mirror of its own; \
         {EACH} branches for each of them, gate `sleep {GATE_S}`, each branch a run of its own; the target's own tip was tested before.\n\n\
         | runners | seconds to the last landing | at least | speed-up | of slots |\n| ---: | ---: | ---: | ---: | ---: |\n"
    );
    for runners in RUNNERS {
        let mut took = Vec::new();
        for round in 1..=rounds {
            eprintln!("runners: {runners}, round {round}");
            took.push(one(program, runners).await?.as_secs_f64());
        }
        let (runs, seconds) = ((EACH * runners) as f64, median(&took));
        let speed_up = runs * GATE_S / seconds.max(f64::EPSILON);
        text.push_str(&format!(
            "| {runners} | {} | {:.1} | {speed_up:.1} | {:.2} |\n",
            spread(&took),
            EACH as f64 * GATE_S,
            speed_up / runners as f64,
        ));
    }
    Ok(text)
}

/// From the first announcement to the last landing.
async fn one(program: &Program, runners: usize) -> Result<Duration, Trouble> {
    let (dir, branches) = (tempfile::tempdir()?, EACH * runners);
    let remote = dir.path().join("remote.git");
    git::create_generated(&remote, 200, branches)?;
    let server = Server::start(&dir.path().join("nats"), Sync::Always).await?;
    let (state_dir, gate) = (dir.path().join("state"), format!("sleep {GATE_S}"));
    // Each branch is a run of its own: with batches fewer runs would do.
    let env = [("YARDMASTER__QUEUE__BATCH", "1".to_owned())];
    let serve = Serve {
        nats_url: server.url(),
        remote: &remote,
        state_dir: &state_dir,
        gate: &gate,
        slots: 0,
        env: &env,
    };
    let daemon = program.serve(&serve).await?;
    let agents = Agents::connect(server.url()).await?;
    let mut working = Vec::new();
    for n in 1..=runners {
        let (name, state) = (format!("runner-{n}"), dir.path().join(format!("runner-{n}")));
        working.push(program.work(&work(server.url(), &remote, &name, &state)).await?);
    }
    agents.wait_for_slots(u64::try_from(runners)?).await?;
    // Its run is none of those that are counted.
    agents.wait_for_green_tip().await?;
    let mut complete = agents.listen("complete").await?;
    let message = |n| announcement("roy", &git::branch(n), &json!({}));
    let started = Instant::now();
    agents.publish("work.integration.roy", (0..branches).map(message).collect()).await?;
    let took = complete.wait_for(branches, started).await?;
    for runner in working {
        runner.stop().await?;
    }
    daemon.stop().await?;
    server.stop().await;
    let merges = git::run(&remote, &["rev-list", "--count", "--first-parent", "--merges", "main"])?;
    if merges != branches.to_string() {
        return Err(format!("{merges} merges on main instead of {branches}").into());
    }
    Ok(took)
}

fn work<'a>(nats_url: &'a str, remote: &'a Path, name: &'a str, state_dir: &'a Path) -> Work<'a> {
    Work { nats_url, remote, name, state_dir }
}
