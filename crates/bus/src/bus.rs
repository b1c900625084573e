use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use tokio::sync::{Mutex, watch};
use yardmaster_protocol::{
    BaseMoved, CandidateRequest, ErrorBody, Event, GateJob, JournalPosition, Label, LogReply, LogRequest,
    RunId, RunReport, RunnerBeat, RunnerName, RunnerOrders,
};

use crate::connect::{self, Connection};
use crate::events::Published;
use crate::names::Names;
use crate::{
    BusError, Candidacy, Client, Inbox, JobSource, JobTicket, Journal, LogCalls, Reports, ServiceRequests,
    Streams, events, jobs, lease, reports, runners, service, streams,
};

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
    /// How long `connect` and `ensure_streams` go on trying while nobody answers.
    pub patience: Duration,
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
            patience: Duration::from_secs(3),
        }
    }
}

/// The connection; cheap to clone. It reconnects by itself for ever.
#[derive(Debug, Clone)]
pub struct Bus {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) client: async_nats::Client,
    pub(crate) js: Context,
    pub(crate) names: Names,
    /// Without secrets.
    pub(crate) url: String,
    pub(crate) replicas: usize,
    pub(crate) patience: Duration,
    pub(crate) connection: watch::Receiver<Connection>,
    pub(crate) published: Mutex<Option<Published>>,
    /// Somebody else led when we came, and may only be asleep.
    pub(crate) succeeds: AtomicBool,
    /// Every set of labels that jobs needed so far; the empty one is among them.
    pub(crate) needs: watch::Sender<BTreeSet<BTreeSet<Label>>>,
}

impl Inner {
    /// Unpredictable: an id that can be foreseen can be used up by somebody else first.
    pub(crate) fn random_id(&self) -> String {
        let inbox = self.client.new_inbox();
        inbox.rsplit('.').next().unwrap_or(&inbox).to_owned()
    }

    pub(crate) fn learn_needs(&self, needs: impl IntoIterator<Item = BTreeSet<Label>>) {
        self.needs.send_if_modified(|known| {
            let before = known.len();
            let room = MAX_NEEDS.saturating_sub(before);
            let new: Vec<_> = needs.into_iter().filter(|n| !known.contains(n)).take(room).collect();
            known.extend(new);
            known.len() > before
        });
    }

    /// Waits until the connection is up, at most `longest`.
    pub(crate) async fn connected(&self, longest: Duration) {
        let mut state = self.connection.clone();
        let _ = tokio::time::timeout(longest, state.wait_for(|c| c.up)).await;
    }
}

/// A gate has few; whoever changes it again and again shall not fill the server with consumers.
const MAX_NEEDS: usize = 64;

/// How long JetStream may take to answer one request or to confirm one message.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

impl Bus {
    /// Connects and looks at the server.
    ///
    /// # Errors
    /// `Unreachable` after `patience`; `Denied`, `TooOld`, `NoJetStream` and `BadName` at once.
    pub async fn connect(options: BusOptions) -> Result<Bus, BusError> {
        let names = Names::new(&options.name)?;
        let (client, connection) = connect::connect(&options).await?;
        let js = jetstream::context::ContextBuilder::new().timeout(REQUEST_TIMEOUT).build(client.clone());
        let inner = Inner {
            client,
            js,
            names,
            url: connect::shown(&options.url),
            replicas: options.replicas.max(1),
            patience: options.patience,
            connection,
            published: Mutex::new(None),
            succeeds: AtomicBool::new(false),
            needs: watch::Sender::new(BTreeSet::from([BTreeSet::new()])),
        };
        connect::check_server(&inner).await?;
        Ok(Bus { inner: Arc::new(inner) })
    }

    /// Creates the streams that are missing and checks the others; never alters one that is there.
    ///
    /// # Errors
    /// `StreamCannotServe` with the command that mends it; `Away` when JetStream does not answer.
    pub async fn ensure_streams(&self) -> Result<Streams, BusError> {
        streams::ensure(&self.inner).await
    }

