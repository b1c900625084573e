use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::CliError;

/// The two ways to be asked to stop.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn listen() -> Result<Signals, CliError> {
        let listen = |kind| {
            signal(kind).map_err(|why| CliError::Unexpected(format!("cannot listen for signals: {why}")))
        };
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// The next one. Safe to drop at any point.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The wish that the configuration is read again.
pub(crate) struct Hangups(Signal);

impl Hangups {
    pub(crate) fn listen() -> Result<Hangups, CliError> {
        let listened = signal(SignalKind::hangup());
        listened.map(Hangups).map_err(|why| CliError::Unexpected(format!("cannot listen for signals: {why}")))
    }

    /// The next one. Safe to drop at any point.
    pub(crate) async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// Does `work` unless Ctrl-C comes first; dropped then, it restores what it changed on the screen.
pub(crate) async fn interruptible<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let mut signals = Signals::listen()?;
    tokio::select! {
        done = work => done,
        () = signals.next() => Err(CliError::Interrupted),
    }
}
