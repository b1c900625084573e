use std::collections::BTreeMap;

use tokio::sync::oneshot;
use yardmaster_protocol::{
    BranchName, ErrorBody, Explanation, Fact, FreezeReply, FreezeRequest, IntakeSeq, PauseReply,
    PauseRequest, PromoteReply, PromoteRequest, PromotedRow, QueueReply, RefusalCode, RequestId, RequestView,
    RunId, ServiceErrorCode, StatusReply, SubmitReply, WithdrawReply,
};
use yardmaster_queue::{Input, Policy, Queue};

use crate::clock;

type Reply<T> = oneshot::Sender<Result<T, ErrorBody>>;

/// What the service asks the engine.
#[derive(Debug)]
pub(crate) enum Question {
    Queue(Reply<QueueReply>),
    Status(Reply<StatusReply>),
    Request(String, Reply<RequestView>),
    /// The state, to try something out on.
    Copy(Reply<Box<(Queue, Policy)>>),
    /// Why a request has not landed.
    Explain(String, Reply<Explanation>),
    Withdraw {
        what: String,
        by: String,
        reply: Reply<WithdrawReply>,
    },
    Pause {
        asked: PauseRequest,
        /// False: go on.
        pause: bool,
        reply: Reply<PauseReply>,
    },
    Promote(PromoteRequest, Reply<PromoteReply>),
    Freeze {
        asked: FreezeRequest,
        /// Or let it go on.
        freeze: bool,
        reply: Reply<FreezeReply>,
    },
    /// How the message with this sequence was answered, when it is.
    Outcome(IntakeSeq, Reply<SubmitReply>),
    Run(String, Reply<RunId>),
}

/// What no request has ever been called.
pub(crate) fn not_found(what: &str) -> ErrorBody {
    ErrorBody {
        code: ServiceErrorCode::NotFound,
        message: format!(
            "no request, branch or requirement `{}` is known here",
            what.chars().take(100).collect::<String>()
        ),
        retryable: false,
        next: vec!["yardmaster queue".to_owned()],
    }
}

/// Answers what can be answered from the state alone. The rest comes back.
pub(crate) fn answer(
    question: Question,
    queue: &Queue,
    policy: &Policy,
    told: impl Fn(QueueReply) -> QueueReply,
    status: impl Fn() -> StatusReply,
) -> Option<Question> {
    match question {
        Question::Queue(reply) => {
            drop(reply.send(Ok(told(queue.overview(clock::now(), policy)))));
        }
        Question::Status(reply) => drop(reply.send(Ok(status()))),
        Question::Request(what, reply) => drop(reply.send(view(queue, policy, &what))),
        Question::Copy(reply) => drop(reply.send(Ok(Box::new((queue.clone(), policy.clone()))))),
        Question::Explain(what, reply) => explain(queue, policy, what, reply),
        Question::Run(what, reply) => {
            let run = view(queue, policy, &what).and_then(|view| {
                view.run.ok_or_else(|| ErrorBody {
                    code: ServiceErrorCode::NotFound,
                    message: format!("{} has not been tested yet, so it has no log", view.row.request),
                    retryable: true,
                    next: vec![format!("yardmaster status {}", view.row.request)],
                })
            });
            drop(reply.send(run));
        }
        question @ (Question::Withdraw { .. }
        | Question::Freeze { .. }
        | Question::Pause { .. }
        | Question::Promote(..)
        | Question::Outcome(..)) => {
            return Some(question);
        }
    }
    None
}

fn view(queue: &Queue, policy: &Policy, what: &str) -> Result<RequestView, ErrorBody> {
    let id = queue.find(what).ok_or_else(|| not_found(what))?;
    queue.request(id, clock::now(), policy).ok_or_else(|| not_found(what))
}

