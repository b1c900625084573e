use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use yardmaster_bus::{Bus, BusOptions};

use crate::error::CliError;

const DEFAULT_URL: &str = "nats://127.0.0.1:4222";
/// A command that cannot reach NATS says so before its caller wonders.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where NATS is and how to be let in.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "NATS")]
pub(crate) struct Connection {
    /// Else YARDMASTER__NATS__URL, NATS_URL, the server of the `yardmaster serve` that this user started
    /// last, nats://127.0.0.1:4222.
    #[arg(long, value_name = "URL")]
    nats_url: Option<String>,
    /// A credentials file; else NATS_CREDS.
    #[arg(long, value_name = "FILE")]
    creds: Option<PathBuf>,
    /// With --password; else NATS_USER.
    #[arg(long, requires = "password")]
    user: Option<String>,
    /// With --user; else NATS_PASSWORD, which does not show in a list of processes.
    #[arg(long, requires = "user")]
    password: Option<String>,
    /// Else NATS_TOKEN, which does not show in a list of processes.
    #[arg(long)]
    token: Option<String>,
}

impl Connection {
    /// Connects, or says within two seconds why that cannot be.
    pub(crate) async fn open(&self) -> Result<Bus, CliError> {
        self.open_for(&BusOptions::default().name, PATIENCE).await
    }

    /// Connects to what belongs to one queue, or says within `patience` why that cannot be.
    pub(crate) async fn open_for(&self, queue: &str, patience: Duration) -> Result<Bus, CliError> {
        let (url, source_of_url) = self.address(env, yardmaster_daemon::known_url);
        let pick = |given: &Option<String>, key: &str, short: &str| {
            given.clone().or_else(|| env(&format!("YARDMASTER__NATS__{key}"))).or_else(|| env(short))
        };
        let credentials = self.creds.as_ref().map(|p| p.to_string_lossy().into_owned());
        let options = BusOptions {
            url,
            name: queue.to_owned(),
            credentials: pick(&credentials, "CREDENTIALS", "NATS_CREDS").map(PathBuf::from),
            user: pick(&self.user, "USER", "NATS_USER"),
            password: pick(&self.password, "PASSWORD", "NATS_PASSWORD"),
            token: pick(&self.token, "TOKEN", "NATS_TOKEN"),
            patience,
            ..BusOptions::default()
        };
        Bus::connect(options).await.map_err(|error| CliError::Nats { error, source_of_url })
    }

    /// The address, and where it comes from in words.
    fn address(
        &self,
        env: impl Fn(&str) -> Option<String>,
        known: impl Fn() -> Option<String>,
    ) -> (String, String) {
        let from = |url: String, source: &str| (url, source.to_owned());
        let ours = env("YARDMASTER__NATS__URL").filter(|url| url != "embedded");
        None.or_else(|| self.nats_url.clone().map(|url| from(url, "given by --nats-url")))
            .or_else(|| ours.map(|url| from(url, "given by YARDMASTER__NATS__URL")))
            .or_else(|| env("NATS_URL").map(|url| from(url, "given by NATS_URL")))
            .or_else(|| known().map(|url| from(url, "where the last `yardmaster serve` had its own")))
            .unwrap_or_else(|| from(DEFAULT_URL.to_owned(), "the default"))
    }
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_address_counts() {
        let flag = Connection { nats_url: Some("nats://flag".into()), ..Connection::default() };
        let none = Connection::default();
        let all = |name: &str| Some(format!("nats://{name}"));
        let nats_only = |name: &str| (name == "NATS_URL").then(|| "nats://n".to_owned());
        let embedded = |name: &str| (name == "YARDMASTER__NATS__URL").then(|| "embedded".to_owned());
        let known = || Some("nats://known".to_owned());
        assert_eq!(flag.address(all, known).0, "nats://flag");
        assert_eq!(none.address(all, known).0, "nats://YARDMASTER__NATS__URL");
        assert_eq!(none.address(nats_only, known).0, "nats://n");
        assert_eq!(none.address(embedded, known).0, "nats://known");
        assert_eq!(none.address(|_| None, || None).0, DEFAULT_URL);
    }
}
