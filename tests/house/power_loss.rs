use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use yardmaster_bus::{Bus, BusOptions, EventStart};
use yardmaster_tests::siege::Chance;
use yardmaster_tests::{
    Change, Disk, Events, House, Message, PATIENCE, PROJECT, PlainServer, Remote, announcement,
};

const GATE: &str = "#!/bin/sh\nsleep 0.05\n[ ! -e red ]\n";
const PLAIN: usize = 20;
const RED: &str = "ann/red";
const FLAGS: [&str; 2] = ["--slots", "2"];

/// What a server of somebody is told about syncing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sync {
    Always,
    Default,
}

/// Where the repository is that is landed in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// On the disk of the machine whose power goes, and told to sync what it takes.
    Same,
    /// On another machine.
    Other,
}

/// A machine whose power can go.
struct Machine {
    house: House,
    server: Option<PlainServer>,
    disk: Disk,
    /// Not on the disk: copies of it, and what does not lose power.
    beside: TempDir,
    sync: Sync,
    place: Place,
}

/// The power goes.
struct Loss {
    image: PathBuf,
    remote: PathBuf,
    /// Branches that JetStream had taken by then.
    acked: BTreeSet<String>,
    /// Those of them that had been taken into custody.
    queued: BTreeSet<String>,
    /// The ends that had been told by then.
    told: BTreeMap<String, Value>,
}

impl Machine {
    async fn build(sync: Sync, place: Place) -> Result<Machine, String> {
        let (dir, beside) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("another"));
        let disk = Disk::make(&beside.path().join("disk"), dir.path())?;
        let remote = match place {
            Place::Same => Remote::create(&dir.path().join("remote.git")),
            Place::Other => Remote::create(&beside.path().join("remote.git")),
        };
        remote.git(&["config", "core.fsync", "all"]);
        let (house, server) = on(dir, remote, sync).await;
        let files = [("gate.sh", Some(GATE)), (".yardmaster.toml", Some(PROJECT))];
        house.remote.commit(&Change { branch: "main", from: None, files: &files });
        for branch in branches() {
            let file = if branch == RED { "red" } else { branch.as_str() };
            house.branch(&branch, &[(file, "x\n")]);
        }
        let quiet = Command::new("sync").arg("-f").arg(house.dir.path()).status();
        assert!(quiet.is_ok_and(|s| s.success()));
        Ok(Machine { house, server: Some(server), disk, beside, sync, place })
    }

    /// Everything stands still while the disk is copied.
    async fn photograph(&self, nth: usize, acked: &Mutex<BTreeSet<String>>) -> Loss {
        let daemon = self.house.daemon.as_ref().map(|d| d.pid()).expect("it runs");
        let server = self.server.as_ref().map(PlainServer::pid).expect("it runs");
        freeze(daemon);
        freeze(server);
        let mut others: BTreeSet<u32> = BTreeSet::new();
        // Who stands still has no more children.
        loop {
            let all = self.house.processes();
            let all = all.iter().filter_map(|p| p.split(' ').next()?.parse().ok());
            let new: Vec<u32> = all.filter(|p| *p != server && !others.contains(p)).collect();
            if new.is_empty() {
                break;
            }
            new.iter().for_each(|p| freeze(*p));
            others.extend(new);
        }
        // What was on its way to us has been promised, too.
        tokio::time::sleep(Duration::from_millis(30)).await;
        let image = self.beside.path().join(format!("image{nth}"));
        let remote = self.beside.path().join(format!("remote{nth}.git"));
        self.disk.photograph(&image);
        if self.place == Place::Other {
            copy(self.house.remote.path(), &remote);
        }
        let acked = acked.lock().expect("nobody panics here").clone();
        let messages = self.house.events.messages();
        let queued = messages.iter().filter(|m| m.event["type"] == "merge_queued");
        let queued = queued.filter_map(|m| m.event["branch"].as_str().map(str::to_owned));
        let queued = queued.filter(|branch| acked.contains(branch)).collect();
        let loss = Loss { image, remote, acked, queued, told: ends(&messages) };
        for process in others.iter().chain([&server, &daemon]) {
            signal("-CONT", *process);
        }
        loss
    }

    /// Everything dies, and comes up again with what the disk has.
    async fn power_comes_back(self, loss: &Loss) -> Machine {
        let Machine { mut house, server, mut disk, beside, sync, place } = self;
        if house.daemon.is_some() {
            house.kill().await;
        }
        if let Some(server) = server {
            server.kill().await;
        }
        for process in house.processes() {
            process.split(' ').next().map(|pid| signal("-KILL", pid.parse().expect("a number")));
        }
        let House { remote, dir, .. } = house;
        disk.replace(&loss.image).expect("mounted");
        if place == Place::Other {
            std::fs::remove_dir_all(remote.path()).expect("removed");
            copy(&loss.remote, remote.path());
        }
        // A push that was cut off leaves a lock; who owns the remote removes it.
        let unlocked = Command::new("find").arg(remote.path()).args(["-name", "*.lock", "-delete"]).status();
        assert!(unlocked.is_ok_and(|s| s.success()));
        // What is in custody is needed there no more.
        for branch in &loss.queued {
            remote.git(&["update-ref", "-d", &format!("refs/heads/{branch}")]);
        }
        remote.git(&["gc", "--quiet", "--prune=now"]);
        let (house, server) = on(dir, remote, sync).await;
        Machine { house, server: Some(server), disk, beside, sync, place }
    }
}

