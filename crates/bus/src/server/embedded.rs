use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::process::{end, left_over, signal_group};
use super::{ServerBinary, ServerError};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(3);
const LOG_TAIL_BYTES: u64 = 2_048;
const MAX_PAYLOAD: u64 = 8 * 1024 * 1024;

/// How a server of our own is to run.
#[derive(Debug, Clone, Default)]
pub struct EmbeddedOptions {
    /// None: a free one.
    pub port: Option<u16>,
    /// Required of clients when set; `BusOptions::token`.
    pub token: Option<String>,
}

/// A running server of our own on loopback. It is in a process group of its own, so that Ctrl-C in a
/// terminal does not end it before us; dropped, it is killed (nothing that was confirmed is lost: every
/// message is synced to the disk).
#[derive(Debug)]
pub struct Embedded {
    child: Child,
    pid: u32,
    url: String,
    port: u16,
    /// Held for as long as the directory is ours.
    _lock: File,
}

impl Embedded {
    /// Starts it and waits until it answers. A server that a crashed predecessor left on the same
    /// directory is ended first.
    ///
    /// # Errors
    /// `InUse` when another process has the directory; `Directory`; `Start` with the end of its log.
    pub async fn start(
        binary: &ServerBinary,
        store_dir: &Path,
        options: EmbeddedOptions,
    ) -> Result<Embedded, ServerError> {
        let place = Place::prepare(store_dir)?;
        let lock = place.lock()?;
        if let Some(pid) = left_over(&place.pid_file, &place.config) {
            tracing::warn!(pid, "ends a nats-server that was left behind");
            end(pid, &place.config).await;
        }
        place.write_config(&options)?;
        let failed = |why: String| ServerError::Start { path: binary.path.clone(), why };
        let mut child = Command::new(&binary.path)
            .arg("--config")
            .arg(&place.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(place.stderr()?)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| failed(e.to_string()))?;
        let Some(pid) = child.id() else { return Err(failed("it ended at once".into())) };
        match place.wait_until_ready(&mut child).await {
            Ok(port) => {
                let url = format!("nats://127.0.0.1:{port}");
                tracing::info!(url, pid, version = binary.version, "started a nats-server");
                Ok(Embedded { child, pid, url, port, _lock: lock })
            }
            Err(why) => {
                signal_group(pid, Signal::KILL);
                let _ = child.wait().await;
                Err(failed(format!("{why}{}", place.log_tail())))
            }
        }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port alone, to start again on the same.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id, which is its group's too.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Resolves when it ends by itself, with how.
    pub async fn ended(&mut self) -> String {
        self.child.wait().await.map_or_else(|e| e.to_string(), |status| status.to_string())
    }

    /// Ends it in good order.
    pub async fn stop(mut self) {
        signal_group(self.pid, Signal::TERM);
        if timeout(STOP_TIMEOUT, self.child.wait()).await.is_err() {
            signal_group(self.pid, Signal::KILL);
            let _ = self.child.wait().await;
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // None once it was waited for: the number may be somebody else's by then.
        if self.child.id().is_some() {
            signal_group(self.pid, Signal::KILL);
        }
    }
}

/// The files of a server under one directory.
struct Place {
    dir: PathBuf,
    config: PathBuf,
    pid_file: PathBuf,
    ports: PathBuf,
    log: PathBuf,
}

#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
}

impl Place {
    fn prepare(dir: &Path) -> Result<Place, ServerError> {
        let wrong = |e: std::io::Error| ServerError::Directory { dir: dir.to_path_buf(), why: e.to_string() };
        fs::create_dir_all(dir).map_err(wrong)?;
        let dir = fs::canonicalize(dir).map_err(wrong)?;
        let ports = dir.join("ports");
        fs::create_dir_all(&ports).map_err(wrong)?;
        Ok(Place {
            config: dir.join("nats-server.conf"),
            pid_file: dir.join("nats-server.pid"),
            log: dir.join("nats-server.log"),
            ports,
            dir,
        })
    }

    fn wrong(&self, error: &dyn std::fmt::Display) -> ServerError {
        ServerError::Directory { dir: self.dir.clone(), why: error.to_string() }
    }

    fn lock(&self) -> Result<File, ServerError> {
        let file = File::options().create(true).truncate(false).write(true).open(self.dir.join("lock"));
        let file = file.map_err(|e| self.wrong(&e))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(ServerError::InUse { dir: self.dir.clone() }),
            Err(TryLockError::Error(e)) => Err(self.wrong(&e)),
        }
    }

    /// Every message is synced before it is confirmed: with the server's default, seconds of confirmed
    /// messages and whole streams are lost with the power.
    fn write_config(&self, options: &EmbeddedOptions) -> Result<(), ServerError> {
        for old in fs::read_dir(&self.ports).map_err(|e| self.wrong(&e))?.flatten() {
            fs::remove_file(old.path()).map_err(|e| self.wrong(&e))?;
        }
        let port = options.port.map_or(-1, i32::from);
        let quoted = |path: &Path| path.to_str().map(quote).ok_or_else(|| self.wrong(&"it is no UTF-8"));
        let mut text = format!(
            "host: \"127.0.0.1\"\nport: {port}\nserver_name: \"yardmaster\"\nmax_payload: {MAX_PAYLOAD}\n\
             ports_file_dir: {}\npid_file: {}\nlog_file: {}\nlogfile_size_limit: 10MB\n\
             jetstream {{\n  store_dir: {}\n  sync_interval: always\n}}\n",
            quoted(&self.ports)?,
            quoted(&self.pid_file)?,
            quoted(&self.log)?,
            quoted(&self.dir)?,
        );
        if let Some(token) = &options.token {
            text.push_str(&format!("authorization {{ token: {} }}\n", quote(token)));
        }
        private_file(&self.config, &text).map_err(|e| self.wrong(&e))
    }

    fn stderr(&self) -> Result<Stdio, ServerError> {
        let file = File::options().create(true).append(true).open(&self.log);
        file.map(Stdio::from).map_err(|e| self.wrong(&e))
    }

    async fn wait_until_ready(&self, child: &mut Child) -> Result<u16, String> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("it ended with {status}"));
            }
            if let Some(port) = self.port()
                && answers(port).await
            {
                return Ok(port);
            }
            sleep(POLL).await;
        }
        Err(format!("it does not answer within {} s", START_TIMEOUT.as_secs()))
    }

    fn port(&self) -> Option<u16> {
        let file = fs::read_dir(&self.ports).ok()?.flatten().next()?;
        let ports: Ports = serde_json::from_slice(&fs::read(file.path()).ok()?).ok()?;
        ports.nats.first()?.rsplit(':').next()?.parse().ok()
    }

    fn log_tail(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(&self.log) {
            let length = file.metadata().map_or(0, |m| m.len());
            let _ = file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)));
            let _ = file.take(LOG_TAIL_BYTES).read_to_end(&mut text);
        }
        let text = String::from_utf8_lossy(&text);
        if text.trim().is_empty() {
            String::new()
        } else {
            format!("; its log ends with:\n{}", text.trim_end())
        }
    }
}

/// A server greets with `INFO`.
async fn answers(port: u16) -> bool {
    let greeting = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let mut word = [0u8; 4];
        stream.read_exact(&mut word).await?;
        std::io::Result::Ok(&word == b"INFO")
    };
    matches!(timeout(Duration::from_secs(1), greeting).await, Ok(Ok(true)))
}

/// It may hold a token.
fn private_file(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = File::options().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