    /// Tells single agents what stands in no stream: for those who listen now. What cannot be sent is lost.
    pub async fn tell_agents(&self, told: &[BaseMoved]) {
        events::tell_agents(&self.inner, told).await;
    }

    /// What agents announce.
    pub fn inbox(&self) -> Inbox {
        Inbox::announcements(&self.inner)
    }

    /// What reviewers say.
    pub fn reviews(&self) -> Inbox {
        Inbox::reviews(&self.inner)
    }

    /// The journal, to be read before it is written.
    ///
    /// # Errors
    /// `Away` when its stream or the snapshots' bucket cannot be found in time.
    pub async fn journal(&self) -> Result<Journal, BusError> {
        Journal::open(&self.inner).await
    }

    /// Somebody who would lead if nobody else did; `id` is to be the same after a restart, `place` is for
    /// people.
    ///
    /// # Errors
    /// `Away` when the bucket of the lease cannot be found in time.
    pub async fn candidacy(&self, id: &str, place: &str) -> Result<Candidacy, BusError> {
        Candidacy::open(&self.inner, id, place).await
    }

    /// Publishes events in order, each once, whatever the stream's duplicate window is; those that are in the
    /// stream already are left out. The text is the traceparent of the request.
    ///
    /// # Errors
    /// `Away` after ten seconds without progress: make the same call again.
    pub async fn publish_events(
        &self,
        events: &[(JournalPosition, Event, Option<String>)],
    ) -> Result<(), BusError> {
        events::publish(&self.inner, events).await
    }

    /// Every event of this instance up to here is in the stream; none: no event of ours is there.
    ///
    /// # Errors
    /// `Away` when the stream cannot be read in time.
    pub async fn last_published(&self) -> Result<Option<JournalPosition>, BusError> {
        events::last_published(&self.inner).await
    }

    /// Asks runners for a run. `epoch` says which life of the daemon asked.
    ///
    /// # Errors
    /// `TooLarge`, or `Away` after ten seconds.
    pub async fn publish_job(&self, job: &GateJob, epoch: &str) -> Result<JobTicket, BusError> {
        jobs::publish(&self.inner, job, epoch).await
    }

    /// Takes a job back, whether it is waiting or running; no error when it has ended.
    ///
    /// # Errors
    /// `Away` after ten seconds.
    pub async fn retract_job(&self, ticket: &JobTicket) -> Result<(), BusError> {
        jobs::retract(&self.inner, ticket).await
    }

    /// Whether the job is in the stream, waiting or running; none when nobody can tell now. A job leaves
    /// it when its runner has reported.
    pub async fn has_job(&self, ticket: &JobTicket) -> Option<bool> {
        lease::is_there(&self.inner, ticket.stream_seq).await
    }

    /// Takes all jobs back, waiting and running; returns how many there were.
    ///
    /// # Errors
    /// `Away` after ten seconds.
    pub async fn purge_jobs(&self) -> Result<u64, BusError> {
        jobs::purge(&self.inner).await
    }

    /// Gate jobs, for a runner that has `labels`; one source for each job that is to run at the same time.
    pub fn jobs_for(&self, labels: &BTreeSet<Label>) -> JobSource {
        JobSource::new(&self.inner, labels.clone())
    }

    /// As [`Bus::jobs_for`] somebody who has no labels.
    pub fn jobs(&self) -> JobSource {
        JobSource::new(&self.inner, BTreeSet::new())
    }

    /// Every set of labels that jobs needed so far.
    pub fn needs(&self) -> Vec<BTreeSet<Label>> {
        self.inner.needs.borrow().iter().cloned().collect()
    }

    /// Has sources look for jobs that need these sets of labels, too.
    pub fn learn_needs(&self, needs: Vec<BTreeSet<Label>>) {
        self.inner.learn_needs(needs);
    }

    /// Keeps the log of a run that was made elsewhere, for a week.
    ///
    /// # Errors
    /// `Away` when it is not there in time.
    pub async fn store_log(&self, run: &RunId, file: &Path) -> Result<(), BusError> {
        runners::store(&self.inner, &self.inner.names.logs, run.as_str(), file).await
    }

