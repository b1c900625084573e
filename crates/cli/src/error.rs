use std::path::{Path, PathBuf};

use serde::Serialize;
use yardmaster_bus::BusError;
use yardmaster_daemon::{ServeError, SettingsError, WorkError};
use yardmaster_protocol::{ErrorBody, ServiceErrorCode};

use crate::exit::Exit;
use crate::screen::{Line, style};

/// Why a command could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The daemon said no, or did not answer.
    #[error("{0}")]
    Service(#[from] ErrorBody),
    /// NATS cannot be used; the text says where its address came from.
    #[error("{}", nats_message(.error, .source_of_url))]
    Nats { error: BusError, source_of_url: String },
    /// The daemon cannot serve.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The runner cannot work.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// The arguments do not make sense together.
    #[error("{0}")]
    Usage(String),
    /// A file that was named cannot be used.
    #[error("cannot read {}: {why}", shown(.path))]
    File { path: PathBuf, why: String },
    /// The demo did not come out as it should.
    #[error("{0}")]
    Demo(String),
    /// Something that was not foreseen.
    #[error("{0}")]
    Unexpected(String),
    /// The request did not end in time.
    #[error("{message}")]
    TimedOut { message: String, next: Vec<String> },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// The result cannot be written.
    #[error("cannot write the result: {0}")]
    Output(std::io::Error),
}

impl From<SettingsError> for CliError {
    fn from(error: SettingsError) -> CliError {
        CliError::Serve(ServeError::Settings(error))
    }
}

fn shown(path: &Path) -> String {
    if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() }
}

fn nats_message(error: &BusError, source_of_url: &str) -> String {
    match error {
        BusError::Unreachable { url, why } => format!("no NATS at {url} ({source_of_url}): {why}"),
        other => format!("failed to {other}"),
    }
}

/// An error as programs get it.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) retryable: bool,
    pub(crate) next: Vec<String>,
}

impl CliError {
    /// Whether the reader of our output went away, as in `yardmaster queue | head -1`.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, CliError::Output(e) if e.kind() == std::io::ErrorKind::BrokenPipe)
    }

    /// What was named is not there.
    pub(crate) fn not_found(message: String) -> CliError {
        CliError::Service(ErrorBody {
            code: ServiceErrorCode::NotFound,
            message,
            retryable: false,
            next: Vec::new(),
        })
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            CliError::Service(body) => Exit(body.code.exit_code()),
            CliError::Nats { error, .. } => of_bus(error).1,
            CliError::Serve(error) => of_serve(error).1,
            CliError::Work(error) => of_work(error).1,
            CliError::Usage(_) | CliError::File { .. } => Exit::USAGE,
            CliError::TimedOut { .. } => Exit::TIMED_OUT,
            CliError::Interrupted => Exit::INTERRUPTED,
            CliError::Demo(_) | CliError::Unexpected(_) | CliError::Output(_) => Exit::UNEXPECTED,
        }
    }

    pub(crate) fn told(&self) -> Told {
        let (code, retryable, next) = match self {
            CliError::Service(body) => (service_code(body.code), body.retryable, body.next.clone()),
            CliError::Nats { error, .. } => {
                let (code, _) = of_bus(error);
                (code, code == "unreachable", nats_next(error))
            }
            CliError::Serve(error) => (of_serve(error).0, false, serve_next(error)),
            CliError::Work(WorkError::Refused(body)) => {
                (service_code(body.code), body.retryable, body.next.clone())
            }
            CliError::Work(error) => (of_work(error).0, false, Vec::new()),
            CliError::Usage(_) | CliError::File { .. } => ("usage", false, Vec::new()),
            CliError::TimedOut { next, .. } => ("timed_out", true, next.clone()),
            CliError::Interrupted => ("interrupted", true, Vec::new()),
            CliError::Demo(_) => ("demo", false, Vec::new()),
            CliError::Unexpected(_) | CliError::Output(_) => ("unexpected", false, Vec::new()),
        };
        Told { code: code.to_owned(), message: self.to_string(), retryable, next }
    }

    /// For people: what is wrong, then what to try.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let told = self.told();
        let mut message = told.message.lines();
        let mut lines = vec![
            Line::styled(style::RED.bold(), "error: ").text(message.next().unwrap_or("something went wrong")),
        ];
        lines.extend(message.map(Line::plain));
        if !told.next.is_empty() {
            lines.push(Line::styled(style::DIM, "  try:"));
            lines.extend(told.next.iter().map(|n| Line::styled(style::CYAN, n).indented(4)));
        }
        lines
    }
}