async fn on(dir: TempDir, remote: Remote, sync: Sync) -> (House, PlainServer) {
    let store = dir.path().join("nats");
    let synced = if sync == Sync::Always { "sync_interval: always" } else { "" };
    let config = format!(
        "max_payload: 8MB\nlog_file: \"{store}/log\"\njetstream {{ store_dir: \"{store}\"\n{synced} }}",
        store = store.display()
    );
    let server = PlainServer::start(&store, &config).await;
    let url = server.url.clone();
    let nats = async_nats::connect(&url).await.expect("connected");
    let events = Events::listen(&nats).await;
    (House { daemon: None, events, nats, remote, url, server: None, program: None, dir }, server)
}

fn branches() -> Vec<String> {
    let mut branches: Vec<String> = (0..PLAIN).map(|n| format!("ann/{n}")).collect();
    branches.insert(PLAIN / 2, RED.to_owned());
    branches
}

fn signal(which: &str, pid: u32) -> bool {
    Command::new("kill").args([which, &pid.to_string()]).output().is_ok_and(|o| o.status.success())
}

/// Returns once it stands still, or has ended.
fn freeze(pid: u32) {
    signal("-STOP", pid);
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(") ").next()?.chars().next()
    };
    while !matches!(state(), None | Some('T' | 'Z' | 'X')) {
        std::thread::yield_now();
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.is_ok_and(|s| s.success()), "{} was not copied", from.display());
}

fn ends(messages: &[Message]) -> BTreeMap<String, Value> {
    let terminal = ["merge_complete", "merge_failed"];
    let events = messages.iter().map(|m| &m.event);
    let ends = events.filter(|e| terminal.iter().any(|t| e["type"] == *t));
    ends.map(|e| (e["branch"].as_str().unwrap_or_default().to_owned(), e.clone())).collect()
}

/// Announces branches one after the other; what the stream has taken is told in `acked`.
async fn announce(url: String, branches: Vec<String>, pause: Duration, acked: Arc<Mutex<BTreeSet<String>>>) {
    let options = BusOptions { url, ..BusOptions::default() };
    let bus = Bus::connect(options).await.expect("connected");
    for branch in branches {
        let message = announcement("ann", &branch, &json!({})).to_string();
        let agent = "ann".parse().expect("a name");
        bus.client().publish_announcement(&agent, message.as_bytes()).await.expect("published");
        acked.lock().expect("nobody panics here").insert(branch);
        tokio::time::sleep(pause).await;
    }
}

/// Waits until these have ended, or until nothing came for the time; returns all ends.
async fn wait_for(house: &House, branches: &BTreeSet<String>, patience: Duration) -> BTreeMap<String, Value> {
    let options = BusOptions { url: house.url.clone(), ..BusOptions::default() };
    let bus = Bus::connect(options).await.expect("connected");
    let mut stream = bus.client().events(EventStart::All).await.expect("a stream");
    let mut seen = BTreeMap::new();
    while !branches.iter().all(|b| seen.contains_key(b)) {
        let Ok(next) = tokio::time::timeout(patience, stream.next()).await else { break };
        let event = next.expect("an event");
        if event.event.is_some_and(|e| e.body.is_terminal()) {
            seen.insert(event.payload["branch"].as_str().unwrap_or_default().to_owned(), event.payload);
        }
    }
    seen
}

