use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use yardmaster_bus::server::find;

use crate::PATIENCE;

/// A nats-server that somebody else set up, with a configuration of theirs.
#[derive(Debug)]
pub struct PlainServer {
    child: Child,
    /// Where it is.
    pub url: String,
}

impl PlainServer {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// SIGKILL.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("killed");
    }

    /// Starts one on a free port; `config` is added to the address.
    pub async fn start(dir: &Path, config: &str) -> PlainServer {
        std::fs::create_dir_all(dir).expect("a directory");
        // Of an earlier one in the same place.
        for old in std::fs::read_dir(dir).expect("readable").flatten().map(|f| f.path()) {
            if old.extension().is_some_and(|e| e == "ports") {
                std::fs::remove_file(old).expect("removed");
            }
        }
        let file = dir.join("nats.conf");
        let ports = dir.display();
        let text = format!("host: 127.0.0.1\nport: -1\nports_file_dir: \"{ports}\"\n{config}\n");
        std::fs::write(&file, text).expect("written");
        let binary = find(None, &[]).expect("a nats-server");
        let child = Command::new(&binary.path)
            .arg("--config")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(url) = address(dir) {
                return PlainServer { child, url };
            }
            assert!(Instant::now() < until, "the server with {config} does not start");
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
}

fn address(dir: &Path) -> Option<String> {
    let files = std::fs::read_dir(dir).ok()?.flatten();
    let ports = files.map(|f| f.path()).find(|p| p.extension().is_some_and(|e| e == "ports"))?;
    let ports: Value = serde_json::from_slice(&std::fs::read(ports).ok()?).ok()?;
    let url = ports["nats"][0].as_str()?;
    let port: u16 = url.rsplit(':').next()?.parse().ok()?;
    // The file may be there before the socket is.
    std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    Some(format!("nats://127.0.0.1:{port}"))
}
