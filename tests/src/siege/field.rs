use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use yardmaster_bus::Bus;

use super::disk::Disk;
use super::faults::Fault;
use super::hooks::Hooks;
use super::judge::{Rule, Violation};
use super::proxy::Proxy;
use super::record::{Announced, Foreign};
use super::workload::{Act, DELETED, REWRITTEN};
use super::{Chance, stranger};
use crate::{Change, Daemon, House};

const FLAGS: [&str; 2] = ["--slots", "3"];
/// A point that was not passed after all this is not passed in this life.
const LONGEST_LIFE: Duration = Duration::from_secs(4);
/// What goes on after the last end: releases, acks, a look at the remote.
const AFTERMATH: Duration = Duration::from_millis(700);
/// So often an agent says again what was not taken.
const SAID_AGAIN: usize = 20;

/// What the stream has told of branches.
#[derive(Debug, Default)]
pub(crate) struct Branches {
    /// In custody: what becomes of the branch does not matter any more.
    pub(crate) queued: BTreeSet<String>,
    pub(crate) ended: BTreeSet<String>,
}

/// A round while it lasts.
pub(crate) struct Field {
    /// The daemon's and the nats-server's, in a round about disks; they are gone before the house is.
    pub(crate) disks: Vec<Disk>,
    /// Between the daemon and the nats-server, in a round about the network.
    pub(crate) proxy: Option<Proxy>,
    pub(crate) house: House,
    pub(crate) bus: Bus,
    pub(crate) hooks: Hooks,
    pub(crate) chance: Chance,
    /// What is still to be said.
    pub(crate) acts: VecDeque<Act>,
    pub(crate) acts_a_fault: usize,
    pub(crate) announced: Vec<Announced>,
    pub(crate) released: BTreeSet<String>,
    pub(crate) branches: watch::Receiver<Branches>,
    pub(crate) foreign: Vec<Foreign>,
    pub(crate) suffered: Vec<(Fault, bool)>,
    pub(crate) troubles: Vec<Violation>,
    pub(crate) left_over: Vec<String>,
    pub(crate) lives: usize,
    /// How often the daemon ended with an error, where it may.
    pub(crate) gave_up: usize,
    /// How often the nats-server had to be started again, where it may.
    pub(crate) servers: usize,
}

impl Field {
    pub(crate) fn start(&mut self, env: &[(&str, &str)]) {
        self.lives += 1;
        let mut flags = FLAGS.to_vec();
        if let Some(proxy) = &self.proxy {
            flags.extend(["--nats-url", proxy.url.as_str()]);
        }
        // Here the daemon dies of many things, and never of a message.
        let mut all = vec![("YARDMASTER__INTAKE__POISON_AFTER", "1000"), ("YARDMASTER__QUEUE__BATCH", "32")];
        all.extend(env);
        self.house.daemon = Some(self.house.launch_with(&flags, &all));
    }

    /// A daemon that serves, the present one or a new one.
    pub(crate) async fn serve(&mut self) {
        if self.house.daemon.is_none() {
            self.start(&[]);
        }
        if let Some(daemon) = self.house.daemon.as_mut() {
            daemon.ready().await;
        }
    }

    pub(crate) fn trouble(&mut self, seen: String) {
        self.troubles.push(Violation { rule: Rule::EndsAsItMust, seen });
    }

    /// Returns when all that was said has ended and some time more has gone by, or after a long time.
    pub(crate) fn quiet(&self) -> impl Future<Output = ()> + use<> {
        let (mut branches, released) = (self.branches.clone(), self.released.clone());
        async move {
            let quiet = async {
                let _ = branches.wait_for(|b| released.is_subset(&b.ended)).await;
                sleep(AFTERMATH).await;
            };
            let _ = timeout(LONGEST_LIFE, quiet).await;
        }
    }

    pub(crate) async fn kill(&mut self) -> bool {
        self.write_log();
        match self.house.daemon.take() {
            Some(daemon) => {
                daemon.kill().await;
                true
            }
            None => false,
        }
    }

    pub(crate) fn write_log(&self) {
        let dir = self.house.dir.path().join("lives");
        let _ = std::fs::create_dir_all(&dir);
        let _ = std::fs::write(dir.join(format!("{:02}.log", self.lives)), self.house.log());
    }