/// How many cuts are tried in all, six a run: `POWER_CUTS=60` for more than the usual.
fn cuts() -> usize {
    std::env::var("POWER_CUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(6)
}

/// The disk at some moments of one run under load.
async fn losses(
    sync: Sync,
    place: Place,
    chance: &mut Chance,
    count: usize,
) -> Result<(Machine, Vec<Loss>), String> {
    let mut machine = Machine::build(sync, place).await?;
    machine.house.start(&FLAGS).await;
    let acked = Arc::new(Mutex::new(BTreeSet::new()));
    let pause = Duration::from_millis(40);
    let agent = announce(machine.house.url.clone(), branches(), pause, Arc::clone(&acked));
    let agent = tokio::spawn(agent);
    let mut losses = Vec::new();
    for nth in 0..count {
        tokio::time::sleep(Duration::from_millis(chance.below(500))).await;
        losses.push(machine.photograph(nth, &acked).await);
    }
    agent.await.expect("announced");
    Ok((machine, losses))
}

/// Cuts the power again and again; each time everything that had been acked ends as it must, what had been
/// told stays told, and what is told is on the target.
async fn nothing_is_lost(place: Place) {
    for (seed, count) in (0..cuts()).step_by(6).map(|done| (done as u64, 6.min(cuts() - done))) {
        let mut chance = Chance::new(seed);
        let (mut machine, losses) = match losses(Sync::Always, place, &mut chance, count).await {
            Ok(made) => made,
            Err(why) => return eprintln!("SKIPPED: power cannot be cut here, nothing was tried: {why}"),
        };
        for (nth, loss) in losses.iter().enumerate() {
            machine = machine.power_comes_back(loss).await;
            goes_on(&mut machine, loss, &format!("seed {seed}, cut {nth}")).await;
        }
    }
}

async fn goes_on(machine: &mut Machine, loss: &Loss, cut: &str) {
    machine.house.start(&FLAGS).await;
    // What had been acked is not announced again; what had not is, as agents do.
    let (rest, all) = (Arc::default(), branches().into_iter().collect());
    let unheard = branches().into_iter().filter(|b| !loss.acked.contains(b)).collect();
    announce(machine.house.url.clone(), unheard, Duration::ZERO, rest).await;
    let found = wait_for(&machine.house, &all, PATIENCE / 2).await;
    let missing: Vec<_> = all.iter().filter(|b| !found.contains_key(*b)).collect();
    println!("{cut}: {} of {} were acked and {} ended", loss.acked.len(), all.len(), loss.told.len());
    assert_eq!(missing, Vec::<&String>::new(), "{cut}:\n{}", machine.house.log());
    for (branch, end) in &found {
        let wanted = if branch == RED { "merge_failed" } else { "merge_complete" };
        assert_eq!(end["type"], wanted, "{cut}: {end}\n{}", machine.house.log());
    }
    for (branch, told) in &loss.told {
        assert_eq!(found.get(branch), Some(told), "{cut}: {branch} was told otherwise");
    }
    assert_eq!(machine.house.stop().await, Some(0));
    machine.house.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acked_before_a_power_cut_is_finished_after_it() {
    nothing_is_lost(Place::Other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acked_is_finished_when_the_remote_loses_power_too() {
    nothing_is_lost(Place::Same).await;
}

/// With a server's defaults an ack is no promise: this counts, and promises nothing.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a figure, not a promise"]
async fn what_a_server_with_its_defaults_loses() {
    let (mut acked, mut lost, mut refused) = (0, 0, 0);
    for (seed, count) in (0..cuts()).step_by(6).map(|done| (done as u64, 6.min(cuts() - done))) {
        let mut chance = Chance::new(seed);
        let made = losses(Sync::Default, Place::Other, &mut chance, count).await;
        let (mut machine, losses) = made.expect("disks can be mounted here");
        for loss in &losses {
            machine = machine.power_comes_back(loss).await;
            acked += loss.acked.len();
            let daemon = machine.house.launch(&FLAGS);
            daemon.ready_or_ended().await;
            if !daemon.log().contains("\nready ") && !daemon.log().starts_with("ready ") {
                println!("{}", daemon.log().lines().last().unwrap_or_default());
                refused += 1;
                lost += loss.acked.len();
                continue;
            }
            machine.house.daemon = Some(daemon);
            let found = wait_for(&machine.house, &loss.acked, Duration::from_secs(5)).await;
            lost += loss.acked.iter().filter(|b| !found.contains_key(*b)).count();
        }
    }
    println!("{} cuts: {lost} of {acked} acked requests lost, {refused} times no start", cuts());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_tells_what_it_knows_of_its_servers_durability() {
    let mut house = House::build().await;
    house.start(&[]).await;
    assert!(house.log().contains("set `sync_interval: always` in its `jetstream` block"), "{}", house.log());
    assert_eq!(house.stop().await, Some(0));
    house.start(&["--nats-url", "embedded"]).await;
    assert!(house.log().contains("the embedded nats-server syncs every message"), "{}", house.log());
    assert_eq!(house.stop().await, Some(0));
}
