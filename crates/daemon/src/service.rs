use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use yardmaster_bus::{Bus, Client, ServiceCall, ServiceRequests};
use yardmaster_protocol::{
    CheckRequest, ErrorBody, ExplainRequest, FreezeRequest, Incoming, LogRequest, ParallelRequest,
    PauseRequest, PromoteRequest, RunId, ServiceErrorCode, WithdrawRequest,
};
use yardmaster_queue::{Policy, Queue};

use crate::advisor::Advisor;
use crate::candidates::Candidates;
use crate::happening::Happening;
use crate::logs::Logs;
use crate::questions::Question;
use crate::runners::Runners;
use crate::shutdown::Shutdown;

/// What the service answers to.
pub(crate) const VERBS: &[&str] = &[
    "submit",
    "status",
    "queue",
    "explain",
    "check",
    "should_parallelize",
    "withdraw",
    "logs",
    "admin.freeze",
    "admin.unfreeze",
    "admin.pause",
    "admin.resume",
    "runner.beat",
    "runner.candidate",
    "admin.promote",
];

/// Answers that need a copy of the queue and are worked out side by side.
const EXPLAINED_AT_ONCE: usize = 2;

/// What every call needs.
#[derive(Clone)]
struct Desk {
    engine: mpsc::Sender<Happening>,
    client: Client,
    bus: Bus,
    /// Each of them copies the queue.
    explaining: Arc<Semaphore>,
    helpers: Arc<Helpers>,
}

/// Who answers what the engine is not asked.
pub(crate) struct Helpers {
    pub(crate) logs: Logs,
    pub(crate) advisor: Advisor,
    pub(crate) runners: Runners,
    pub(crate) candidates: Candidates,
}

/// Answers calls until `shutdown`.
pub(crate) fn start(
    bus: &Bus,
    calls: ServiceRequests,
    engine: mpsc::Sender<Happening>,
    helpers: Helpers,
    shutdown: Shutdown,
) -> JoinHandle<()> {
    let explaining = Arc::new(Semaphore::new(EXPLAINED_AT_ONCE));
    let desk =
        Desk { engine, client: bus.client(), bus: bus.clone(), explaining, helpers: Arc::new(helpers) };
    tokio::spawn(receive(calls, desk, shutdown))
}

async fn receive(mut calls: ServiceRequests, desk: Desk, shutdown: Shutdown) {
    loop {
        let call = tokio::select! {
            () = shutdown.asked() => return,
            call = calls.next() => call,
        };
        let Some(call) = call else { return };
        let desk = desk.clone();
        tokio::spawn(async move {
            if call.verb == "runner.candidate" {
                return desk.helpers.candidates.answer(call).await;
            }
            let answer = desk.answer(&call).await;
            call.respond(answer).await;
        });
    }
}

impl Desk {
    async fn answer(&self, call: &ServiceCall) -> Result<Value, ErrorBody> {
        match call.verb.as_str() {
            "submit" => self.submit(&call.payload).await,
            "status" => self.status(&call.payload).await,
            "queue" => value(self.ask(Question::Queue).await?),
            "explain" => {
                let ExplainRequest { what } = body(&call.payload)?;
                let _one = self.explaining.acquire().await.map_err(|e| unexpected(e.to_string()))?;
                value(self.ask(|reply| Question::Explain(what, reply)).await?)
            }
            "check" => {
                let asked: CheckRequest = body(&call.payload)?;
                self.advised(move |advisor, queue, policy| advisor.check(queue, policy, &asked)).await
            }
            "should_parallelize" => {
                let asked = planned(&call.payload)?;
                self.advised(move |advisor, queue, policy| advisor.parallel(queue, policy, &asked)).await
            }
            "withdraw" => {
                let WithdrawRequest { what, by } = body(&call.payload)?;
                value(self.ask(|reply| Question::Withdraw { what, by, reply }).await?)
            }
            "admin.freeze" => self.freeze(true, &call.payload).await,
            "admin.unfreeze" => self.freeze(false, &call.payload).await,
            "admin.pause" => self.pause(true, &call.payload).await,
            "admin.resume" => self.pause(false, &call.payload).await,
            "runner.beat" => value(self.helpers.runners.beat(body(&call.payload)?, self.bus.needs())?),
            "admin.promote" => {
                let asked: PromoteRequest = body(&call.payload)?;
                value(self.ask(|reply| Question::Promote(asked, reply)).await?)
            }
            "logs" => self.logs(body(&call.payload)?).await,
            other => Err(usage(format!("the service has no verb `{other}`: it has {}", VERBS.join(", ")))),
        }
    }

