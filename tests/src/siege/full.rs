use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::disk::Disk;
use super::faults::Full;
use super::field::Field;

/// What a supervisor waits before it starts a daemon again that ended.
const RESTART: Duration = Duration::from_millis(300);
/// So often it may end by itself after its disk has room again.
const LAST_ENDS: usize = 3;
/// A server that has not gone on by itself after this is started again.
const SERVER_GOES_ON: Duration = Duration::from_secs(4);

impl Field {
    /// Whether the daemon noticed that a disk was full. It may end with an error, and is started again.
    pub(crate) async fn disk_is_full(&mut self, which: Full, after: Duration, lasts: Duration) -> bool {
        self.serve().await;
        self.meanwhile(after).await;
        let told_before = self.told().len();
        let until = Instant::now() + lasts;
        if let Some(disk) = self.disk(which) {
            disk.fill();
        }
        self.say_more().await;
        self.supervise(until).await;
        if let Some(disk) = self.disk(which) {
            disk.free();
        }
        if which == Full::Store {
            self.server_goes_on().await;
        }
        self.comes_up_again().await;
        let told = self.told();
        let told = told.get(told_before..).unwrap_or_default().to_lowercase();
        ["no space left", "was not written", "wait for nats", "waits for nats"]
            .iter()
            .any(|words| told.contains(words))
    }

    fn disk(&self, which: Full) -> Option<&Disk> {
        match which {
            Full::State => self.disks.first(),
            Full::Store => self.disks.get(1),
        }
    }

    /// What all lives so far printed, one after the other.
    fn told(&self) -> String {
        let dir = self.house.dir.path().join("lives");
        let past = (1..self.lives).map(|n| std::fs::read_to_string(dir.join(format!("{n:02}.log"))));
        past.flatten().chain([self.house.log()]).collect()
    }

    /// Starts the daemon again whenever it ends, until `until`.
    async fn supervise(&mut self, until: Instant) {
        while Instant::now() < until {
            let Some(daemon) = self.house.daemon.as_mut() else { return };
            if timeout_at(until, daemon.gone()).await.is_ok() {
                self.note_its_end().await;
                sleep(RESTART).await;
                self.start(&[]);
            }
        }
    }

    /// An end is let pass when it says why.
    async fn note_its_end(&mut self) {
        let Some(mut daemon) = self.house.daemon.take() else { return };
        let (code, log) = daemon.ended().await;
        self.house.daemon = Some(daemon);
        self.write_log();
        self.house.daemon = None;
        self.gave_up += 1;
        if !log.lines().any(|line| line.starts_with("error:")) || code.is_none_or(|code| code == 0) {
            self.trouble(format!(
                "on a full disk the daemon ended with {code:?} and did not say why:\n{log}"
            ));
        }
    }

    /// With room on the disk it serves; one that had already met the error may still end by it.
    async fn comes_up_again(&mut self) {
        for _ in 0..=LAST_ENDS {
            if self.house.daemon.is_none() {
                self.start(&[]);
            }
            let Some(daemon) = self.house.daemon.as_mut() else { return };
            daemon.ready_or_ended().await;
            if timeout(RESTART, daemon.gone()).await.is_err() {
                return;
            }
            self.note_its_end().await;
        }
        self.trouble(format!("the disk has room and the daemon does not serve:\n{}", self.told()));
    }

    /// A server that shut its streams away is started again, as its operator would.
    async fn server_goes_on(&mut self) {
        let js = async_nats::jetstream::new(self.house.nats.clone());
        let is_up = js.query_account().await.is_ok();
        if is_up {
            self.comes_up_again().await;
            self.say_more().await;
            if self.ends_within(SERVER_GOES_ON).await && self.lease_is_written(&js).await {
                return;
            }
        }
        self.servers += 1;
        self.house.restart_nats().await;
    }

    /// Whether the lease's bucket takes something, under a name that nobody looks at.
    async fn lease_is_written(&self, js: &async_nats::jetstream::Context) -> bool {
        let Ok(lease) = js.get_key_value("yardmaster-lease-default").await else { return false };
        lease.put("siege", "".into()).await.is_ok()
    }
}