    /// Agents go on, and now and then a stranger pushes.
    pub(crate) async fn say_more(&mut self) {
        self.agents_tidy_up();
        let count = self.acts_a_fault.min(self.acts.len());
        for _ in 0..count {
            let Some(act) = self.acts.pop_front() else { break };
            if let Err(why) = self.say(&act).await {
                // On a full disk it is not taken, and said again later.
                if self.disks.is_empty() {
                    self.trouble(why);
                }
                self.acts.push_front(act);
                break;
            }
        }
        if self.chance.below(3) == 0 {
            self.stranger_pushes();
        }
    }

    /// Once it is in custody, one branch is deleted and one is rewritten: both land as they were announced.
    fn agents_tidy_up(&mut self) {
        let is_queued = |branch: &str| self.branches.borrow().queued.contains(branch);
        let (deleted, rewritten) = (is_queued(DELETED), is_queued(REWRITTEN));
        let remote = &self.house.remote;
        if deleted && remote.holds(&["rev-parse", "-q", "--verify", &format!("refs/heads/{DELETED}")]) {
            remote.git(&["update-ref", "-d", &format!("refs/heads/{DELETED}")]);
        }
        if rewritten {
            let files = [("red", Some("rewritten, and red\n"))];
            remote.commit(&Change { branch: REWRITTEN, from: Some("main"), files: &files });
        }
    }

    pub(crate) fn stranger_pushes(&mut self) {
        self.foreign.push(stranger::push(&self.house.remote, self.foreign.len()));
    }

    async fn say(&mut self, act: &Act) -> Result<(), String> {
        let agent = act.agent.parse().expect("a name");
        let message = act.message.to_string();
        let said = self.bus.client().publish_announcement(&agent, message.as_bytes()).await;
        said.map_err(|why| format!("an agent could not say {message}: {why}"))?;
        let branch = act.message["merge_info"]["branch"].as_str().unwrap_or_default();
        self.released.insert(branch.to_owned());
        Ok(())
    }

    /// Whether everything that was said ends within this.
    pub(crate) async fn ends_within(&self, longest: Duration) -> bool {
        let (mut branches, released) = (self.branches.clone(), self.released.clone());
        timeout(longest, branches.wait_for(|b| released.is_subset(&b.ended))).await.is_ok()
    }

    /// Without any more faults everything ends; then the daemon is stopped, started on what it left, and
    /// stopped again.
    pub(crate) async fn go_on_to_the_end(&mut self, longest: Duration) {
        self.serve().await;
        for _ in 0..SAID_AGAIN {
            self.acts_a_fault = self.acts.len();
            self.say_more().await;
            if self.acts.is_empty() {
                break;
            }
        }
        self.agents_tidy_up();
        // Who has no end by then is found by the judge.
        self.ends_within(longest).await;
        self.stop().await;
        self.start(&[]);
        self.serve().await;
        self.stop().await;
    }

    pub(crate) async fn stop(&mut self) {
        let Some(daemon) = self.house.daemon.as_ref() else { return };
        let pid = daemon.pid().to_string();
        signal("-TERM", &pid).await;
        let code = match self.house.daemon.as_mut() {
            Some(daemon) => timeout(crate::PATIENCE, daemon.gone()).await.ok().and_then(|s| s.code()),
            None => None,
        };
        self.write_log();
        if code != Some(0) {
            self.trouble(format!("asked to stop the daemon ended with {code:?}:\n{}", self.house.log()));
        }
        self.house.daemon = None;
    }

    /// A daemon with a server of its own is killed and started again: there is one server then, and none
    /// when it has stopped.
    pub(crate) async fn look_for_servers_left_behind(&mut self) {
        let dir = self.house.dir.path().join("alone").to_string_lossy().into_owned();
        let flags = ["--nats-url", "embedded", "--state-dir", dir.as_str()];
        let mut first: Daemon = self.house.launch(&flags);
        first.ready().await;
        first.kill().await;
        let mut second = self.house.launch(&flags);
        second.ready().await;
        let running = self.servers_of(&dir);
        if running.len() != 1 {
            self.left_over
                .push(format!("after a kill there are {} embedded servers: {running:?}", running.len()));
        }
        second.stop().await;
        self.left_over.extend(self.servers_of(&dir));
    }

    fn servers_of(&self, dir: &str) -> Vec<String> {
        let is_server = |p: &String| p.contains("nats-server") && p.contains(dir) && !p.contains(" serve ");
        self.house.processes().into_iter().filter(is_server).collect()
    }
}

pub(crate) async fn signal(which: &str, pid: &str) {
    let sent = tokio::process::Command::new("kill").args([which, pid]).status().await;
    assert!(sent.is_ok_and(|s| s.success()), "no signal {which} to {pid}");
}
