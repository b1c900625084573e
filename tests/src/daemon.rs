use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::PATIENCE;

/// The program under test, built once: `YARDMASTER_BIN`, else what cargo builds from here.
pub fn yardmaster() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            if let Some(path) = std::env::var_os("YARDMASTER_BIN") {
                return PathBuf::from(path);
            }
            let built = std::process::Command::new(env!("CARGO"))
                .args(["build", "--quiet", "--package", "yardmaster"])
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .status();
            assert!(built.is_ok_and(|s| s.success()), "the program could not be built");
            let me = std::env::current_exe().expect("a test has a path");
            let profile = me.ancestors().find(|p| p.join("deps").is_dir()).expect("tests stand in deps");
            profile.with_file_name("debug").join("yardmaster")
        })
        .clone()
}

/// A running `yardmaster serve` or `yardmaster work`.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    ready: watch::Receiver<bool>,
    lines: watch::Receiver<usize>,
}

impl Daemon {
    /// Starts it; `ready` waits until it serves.
    pub fn start(args: &[&str], env: &[(&str, &str)]) -> Daemon {
        Daemon::start_program(&yardmaster(), args, env)
    }

    /// Starts another build of it.
    pub fn start_program(program: &Path, args: &[&str], env: &[(&str, &str)]) -> Daemon {
        Daemon::start_command(program, "serve", args, env)
    }

    /// Starts a command that goes on and prints `ready`.
    pub fn start_command(program: &Path, command: &str, args: &[&str], env: &[(&str, &str)]) -> Daemon {
        let mut child = Command::new(program)
            .arg(command)
            .args(args)
            .envs(env.iter().copied())
            .env_remove("NATS_URL")
            .env("YARDMASTER_LOG", std::env::var("YARDMASTER_LOG").unwrap_or_else(|_| "info".into()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let stderr = child.stderr.take().expect("piped");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (is_ready, ready) = watch::channel(false);
        let (counted, printed) = watch::channel(0);
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if line.starts_with("ready") {
                    is_ready.send_replace(true);
                }
                kept.lock().expect("nobody panics here").push(line);
                counted.send_modify(|lines| *lines += 1);
            }
        });
        Daemon { child, log, ready, lines: printed }
    }

    /// Returns once the line `ready` was printed.
    ///
    /// # Panics
    /// With the log when it ends before.
    pub async fn ready(&mut self) {
        let mut ready = self.ready.clone();
        let came = tokio::time::timeout(PATIENCE, ready.wait_for(|r| *r)).await;
        assert!(matches!(came, Ok(Ok(_))), "the daemon is not ready:\n{}", self.log());
    }

    /// Returns once a line begins with `start`.
    ///
    /// # Panics
    /// With the log when none does in time.
    pub async fn prints(&self, start: &str) -> String {
        self.line(start, |line| line.starts_with(start)).await
    }

    /// Returns once a line has `words` in it.
    ///
    /// # Panics
    /// With the log when none has in time.
    pub async fn says(&self, words: &str) -> String {
        self.line(words, |line| line.contains(words)).await
    }

    async fn line(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let mut lines = self.lines.clone();
        let look = async {
            loop {
                let log = self.log();
                if let Some(line) = log.lines().find(|l| fits(l)) {
                    return line.to_owned();
                }
                assert!(lines.changed().await.is_ok(), "it ended without `{what}`:\n{log}");
            }
        };
        let printed = tokio::time::timeout(PATIENCE, look).await;
        printed.unwrap_or_else(|_| panic!("no `{what}` in:\n{}", self.log()))
    }

    /// Sends a signal, such as `STOP`.
    pub async fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &pid]).status().await;
        assert!(sent.is_ok_and(|s| s.success()), "no signal to {pid}");
    }

    /// Returns once it serves or has ended.
    pub async fn ready_or_ended(&self) {
        let mut ready = self.ready.clone();
        let came = tokio::time::timeout(PATIENCE, ready.wait_for(|r| *r)).await;
        assert!(came.is_ok(), "the daemon neither serves nor ends:\n{}", self.log());
    }

    /// Everything that it printed so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("nobody panics here").join("\n")
    }

    /// Waits for its end by itself and returns its exit code with everything that it printed.
    pub async fn ended(&mut self) -> (Option<i32>, String) {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let code =
            status.unwrap_or_else(|_| panic!("it does not end:\n{}", self.log())).expect("waited").code();
        let mut ready = self.ready.clone();
        // The sender goes when the last line has been read.
        while ready.changed().await.is_ok() {}
        (code, self.log())
    }

    /// Waits for its end, however long that takes. Safe to drop at any point.
    pub async fn gone(&mut self) -> ExitStatus {
        self.child.wait().await.expect("waited")
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// SIGKILL.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("killed");
    }

    /// SIGTERM, and its exit code.
    pub async fn stop(mut self) -> Option<i32> {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await;
        assert!(sent.is_ok_and(|s| s.success()), "no signal to {pid}");
        self.ended().await.0
    }
}
