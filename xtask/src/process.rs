use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use crate::error::XtaskError;

/// How a command looks when a person types it.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

fn status_text(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| format!("exit code {code}"))
}

/// Runs with our output and without input; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<(), XtaskError> {
    let status = start(command.stdin(Stdio::null()))?;
    if status.success() {
        return Ok(());
    }
    Err(XtaskError::Failed { command: line(command), status: status_text(status), output: String::new() })
}

/// Runs in our place: our input, our output, its exit code.
pub(crate) fn pass_on(command: &mut Command) -> Result<ExitCode, XtaskError> {
    let status = start(command)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

fn start(command: &mut Command) -> Result<ExitStatus, XtaskError> {
    command.status().map_err(|source| XtaskError::Start { command: line(command), source })
}

/// Runs and gives what it printed on stdout; on failure, what it printed on both is in the error.
pub(crate) fn output(command: &mut Command) -> Result<String, XtaskError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| XtaskError::Start { command: line(command), source })?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let both = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    let output_text = both.lines().map(|l| format!("\n    {l}")).collect();
    Err(XtaskError::Failed {
        command: line(command),
        status: status_text(output.status),
        output: output_text,
    })
}

/// Every executable of this name on `PATH`, in order.
pub(crate) fn on_path(program: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = Vec::new();
    for dir in std::env::split_paths(&path) {
        let candidate = dir.join(program);
        if candidate.is_absolute() && is_executable(&candidate) && !found.contains(&candidate) {
            found.push(candidate);
        }
    }
    found
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}
