use std::io::{IsTerminal, Write};

use serde::Serialize;

use super::line::Line;
use crate::error::CliError;

/// Where results go: stdout, as text for people or as JSON, one object a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Out {
    pub(crate) json: bool,
}

impl Out {
    /// Whether a block on stdout may be drawn in place.
    pub(crate) fn is_live(self) -> bool {
        !self.json && std::io::stdout().is_terminal() && is_capable()
    }

    /// Whether progress on stderr may be drawn in place.
    pub(crate) fn has_live_progress(self) -> bool {
        !self.json && std::io::stderr().is_terminal() && is_capable()
    }

    pub(crate) fn lines(self, lines: impl IntoIterator<Item = Line>) -> Result<(), CliError> {
        let mut out = anstream::stdout().lock();
        for line in lines {
            writeln!(out, "{}", line.ansi()).map_err(CliError::Output)?;
        }
        out.flush().map_err(CliError::Output)
    }

    pub(crate) fn line(self, line: Line) -> Result<(), CliError> {
        self.lines([line])
    }

    /// One object on a line of its own.
    pub(crate) fn object(self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(value).map_err(|e| CliError::Output(e.into()))?;
        self.raw(format!("{text}\n").as_bytes())
    }

    /// Bytes as they are.
    pub(crate) fn raw(self, bytes: &[u8]) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(CliError::Output)
    }

    /// A line on stderr for people who wait; nobody is harmed if it cannot be written.
    pub(crate) fn progress(self, line: &Line) {
        if !self.json {
            let _ = writeln!(anstream::stderr(), "{}", line.ansi());
        }
    }
}

fn is_capable() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}
