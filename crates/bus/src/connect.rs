use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::AccountErrorKind;
use async_nats::{ConnectErrorKind, ConnectOptions, Event};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::bus::{Inner, REQUEST_TIMEOUT};
use crate::error::away;
use crate::streams::MIN_SERVER;
use crate::{BusError, BusOptions};

/// The client's own delay doubles to 4 s, which is an outage of its own.
const LONGEST_RECONNECT_DELAY: Duration = Duration::from_millis(500);
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// How the connection is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// Up now.
    pub up: bool,
    /// How often it was lost so far.
    pub losses: u64,
    /// The latest trouble that the server told of, such as a permission violation.
    pub trouble: Option<String>,
}

pub(crate) async fn connect(
    options: &BusOptions,
) -> Result<(async_nats::Client, watch::Receiver<Connection>), BusError> {
    let deadline = Instant::now() + options.patience;
    let (state, watched) = watch::channel(Connection::default());
    let state = Arc::new(state);
    loop {
        let attempt = client_options(options, &state).await?.connect(addresses(&options.url)).await;
        let error = match attempt {
            Ok(client) => {
                state.send_modify(|c| c.up = true);
                return Ok((client, watched));
            }
            Err(error) => error,
        };
        let (url, why) = (shown(&options.url), error.to_string());
        match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                return Err(BusError::Denied { url, why });
            }
            ConnectErrorKind::ServerParse => return Err(BusError::BadAddress { url, why }),
            ConnectErrorKind::Tls => {
                return Err(BusError::Unreachable { url, why });
            }
            ConnectErrorKind::Dns
            | ConnectErrorKind::TimedOut
            | ConnectErrorKind::Io
            | ConnectErrorKind::MaxReconnects => {}
        }
        if Instant::now() + RETRY_DELAY >= deadline {
            return Err(BusError::Unreachable { url, why });
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

async fn client_options(
    options: &BusOptions,
    state: &Arc<watch::Sender<Connection>>,
) -> Result<ConnectOptions, BusError> {
    let state = Arc::clone(state);
    let mut client = ConnectOptions::new()
        .name(format!("yardmaster/{}", options.name))
        .connection_timeout(REQUEST_TIMEOUT)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .ping_interval(Duration::from_secs(5))
        .max_reconnects(None)
        .reconnect_delay_callback(|attempt| {
            let delay = Duration::from_millis(10 << attempt.min(6));
            delay.min(LONGEST_RECONNECT_DELAY)
        })
        .event_callback(move |event| {
            note(&state, &event);
            async {}
        });
    if let Some(path) = &options.credentials {
        client = client.credentials_file(path).await.map_err(|e| BusError::Denied {
            url: shown(&options.url),
            why: format!("credentials file {}: {e}", path.display()),
        })?;
    }
    if let (Some(user), Some(password)) = (&options.user, &options.password) {
        client = client.user_and_password(user.clone(), password.clone());
    }
    if let Some(token) = &options.token {
        client = client.token(token.clone());
    }
    Ok(client)
}

fn note(state: &watch::Sender<Connection>, event: &Event) {
    match event {
        Event::Connected => {
            tracing::info!("connected to NATS");
            state.send_modify(|c| c.up = true);
        }
        Event::Disconnected => {
            tracing::warn!("lost the connection to NATS");
            state.send_modify(|c| {
                c.up = false;
                c.losses += 1;
            });
        }
        Event::Closed => tracing::debug!("closed the connection to NATS"),
        Event::LameDuckMode | Event::Draining => tracing::info!(%event, "NATS"),
        Event::SlowConsumer(_) | Event::ServerError(_) | Event::ClientError(_) => {
            tracing::warn!(%event, "NATS");
            state.send_modify(|c| c.trouble = Some(event.to_string()));
        }
    }
}

/// Version and JetStream.
pub(crate) async fn check_server(inner: &Inner) -> Result<(), BusError> {
    let found = inner.client.server_info().version;
    if !new_enough(&found) {
        let wanted = format!("{}.{}", MIN_SERVER.0, MIN_SERVER.1);
        return Err(BusError::TooOld { found, wanted });
    }
    let deadline = Instant::now() + inner.patience;
    loop {
        let Err(error) = inner.js.query_account().await else { return Ok(()) };
        let url = inner.url.clone();
        if let AccountErrorKind::JetStream(refusal) = error.kind()
            && [10_039, 10_076].contains(&refusal.error_code().0)
        {
            return Err(BusError::NoJetStream { url, why: refusal.to_string() });
        }
        if Instant::now() >= deadline || !inner.client.server_info().jetstream {
            return Err(match error.kind() {
                AccountErrorKind::TimedOut => {
                    let trouble = inner.connection.borrow().trouble.clone();
                    BusError::NoJetStream { url, why: trouble.unwrap_or_else(|| error.to_string()) }
                }
                _ => BusError::NoJetStream { url, why: error.to_string() },
            });
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

/// Whether a server of this version is new enough; texts that are no version are not.
pub(crate) fn new_enough(version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split(['.', '-']).map(|part| part.parse::<u64>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= MIN_SERVER,
        _ => false,
    }
}

pub(crate) async fn flush(inner: &Inner) -> Result<(), BusError> {
    match tokio::time::timeout(REQUEST_TIMEOUT, inner.client.flush()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(away("flush", &e)),
        Err(_) => Err(away("flush", &"no answer")),
    }
}

/// The client takes a text for one address, commas and all.
fn addresses(url: &str) -> Vec<&str> {
    url.split(',').map(str::trim).collect()
}

/// The address without user, password or token.
pub(crate) fn shown(url: &str) -> String {
    let one = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        (_, None) => url.to_owned(),
    };
    url.split(',').map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_told_from_new_ones() {
        for good in ["2.12.0", "v2.15.1", "2.14.6-RC.1", "3.0.0", "2.12"] {
            assert!(new_enough(good), "{good}");
        }
        for bad in ["2.11.9", "2.9.10", "1.4.1", "", "latest", "2"] {
            assert!(!new_enough(bad), "{bad}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(shown("nats://roy:secret@h:4222"), "nats://h:4222");
        assert_eq!(shown("token@h:1,nats://x@i:2"), "h:1,nats://i:2");
        assert_eq!(shown("nats://h:4222"), "nats://h:4222");
    }
}
