use std::collections::{BTreeSet, VecDeque};
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use yardmaster_bus::Bus;
use yardmaster_failpoint::{Point, VARIABLE};

use super::faults::{Fault, HookFault, needs_a_stranger};
use super::hooks::Hooks;
use super::judge::{Announced, Foreign, Rule, Violation};
use super::workload::Act;
use super::{Chance, stranger};
use crate::{Daemon, House};

const FLAGS: [&str; 2] = ["--slots", "3"];
/// A point that was not passed after all this is not passed in this life.
const LONGEST_LIFE: Duration = Duration::from_secs(4);
/// What goes on after the last end: releases, acks, a look at the remote.
const AFTERMATH: Duration = Duration::from_millis(700);
/// By then something is being tested.
const OVERTAKEN: Duration = Duration::from_millis(250);
const SIGKILL: i32 = 9;

/// A round while it lasts.
pub(crate) struct Field {
    pub(crate) house: House,
    pub(crate) bus: Bus,
    pub(crate) hooks: Hooks,
    pub(crate) chance: Chance,
    /// What is still to be said.
    pub(crate) acts: VecDeque<Act>,
    pub(crate) acts_a_fault: usize,
    pub(crate) announced: Vec<Announced>,
    pub(crate) released: BTreeSet<String>,
    pub(crate) ended: watch::Receiver<BTreeSet<String>>,
    pub(crate) foreign: Vec<Foreign>,
    pub(crate) suffered: Vec<(Fault, bool)>,
    pub(crate) troubles: Vec<Violation>,
    pub(crate) left_over: Vec<String>,
    pub(crate) lives: usize,
}

impl Field {
    /// Lets one fault happen while there is work.
    pub(crate) async fn suffer(&mut self, fault: Fault) {
        let happened = match fault {
            Fault::DiesAt(point, nth, held) => {
                self.start_armed(point, nth, held).await;
                self.dies().await
            }
            Fault::NatsDiesAndDiesAt(after, point) => {
                self.start_armed(point, 1, Duration::ZERO).await;
                sleep(after).await;
                self.house.restart_nats().await;
                self.dies().await
            }
            Fault::DiesAfter(after) => {
                self.start(&[]);
                self.say_more().await;
                sleep(after).await;
                self.kill().await
            }
            Fault::NatsDies(after) => {
                self.serve().await;
                self.meanwhile(after).await;
                self.house.restart_nats().await;
                true
            }
            Fault::NatsStops(after, pause) => {
                self.serve().await;
                self.stop_nats(after, pause).await;
                true
            }
            Fault::BothDie(after) => {
                self.serve().await;
                self.meanwhile(after).await;
                let server = self.house.server.as_ref().map(|s| s.pid().to_string()).unwrap_or_default();
                signal("-STOP", &server).await;
                self.kill().await;
                self.house.restart_nats().await;
                true
            }
            Fault::Hook(hook) => self.push_goes_wrong(hook).await,
            Fault::HookAndDies(hook) => {
                let taken = self.push_goes_wrong(hook).await;
                sleep(Duration::from_millis(self.chance.below(120))).await;
                self.kill().await;
                taken
            }
        };
        self.suffered.push((fault, happened));
    }

    fn start(&mut self, env: &[(&str, &str)]) {
        self.lives += 1;
        self.house.daemon = Some(self.house.launch_with(&FLAGS, env));
    }

    /// A daemon that serves, the present one or a new one.
    async fn serve(&mut self) {
        if self.house.daemon.is_none() {
            self.start(&[]);
        }
        if let Some(daemon) = self.house.daemon.as_mut() {
            daemon.ready().await;
        }
    }

    /// A daemon that is to die at a point, with work that leads there.
    async fn start_armed(&mut self, point: Point, nth: u64, held: Duration) {
        let armed = format!("{}:{nth}:{}", point.name(), held.as_millis());
        if self.house.daemon.is_some() {
            self.kill().await;
        }
        self.start(&[(VARIABLE, armed.as_str())]);
        self.say_more().await;
        if needs_a_stranger(point) {
            sleep(OVERTAKEN).await;
            self.stranger_pushes();
        }
    }

