use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use yardmaster_bus::server::{Embedded, EmbeddedOptions, find};

use crate::{Change, Daemon, Events, GateKeeper, Remote};

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
    /// Where NATS is; it stays the same when the server is started again.
    pub url: String,
    /// The server, when it runs.
    pub server: Option<Embedded>,
    /// The build that is started; none: the usual one.
    pub program: Option<PathBuf>,
    /// Everything on disk.
    pub dir: TempDir,
}

/// A gate that is green unless a file `red` is there.
const GATE: &str = "#!/bin/sh\n[ ! -e red ]\n";
/// What makes `./gate.sh` the gate.
pub const PROJECT: &str = "[gate]\nrun = \"./gate.sh\"\ntimeout = \"1m\"\n";

impl House {
    /// A house with a first commit on `main` and the gate `./gate.sh`, which is green unless a file `red` is
    /// there; no daemon yet.
    pub async fn build() -> House {
        House::build_with(&[("gate.sh", GATE), (".yardmaster.toml", PROJECT), ("README", "a project\n")])
            .await
    }

    /// A house whose gate asks the test for each verdict.
    pub async fn held() -> (House, GateKeeper) {
        let house = House::empty().await;
        let keeper = GateKeeper::open(&house.dir.path().join("gate"));
        let script = keeper.script();
        house.first_commit(&[("gate.sh", &script), (".yardmaster.toml", PROJECT), ("README", "a project\n")]);
        (house, keeper)
    }

    /// A house with these files on `main`.
    pub async fn build_with(files: &[(&str, &str)]) -> House {
        let house = House::empty().await;
        house.first_commit(files);
        house
    }

    /// A house whose remote has no commit at all.
    pub async fn empty() -> House {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let binary = find(None, &[]).expect("a nats-server");
        let server = Embedded::start(&binary, &dir.path().join("nats"), EmbeddedOptions::default())
            .await
            .expect("it starts");
        let url = server.url().to_owned();
        let nats = async_nats::ConnectOptions::new()
            .reconnect_delay_callback(|_| std::time::Duration::from_millis(20))
            .connect(&url)
            .await
            .expect("connected");
        let events = Events::listen(&nats).await;
        let remote = Remote::create(&dir.path().join("remote.git"));
        House { daemon: None, events, nats, remote, url, server: Some(server), program: None, dir }
    }

