use std::time::Instant;

use serde_json::json;

use crate::Trouble;
use crate::agents::{Agents, announcement};
use crate::daemon::{Program, Serve};
use crate::git;
use crate::nats::{Server, Sync};
use crate::stats::spread;

const PENDING: usize = 10_000;

pub(super) async fn table(program: &Program, rounds: usize) -> Result<String, Trouble> {
    let dir = tempfile::tempdir()?;
    let remote = dir.path().join("remote.git");
    git::create_generated(&remote, 100, PENDING)?;
    let (mut idle, mut full, mut peak) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        eprintln!("memory: round {round}");
        let dir = tempfile::tempdir()?;
        let server = Server::start(&dir.path().join("nats"), Sync::Always).await?;
        let state_dir = dir.path().join("state");
        let serve = Serve {
            nats_url: server.url(),
            remote: &remote,
            state_dir: &state_dir,
            gate: "sleep 3600",
            slots: 4,
            env: &[],
        };
        let daemon = program.serve(&serve).await?;
        let agents = Agents::connect(server.url()).await?;
        let mut queued = agents.listen("queued").await?;
        idle.push(daemon.memory_mb("VmRSS")?);
        let message = |n| announcement("roy", &git::branch(n), &json!({"systems_touched": ["backend"]}));
        let started = Instant::now();
        agents.publish("work.integration.roy", (0..PENDING).map(message).collect()).await?;
        queued.wait_for(PENDING, started).await?;
        full.push(daemon.memory_mb("VmRSS")?);
        peak.push(daemon.memory_mb("VmHWM")?);
        daemon.stop().await?;
        server.stop().await;
    }
    Ok(format!(
        "\n### Memory\n\n| daemon | resident MB |\n| --- | ---: |\n| idle | {} |\n| 10,000 pending requests | {} |\n| its highest on the way there | {} |\n",
        spread(&idle),
        spread(&full),
        spread(&peak)
    ))
}
