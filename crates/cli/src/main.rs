//! Exists so that there is one binary: commands for people and agents, one file each. A command knows
//! how to ask and how to show; what it asks is answered elsewhere.

mod args;
mod commands;
mod connection;
mod demo;
mod error;
mod exit;
mod follow;
#[cfg(test)]
mod looks;
mod screen;
mod signals;
mod story;
mod words;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use clap::error::ErrorKind;
use serde_json::json;

use args::Cli;
use error::{CliError, Told};
use exit::Exit;
use screen::Out;

/// For what was spawned and does not know that the command is over.
const LAST_WORDS: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misunderstood(&error),
    };
    // Before there are threads: it limits itself, and may be killed at any time.
    if matches!(cli.command, args::Command::ReadDefinitions) {
        return yardmaster_daemon::read_definitions();
    }
    if cli.no_color {
        anstream::ColorChoice::Never.write_global();
    }
    let out = Out { json: cli.json };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return ended(out, Err(CliError::Unexpected(format!("cannot start threads: {why}")))),
    };
    let done = runtime.block_on(commands::run(cli.command, out));
    runtime.shutdown_timeout(LAST_WORDS);
    ended(out, done)
}

fn ended(out: Out, done: Result<Exit, CliError>) -> ExitCode {
    let error = match done {
        Ok(exit) => return ExitCode::from(exit.0),
        Err(error) => error,
    };
    if error.is_broken_pipe() {
        return ExitCode::SUCCESS;
    }
    if matches!(error, CliError::Interrupted) {
        return ExitCode::from(error.exit().0);
    }
    let mut stderr = anstream::stderr().lock();
    if out.json {
        // Where even this cannot be written, the exit code has to do.
        let _ = out.object(&json!({"ok": false, "error": error.told()}));
    } else {
        for line in error.lines() {
            let _ = writeln!(stderr, "{}", line.ansi());
        }
    }
    ExitCode::from(error.exit().0)
}

/// Help and versions are results; a wrong call is JSON too where JSON was asked for.
fn misunderstood(error: &clap::Error) -> ExitCode {
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if !is_help && std::env::args_os().any(|arg| arg == "--json") {
        let told = Told {
            code: "usage".to_owned(),
            message: error.to_string().trim_start_matches("error: ").trim_end().to_owned(),
            retryable: false,
            next: vec!["yardmaster --help".to_owned()],
        };
        let _ = Out { json: true }.object(&json!({"ok": false, "error": told}));
    } else {
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::USAGE.0))
}
