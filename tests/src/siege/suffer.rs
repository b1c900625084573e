use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use tokio::time::sleep;
use yardmaster_failpoint::{Point, VARIABLE};

use super::faults::{Fault, HookFault, NetFault};
use super::field::{Field, signal};
use super::points::needs_a_stranger;

/// By then something is being tested.
const OVERTAKEN: Duration = Duration::from_millis(250);
const SIGKILL: i32 = 9;

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
            Fault::Network(what, after, lasts) => self.way_goes_wrong(what, after, lasts, false).await,
            Fault::NetworkAndDies(what, after, lasts) => self.way_goes_wrong(what, after, lasts, true).await,
            Fault::DiskFull(which, after, lasts) => self.disk_is_full(which, after, lasts).await,
        };
        self.suffered.push((fault, happened));
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

    /// Agents go on while something is about to happen.
    pub(crate) async fn meanwhile(&mut self, after: Duration) {
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

    /// Whether anything noticed what went wrong on the way to the server.
    async fn way_goes_wrong(&mut self, what: NetFault, after: Duration, lasts: Duration, dies: bool) -> bool {
        self.serve().await;
        self.meanwhile(after).await;
        let Some(proxy) = &self.proxy else { return false };
        let before = proxy.touched();
        match what {
            NetFault::Cut => proxy.cut(),
            NetFault::Refused => proxy.close(),
            NetFault::Slow => proxy.slow(Duration::from_millis(self.chance.between(3, 60))),
            NetFault::Blocked | NetFault::BlockedThenCut => proxy.block(true, true),
            NetFault::BlockedUp => proxy.block(true, false),
            NetFault::BlockedDown => proxy.block(false, true),
        }
        sleep(lasts / 2).await;
        if dies {
            self.kill().await;
            self.start(&[]);
        }
        self.say_more().await;
        sleep(lasts / 2).await;
        if let Some(proxy) = &self.proxy {
            if what == NetFault::BlockedThenCut {
                proxy.cut();
            }
            proxy.heal();
            return proxy.touched() > before;
        }
        false
    }
}
