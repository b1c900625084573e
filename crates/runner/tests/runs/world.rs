use std::fs::File;
use std::future::pending;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::time::timeout;
use yardmaster_protocol::{Gate, GateJob, RequestId, RunId, RunOutcome, RunReport, Step};
use yardmaster_runner::{Disk, DiskLimits, Host, HostLimits, Lane, LaneConfig, LogStore, RunLimits};

/// Longer than anything here takes on a busy machine; only failing tests wait for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A repository with the commits `one` and `two` (of `a.txt`) and room for a lane.
pub(crate) struct World {
    pub(crate) dir: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        world.git(&["init", "-q", "-b", "main", "."]);
        for text in ["one", "two"] {
            std::fs::write(world.path("a.txt"), text).unwrap();
            world.git(&["add", "a.txt"]);
            world.git(&["commit", "-q", "-m", text]);
            world.git(&["tag", text]);
        }
        world.git(&["clone", "-q", "--bare", ".", "mirror"]);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.invalid"])
            .args(args)
            .current_dir(self.dir.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn config(&self) -> LaneConfig {
        LaneConfig {
            name: "host/3".into(),
            number: 3,
            dir: self.path("lanes/3"),
            mirror: self.path("mirror"),
            logs: self.path("logs"),
            limits: RunLimits { grace: Duration::from_millis(300), ..RunLimits::default() },
            pass_env: Vec::new(),
            host: Host::with_locks(HostLimits { cpu: 2, mem_bytes: 1 << 30 }, self.path("locks")),
            cache_dir: None,
            disk: Disk::new(DiskLimits { most_bytes: u64::MAX, lanes: self.path("lanes"), cache_dir: None }),
        }
    }

    pub(crate) fn lane(&self) -> Lane {
        Lane::open(self.config()).unwrap()
    }

    pub(crate) fn lane_with(&self, limits: RunLimits) -> Lane {
        Lane::open(LaneConfig { limits, ..self.config() }).unwrap()
    }

    pub(crate) fn job_of(&self, run: &str, commit: &str, steps: Vec<Step>) -> GateJob {
        let id = |what: &str| self.git(&["rev-parse", what]);
        GateJob {
            run: RunId::new(run).unwrap(),
            request: Some(RequestId(12)),
            target: "main".parse().unwrap(),
            candidate: id(commit).parse().unwrap(),
            tree: id(&format!("{commit}^{{tree}}")).parse().unwrap(),
            base: id("one").parse().unwrap(),
            attempt: 1,
            gate: Gate { steps, environment: None },
            since: None,
            learned_ms: Default::default(),
        }
    }

    pub(crate) fn job(&self, command: &str) -> GateJob {
        self.job_of("run-1", "two", vec![step("gate", command)])
    }

    /// A named pipe for a gate: its first line and then its end, when nobody holds it any more.
    pub(crate) fn fifo(&self, name: &str) -> Fifo {
        let path = self.path(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        Fifo::read(path)
    }

    pub(crate) fn log(&self, run: &str) -> String {
        let store = LogStore::new(self.path("logs"));
        let piece = store.read(&RunId::new(run).unwrap(), 0, 1 << 20).unwrap();
        assert!(piece.done);
        String::from_utf8(piece.bytes).unwrap()
    }
}

pub(crate) struct Fifo {
    pub(crate) path: PathBuf,
    line: Option<oneshot::Receiver<String>>,
    end: Option<oneshot::Receiver<()>>,
}

impl Fifo {
    fn read(path: PathBuf) -> Self {
        let (line_sender, line) = oneshot::channel();
        let (end_sender, end) = oneshot::channel();
        let fifo = path.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(File::open(fifo).unwrap());
            let mut text = String::new();
            reader.read_line(&mut text).unwrap();
            let _ = line_sender.send(text.trim().to_owned());
            reader.read_to_end(&mut Vec::new()).unwrap();
            let _ = end_sender.send(());
        });
        Self { path, line: Some(line), end: Some(end) }
    }

    pub(crate) async fn line(&mut self) -> String {
        timeout(PATIENCE, self.line.take().unwrap()).await.expect("a line in time").unwrap()
    }

    /// Whoever holds the pipe has ended.
    pub(crate) async fn released(&mut self) {
        timeout(PATIENCE, self.end.take().unwrap()).await.expect("every holder ends").unwrap();
    }

    pub(crate) fn is_held(&mut self) -> bool {
        self.end.as_mut().unwrap().try_recv().is_err()
    }

    pub(crate) fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

pub(crate) fn step(name: &str, run: &str) -> Step {
    Step { timeout_ms: 60_000, ..Step::command(name, run) }
}

pub(crate) fn limited(command: &str, timeout_ms: u64) -> Vec<Step> {
    vec![Step { timeout_ms, ..step("gate", command) }]
}

pub(crate) async fn run(lane: &mut Lane, job: &GateJob) -> RunReport {
    timeout(PATIENCE, lane.run(job, pending())).await.expect("the run ends in time")
}

pub(crate) fn tail_of(outcome: &RunOutcome) -> &str {
    match outcome {
        RunOutcome::Red { log_tail, .. } | RunOutcome::TimedOut { log_tail, .. } => log_tail,
        other => panic!("{other:?} has no tail"),
    }
}

pub(crate) fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        dir.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
