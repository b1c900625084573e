use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use yardmaster_bus::server::{Embedded, EmbeddedOptions, find};

use crate::{Change, Daemon, Events, Remote};

/// A nats-server, a remote and, once started, a daemon; all of it is gone when it is dropped.
pub struct House {
    /// The program, when it runs.
    pub daemon: Option<Daemon>,
    /// Everything that was published.
    pub events: Events,
    /// A plain connection, as agents have it.
    pub nats: async_nats::Client,
    /// The repository.
    pub remote: Remote,
    /// The server.
    pub server: Embedded,
    /// Everything on disk.
    pub dir: TempDir,
}

/// A gate that is green unless a file `red` is there.
const GATE: &str = "#!/bin/sh\n[ ! -e red ]\n";

impl House {
    /// A house with a first commit on `main` and the gate `./gate.sh`; no daemon yet.
    pub async fn build() -> House {
        let house = House::empty().await;
        house.remote.commit(&Change {
            branch: "main",
            from: None,
            files: &[
                ("gate.sh", Some(GATE)),
                (".yardmaster.toml", Some("[gate]\nrun = \"./gate.sh\"\ntimeout = \"1m\"\n")),
                ("README", Some("a project\n")),
            ],
        });
        house
    }

    /// A house whose remote has no commit at all.
    pub async fn empty() -> House {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let binary = find(None, &[]).expect("a nats-server");
        let server =
            Embedded::start(&binary, &dir.path().join("nats"), EmbeddedOptions::default()).await.expect("it starts");
        let nats = async_nats::connect(server.url()).await.expect("connected");
        let events = Events::listen(&nats).await;
        let remote = Remote::create(&dir.path().join("remote.git"));
        House { daemon: None, events, nats, remote, server, dir }
    }

    /// Where the daemon keeps its state.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The flags that every daemon of this house has, with more.
    pub fn args<'a>(&'a self, more: &[&'a str]) -> Vec<String> {
        let state = self.state_dir().to_string_lossy().into_owned();
        let fixed = ["--nats-url", self.server.url(), "--remote", self.remote.url(), "--state-dir", &state];
        fixed.iter().chain(more).map(|s| (*s).to_owned()).collect()
    }

    /// Starts a daemon and waits until it serves.
    pub async fn start(&mut self, more: &[&str]) {
        let mut daemon = self.launch(more);
        daemon.ready().await;
        self.daemon = Some(daemon);
    }

    /// Starts a daemon that may not come up.
    pub fn launch(&self, more: &[&str]) -> Daemon {
        let args = self.args(more);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Daemon::start(&args, &[])
    }

    /// kill -9.
    pub async fn kill(&mut self) {
        self.daemon.take().expect("a daemon runs").kill().await;
    }

    /// SIGTERM; returns the exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        self.daemon.take().expect("a daemon runs").stop().await
    }

    /// Publishes on an agent's subject, as any client would, and waits for the stream's word.
    pub async fn publish(&self, agent: &str, payload: impl Into<Vec<u8>>) {
        let js = async_nats::jetstream::new(self.nats.clone());
        let payload: Vec<u8> = payload.into();
        let ack = js.publish(format!("work.integration.{agent}"), payload.into()).await.expect("published");
        ack.await.expect("stored");
    }

    /// Announces a branch with nothing but the three required fields.
    pub async fn announce(&self, agent: &str, branch: &str) {
        self.publish(agent, announcement(agent, branch, &json!({})).to_string()).await;
    }

    /// Announces a branch with more fields.
    pub async fn announce_with(&self, agent: &str, branch: &str, more: &Value) {
        self.publish(agent, announcement(agent, branch, more).to_string()).await;
    }

    /// A branch from `main` that adds one file, pushed by nobody in particular.
    pub fn branch(&self, name: &str, files: &[(&str, &str)]) -> String {
        let files: Vec<(&str, Option<&str>)> = files.iter().map(|(p, c)| (*p, Some(*c))).collect();
        self.remote.commit(&Change { branch: name, from: Some("main"), files: &files })
    }
}

/// A `ready_to_merge` message.
pub fn announcement(agent: &str, branch: &str, more: &Value) -> Value {
    let mut info = json!({"agent": agent, "branch": branch, "requirement": format!("REQ-{branch}")});
    if let (Some(info), Some(more)) = (info.as_object_mut(), more.as_object()) {
        info.extend(more.clone());
    }
    json!({"type": "ready_to_merge", "merge_info": info})
}
