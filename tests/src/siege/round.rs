use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use yardmaster_bus::{Bus, BusOptions, EventStart, EventStream};

use super::disk::Disk;
use super::faults::{Fault, Kind};
use super::field::{Branches, Field};
use super::hooks::Hooks;
use super::judge::{Rule, Violation, judge};
use super::plan::Plan;
use super::proxy::Proxy;
use super::workload::{self, Workload};
use super::{Chance, evidence};
use crate::House;

/// Everything that was announced has to end within this after the last fault.
const LONGEST_END: Duration = Duration::from_secs(60);

/// How a round came out.
#[derive(Debug)]
pub struct RoundEnd {
    /// What was planned.
    pub plan: Plan,
    /// Each fault, and whether it came to pass.
    pub faults: Vec<(Fault, bool)>,
    /// What was broken; empty: nothing.
    pub violations: Vec<Violation>,
    /// Ends of requests by type without `merge_`.
    pub ends: Vec<String>,
    /// Commits whose gate was run once more.
    pub commits: usize,
    /// Pushes past the queue.
    pub foreign: usize,
    /// How often the daemon said what is wrong and ended, on a full disk.
    pub gave_up: usize,
    /// How often a nats-server had to be started again after its disk was full.
    pub servers: usize,
    /// Everything on disk, kept when something was broken.
    pub dir: Option<PathBuf>,
    /// How long it took.
    pub took: Duration,
}

/// The program with failpoints: `YARDMASTER_FAILPOINTS_BIN`, else what cargo builds from here into a
/// directory of its own, so that nobody else has to build again.
///
/// # Panics
/// When it cannot be built.
pub fn armed_program() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        if let Some(path) = std::env::var_os("YARDMASTER_FAILPOINTS_BIN") {
            return PathBuf::from(path);
        }
        let target = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/siege");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "yardmaster", "--features", "failpoints", "--target-dir"])
            .arg(&target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.is_ok_and(|s| s.success()), "the program with failpoints could not be built");
        target.join("debug").join("yardmaster")
    };
    BUILT.get_or_init(build).clone()
}

/// Carries one round out and judges it.
pub async fn run(plan: Plan) -> RoundEnd {
    let began = Instant::now();
    let mut field = take_the_field(&plan).await;
    let dir = field.house.dir.path().to_owned();
    for fault in plan.faults.clone() {
        field.suffer(fault).await;
    }
    field.go_on_to_the_end(LONGEST_END).await;
    field.look_for_servers_left_behind().await;
    let mut evidence = evidence::collect(&field.house, field.announced.clone(), field.foreign.clone()).await;
    evidence.declined = field.hooks.taken().iter().filter(|h| h.ends_with("declines")).count();
    evidence.left_over.append(&mut field.left_over);
    let mut violations = judge(&evidence);
    violations.append(&mut field.troubles);
    let types = evidence.events.iter().filter_map(|m| m.event["type"].as_str());
    let ends: Vec<String> = types.map(|t| t.trim_start_matches("merge_").to_owned()).collect();
    let dir = (!violations.is_empty()).then_some(dir);
    if let Some(dir) = &dir {
        field.disks.iter().for_each(Disk::keep);
        let told: String = evidence.events.iter().map(|m| format!("{}\n", m.event)).collect();
        let _ = std::fs::write(dir.join("events.jsonl"), told);
        let _ = std::fs::write(dir.join("violations.txt"), format!("{plan:#?}\n{violations:#?}\n"));
    } else {
        field.house.dir.disable_cleanup(false);
    }
    RoundEnd {
        faults: field.suffered,
        violations,
        ends,
        commits: evidence.main.len(),
        foreign: evidence.foreign.len(),
        gave_up: field.gave_up,
        servers: field.servers,
        dir,
        took: began.elapsed(),
        plan,
    }
}

/// A house of its own with everything ready, and nothing announced yet.
async fn take_the_field(plan: &Plan) -> Field {
    let mut chance = Chance::new(plan.seed);
    let mut house = workload::house().await;
    // A round that breaks off is to be looked at.
    house.dir.disable_cleanup(true);
    house.program = Some(armed_program());
    let disks = if plan.kind == Kind::Disk { small_disks(&mut house).await } else { Vec::new() };
    let proxy = match plan.kind {
        Kind::Network => Some(Proxy::start(address(&house.url)).await),
        _ => None,
    };
    let work = Workload::prepare(&house, &mut chance, plan.kind != Kind::Remote);
    let hooks = Hooks::install(&house.remote);
    let options = BusOptions { url: house.url.clone(), ..BusOptions::default() };
    let bus = Bus::connect(options).await.expect("connected");
    bus.ensure_streams().await.expect("streams");
    let events = bus.client().events(EventStart::All).await.expect("a stream");
    Field {
        branches: watch_branches(events),
        acts_a_fault: work.acts.len().div_ceil(plan.faults.len().max(1)),
        acts: VecDeque::from(work.acts),
        announced: work.announced,
        released: BTreeSet::new(),
        foreign: Vec::new(),
        suffered: Vec::new(),
        troubles: Vec::new(),
        left_over: Vec::new(),
        lives: 0,
        gave_up: 0,
        servers: 0,
        disks,
        proxy,
        hooks,
        bus,
        chance,
        house,
    }
}

/// The state directory and the server's store, each on a disk that is soon full.
async fn small_disks(house: &mut House) -> Vec<Disk> {
    let mount =
        |at: &std::path::Path| Disk::mount(at).unwrap_or_else(|why| panic!("nothing can be mounted: {why}"));
    let disks = vec![mount(&house.state_dir()), mount(&house.dir.path().join("nats"))];
    // It still has its files on the old one.
    house.restart_nats().await;
    disks
}

fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("nats://").parse().expect("a server of ours is on loopback")
}

/// The branches that are in custody and those that have ended, as far as the stream tells.
fn watch_branches(mut events: EventStream) -> watch::Receiver<Branches> {
    let (told, branches) = watch::channel(Branches::default());
    tokio::spawn(async move {
        while let Ok(streamed) = events.next().await {
            let is_end = streamed.event.is_some_and(|e| e.body.is_terminal());
            let is_queued = streamed.payload["type"] == "merge_queued";
            let Some(branch) = streamed.payload["branch"].as_str() else { continue };
            told.send_if_modified(|branches| {
                if is_queued {
                    branches.queued.insert(branch.to_owned());
                }
                if is_end {
                    branches.ended.insert(branch.to_owned());
                }
                is_queued || is_end
            });
        }
    });
    branches
}

impl RoundEnd {
    /// A round that broke off in the harness or in a panic of it.
    pub fn broken_off(plan: Plan, why: &str) -> RoundEnd {
        let seen = format!("the round broke off: {why}");
        RoundEnd {
            faults: Vec::new(),
            violations: vec![Violation { rule: Rule::NothingIsLost, seen }],
            ends: Vec::new(),
            commits: 0,
            foreign: 0,
            gave_up: 0,
            servers: 0,
            dir: None,
            took: Duration::ZERO,
            plan,
        }
    }
}
