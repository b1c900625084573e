use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use yardmaster_bus::server::{Embedded, EmbeddedOptions, find};

use crate::Trouble;

/// When the server syncs what it stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Before it confirms a message, as the embedded server does.
    Always,
    /// Now and then, as nats-server does by default.
    Default,
}

impl Sync {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Always => "sync always",
            Self::Default => "sync default",
        }
    }
}

/// A nats-server on loopback that goes with us.
pub(crate) enum Server {
    Always(Embedded),
    Default(Plain),
}

/// A nats-server without any configuration of ours.
pub(crate) struct Plain {
    child: Child,
    url: String,
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub(crate) async fn start(store: &Path, sync: Sync) -> Result<Server, Trouble> {
        let binary = find(None, &[])?;
        match sync {
            Sync::Always => {
                Ok(Server::Always(Embedded::start(&binary, store, EmbeddedOptions::default()).await?))
            }
            Sync::Default => start_plain(&binary.path, store).await.map(Server::Default),
        }
    }

    pub(crate) fn url(&self) -> &str {
        match self {
            Server::Always(server) => server.url(),
            Server::Default(server) => &server.url,
        }
    }

    pub(crate) async fn stop(self) {
        match self {
            Server::Always(server) => server.stop().await,
            Server::Default(server) => drop(server),
        }
    }
}

async fn start_plain(binary: &Path, store: &Path) -> Result<Plain, Trouble> {
    std::fs::create_dir_all(store)?;
    let child = Command::new(binary)
        .args(["-a", "127.0.0.1", "-p", "-1", "-js", "-sd"])
        .arg(store)
        .arg("--ports_file_dir")
        .arg(store)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut server = Plain { child, url: String::new() };
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Some(url) = url_in(store)
            && async_nats::connect(&url).await.is_ok()
        {
            server.url = url;
            return Ok(server);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Err("nats-server did not start in 20 s".into())
}

fn url_in(dir: &Path) -> Option<String> {
    let is_ports = |p: &std::path::PathBuf| p.extension().is_some_and(|e| e == "ports");
    let file = std::fs::read_dir(dir).ok()?.flatten().map(|e| e.path()).find(is_ports)?;
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    ports["nats"][0].as_str().map(str::to_owned)
}
