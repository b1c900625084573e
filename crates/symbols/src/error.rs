use std::io;
use std::time::Duration;

/// Why a change was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no child, which says nothing of the change.
    #[error("start the process that reads source code: {0}")]
    NotStarted(#[source] io::Error),
    /// The child was killed.
    #[error("read its source code: the process that did so was killed after {0:?}")]
    Late(Duration),
    /// The child ended by itself, or said something else than an answer.
    #[error("read its source code: the process that did so ended: {0}")]
    Died(#[source] io::Error),
    /// More text than is read of one change.
    #[error("read its source code: it is too long")]
    TooLong,
}
