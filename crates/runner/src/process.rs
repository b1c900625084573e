use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::sync::oneshot;
use yardmaster_failpoint::{Point, hit};

use crate::leftovers::CrashRecord;

/// A running process group. Its leader is reaped only on request: as long as the leader is a zombie
/// the group's id cannot become somebody else's, so that a signal never hits a stranger. Dropped
/// early, it kills the group.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    id: Pid,
    exited: oneshot::Receiver<()>,
    has_exited: bool,
    /// Sending or dropping it lets the leader be reaped.
    reap: Option<mpsc::Sender<()>>,
    status: oneshot::Receiver<io::Result<ExitStatus>>,
}

impl ProcessGroup {
    /// Starts `command`, which has to make its own group. It is started, waited for and reaped by a
    /// thread of its own, because starting blocks until the program is loaded.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub(crate) async fn start(command: Command, record: CrashRecord) -> io::Result<Self> {
        let (started, start) = oneshot::channel();
        thread::Builder::new()
            .name("gate-step".into())
            .spawn(move || accompany(command, &record, started))?;
        start.await.map_err(io::Error::other)?
    }

    /// Resolves when the leader has ended. Can be asked again.
    pub(crate) async fn exited(&mut self) {
        if !self.has_exited {
            let _ = (&mut self.exited).await;
            self.has_exited = true;
        }
    }

    /// Sends `signal` to whoever is in the group.
    pub(crate) fn signal(&self, signal: Signal) {
        // Fails only when nobody is there any more.
        let _ = kill_process_group(self.id, signal);
    }

    /// Reaps the leader, which must have ended, and says how.
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) async fn reap(mut self) -> io::Result<ExitStatus> {
        drop(self.reap.take());
        (&mut self.status).await.map_err(io::Error::other)?
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if self.reap.is_some() {
            self.signal(Signal::KILL);
        }
    }
}

fn accompany(mut command: Command, record: &CrashRecord, started: oneshot::Sender<io::Result<ProcessGroup>>) {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(why) => {
            let _ = started.send(Err(why));
            return;
        }
    };
    // It holds our copy of the pipe's writing end; without it the reader sees the end of output.
    drop(command);
    let id = Pid::from_child(&child);
    hit(Point::AfterGateSpawn);
    record.write(id);
    hit(Point::AfterGateRecord);
    let (exit_seen, exited) = oneshot::channel();
    let (reap, reap_asked) = mpsc::channel();
    let (status_known, status) = oneshot::channel();
    // When nobody takes the group any more it is dropped here, and so killed.
    let group = ProcessGroup { id, exited, has_exited: false, reap: Some(reap), status };
    let _ = started.send(Ok(group));
    wait_without_reaping(&child);
    let _ = exit_seen.send(());
    let _ = reap_asked.recv();
    let ended = child.wait();
    record.remove();
    let _ = status_known.send(ended);
}

fn wait_without_reaping(child: &Child) {
    let id = WaitId::Pid(Pid::from_child(child));
    while let Err(why) = waitid(id.clone(), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
        if why != rustix::io::Errno::INTR {
            break;
        }
    }
}
