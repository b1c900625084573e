use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::happening::Happening;
use crate::rules::Rules;
use crate::settings::Settings;

/// Hands settings that were read again to a daemon that serves, as far as they can change while it does: how
/// the queue is run, the gate and the targets. Several that come together are one.
#[derive(Debug, Clone, Default)]
pub struct Reload {
    latest: watch::Sender<Option<Arc<Rules>>>,
}

impl Reload {
    /// Nothing was read again yet.
    pub fn new() -> Reload {
        Reload::default()
    }

    /// From now on these count. The rest of them (where NATS and the remote are, the slots) does not: a daemon
    /// is that of one remote from its start to its end.
    pub fn replace(&self, settings: &Settings) {
        self.latest.send_replace(Some(Arc::new(settings.rules())));
    }

    /// `settings` with what counts now, where something was read again.
    pub(crate) fn applied_to(&self, settings: &Settings) -> Settings {
        let latest = self.latest.borrow().as_deref().cloned();
        let Rules { policy, window_min, window_max } = latest.unwrap_or_else(|| settings.rules());
        Settings { policy, window_min, window_max, ..settings.clone() }
    }

    /// Tells the engine of each change from now on.
    pub(crate) fn feed(&self, sender: mpsc::Sender<Happening>) -> JoinHandle<()> {
        let mut latest = self.latest.subscribe();
        tokio::spawn(async move {
            while latest.changed().await.is_ok() {
                let rules = latest.borrow_and_update().clone();
                let Some(rules) = rules else { continue };
                if sender.send(Happening::Reloaded(rules)).await.is_err() {
                    return;
                }
            }
        })
    }
}