    pub(crate) fn first_commit(&self, files: &[(&str, &str)]) {
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(*text))).collect();
        self.remote.commit(&Change { branch: "main", from: None, files: &files });
    }

    /// Ends the nats-server without any warning and starts it again at the same place.
    pub async fn restart_nats(&mut self) {
        let server = self.server.take().expect("a server runs");
        let port = Some(server.port());
        let mut server = server;
        let pid = server.pid().to_string();
        let killed = tokio::process::Command::new("kill").args(["-KILL", &pid]).status().await;
        assert!(killed.is_ok_and(|s| s.success()), "no signal to {pid}");
        server.ended().await;
        drop(server);
        let binary = find(None, &[]).expect("a nats-server");
        let options = EmbeddedOptions { port, ..EmbeddedOptions::default() };
        let server =
            Embedded::start(&binary, &self.dir.path().join("nats"), options).await.expect("it starts again");
        self.server = Some(server);
    }

    /// Where the daemon keeps its state.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The flags that every daemon of this house has, with more.
    pub fn args<'a>(&'a self, more: &[&'a str]) -> Vec<String> {
        let state = self.state_dir().to_string_lossy().into_owned();
        let fixed = ["--nats-url", &self.url, "--remote", self.remote.url(), "--state-dir", &state];
        let is_given = |flag: &str| more.iter().any(|m| m.split('=').next() == Some(flag));
        let fixed = fixed.chunks(2).filter(|pair| !is_given(pair[0])).flatten();
        fixed.chain(more).map(|s| (*s).to_owned()).collect()
    }

    /// Starts a daemon and waits until it serves.
    pub async fn start(&mut self, more: &[&str]) {
        self.start_with(more, &[]).await;
    }

    /// Starts a daemon with more environment and waits until it serves.
    pub async fn start_with(&mut self, more: &[&str], env: &[(&str, &str)]) {
        let mut daemon = self.launch_with(more, env);
        daemon.ready().await;
        self.daemon = Some(daemon);
    }

    /// Starts a daemon that may not come up.
    pub fn launch(&self, more: &[&str]) -> Daemon {
        self.launch_with(more, &[])
    }

    /// Starts a daemon with more environment that may not come up. Unless the environment says
    /// otherwise it looks at the remote more often than by default.
    pub fn launch_with(&self, more: &[&str], env: &[(&str, &str)]) -> Daemon {
        let args = self.args(more);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let home = self.dir.path().join("home").to_string_lossy().into_owned();
        // Where it is not about batches each one has a commit of its own on main, so that it can be counted.
        let mut all = vec![
            ("YARDMASTER__REPO__POLL", "500ms"),
            ("YARDMASTER__QUEUE__BATCH", "1"),
            ("XDG_STATE_HOME", home.as_str()),
        ];
        all.extend(env);
        match &self.program {
            Some(program) => Daemon::start_program(program, &args, &all),
            None => Daemon::start(&args, &all),
        }
    }

    /// Starts a runner that works for this house's daemon and knows the remote, unless `more` says otherwise.
    pub fn runner(&self, name: &str, more: &[&str]) -> Daemon {
        let state = self.dir.path().join(format!("runner-{name}")).to_string_lossy().into_owned();
        let fixed =
            ["--nats-url", &self.url, "--remote", self.remote.url(), "--state-dir", &state, "--name", name];
        let is_given = |flag: &str| more.iter().any(|m| m.split('=').next() == Some(flag));
        let fixed = fixed.chunks(2).filter(|pair| !is_given(pair[0])).flatten();
        let args: Vec<&str> = fixed.chain(more).copied().filter(|arg| *arg != "--remote=").collect();
        Daemon::start_command(&crate::yardmaster(), "work", &args, &[])
    }

    /// kill -9.
    pub async fn kill(&mut self) {
        self.daemon.take().expect("a daemon runs").kill().await;
    }

    /// SIGTERM; returns the exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        self.daemon.take().expect("a daemon runs").stop().await
    }

    /// What the daemon printed so far.
    pub fn log(&self) -> String {
        self.daemon.as_ref().map(Daemon::log).unwrap_or_default()
    }

    /// Publishes on an agent's subject, as any client would, and waits for the stream's word.
    pub async fn publish(&self, agent: &str, payload: impl Into<Vec<u8>>) {
        let js = async_nats::jetstream::new(self.nats.clone());
        let payload: Vec<u8> = payload.into();
        let ack = js.publish(format!("work.integration.{agent}"), payload.into()).await.expect("published");
        ack.await.expect("stored");
    }

    /// Says what a reviewer thinks of a head, as any client would, and waits for the stream's word.
    pub async fn review(&self, reviewer: &str, head: &str, verdict: &str) {
        let review = json!({"reviewer": reviewer, "head": head, "verdict": verdict});
        self.publish_review(reviewer, json!({"type": "review", "review": review}).to_string()).await;
    }

    /// Publishes on a reviewer's subject and waits for the stream's word.
    pub async fn publish_review(&self, reviewer: &str, payload: impl Into<Vec<u8>>) {
        let js = async_nats::jetstream::new(self.nats.clone());
        let payload: Vec<u8> = payload.into();
        let ack = js.publish(format!("work.reviews.{reviewer}"), payload.into()).await.expect("published");
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

    /// Announces branches in one go, so that the daemon gets them together and in this order.
    pub async fn announce_all(&self, agent: &str, branches: &[&str]) {
        for branch in branches {
            let payload = announcement(agent, branch, &json!({})).to_string();
            let subject = format!("work.integration.{agent}");
            self.nats.publish(subject, payload.into()).await.expect("published");
        }
        self.nats.flush().await.expect("flushed");
    }

    /// Takes a branch back.
    pub async fn withdraw(&self, agent: &str, branch: &str) {
        let message = json!({"type": "withdraw", "merge_info": {"agent": agent, "branch": branch}});
        self.publish(agent, message.to_string()).await;
    }

    /// A branch from `main` that adds one file, pushed by nobody in particular.
    pub fn branch(&self, name: &str, files: &[(&str, &str)]) -> String {
        let files: Vec<(&str, Option<&str>)> = files.iter().map(|(p, c)| (*p, Some(*c))).collect();
        self.remote.commit(&Change { branch: name, from: Some("main"), files: &files })
    }

    /// Processes that work for this house's daemon or were started by it, the daemon itself left out.
    pub fn processes(&self) -> Vec<String> {
        let here = self.dir.path().to_string_lossy().into_owned();
        let daemon = self.daemon.as_ref().map(Daemon::pid);
        let server = self.server.as_ref().map(Embedded::pid);
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("a process list").flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
            let (command, environment) = (read("cmdline"), read("environ"));
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let ours = command.contains(&here) || String::from_utf8_lossy(&environment).contains(&here);
            if ours && ![daemon, server].contains(&Some(pid)) {
                found.push(format!("{pid} {command}"));
            }
        }
        found
    }

    /// Waits until the daemon has acked every announcement.
    pub async fn wait_until_acked(&self) {
        self.wait_until_acked_in("INTEGRATION").await;
    }

    /// Waits until the daemon has acked everything that is in a stream.
    pub async fn wait_until_acked_in(&self, stream: &str) {
        let js = async_nats::jetstream::new(self.nats.clone());
        let stream = js.get_stream(stream).await.expect("a stream");
        let mut consumer: async_nats::jetstream::consumer::PullConsumer =
            stream.get_consumer("release-manager").await.expect("a consumer");
        let until = tokio::time::Instant::now() + crate::PATIENCE;
        loop {
            let info = consumer.info().await.expect("an answer");
            if info.num_pending == 0 && info.num_ack_pending == 0 {
                return;
            }
            assert!(tokio::time::Instant::now() < until, "never acked: {info:?}\n{}", self.log());
            // The server tells nobody when an ack arrives.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
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
