use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use async_nats::jetstream;
use tempfile::TempDir;
use yardmaster_bus::server::{self, Embedded, EmbeddedOptions, ServerBinary};
use yardmaster_bus::{Bus, BusOptions};
use yardmaster_protocol::{
    About, AgentName, BranchName, CommitId, Entry, Event, EventBody, Fact, Gate, GateJob, JournalPosition,
    Millis, ObjectId, Pressure, RequestId, Requirement, RunId, RunOutcome, RunReport, TreeId,
};

/// A server of its own and one connection to it.
pub(crate) struct World {
    pub(crate) bus: Bus,
    server: Option<Embedded>,
    port: u16,
    pub(crate) dir: TempDir,
}

pub(crate) fn binary() -> &'static ServerBinary {
    static BINARY: OnceLock<ServerBinary> = OnceLock::new();
    BINARY.get_or_init(|| server::find(None, &[]).expect("a nats-server"))
}

impl World {
    /// With streams.
    pub(crate) async fn new() -> World {
        let world = World::bare().await;
        world.bus.ensure_streams().await.expect("streams");
        world
    }

    /// Without streams.
    pub(crate) async fn bare() -> World {
        let dir = tempfile::tempdir().expect("a directory");
        let server = Embedded::start(binary(), dir.path(), EmbeddedOptions::default()).await.expect("starts");
        let bus = Bus::connect(options(&server)).await.expect("connects");
        let port = server.port();
        World { bus, server: Some(server), port, dir }
    }

    pub(crate) fn server(&self) -> &Embedded {
        self.server.as_ref().expect("runs")
    }

    /// A second connection, as of another process.
    pub(crate) async fn another(&self) -> Bus {
        Bus::connect(options(self.server())).await.expect("connects")
    }

    /// Kill -9.
    pub(crate) async fn kill(&mut self) {
        let mut down = self.bus.connection();
        drop(self.server.take());
        within(5, down.wait_for(|c| !c.up)).await.expect("the loss is seen");
    }

    /// On the same port and the same files.
    pub(crate) async fn revive(&mut self) {
        let options = EmbeddedOptions { port: Some(self.port), token: None };
        self.server = Some(Embedded::start(binary(), self.dir.path(), options).await.expect("starts again"));
    }

    /// Straight to JetStream, as an agent or an operator would.
    pub(crate) async fn raw(&self) -> jetstream::Context {
        jetstream::new(async_nats::connect(self.server().url()).await.expect("connects"))
    }
}

pub(crate) fn options(server: &Embedded) -> BusOptions {
    BusOptions { url: server.url().to_owned(), ..BusOptions::default() }
}

/// The bound of a wait; what does not come by then has failed.
pub(crate) async fn within<T>(seconds: u64, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(seconds), future).await {
        Ok(value) => value,
        Err(_) => panic!("nothing came within {seconds} s"),
    }
}

pub(crate) fn entry(at: u64) -> Entry {
    Entry { at: Millis(at), facts: vec![Fact::RemoteLost { why: format!("number {at}") }] }
}

pub(crate) fn at(record: u64, index: u32) -> JournalPosition {
    JournalPosition { record, index }
}

pub(crate) fn event(n: u64) -> Event {
    let about = About {
        request: RequestId(n),
        agent: AgentName::new("roy").expect("fits"),
        branch: BranchName::new("roy/req-1").expect("fits"),
        requirement: Requirement::new("REQ-1").expect("fits"),
        target: BranchName::new("main").expect("fits"),
        head: Some(CommitId(ObjectId([7; 20]))),
        seq: 1,
        extra: Default::default(),
    };
    Event {
        about: Some(about),
        time: "2026-01-01T00:00:00.000Z".into(),
        body: EventBody::MergeQueued {
            position: 1,
            declared_mismatch: None,
            pressure: Pressure::Steady,
            pending: 1,
            advice: Vec::new(),
            not_read: None,
        },
    }
}

pub(crate) fn job(run: &str) -> GateJob {
    GateJob {
        run: RunId::new(run).expect("fits"),
        request: Some(RequestId(1)),
        target: BranchName::new("main").expect("fits"),
        candidate: CommitId(ObjectId([1; 20])),
        tree: TreeId(ObjectId([2; 20])),
        base: CommitId(ObjectId([3; 20])),
        attempt: 1,
        gate: Gate::command("true"),
        since: None,
        learned_ms: Default::default(),
    }
}

pub(crate) fn report(run: &str) -> RunReport {
    RunReport {
        run: RunId::new(run).expect("fits"),
        runner: "host/1".into(),
        outcome: RunOutcome::Green,
        started: Millis(1),
        ms: 2,
        steps: Vec::new(),
        skipped: Vec::new(),
    }
}
