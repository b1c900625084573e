//! Nonsense by the thousand, with honest work in between.
//!
//! `YARDMASTER_FLOOD=1000000 cargo test --release -p yardmaster-tests --test house flood -- --nocapture` for more; the
//! daemon is then that of `YARDMASTER_BIN`, best a release build.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use async_nats::jetstream::consumer::{PullConsumer, pull};
use futures_util::TryStreamExt as _;
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use yardmaster_protocol::Incoming;
use yardmaster_sim::hostile::{Hostile, message};
use yardmaster_tests::{Change, Daemon, PROJECT, PlainServer, Remote, announcement};

const HONEST: usize = 10;
const SENT_AT_ONCE: usize = 500;
/// The most memory that the daemon may have had, whatever was sent.
const MAX_RESIDENT_KIB: u64 = 512 * 1024;
/// Without any progress; a flood itself may take as long as it likes.
const STUCK: Duration = Duration::from_secs(60);

struct Flood {
    js: jetstream::Context,
    remote: Remote,
    daemon: Daemon,
    _server: PlainServer,
    _dir: TempDir,
}

impl Flood {
    async fn start() -> Flood {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = format!("jetstream {{ store_dir: \"{}\" }}", dir.path().join("store").display());
        let server = PlainServer::start(&dir.path().join("nats"), &store).await;
        let remote = Remote::create(&dir.path().join("remote.git"));
        let files = [("gate.sh", Some("#!/bin/sh\ntrue\n")), (".yardmaster.toml", Some(PROJECT))];
        remote.commit(&Change { branch: "main", from: None, files: &files });
        for n in 0..HONEST {
            let name = format!("{n}.txt");
            let branch = honest_branch(n);
            remote.commit(&Change { branch: &branch, from: Some("main"), files: &[(&name, Some("1\n"))] });
        }
        let state = dir.path().join("state").display().to_string();
        let args = ["--nats-url", &server.url, "--remote", remote.url(), "--state-dir", &state];
        let mut daemon = Daemon::start(&args, &[("YARDMASTER_LOG", "warn")]);
        daemon.ready().await;
        let nats = async_nats::connect(&server.url).await.expect("connected");
        let mut js = jetstream::new(nats);
        js.set_timeout(STUCK);
        Flood { js, remote, daemon, _server: server, _dir: dir }
    }

    /// Sends the messages of the seeds below `count`, some of them twice, and the honest ones in between. Each
    /// has a subject of its own. Returns which of them cannot be understood.
    async fn send(&self, count: usize) -> Vec<bool> {
        let mut is_nonsense = Vec::new();
        let mut honest = 0;
        for from in (0..count).step_by(SENT_AT_ONCE) {
            let mut sending = Vec::new();
            for seed in from..(from + SENT_AT_ONCE).min(count) {
                let Hostile { subject, payload } = message(seed as u64);
                let copies = if seed % 10 == 0 { 2 } else { 1 };
                for _ in 0..copies {
                    let subject = format!("work.integration.{subject}.{}", is_nonsense.len());
                    is_nonsense.push(Incoming::parse(&payload).is_err());
                    sending.push(self.js.publish(subject, payload.clone().into()));
                }
            }
            let stored = try_join_all(sending).await.expect("published");
            try_join_all(stored.into_iter().map(IntoFuture::into_future)).await.expect("stored");
            while honest < HONEST && honest * count / HONEST < from + SENT_AT_ONCE {
                self.announce_honest(honest).await;
                honest += 1;
            }
        }
        is_nonsense
    }

    async fn announce_honest(&self, n: usize) {
        let payload = announcement("honest", &honest_branch(n), &json!({})).to_string();
        let ack = self.js.publish("work.integration.honest", payload.into()).await.expect("published");
        ack.await.expect("stored");
    }

    /// Reads events until every honest branch has its end. An honest agent that is told to come back does.
    async fn wait_for_the_honest(&self, told: &mut Told) {
        while told.honest_ends.len() < HONEST {
            if let Some(n) = told.next(&self.daemon).await {
                self.announce_honest(n).await;
            }
        }
    }