    /// Writes the kept log of a run to a file.
    ///
    /// # Errors
    /// `Away` when there is none, or it does not come in time.
    pub async fn fetch_log(&self, run: &RunId, to: &Path) -> Result<(), BusError> {
        runners::fetch(&self.inner, &self.inner.names.logs, run.as_str(), to).await
    }

    /// Removes the oldest kept logs until the rest has at most `bytes`.
    ///
    /// # Errors
    /// `Away` when they cannot be listed.
    pub async fn evict_logs(&self, bytes: u64) -> Result<(), BusError> {
        runners::evict(&self.inner, &self.inner.names.logs, bytes).await
    }

    /// A piece of the log of a run that a runner has.
    ///
    /// # Errors
    /// What the runner says, or `Unreachable`.
    pub async fn runner_log(&self, runner: &RunnerName, what: &LogRequest) -> Result<LogReply, ErrorBody> {
        runners::log(&self.inner, runner, what).await
    }

    /// What a runner is asked about its logs.
    ///
    /// # Errors
    /// `Away` when the subscription cannot be made.
    pub async fn log_calls(&self, runner: &RunnerName) -> Result<LogCalls, BusError> {
        LogCalls::listen(&self.inner, runner).await
    }

    /// Tells how a run went; the job is to be acked after it.
    ///
    /// # Errors
    /// `TooLarge`, or `Away` after ten seconds.
    pub async fn report(&self, report: &RunReport) -> Result<(), BusError> {
        reports::publish(&self.inner, report).await
    }

    /// How runs went, for the engine.
    pub fn reports(&self) -> Reports {
        Reports::new(&self.inner)
    }

    /// Serves verbs under `yardmaster.v1` as a NATS micro service.
    ///
    /// # Errors
    /// `Away` when the subscriptions cannot be made.
    pub async fn serve(&self, verbs: &[&str]) -> Result<ServiceRequests, BusError> {
        service::serve(&self.inner, verbs).await
    }

    /// Tells the daemon of a runner; what it wants of it.
    ///
    /// # Errors
    /// `Refused` when the two do not understand each other, `Unreachable` when nobody answers.
    pub async fn beat(&self, beat: &RunnerBeat) -> Result<RunnerOrders, ErrorBody> {
        runners::beat(&self.inner, beat).await
    }

    /// Has the daemon pack what is missing of a candidate, and writes that to `to`.
    ///
    /// # Errors
    /// `NotFound` when the daemon has no such commit, `Unreachable` when nobody answers.
    pub async fn candidate(&self, asked: &CandidateRequest, to: &Path) -> Result<(), ErrorBody> {
        runners::candidate(&self.inner, asked, to).await
    }

    /// Puts a pack that is too large for a message where runners find it.
    ///
    /// # Errors
    /// `Away` when it is not there in time.
    pub async fn store_candidate(&self, object: &str, file: &Path) -> Result<(), BusError> {
        runners::store(&self.inner, &self.inner.names.candidates, object, file).await
    }

    /// Takes a stored pack away.
    ///
    /// # Errors
    /// `Away`: it goes by itself later.
    pub async fn remove_candidate(&self, object: &str) -> Result<(), BusError> {
        runners::remove(&self.inner, &self.inner.names.candidates, object).await
    }

    /// Calls of the service, for commands.
    pub fn client(&self) -> Client {
        Client::new(&self.inner)
    }

    /// How the connection is, now and at every change.
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.inner.connection.clone()
    }

    /// Sends what is buffered, such as acks; to be called before the process ends.
    ///
    /// # Errors
    /// `Away` after two seconds.
    pub async fn flush(&self) -> Result<(), BusError> {
        connect::flush(&self.inner).await
    }

    /// The server's version, such as `2.15.1`.
    pub fn server_version(&self) -> String {
        self.inner.client.server_info().version
    }

    /// The instance's name.
    pub fn name(&self) -> &str {
        &self.inner.names.instance
    }
}
