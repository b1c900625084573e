use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::Trouble;

const PATIENCE: Duration = Duration::from_secs(120);
const LINES_KEPT: usize = 20;

/// The program, and what all of its runs have in common.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    path: PathBuf,
}

/// How one daemon is to run.
pub(crate) struct Serve<'a> {
    pub(crate) nats_url: &'a str,
    pub(crate) remote: &'a Path,
    pub(crate) state_dir: &'a Path,
    pub(crate) gate: &'a str,
    pub(crate) slots: u32,
    /// `YARDMASTER__…` and their values.
    pub(crate) env: &'a [(&'a str, String)],
}

/// How one runner elsewhere is to work.
pub(crate) struct Work<'a> {
    pub(crate) nats_url: &'a str,
    pub(crate) remote: &'a Path,
    pub(crate) name: &'a str,
    pub(crate) state_dir: &'a Path,
}

/// A daemon that serves, or a runner that works.
pub(crate) struct Daemon {
    child: Child,
    /// From the start of the process to the line `ready`.
    pub(crate) ready_after: Duration,
}

impl Program {
    /// `YARDMASTER_BIN`, else the program beside this one.
    pub(crate) fn find() -> Result<Program, Trouble> {
        if let Some(path) = std::env::var_os("YARDMASTER_BIN") {
            return Ok(Program { path: path.into() });
        }
        let path = std::env::current_exe()?.with_file_name("yardmaster");
        if path.is_file() {
            return Ok(Program { path });
        }
        Err(format!("{} is not there: `cargo build --release -p yardmaster` first", path.display()).into())
    }

    /// Starts a daemon and waits until it serves.
    pub(crate) async fn serve(&self, serve: &Serve<'_>) -> Result<Daemon, Trouble> {
        let mut command = Command::new(&self.path);
        command
            .arg("serve")
            .args(["--nats-url", serve.nats_url, "--gate", serve.gate])
            .args(["--slots", &serve.slots.to_string()])
            .arg("--remote")
            .arg(serve.remote)
            .arg("--state-dir")
            .arg(serve.state_dir)
            .current_dir(serve.remote)
            .env("YARDMASTER__REPO__POLL", "10m")
            .env("YARDMASTER__QUEUE__MAX_PENDING_PER_AGENT", "1000000")
            .envs(serve.env.iter().map(|(name, value)| (name, value)));
        Program::start(command).await
    }

    /// Starts a runner with one slot and waits until it takes jobs.
    pub(crate) async fn work(&self, work: &Work<'_>) -> Result<Daemon, Trouble> {
        let mut command = Command::new(&self.path);
        command
            .arg("work")
            .args(["--nats-url", work.nats_url, "--name", work.name, "--slots", "1"])
            .arg("--remote")
            .arg(work.remote)
            .arg("--state-dir")
            .arg(work.state_dir);
        Program::start(command).await
    }

    async fn start(mut command: Command) -> Result<Daemon, Trouble> {
        let started = Instant::now();
        let mut child = command
            .env("YARDMASTER_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stderr = child.stderr.take().ok_or("no pipe from the daemon")?;
        let mut lines = BufReader::new(stderr).lines();
        tokio::time::timeout(PATIENCE, wait_for_ready(&mut lines))
            .await
            .map_err(|_| "the daemon was not ready in 120 s")??;
        let ready_after = started.elapsed();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                eprintln!("  daemon: {line}");
            }
        });
        Ok(Daemon { child, ready_after })
    }
}

async fn wait_for_ready(lines: &mut Lines<BufReader<ChildStderr>>) -> Result<(), Trouble> {
    let mut kept = VecDeque::new();
    while let Some(line) = lines.next_line().await? {
        if line.starts_with("ready") {
            return Ok(());
        }
        if kept.len() == LINES_KEPT {
            kept.pop_front();
        }
        kept.push_back(line);
    }
    Err(format!("the daemon ended before it was ready:\n{}", Vec::from(kept).join("\n")).into())
}

impl Daemon {
    /// A line of `/proc/PID/status` in MB, such as `VmRSS` or `VmHWM`.
    pub(crate) fn memory_mb(&self, key: &str) -> Result<f64, Trouble> {
        let pid = self.child.id().ok_or("the daemon has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
        let kib: f64 = line.and_then(|l| l.split_whitespace().next()).ok_or("no such line")?.parse()?;
        Ok(kib * 1_024.0 / 1e6)
    }

    /// SIGKILL, and its end.
    pub(crate) async fn kill(mut self) -> Result<(), Trouble> {
        Ok(self.child.kill().await?)
    }

    /// SIGTERM, and its end.
    pub(crate) async fn stop(mut self) -> Result<(), Trouble> {
        if let Some(pid) = self.child.id() {
            Command::new("kill").arg("-TERM").arg(pid.to_string()).status().await?;
        }
        let ended = tokio::time::timeout(Duration::from_secs(15), self.child.wait()).await;
        match ended {
            Ok(status) => {
                status?;
                Ok(())
            }
            Err(_) => {
                self.child.kill().await?;
                Err("the daemon did not end within 15 s of SIGTERM".into())
            }
        }
    }
}