    /// Whether it died where it was to.
    async fn dies(&mut self) -> bool {
        let Some(mut daemon) = self.house.daemon.take() else { return false };
        let is_quiet = self.quiet();
        let status = tokio::select! {
            status = daemon.gone() => Some(status),
            () = is_quiet => None,
        };
        self.house.daemon = Some(daemon);
        match status {
            None => {
                self.kill().await;
                false
            }
            Some(status) => {
                self.write_log();
                if status.signal() != Some(SIGKILL) {
                    let log = self.house.log();
                    self.trouble(format!("the daemon ended by itself, {status}:\n{log}"));
                }
                self.house.daemon = None;
                true
            }
        }
    }

    fn trouble(&mut self, seen: String) {
        self.troubles.push(Violation { rule: Rule::EndsAsItMust, seen });
    }

    /// Returns when all that was said has ended and some time more has gone by, or after a long time.
    fn quiet(&self) -> impl Future<Output = ()> + use<> {
        let (mut ended, released) = (self.ended.clone(), self.released.clone());
        async move {
            let quiet = async {
                let _ = ended.wait_for(|ended| released.is_subset(ended)).await;
                sleep(AFTERMATH).await;
            };
            let _ = timeout(LONGEST_LIFE, quiet).await;
        }
    }

    async fn kill(&mut self) -> bool {
        self.write_log();
        match self.house.daemon.take() {
            Some(daemon) => {
                daemon.kill().await;
                true
            }
            None => false,
        }
    }

    fn write_log(&self) {
        let dir = self.house.dir.path().join("lives");
        let _ = std::fs::create_dir_all(&dir);
        let _ = std::fs::write(dir.join(format!("{:02}.log", self.lives)), self.house.log());
    }

    /// Agents go on, and now and then a stranger pushes.
    async fn say_more(&mut self) {
        let count = self.acts_a_fault.min(self.acts.len());
        for act in self.acts.drain(..count).collect::<Vec<_>>() {
            self.say(act).await;
        }
        if self.chance.below(3) == 0 {
            self.stranger_pushes();
        }
    }

    fn stranger_pushes(&mut self) {
        self.foreign.push(stranger::push(&self.house.remote, self.foreign.len()));
    }

    async fn say(&mut self, act: Act) {
        let agent = act.agent.parse().expect("a name");
        let message = act.message.to_string();
        let said = self.bus.client().publish_announcement(&agent, message.as_bytes()).await;
        match said {
            Ok(_) => {
                let branch = act.message["merge_info"]["branch"].as_str().unwrap_or_default();
                self.released.insert(branch.to_owned());
            }
            Err(why) => self.trouble(format!("an agent could not say {message}: {why}")),
        }
    }

    /// Agents go on while something is about to happen.
    async fn meanwhile(&mut self, after: Duration) {
        self.say_more().await;
        sleep(after).await;
    }

    async fn stop_nats(&mut self, after: Duration, pause: Duration) {
        self.meanwhile(after).await;
        let server = self.house.server.as_ref().map(|s| s.pid().to_string()).unwrap_or_default();
        signal("-STOP", &server).await;
        sleep(pause).await;
        signal("-CONT", &server).await;
    }

    /// Whether a push came and went wrong.
    async fn push_goes_wrong(&mut self, hook: HookFault) -> bool {
        let before = self.hooks.taken().len();
        self.hooks.arm(hook);
        self.serve().await;
        self.say_more().await;
        let is_quiet = self.quiet();
        tokio::select! {
            () = self.hooks.more_than(before) => {}
            () = is_quiet => {}
        }
        self.hooks.disarm();
        self.hooks.taken().len() > before
    }

    /// Without any more faults everything ends; then the daemon is stopped, started on what it left, and
    /// stopped again.
    pub(crate) async fn go_on_to_the_end(&mut self, longest: Duration) {
        self.serve().await;
        self.acts_a_fault = self.acts.len();
        self.say_more().await;
        let (mut ended, released) = (self.ended.clone(), self.released.clone());
        // Who has no end by then is found by the judge.
        let _ = timeout(longest, ended.wait_for(|ended| released.is_subset(ended))).await;
        self.stop().await;
        self.start(&[]);
        self.serve().await;
        self.stop().await;
    }

    async fn stop(&mut self) {
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

async fn signal(which: &str, pid: &str) {
    let sent = tokio::process::Command::new("kill").args([which, pid]).status().await;
    assert!(sent.is_ok_and(|s| s.success()), "no signal {which} to {pid}");
}