/// On a copy and off the engine's thread: what is tried out takes as long as several decisions.
fn explain(queue: &Queue, policy: &Policy, what: String, reply: Reply<Explanation>) {
    let Some(id) = queue.find(&what) else { return drop(reply.send(Err(not_found(&what)))) };
    let (queue, policy, now) = (queue.clone(), policy.clone(), clock::now());
    tokio::task::spawn_blocking(move || {
        let explained = queue.explain(id, now, &policy).ok_or_else(|| not_found(&what));
        drop(reply.send(explained));
    });
}

/// The input that a withdrawal by a person or program becomes, or why it cannot be.
pub(crate) fn withdrawal(queue: &Queue, what: &str, by: &str) -> Result<(RequestId, Input), ErrorBody> {
    let request = queue.find(what).ok_or_else(|| not_found(what))?;
    if queue.ended(request).is_some() {
        return Err(ErrorBody {
            code: ServiceErrorCode::Conflict,
            message: format!("{request} has ended already"),
            retryable: false,
            next: vec![format!("yardmaster status {request}")],
        });
    }
    Ok((request, Input::Withdraw { request, by: somebody(by) }))
}

/// A name that somebody gave.
fn somebody(name: &str) -> String {
    let name = plain(name, 64);
    if name.is_empty() { "somebody".to_owned() } else { name }
}