fn nats_next(error: &BusError) -> Vec<String> {
    match error {
        BusError::Unreachable { .. } => vec![
            "yardmaster serve --remote URL-OR-PATH".to_owned(),
            "export NATS_URL=nats://HOST:4222".to_owned(),
        ],
        BusError::Denied { .. } => {
            vec!["export NATS_TOKEN=…   # or NATS_USER and NATS_PASSWORD, or NATS_CREDS=FILE".to_owned()]
        }
        _ => Vec::new(),
    }
}

fn serve_next(error: &ServeError) -> Vec<String> {
    let export = |what: &str| vec![format!("export YARDMASTER__NATS__{what}")];
    match error {
        ServeError::Bus(BusError::Denied { .. }) => {
            export("TOKEN=…   # or …__USER and …__PASSWORD, or …__CREDENTIALS=FILE")
        }
        _ => Vec::new(),
    }
}

fn of_bus(error: &BusError) -> (&'static str, Exit) {
    match error {
        BusError::Unreachable { .. } | BusError::Away { .. } => ("unreachable", Exit::UNREACHABLE),
        BusError::TooOld { .. }
        | BusError::NoJetStream { .. }
        | BusError::StreamCannotServe { .. }
        | BusError::ConsumerCannotServe { .. } => ("nats_cannot_serve", Exit::UNREACHABLE),
        BusError::Denied { .. } => ("not_authorised", Exit::NOT_AUTHORISED),
        BusError::BadName { .. } | BusError::BadAddress { .. } | BusError::TooLarge { .. } => {
            ("usage", Exit::USAGE)
        }
        BusError::OtherWire { .. } => ("refused", Exit::REFUSED),
    }
}

fn of_serve(error: &ServeError) -> (&'static str, Exit) {
    match error {
        ServeError::Settings(_)
        | ServeError::NoGate { .. }
        | ServeError::StateDir { .. }
        | ServeError::OtherRemote { .. } => ("configuration", Exit::USAGE),
        ServeError::Bus(error) => of_bus(error),
        ServeError::InUse { .. } => ("in_use", Exit::UNEXPECTED),
        ServeError::Server(_) => ("no_nats_server", Exit::UNEXPECTED),
        ServeError::Git(_) => ("repository", Exit::UNEXPECTED),
        ServeError::Journal(_)
        | ServeError::Append(_)
        | ServeError::LeaseLost { .. }
        | ServeError::Runner(_)
        | ServeError::Snapshot { .. } => ("unexpected", Exit::UNEXPECTED),
    }
}

fn of_work(error: &WorkError) -> (&'static str, Exit) {
    match error {
        WorkError::Refused(body) => (service_code(body.code), Exit(body.code.exit_code())),
        WorkError::StateDir { .. } => ("configuration", Exit::USAGE),
        WorkError::Bus(error) => of_bus(error),
        WorkError::InUse { .. } => ("in_use", Exit::UNEXPECTED),
        WorkError::Git(_) => ("repository", Exit::UNEXPECTED),
        WorkError::Runner(_) => ("unexpected", Exit::UNEXPECTED),
    }
}

fn service_code(code: ServiceErrorCode) -> &'static str {
    match code {
        ServiceErrorCode::Unexpected => "unexpected",
        ServiceErrorCode::Usage => "usage",
        ServiceErrorCode::NotFound => "not_found",
        ServiceErrorCode::Refused => "refused",
        ServiceErrorCode::Unreachable => "unreachable",
        ServiceErrorCode::TimedOut => "timed_out",
        ServiceErrorCode::Conflict => "conflict",
    }
}
