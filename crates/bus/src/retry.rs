use std::time::Duration;

use tokio::time::Instant;

use crate::BusError;
use crate::bus::Inner;
use crate::error::away;

/// How long a call goes on trying when the server is away.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// What one try can end with besides success.
pub(crate) enum Fault {
    /// The server is away, starts, or elects a leader: try again.
    Passing(String),
    /// Trying again cannot help.
    Final(BusError),
}

/// What the client reports is passing unless it is recognised as something else.
impl<E: std::error::Error> From<E> for Fault {
    fn from(error: E) -> Fault {
        Fault::Passing(error.to_string())
    }
}

/// Tries until it works, something final happens or `patience` is over.
pub(crate) async fn until<T, F: Future<Output = Result<T, Fault>>>(
    inner: &Inner,
    what: &'static str,
    patience: Duration,
    // No `AsyncFnMut`: its futures cannot be shown to be `Send`, and callers spawn them.
    mut attempt: impl FnMut() -> F,
) -> Result<T, BusError> {
    let deadline = Instant::now() + patience;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(Fault::Final(error)) => return Err(error),
            Err(Fault::Passing(why)) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left <= PAUSE {
                    return Err(away(what, &why));
                }
                tracing::debug!(what, why, "tries again");
                tokio::time::sleep(PAUSE).await;
                inner.connected(left).await;
            }
        }
    }
}