    /// The announcement goes the way of all announcements, through the stream.
    async fn submit(&self, payload: &[u8]) -> Result<Value, ErrorBody> {
        let message = envelope(payload)?;
        let incoming = Incoming::parse(&message).map_err(|refusal| ErrorBody {
            code: ServiceErrorCode::Usage,
            message: refusal.message,
            retryable: false,
            next: Vec::new(),
        })?;
        let Incoming::ReadyToMerge(announcement) = incoming else {
            return Err(usage(
                "submit takes a ready_to_merge message: to take a branch back, call withdraw".to_owned(),
            ));
        };
        let seq = self.client.publish_announcement(&announcement.agent, &message).await?;
        value(self.ask(|reply| Question::Outcome(seq, reply)).await?)
    }

    async fn status(&self, payload: &[u8]) -> Result<Value, ErrorBody> {
        #[derive(Deserialize, Default)]
        struct About {
            what: Option<String>,
        }
        let about: About = if payload.is_empty() { About::default() } else { body(payload)? };
        match about.what {
            None => value(self.ask(Question::Status).await?),
            Some(what) => value(self.ask(|reply| Question::Request(what, reply)).await?),
        }
    }

    async fn pause(&self, pause: bool, payload: &[u8]) -> Result<Value, ErrorBody> {
        let asked: PauseRequest = body(payload)?;
        value(self.ask(|reply| Question::Pause { asked, pause, reply }).await?)
    }

    async fn freeze(&self, freeze: bool, payload: &[u8]) -> Result<Value, ErrorBody> {
        let asked: FreezeRequest = body(payload)?;
        value(self.ask(|reply| Question::Freeze { asked, freeze, reply }).await?)
    }

    async fn logs(&self, wanted: LogRequest) -> Result<Value, ErrorBody> {
        let named = RunId::new(wanted.what.as_str()).ok().filter(|_| wanted.what.contains('-'));
        if let Some(run) = named
            && let Ok(piece) = self.helpers.logs.piece(run, wanted.offset).await
        {
            return value(piece);
        }
        let what = wanted.what;
        let run = self.ask(|reply| Question::Run(what, reply)).await?;
        value(self.helpers.logs.piece(run, wanted.offset).await?)
    }

    /// What is worked out on a copy of the queue, off the engine's thread.
    async fn advised<T: Serialize + Send + 'static>(
        &self,
        advice: impl FnOnce(&Advisor, &Queue, &Policy) -> Result<T, ErrorBody> + Send + 'static,
    ) -> Result<Value, ErrorBody> {
        let _one = self.explaining.acquire().await.map_err(|e| unexpected(e.to_string()))?;
        let (queue, policy) = *self.ask(Question::Copy).await?;
        let helpers = Arc::clone(&self.helpers);
        let worked = spawn_blocking(move || advice(&helpers.advisor, &queue, &policy)).await;
        value(worked.map_err(|e| unexpected(e.to_string()))??)
    }

    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<Result<T, ErrorBody>>) -> Question,
    ) -> Result<T, ErrorBody> {
        let (reply, answer) = oneshot::channel();
        let gone = || ErrorBody {
            code: ServiceErrorCode::Unreachable,
            message: "the daemon is stopping".to_owned(),
            retryable: true,
            next: Vec::new(),
        };
        self.engine.send(Happening::Asked(question(reply))).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// The whole message, also when only its `merge_info` was sent.
fn envelope(payload: &[u8]) -> Result<Vec<u8>, ErrorBody> {
    let given: Value = body(payload)?;
    let whole = if given.get("type").is_some() {
        given
    } else {
        json!({"type": "ready_to_merge", "merge_info": given})
    };
    serde_json::to_vec(&whole).map_err(|e| unexpected(e.to_string()))
}

/// A whole question, or only its list of requirements.
fn planned(payload: &[u8]) -> Result<ParallelRequest, ErrorBody> {
    let given: Value = body(payload)?;
    let whole = if given.is_array() { json!({ "requirements": given }) } else { given };
    serde_json::from_value(whole).map_err(|e| usage(format!("the call's body cannot be read: {e}")))
}

fn body<T: DeserializeOwned>(payload: &[u8]) -> Result<T, ErrorBody> {
    serde_json::from_slice(payload).map_err(|e| usage(format!("the call's body cannot be read: {e}")))
}

fn value(answer: impl serde::Serialize) -> Result<Value, ErrorBody> {
    serde_json::to_value(answer).map_err(|e| unexpected(e.to_string()))
}

fn usage(message: String) -> ErrorBody {
    ErrorBody { code: ServiceErrorCode::Usage, message, retryable: false, next: Vec::new() }
}

fn unexpected(message: String) -> ErrorBody {
    ErrorBody { code: ServiceErrorCode::Unexpected, message, retryable: false, next: Vec::new() }
}
