use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_nats::jetstream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use yardmaster_bus::server::find;

use crate::{Events, House, PATIENCE, Remote};

const NODES: usize = 3;

/// Three servers on loopback that are one, each with a store of its own.
pub struct Cluster {
    nodes: Vec<Node>,
}

struct Node {
    child: Option<Child>,
    config: PathBuf,
    client: u16,
    monitor: u16,
}

impl Cluster {
    /// Starts all of them and waits until they are one.
    pub async fn start(dir: &Path) -> Cluster {
        let ports = free_ports(NODES * 3);
        let route = |node: usize| ports[node * 3 + 2];
        let routes: Vec<String> = (0..NODES).map(|n| format!("nats://127.0.0.1:{}", route(n))).collect();
        let mut nodes = Vec::new();
        for n in 0..NODES {
            let store = dir.join(format!("n{n}"));
            std::fs::create_dir_all(&store).expect("a directory");
            let (client, monitor) = (ports[n * 3], ports[n * 3 + 1]);
            let text = format!(
                "server_name: n{n}\nlisten: \"127.0.0.1:{client}\"\nhttp: \"127.0.0.1:{monitor}\"\n\
                 max_payload: 8MB\nlog_file: \"{store}/log\"\n\
                 jetstream {{ store_dir: \"{store}\", sync_interval: always }}\n\
                 cluster {{ name: yard, listen: \"127.0.0.1:{}\", routes: [{}] }}\n",
                route(n),
                routes.join(", "),
                store = store.display(),
            );
            let config = dir.join(format!("n{n}.conf"));
            std::fs::write(&config, text).expect("written");
            nodes.push(Node { child: None, config, client, monitor });
        }
        let mut cluster = Cluster { nodes };
        for n in 0..NODES {
            cluster.spawn(n);
        }
        for n in 0..NODES {
            cluster.healthy(n).await;
        }
        cluster
    }

    fn spawn(&mut self, n: usize) {
        let binary = find(None, &[]).expect("a nats-server");
        let child = Command::new(&binary.path)
            .arg("--config")
            .arg(&self.nodes[n].config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        self.nodes[n].child = Some(child);
    }

    /// Every address, with commas.
    pub fn url(&self) -> String {
        let urls = self.nodes.iter().map(|n| format!("nats://127.0.0.1:{}", n.client));
        urls.collect::<Vec<_>>().join(",")
    }

    /// Which node leads a stream now.
    pub async fn leader_of(&self, nats: &async_nats::Client, stream: &str) -> usize {
        let js = jetstream::new(nats.clone());
        let until = Instant::now() + PATIENCE;
        loop {
            let info = js.get_stream(stream).await.ok().and_then(|s| s.cached_info().cluster.clone());
            let leader = info.and_then(|c| c.leader);
            if let Some(n) = leader.and_then(|name| name.strip_prefix('n')?.parse().ok()) {
                return n;
            }
            assert!(Instant::now() < until, "{stream} has no leader");
            // While there is no leader nobody answers, and nobody tells when there is one.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Has another node than `not` lead a stream, and says which.
    pub async fn led_by_another(&self, nats: &async_nats::Client, stream: &str, not: usize) -> usize {
        let until = Instant::now() + PATIENCE;
        loop {
            let leader = self.leader_of(nats, stream).await;
            if leader != not {
                return leader;
            }
            assert!(Instant::now() < until, "n{not} leads {stream} again and again");
            // Refused while an election is going on.
            let _ = nats.request(format!("$JS.API.STREAM.LEADER.STEPDOWN.{stream}"), "".into()).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// kill -9.
    pub async fn kill(&mut self, n: usize) {
        self.nodes[n].child.take().expect("it runs").kill().await.expect("killed");
    }

    /// Starts a killed one again on its store, and waits until it has caught up.
    pub async fn restart(&mut self, n: usize) {
        self.spawn(n);
        self.healthy(n).await;
    }

    /// Until the node itself says that its streams are current.
    async fn healthy(&self, n: usize) {
        let until = Instant::now() + PATIENCE;
        while !is_healthy(self.nodes[n].monitor).await {
            assert!(Instant::now() < until, "n{n} does not get well");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn is_healthy(port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(2), ask).await;
    matches!(answer, Ok(Ok(answer)) if answer.starts_with("HTTP/1.0 200"))
}

/// Each node names the others' ports, so they are chosen before anybody listens there.
fn free_ports(count: usize) -> Vec<u16> {
    let listen = |_| TcpListener::bind("127.0.0.1:0").expect("a free port");
    let held: Vec<TcpListener> = (0..count).map(listen).collect();
    held.iter().map(|l| l.local_addr().expect("an address").port()).collect()
}

impl House {
    /// A house on a cluster, with these files on `main`; its server is none of the house's.
    pub async fn on_cluster(files: &[(&str, &str)]) -> (House, Cluster) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let cluster = Cluster::start(&dir.path().join("nats")).await;
        let url = cluster.url();
        let addresses: Vec<&str> = url.split(',').collect();
        let nats = async_nats::ConnectOptions::new()
            .reconnect_delay_callback(|_| Duration::from_millis(20))
            .connect(addresses)
            .await
            .expect("connected");
        let events = Events::listen(&nats).await;
        let remote = Remote::create(&dir.path().join("remote.git"));
        let house = House { daemon: None, events, nats, remote, url, server: None, program: None, dir };
        house.first_commit(files);
        (house, cluster)
    }
}