    async fn wait_until_acked(&self) {
        let stream = self.js.get_stream("INTEGRATION").await.expect("a stream");
        let mut consumer: PullConsumer = stream.get_consumer("release-manager").await.expect("a consumer");
        let (mut left, mut since) = (u64::MAX, Instant::now());
        loop {
            let info = consumer.info().await.expect("an answer");
            let now = info.num_pending + info.num_ack_pending as u64;
            if now == 0 {
                return;
            }
            if now < left {
                (left, since) = (now, Instant::now());
            }
            assert!(since.elapsed() < STUCK, "{now} are stuck: {info:?}\n{}", self.daemon.log());
            // The server tells nobody when an ack arrives.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The most memory that the daemon has had, in KiB.
    fn peak_resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.daemon.pid())).expect("it runs");
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("a peak");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

/// What the stream of events has told so far.
struct Told {
    events: pull::Ordered,
    read: u64,
    /// How often each numbered message was rejected.
    rejected: BTreeMap<usize, u32>,
    /// How often each request ended.
    ends: BTreeMap<String, u32>,
    honest_ends: BTreeMap<String, Value>,
}

const TERMINAL: [&str; 4] = ["merge_complete", "merge_failed", "merge_withdrawn", "merge_superseded"];

impl Told {
    async fn from_the_start(js: &jetstream::Context) -> Told {
        let stream = js.get_stream("RELEASES").await.expect("a stream");
        let consumer = stream.create_consumer(pull::OrderedConfig::default()).await.expect("a consumer");
        Told {
            events: consumer.messages().await.expect("messages"),
            read: 0,
            rejected: BTreeMap::new(),
            ends: BTreeMap::new(),
            honest_ends: BTreeMap::new(),
        }
    }

    /// Takes one event in. Returns the number of an honest branch that is to be announced again.
    async fn next(&mut self, daemon: &Daemon) -> Option<usize> {
        let next = tokio::time::timeout(STUCK, self.events.try_next()).await;
        let next = next.unwrap_or_else(|_| panic!("no event any more:\n{}", daemon.log()));
        let event = next.expect("an event").expect("events do not end");
        self.read = event.info().expect("of a stream").stream_sequence;
        let event: Value = serde_json::from_slice(&event.payload).expect("events are JSON");
        if event["type"] == "request_rejected" {
            let subject = event["subject"].as_str().expect("a subject");
            let Some(number) = subject.rsplit('.').next().and_then(|n| n.parse().ok()) else {
                let payload = event["payload"].as_str().expect("a payload");
                let wish: Value = serde_json::from_str(payload).expect("honest agents send JSON");
                let branch = wish["merge_info"]["branch"].as_str().expect("a branch");
                assert_eq!(event["why"]["code"], "queue_full", "{event}");
                return branch.trim_start_matches("honest/").parse().ok();
            };
            *self.rejected.entry(number).or_default() += 1;
        }
        if let Some(request) = event["request"].as_str()
            && TERMINAL.iter().any(|t| event["type"] == *t)
        {
            *self.ends.entry(request.to_owned()).or_default() += 1;
            if event["agent"] == "honest" {
                let branch = event["branch"].as_str().expect("a branch").to_owned();
                self.honest_ends.insert(branch, event);
            }
        }
        None
    }
}

fn honest_branch(n: usize) -> String {
    format!("honest/{n}")
}

/// Whatever else is sent, honest work lands; what cannot be understood is answered once; nothing is stuck.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_nonsense_keeps_nobody_from_landing() {
    let count = std::env::var("YARDMASTER_FLOOD").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let flood = Flood::start().await;
    let mut told = Told::from_the_start(&flood.js).await;
    let started = Instant::now();
    let is_nonsense = flood.send(count).await;
    let sent = started.elapsed();
    flood.wait_for_the_honest(&mut told).await;
    flood.wait_until_acked().await;
    let (took, peak) = (started.elapsed(), flood.peak_resident_kib());
    let Flood { js, remote, daemon, .. } = &flood;
    let last = js.get_stream("RELEASES").await.expect("a stream").cached_info().state.last_sequence;
    while told.read < last {
        assert_eq!(told.next(daemon).await, None);
    }
    println!(
        "{} messages sent in {sent:.1?}, answered in {took:.1?}; {} rejected, {} requests; at most {} MiB resident",
        is_nonsense.len(),
        told.rejected.len(),
        told.ends.len(),
        peak / 1024
    );
    for (branch, end) in &told.honest_ends {
        assert_eq!(end["type"], "merge_complete", "{branch}: {end}");
        let commit = end["commit"].as_str().expect("a commit");
        assert!(remote.holds(&["merge-base", "--is-ancestor", commit, "main"]), "{branch}: {end}");
    }
    let twice = told.rejected.iter().find(|(_, times)| **times != 1);
    assert_eq!(twice, None, "a message was rejected more than once");
    let unanswered = (0..is_nonsense.len()).find(|n| is_nonsense[*n] && !told.rejected.contains_key(n));
    assert_eq!(unanswered, None, "a message that cannot be understood was not rejected");
    assert_eq!(told.ends.iter().find(|(_, times)| **times != 1), None, "a request ended more than once");
    assert!(peak < MAX_RESIDENT_KIB, "{peak} KiB resident");
    assert_eq!(flood.daemon.stop().await, Some(0));
}