fn plain(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

/// The target that an operator means, or that it is not served.
fn served(policy: &Policy, target: Option<BranchName>) -> Result<BranchName, ErrorBody> {
    let target = target.unwrap_or_else(|| policy.default_target.clone());
    if policy.targets.contains(&target) {
        return Ok(target);
    }
    let served: Vec<&str> = policy.targets.iter().map(BranchName::as_str).collect();
    Err(ErrorBody {
        code: ServiceErrorCode::NotFound,
        message: format!("`{target}` is not served here: this queue lands on {}", served.join(", ")),
        retryable: false,
        next: vec!["yardmaster status".to_owned()],
    })
}

fn reason(why: Option<&str>) -> String {
    let why = plain(why.unwrap_or_default(), 500);
    if why.is_empty() { "no reason was given".to_owned() } else { why }
}

/// The input that a wish to pause a target becomes, or why it cannot be.
pub(crate) fn pausing(
    policy: &Policy,
    asked: PauseRequest,
    pause: bool,
) -> Result<(BranchName, Input), ErrorBody> {
    let target = served(policy, asked.target)?;
    let (who, why, except) = (somebody(&asked.who), reason(asked.why.as_deref()), asked.except);
    let input = match pause {
        true => Input::Pause { target: target.clone(), who, why, except },
        false => Input::Resume { target: target.clone(), who, why },
    };
    Ok((target, input))
}

/// The input that a wish to move requests to the front becomes, or why it cannot be.
pub(crate) fn promotion(queue: &Queue, asked: &PromoteRequest) -> Result<(Vec<RequestId>, Input), ErrorBody> {
    let refuse = |code, message: String, next: &str| {
        Err(ErrorBody { code, message, retryable: false, next: vec![next.to_owned()] })
    };
    let mut requests = Vec::new();
    for what in &asked.what {
        let id = queue.find(what).ok_or_else(|| not_found(what))?;
        if queue.ended(id).is_some() {
            let next = format!("yardmaster status {id}");
            return refuse(ServiceErrorCode::Conflict, format!("{id} has ended already"), &next);
        }
        if queue.is_being_pushed(id) {
            let message = format!("{id} is being pushed at this moment: nothing comes before it");
            return refuse(ServiceErrorCode::Conflict, message, &format!("yardmaster wait {id}"));
        }
        if !requests.contains(&id) {
            requests.push(id);
        }
    }
    if requests.is_empty() {
        return refuse(ServiceErrorCode::Usage, "no request is named".to_owned(), "yardmaster queue");
    }
    if queue.to_promote(&requests).is_none() {
        let message = "these and what they depend on are too many to move at once: name fewer".to_owned();
        return refuse(ServiceErrorCode::Usage, message, "yardmaster queue");
    }
    let (who, why) = (somebody(&asked.who), reason(asked.why.as_deref()));
    Ok((requests.clone(), Input::Promote { requests, who, why }))
}

/// Where those are now that were to be moved.
pub(crate) fn promoted(
    queue: &Queue,
    policy: &Policy,
    line: Vec<(RequestId, Option<RequestId>)>,
    changed: bool,
) -> PromoteReply {
    let row = |(id, needed_by)| {
        let view = queue.request(id, clock::now(), policy)?;
        Some(PromotedRow { row: view.row, needed_by })
    };
    PromoteReply { requests: line.into_iter().filter_map(row).collect(), changed }
}

/// The input that a wish to freeze a target becomes, or why it cannot be.
pub(crate) fn freezing(
    policy: &Policy,
    asked: FreezeRequest,
    freeze: bool,
) -> Result<(BranchName, Input), ErrorBody> {
    let target = served(policy, asked.target)?;
    let (who, why) = (somebody(&asked.who), reason(asked.why.as_deref()));
    let input = match freeze {
        true => Input::Freeze { target: target.clone(), who, why },
        false => Input::Unfreeze { target: target.clone(), who, why },
    };
    Ok((target, input))
}

/// Calls of `submit` that wait until their message is answered.
#[derive(Debug, Default)]
pub(crate) struct Submissions {
    waiting: BTreeMap<IntakeSeq, Reply<SubmitReply>>,
    /// Announced, not answered yet.
    arriving: BTreeMap<RequestId, IntakeSeq>,
    /// Answers that came before their question, the latest ones.
    early: BTreeMap<IntakeSeq, Result<SubmitReply, ErrorBody>>,
}

const EARLY_KEPT: usize = 1_000;

impl Submissions {
    pub(crate) fn wait(&mut self, seq: IntakeSeq, reply: Reply<SubmitReply>) {
        match self.early.remove(&seq) {
            Some(answer) => drop(reply.send(answer)),
            None => drop(self.waiting.insert(seq, reply)),
        }
        self.waiting.retain(|_, reply| !reply.is_closed());
    }

    /// Looks for answers in what was journalled.
    pub(crate) fn look_at(&mut self, fact: &Fact, queue: &Queue, policy: &Policy) {
        match fact {
            Fact::Announced { request, intake, .. } => drop(self.arriving.insert(*request, *intake)),
            Fact::Refused { intake, refusal, .. } => self.answer(
                *intake,
                Err(ErrorBody {
                    code: ServiceErrorCode::Refused,
                    message: refusal.message.clone(),
                    retryable: matches!(refusal.code, RefusalCode::QueueFull | RefusalCode::QuotaExceeded),
                    next: Vec::new(),
                }),
            ),
            Fact::Pinned { request, position, .. } => self.arrived(
                *request,
                Ok(SubmitReply {
                    request: *request,
                    state: "queued".to_owned(),
                    repeated: false,
                    position: Some(*position),
                }),
            ),
            Fact::Repeated { request, of } => {
                let view = queue.request(*of, clock::now(), policy);
                let state = view.as_ref().map_or_else(|| "queued".to_owned(), |v| v.row.state.clone());
                let position = view.and_then(|v| v.row.position);
                self.arrived(*request, Ok(SubmitReply { request: *of, state, repeated: true, position }));
            }
            Fact::Failed { request, failure } => self.arrived(
                *request,
                Err(ErrorBody {
                    code: ServiceErrorCode::Refused,
                    message: format!("{request}: {}", failure.evidence.message),
                    retryable: false,
                    next: failure.next.clone(),
                }),
            ),
            _ => {}
        }
    }

    fn arrived(&mut self, request: RequestId, answer: Result<SubmitReply, ErrorBody>) {
        if let Some(intake) = self.arriving.remove(&request) {
            self.answer(intake, answer);
        }
    }

    fn answer(&mut self, intake: IntakeSeq, answer: Result<SubmitReply, ErrorBody>) {
        match self.waiting.remove(&intake) {
            Some(reply) => drop(reply.send(answer)),
            None => drop(self.early.insert(intake, answer)),
        }
        while self.early.len() > EARLY_KEPT {
            self.early.pop_first();
        }
    }
}
