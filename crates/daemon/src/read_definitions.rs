use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use yardmaster_git::Mirror;
use yardmaster_protocol::{BranchName, CommitId, Inspection, RequestId, UnreadWhy};
use yardmaster_symbols::{Reader, serve_child};

use crate::api::{self, Apis, Round, Wanted};
use crate::caught::caught;

/// The argument that makes our program a child that reads definitions.
const COMMAND: &str = "read-definitions";
/// For reading source code at a time; whoever does not get a turn gets one at the next.
const BUDGET: Duration = Duration::from_secs(1);
/// For reading newcomers before it is told that they are queued: they wait for it.
const BUDGET_OF_NEWCOMERS: Duration = Duration::from_millis(150);

/// Reads definitions for a daemon, on standard input and output, until that is closed. The daemon starts the program
/// that it is itself with `read-definitions` for it; whoever embeds [`crate::serve`] in another program calls this
/// there, or goes without definitions.
pub fn read_definitions() -> ExitCode {
    serve_child()
}

/// What was read, by target.
#[derive(Debug)]
pub(crate) struct Readings {
    reader: Arc<Mutex<Reader>>,
    known: BTreeMap<BranchName, Arc<Mutex<Apis>>>,
}

/// What was read for one target, and who reads; one child for all.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    reader: Arc<Mutex<Reader>>,
    apis: Arc<Mutex<Apis>>,
}

impl Default for Readings {
    fn default() -> Self {
        // What cannot be named cannot be started, and is told then.
        let mut command = Command::new(own_program().unwrap_or_default());
        command.arg0("yardmaster").arg(COMMAND);
        Readings { reader: Arc::new(Mutex::new(Reader::new(command))), known: BTreeMap::new() }
    }
}

/// On Linux by what runs, not by its name: a new version may have taken that meanwhile.
fn own_program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok(PathBuf::from("/proc/self/exe")) } else { std::env::current_exe() }
}

impl Readings {
    pub(crate) fn of(&mut self, target: &BranchName) -> Reading {
        let apis = Arc::clone(self.known.entry(target.clone()).or_default());
        Reading { reader: Arc::clone(&self.reader), apis }
    }
}

impl Reading {
    /// Of `wanted`, which are among `heads`.
    pub(crate) fn of_waiting(
        &self,
        mirror: &Mirror,
        tip: CommitId,
        heads: &[(RequestId, CommitId)],
        wanted: &[RequestId],
    ) -> Round {
        let mut apis = self.apis.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = Wanted { requests: wanted, heads, budget: BUDGET };
        round(&mut apis, &wanted, |head, limit| {
            let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
            api::read(mirror, &mut reader, tip, head, limit)
        })
    }

    /// Of those that were just `found`, held against `heads` as well. Nobody waits for somebody else's turn here:
    /// then it is done later.
    pub(crate) fn of_newcomers(
        &self,
        mirror: &Mirror,
        tip: CommitId,
        mut heads: Vec<(RequestId, CommitId)>,
        found: &[(RequestId, Inspection)],
    ) -> Round {
        let (Some(mut apis), Some(mut reader)) = (free(&self.apis), free(&self.reader)) else {
            return Round::default();
        };
        let new: Vec<(RequestId, CommitId)> = found.iter().filter_map(pinned).collect();
        let requests: Vec<RequestId> = new.iter().map(|(id, _)| *id).collect();
        heads.extend(new);
        let wanted = Wanted { requests: &requests, heads: &heads, budget: BUDGET_OF_NEWCOMERS };
        round(&mut apis, &wanted, |head, limit| api::read(mirror, &mut reader, tip, head, limit))
    }
}

fn pinned((request, inspection): &(RequestId, Inspection)) -> Option<(RequestId, CommitId)> {
    match inspection {
        Inspection::Pinned { head, .. } => Some((*request, *head)),
        Inspection::BranchMissing
        | Inspection::HeadMoved { .. }
        | Inspection::Unusable { .. }
        | Inspection::Crashed { .. } => None,
    }
}

fn free<T>(of: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match of.try_lock() {
        Ok(free) => Some(free),
        Err(std::sync::TryLockError::Poisoned(free)) => Some(free.into_inner()),
        Err(std::sync::TryLockError::WouldBlock) => None,
    }
}

/// What makes the program fail is left out: the queue shall not wait for it.
fn round(apis: &mut Apis, wanted: &Wanted<'_>, read: impl FnMut(CommitId, Duration) -> api::Read) -> Round {
    caught(|| apis.round(wanted, read)).unwrap_or_else(|why| {
        tracing::error!(why, "comparing definitions made the program fail; they are left out");
        Round::given_up(wanted.requests, UnreadWhy::Broke)
    })
}
