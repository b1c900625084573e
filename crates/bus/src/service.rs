use std::sync::Arc;

use async_nats::HeaderMap;
use async_nats::service::{
    NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE, Request, Service, ServiceExt, endpoint,
};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use yardmaster_protocol::{
    ADMIN_PREFIX, ADMIN_VERB, ErrorBody, ErrorReply, RUNNER_PREFIX, RUNNER_VERB, SERVICE_NAME,
    SERVICE_PREFIX, ServiceErrorCode,
};

use crate::BusError;
use crate::bus::Inner;
use crate::error::away;
use crate::runners::PACK_TYPE;

/// Calls that wait for the engine; what comes beyond is told to come back.
const MAX_WAITING: usize = 256;

pub(crate) async fn serve(inner: &Arc<Inner>, verbs: &[&str]) -> Result<ServiceRequests, BusError> {
    let service = inner
        .client
        .service_builder()
        .description("merge queue")
        .start(SERVICE_NAME, env!("CARGO_PKG_VERSION"))
        .await
        .map_err(|e| away("start the service", &e))?;
    let (group, admin) = (service.group(SERVICE_PREFIX), service.group(ADMIN_PREFIX));
    let runners = service.group(format!("{RUNNER_PREFIX}.{}", inner.names.instance));
    let (sender, calls) = mpsc::channel(MAX_WAITING);
    let mut tasks = JoinSet::new();
    for verb in verbs {
        let endpoint = match (verb.strip_prefix(ADMIN_VERB), verb.strip_prefix(RUNNER_VERB)) {
            (Some(verb), _) => admin.endpoint(verb).await,
            (None, Some(verb)) => runners.endpoint(verb).await,
            (None, None) => group.endpoint(*verb).await,
        };
        let endpoint = endpoint.map_err(|e| away("start the service", &e))?;
        tasks.spawn(forward((*verb).to_owned(), endpoint, sender.clone()));
    }
    crate::connect::flush(inner).await?;
    Ok(ServiceRequests { calls, _tasks: tasks, _service: service })
}

async fn forward(verb: String, mut endpoint: endpoint::Endpoint, calls: mpsc::Sender<ServiceCall>) {
    while let Some(request) = endpoint.next().await {
        let payload = request.message.payload.clone();
        let call = ServiceCall { verb: verb.clone(), payload, request };
        match calls.try_send(call) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(call)) => call.respond(Err(busy())).await,
            Err(mpsc::error::TrySendError::Closed(_)) => return,
        }
    }
}

fn busy() -> ErrorBody {
    ErrorBody {
        code: ServiceErrorCode::Unreachable,
        message: format!("{MAX_WAITING} calls are waiting already"),
        retryable: true,
        next: Vec::new(),
    }
}

/// Calls that wait for an answer; bounded: what does not fit is told to come back. Dropped, nothing is
/// served any more.
pub struct ServiceRequests {
    calls: mpsc::Receiver<ServiceCall>,
    _tasks: JoinSet<()>,
    _service: Service,
}

impl std::fmt::Debug for ServiceRequests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceRequests").finish_non_exhaustive()
    }
}

impl ServiceRequests {
    /// The next call; none once the connection is closed. Safe to drop at any point.
    pub async fn next(&mut self) -> Option<ServiceCall> {
        self.calls.recv().await
    }
}

/// One call. Dropped without an answer, the caller waits for nothing until its time is over.
#[derive(Debug)]
pub struct ServiceCall {
    /// The last token of its subject, behind `admin.` for those of operators and `runner.` for those of runners.
    pub verb: String,
    /// What it says.
    pub payload: Bytes,
    request: Request,
}

impl ServiceCall {
    /// Answers it; an error goes as `{"ok": false, "error": {…}}` with the service headers of NATS.
    pub async fn respond(self, answer: Result<Value, ErrorBody>) {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json");
        let body = match answer {
            Ok(value) => serde_json::to_vec(&value),
            Err(error) => {
                let code = error.code.exit_code().to_string();
                headers.insert(NATS_SERVICE_ERROR_CODE, code);
                headers.insert(NATS_SERVICE_ERROR, one_line(&error.message));
                serde_json::to_vec(&ErrorReply { ok: false, error })
            }
        };
        self.send(Bytes::from(body.unwrap_or_default()), headers).await;
    }

    /// Answers it with a pack of git objects.
    pub async fn respond_with_pack(self, pack: Bytes) {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", PACK_TYPE);
        self.send(pack, headers).await;
    }

    async fn send(&self, payload: Bytes, headers: HeaderMap) {
        if let Err(error) = self.request.respond_with_headers(Ok(payload), headers).await {
            tracing::debug!(verb = self.verb, %error, "nobody waits for an answer");
        }
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
