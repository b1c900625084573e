use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::happening::Happening;
use crate::settings::Settings;

/// Hands settings that were read again to a daemon that serves. Several that come together are one.
#[derive(Debug, Clone, Default)]
pub struct Reload {
    latest: watch::Sender<Option<Arc<Settings>>>,
}

impl Reload {
    /// Nothing was read again yet.
    pub fn new() -> Reload {
        Reload::default()
    }

    /// From now on these count, as far as they can change: how the queue is run, the gate and the targets.
    pub fn replace(&self, settings: Settings) {
        self.latest.send_replace(Some(Arc::new(settings)));
    }

    /// What counts now, where something was read again.
    pub(crate) fn latest(&self) -> Option<Arc<Settings>> {
        self.latest.borrow().clone()
    }

    /// Tells the engine of each change from now on.
    pub(crate) fn feed(&self, sender: mpsc::Sender<Happening>) -> JoinHandle<()> {
        let mut latest = self.latest.subscribe();
        tokio::spawn(async move {
            while latest.changed().await.is_ok() {
                let settings = latest.borrow_and_update().clone();
                let Some(settings) = settings else { continue };
                if sender.send(Happening::Reloaded(settings)).await.is_err() {
                    return;
                }
            }
        })
    }
}
