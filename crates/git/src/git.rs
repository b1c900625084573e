use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::GitError;
use crate::durable::SYNCED;
use crate::environment::Environment;
use crate::process::{self, Finished, Input};

/// How long a command may take that only works on our own disk.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(300);

/// How much a fetch may have to bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// A whole history: a fetch that is ended begins from nothing again, so it gets 20 times as long.
    Everything,
    /// What is new since the last one.
    News,
}

/// Starts git commands on one git directory.
#[derive(Debug, Clone)]
pub(crate) struct Git {
    pub(crate) dir: PathBuf,
    pub(crate) environment: Environment,
    pub(crate) net_timeout: Duration,
    /// More of the environment, all of it paths.
    pub(crate) variables: Vec<(&'static str, PathBuf)>,
    /// What it writes has to outlast a power cut.
    pub(crate) synced: bool,
}

impl Git {
    /// A command that stays on our own disk; whatever its exit code.
    pub(crate) fn local<S: AsRef<OsStr>>(
        &self,
        args: &[S],
        stdin: Option<Vec<u8>>,
    ) -> Result<Finished, GitError> {
        self.start(args, stdin, LOCAL_TIMEOUT)
    }

    /// A command that stays on our own disk and must end well.
    pub(crate) fn local_ok<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Finished, GitError> {
        let done = self.local(args, None)?;
        if done.status.is_some_and(|s| s.success()) {
            return Ok(done);
        }
        Err(self.failed(args, &done))
    }

    /// A command that talks to the remote; whatever its exit code.
    pub(crate) fn remote<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Finished, GitError> {
        self.start(args, None, self.net_timeout)
    }

    /// A fetch, which takes its refs on standard input.
    pub(crate) fn fetch<S: AsRef<OsStr>>(
        &self,
        args: &[S],
        refspecs: &[String],
        extent: Extent,
    ) -> Result<Finished, GitError> {
        let timeout = match extent {
            Extent::Everything => self.net_timeout.saturating_mul(20),
            Extent::News => self.net_timeout,
        };
        self.start(args, Some(format!("{}\n", refspecs.join("\n")).into_bytes()), timeout)
    }

    /// What a failed command said, or that it was ended.
    pub(crate) fn why(&self, done: &Finished) -> String {
        if done.status.is_none() {
            return format!("no answer in time (the limit is {} s)", self.net_timeout.as_secs_f32());
        }
        let text = String::from_utf8_lossy(&done.stderr);
        let text = without_boilerplate(text.trim());
        if text.is_empty() {
            return format!("exit code {}", done.status.and_then(|s| s.code()).unwrap_or(-1));
        }
        cut(&text, 2_000)
    }

    pub(crate) fn failed<S: AsRef<OsStr>>(&self, args: &[S], done: &Finished) -> GitError {
        let words = args.iter().take(2).map(|a| a.as_ref().to_string_lossy());
        GitError::Command { command: words.collect::<Vec<_>>().join(" "), why: self.why(done) }
    }

    /// A command that stays on our own disk, reads and writes files that are large, and must end well.
    pub(crate) fn local_files(
        &self,
        args: &[&str],
        stdin: Input,
        stdout: Option<File>,
    ) -> Result<(), GitError> {
        let done =
            process::run_with(self.command(args), stdin, stdout, LOCAL_TIMEOUT).map_err(GitError::NoGit)?;
        if done.status.is_some_and(|s| s.success()) { Ok(()) } else { Err(self.failed(args, &done)) }
    }

    fn start<S: AsRef<OsStr>>(
        &self,
        args: &[S],
        stdin: Option<Vec<u8>>,
        timeout: Duration,
    ) -> Result<Finished, GitError> {
        process::run(self.command(args), stdin, timeout).map_err(GitError::NoGit)
    }

    fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = self.environment.git();
        if self.synced {
            command.args(SYNCED.iter().flat_map(|setting| ["-c", setting]));
        }
        command.env("GIT_DIR", &self.dir).current_dir(&self.dir).args(args);
        command.envs(self.variables.iter().map(|(name, path)| (name, path)));
        command
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

/// The first `bytes` of a text, whole characters only.
/// Git ends its words about any trouble with a remote in the same three lines, which say nothing.
fn without_boilerplate(text: &str) -> String {
    const SAME: [&str; 3] = [
        "fatal: Could not read from remote repository.",
        "Please make sure you have the correct access rights",
        "and the repository exists.",
    ];
    let told: Vec<&str> =
        text.lines().filter(|l| !SAME.contains(&l.trim()) && !l.trim().is_empty()).collect();
    if told.is_empty() { text.to_owned() } else { told.join("\n") }
}

pub(crate) fn cut(text: &str, bytes: usize) -> String {
    match text.char_indices().map(|(i, _)| i).take_while(|i| *i <= bytes).last() {
        Some(end) if text.len() > bytes => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}
