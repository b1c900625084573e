use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::pin::{Pin, pin};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::leftovers::{CrashRecord, Marked, sweep};
use crate::output::Output;
use crate::process::ProcessGroup;
use crate::tail::Tail;

const READ_BYTES: usize = 64 << 10;
/// Between two reads once the log's head is full: a flood gets 64 MB/s and no whole processor.
const FLOOD_PAUSE: Duration = Duration::from_millis(1);
/// For output that is still in the pipe when everybody who could be found has been ended.
const DRAIN: Duration = Duration::from_millis(200);
/// For the kernel to end a killed process.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// One command and where it runs.
pub(crate) struct StepJob<'a> {
    pub(crate) command: &'a str,
    pub(crate) dir: &'a Path,
    pub(crate) environment: BTreeMap<OsString, OsString>,
    pub(crate) record: CrashRecord,
    /// What escapes from the group is found by it.
    pub(crate) mark: Marked,
    pub(crate) deadline: Instant,
    pub(crate) grace: Duration,
}

/// How a step ended.
#[derive(Debug)]
pub(crate) enum StepEnd {
    Exited(ExitStatus),
    TimedOut,
    Cancelled,
}

/// Runs one command to its end. When it returns, nothing of the command runs any more.
///
/// # Errors
/// When the command could not be started, or did not die.
pub(crate) async fn run_step(
    job: StepJob<'_>,
    log: &mut Output<'_>,
    tail: &mut Tail,
    cancel: Pin<&mut impl Future<Output = ()>>,
) -> io::Result<StepEnd> {
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(job.command)
        .current_dir(job.dir)
        .env_clear()
        .envs(&job.environment)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let group = ProcessGroup::start(command, job.record.clone()).await?;

    let (closed, output_closed) = oneshot::channel();
    let mut copying = pin!(copy_output(output, log, tail, closed));
    let mut supervising = pin!(supervise(group, output_closed, &job, cancel));
    let mut copied = false;
    let end = loop {
        tokio::select! {
            end = &mut supervising => break end,
            () = &mut copying, if !copied => copied = true,
        }
    };
    if !copied && timeout(DRAIN, copying).await.is_err() {
        tracing::warn!("something that cannot be found still holds the output of a step that has ended");
    }
    end
}

async fn supervise(
    mut group: ProcessGroup,
    output_closed: oneshot::Receiver<()>,
    job: &StepJob<'_>,
    cancel: Pin<&mut impl Future<Output = ()>>,
) -> io::Result<StepEnd> {
    let stopped = tokio::select! {
        biased;
        () = group.exited() => None,
        () = cancel => Some(StepEnd::Cancelled),
        () = sleep_until(job.deadline) => Some(StepEnd::TimedOut),
    };
    if stopped.is_some() {
        group.signal(Signal::TERM);
        // The shell dies at once; what it started may need the grace, and mostly holds the output.
        let all_gone = async {
            group.exited().await;
            let _ = output_closed.await;
        };
        let _ = timeout(job.grace, all_gone).await;
    }
    group.signal(Signal::KILL);
    if timeout(KILL_LIMIT, group.exited()).await.is_err() {
        return Err(io::Error::other("the step did not die when it was killed"));
    }
    let mark = job.mark.clone();
    let escaped = tokio::task::spawn_blocking(move || sweep(&mark)).await.unwrap_or_default();
    if escaped > 0 {
        tracing::debug!(escaped, "ended processes that had left the group of their step");
    }
    let status = group.reap().await?;
    Ok(stopped.unwrap_or(StepEnd::Exited(status)))
}

/// Ends when nobody holds the writing end any more, and says so.
async fn copy_output(
    mut output: pipe::Receiver,
    log: &mut Output<'_>,
    tail: &mut Tail,
    closed: oneshot::Sender<()>,
) {
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(count @ 1..) = output.read(&mut buffer).await {
        tail.push(&buffer[..count]);
        if log.write(&buffer[..count]).await {
            sleep(FLOOD_PAUSE).await;
        }
    }
    let _ = closed.send(());
}
