use crate::{BusError, Client, Inbox, JobSource, JobTicket, Journal, Reports, ServiceRequests, Streams};
use std::path::PathBuf;
use tokio::sync::watch;
use yardmaster_protocol::{Event, GateJob, JournalPosition, RunReport};

/// Where NATS is and who we are there.
#[derive(Debug, Clone)]
pub struct BusOptions {
    /// Such as `nats://127.0.0.1:4222`; several with commas.
    pub url: String,
    /// The instance: part of the names of everything of our own. 1 to 32 characters of a-z 0-9 _ -.
    pub name: String,
    /// A `.creds` file.
    pub credentials: Option<PathBuf>,
    /// With `password`.
    pub user: Option<String>,
    /// With `user`.
    pub password: Option<String>,
    /// Instead of the others.
    pub token: Option<String>,
    /// Copies of each stream that is created: 1, 3 or 5.
    pub replicas: usize,
    /// How long `connect` goes on trying while nobody answers.
    pub patience: std::time::Duration,
}

impl Default for BusOptions {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".into(),
            name: "default".into(),
            credentials: None,
            user: None,
            password: None,
            token: None,
            replicas: 1,
            patience: std::time::Duration::from_secs(3),
        }
    }
}

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

/// The connection; cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus {}

impl Bus {
    /// Connects and looks at the server.
    pub async fn connect(options: BusOptions) -> Result<Bus, BusError> {
        unimplemented!()
    }
    /// Creates missing streams, checks the others.
    pub async fn ensure_streams(&self) -> Result<Streams, BusError> {
        unimplemented!()
    }
    /// What agents announce.
    pub fn inbox(&self) -> Inbox {
        unimplemented!()
    }
    /// The journal.
    pub async fn journal(&self) -> Result<Journal, BusError> {
        unimplemented!()
    }
    /// Publishes events in order.
    pub async fn publish_events(
        &self,
        events: &[(JournalPosition, Event, Option<String>)],
    ) -> Result<(), BusError> {
        unimplemented!()
    }
    /// The last of our events that is in the stream.
    pub async fn last_published(&self) -> Result<Option<JournalPosition>, BusError> {
        unimplemented!()
    }
    /// Asks runners for a run.
    pub async fn publish_job(&self, job: &GateJob, epoch: &str) -> Result<JobTicket, BusError> {
        unimplemented!()
    }
    /// Takes a job back, whether it is waiting or running.
    pub async fn retract_job(&self, ticket: &JobTicket) -> Result<(), BusError> {
        unimplemented!()
    }
    /// Takes all jobs back; returns how many there were.
    pub async fn purge_jobs(&self) -> Result<u64, BusError> {
        unimplemented!()
    }
    /// Gate jobs, for a runner.
    pub fn jobs(&self) -> JobSource {
        unimplemented!()
    }
    /// Tells how a run went.
    pub async fn report(&self, report: &RunReport) -> Result<(), BusError> {
        unimplemented!()
    }
    /// How runs went, for the engine.
    pub fn reports(&self) -> Reports {
        unimplemented!()
    }
    /// Serves verbs under `yardmaster.v1`.
    pub async fn serve(&self, verbs: &[&str]) -> Result<ServiceRequests, BusError> {
        unimplemented!()
    }
    /// Calls of the service, for commands.
    pub fn client(&self) -> Client {
        unimplemented!()
    }
    /// How the connection is, now and at every change.
    pub fn connection(&self) -> watch::Receiver<Connection> {
        unimplemented!()
    }
    /// Sends what is buffered.
    pub async fn flush(&self) -> Result<(), BusError> {
        unimplemented!()
    }
    /// The server's version.
    pub fn server_version(&self) -> String {
        unimplemented!()
    }
    /// The instance's name.
    pub fn name(&self) -> &str {
        unimplemented!()
    }
}
