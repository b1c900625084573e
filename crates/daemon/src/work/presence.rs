use std::collections::{BTreeSet, hash_map::RandomState};
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use yardmaster_bus::Bus;
use yardmaster_protocol::{ErrorBody, Label, RUNNER_WIRE, RunId, RunnerBeat, RunnerName};
use yardmaster_runner::{Disk, HostLimits};

use super::{WorkOptions, is_passing};
use crate::crew;
use crate::shutdown::Shutdown;

/// Less than a third of the silence after which the daemon takes a runner for lost.
const BEAT: Duration = Duration::from_secs(2);
/// Short runs do not make a flood of beats.
const LEAST: Duration = Duration::from_millis(200);

/// Runs in a beat; more slots than this are not to be had.
const MOST_TOLD: usize = 1_024;

/// What the daemon knows of this runner.
#[derive(Debug)]
pub(super) struct Presence {
    bus: Bus,
    name: RunnerName,
    life: String,
    labels: BTreeSet<Label>,
    slots: u32,
    host: HostLimits,
    disk: Disk,
    running: Mutex<BTreeSet<RunId>>,
    draining: AtomicBool,
    changed: Notify,
    refused: Mutex<Option<ErrorBody>>,
}

/// A run that is under way until this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    presence: Arc<Presence>,
    run: RunId,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.presence.runs().remove(&self.run);
        self.presence.changed.notify_one();
    }
}

impl Presence {
    pub(super) fn new(bus: &Bus, options: &WorkOptions, disk: &Disk) -> Presence {
        Presence {
            bus: bus.clone(),
            name: options.name.clone(),
            life: format!("{:016x}", RandomState::new().build_hasher().finish()),
            labels: crew::labels(options.labels.clone()),
            slots: options.slots,
            host: options.host,
            disk: disk.clone(),
            running: Mutex::default(),
            draining: AtomicBool::new(false),
            changed: Notify::new(),
            refused: Mutex::default(),
        }
    }

    pub(super) fn labels(&self) -> &BTreeSet<Label> {
        &self.labels
    }

    pub(super) fn name(&self) -> &RunnerName {
        &self.name
    }

    fn runs(&self) -> std::sync::MutexGuard<'_, BTreeSet<RunId>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(self: &Arc<Self>, run: &RunId) -> Running {
        self.runs().insert(run.clone());
        self.changed.notify_one();
        Running { presence: Arc::clone(self), run: run.clone() }
    }

    pub(super) fn running(&self) -> usize {
        self.runs().len()
    }

    fn word(&self) -> RunnerBeat {
        RunnerBeat {
            wire: RUNNER_WIRE,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            runner: self.name.clone(),
            life: self.life.clone(),
            labels: self.labels.clone(),
            slots: self.slots,
            cpu: Some(self.host.cpu),
            mem_bytes: Some(self.host.mem_bytes),
            disk: Some(self.disk.told()),
            running: self.runs().iter().take(MOST_TOLD).cloned().collect(),
            draining: self.draining.load(Ordering::Relaxed),
            leaving: false,
        }
    }

    /// Remembers why this runner is not wanted any more.
    pub(super) fn refuse(&self, why: ErrorBody) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.is_none() {
            tracing::error!(%why, "this runner is not wanted any more");
            *refused = Some(why);
        }
    }

    /// Why this runner is not wanted any more, if it is not.
    pub(super) fn refusal(&self) -> Option<ErrorBody> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says how it is.
    pub(super) async fn beat(&self) -> Result<(), ErrorBody> {
        let orders = self.bus.beat(&self.word()).await?;
        self.bus.learn_needs(orders.needs);
        Ok(())
    }

    /// The last word.
    pub(super) async fn leave(&self) {
        let word = RunnerBeat { leaving: true, ..self.word() };
        if let Err(why) = self.bus.beat(&word).await {
            tracing::debug!(%why, "nobody heard that this runner leaves");
        }
    }

    /// Says how it is until `ended`. A daemon that is away is waited for; one that refuses us has the runner
    /// drain, and is why.
    pub(super) async fn keep(self: Arc<Self>, ended: Shutdown, drain: Shutdown) {
        loop {
            tokio::select! {
                () = ended.asked() => return,
                () = drain.asked(), if !self.draining.load(Ordering::Relaxed) => {
                    self.draining.store(true, Ordering::Relaxed);
                }
                () = sleep(BEAT) => {}
                () = self.changed.notified() => {}
            }
            match self.beat().await {
                Ok(()) => {}
                Err(why) if is_passing(&why) => tracing::debug!(%why, "the daemon is away"),
                Err(why) => {
                    self.refuse(why);
                    drain.ask();
                }
            }
            sleep(LEAST).await;
        }
    }
}
