use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use yardmaster_queue::Policy;

use crate::happening::Happening;
use crate::settings::Settings;

/// Hands settings that were read again to a daemon that serves, as far as they can change while it does: how
/// the queue is run, the gate and the targets. Several that come together are one.
#[derive(Debug, Clone, Default)]
pub struct Reload {
    latest: watch::Sender<Option<Arc<Policy>>>,
}

impl Reload {
    /// Nothing was read again yet.
    pub fn new() -> Reload {
        Reload::default()
    }

    /// From now on these count. The rest of them (where NATS and the remote are, the slots) does not: a daemon
    /// is that of one remote from its start to its end.
    pub fn replace(&self, settings: Settings) {
        self.latest.send_replace(Some(Arc::new(settings.policy)));
    }

    /// `settings` with what counts now, where something was read again.
    pub(crate) fn applied_to(&self, settings: &Settings) -> Settings {
        let policy = self.latest.borrow().as_deref().unwrap_or(&settings.policy).clone();
        Settings { policy, ..settings.clone() }
    }

    /// Tells the engine of each change from now on.
    pub(crate) fn feed(&self, sender: mpsc::Sender<Happening>) -> JoinHandle<()> {
        let mut latest = self.latest.subscribe();
        tokio::spawn(async move {
            while latest.changed().await.is_ok() {
                let policy = latest.borrow_and_update().clone();
                let Some(policy) = policy else { continue };
                if sender.send(Happening::Reloaded(policy)).await.is_err() {
                    return;
                }
            }
        })
    }
}
