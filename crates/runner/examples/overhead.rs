//! What a run costs besides its gate: `true` on a warm worktree, from the call to the report.
//! `cargo run --release --example overhead -- MIRROR COMMIT [RUNS]`

use std::error::Error;
use std::future::pending;
use std::time::{Duration, Instant};

use yardmaster_protocol::{CommitId, Gate, GateJob, RequestId, RunId, RunOutcome, TreeId};
use yardmaster_runner::{Disk, DiskLimits, Host, HostLimits, Lane, LaneConfig, RunLimits};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(mirror), Some(commit)) = (args.next(), args.next()) else {
        return Err("usage: overhead MIRROR COMMIT [RUNS]".into());
    };
    let runs: usize = args.next().map_or(Ok(200), |text| text.parse())?;
    let candidate: CommitId = commit.parse()?;
    let dir = tempfile::tempdir()?;
    let mut lane = Lane::open(LaneConfig {
        name: "overhead/1".into(),
        number: 1,
        dir: dir.path().join("lane"),
        mirror: mirror.clone().into(),
        logs: dir.path().join("logs"),
        limits: RunLimits::default(),
        pass_env: Vec::new(),
        host: Host::new(HostLimits::of_machine()),
        cache_dir: None,
        disk: Disk::new(DiskLimits { most_bytes: u64::MAX, lanes: dir.path().into(), cache_dir: None }),
    })?;
    let mut took: Vec<Duration> = Vec::new();
    for n in 0..=runs {
        let job = GateJob {
            run: RunId::new(format!("run-{n}"))?,
            request: Some(RequestId(1)),
            target: "main".parse()?,
            candidate,
            tree: TreeId(candidate.0),
            base: candidate,
            attempt: 1,
            gate: Gate::command("true"),
            since: None,
            learned_ms: Default::default(),
        };
        let began = Instant::now();
        let report = lane.run(&job, pending()).await;
        if report.outcome != RunOutcome::Green {
            return Err(format!("{:?}", report.outcome).into());
        }
        took.push(began.elapsed());
    }
    let worktree = yardmaster_git::Worktree::open(mirror.as_ref(), &dir.path().join("lane/worktree"))?;
    let mut checkouts: Vec<Duration> = Vec::new();
    for _ in 0..runs {
        let began = Instant::now();
        worktree.checkout(candidate)?;
        checkouts.push(began.elapsed());
    }
    checkouts.sort();
    let first = took.remove(0);
    took.sort();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
    println!("first {first:.2?}, then {runs} warm runs: p50 {:.2?}, p95 {:.2?}", at(50), at(95));
    println!(
        "of these the checkout: p50 {:.2?}",
        checkouts.get(checkouts.len() / 2).copied().unwrap_or_default()
    );
    Ok(())
}
