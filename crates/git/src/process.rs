use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// The most that is kept of a command's standard output.
pub(crate) const MAX_STDOUT: usize = 32 * 1024 * 1024;
/// The most that is kept of a command's standard error.
pub(crate) const MAX_STDERR: usize = 16 * 1024;
/// How long a child may take to end once its pipes are closed, and a pipe once it was killed.
const GRACE: Duration = Duration::from_secs(2);

/// What a command did.
#[derive(Debug)]
pub(crate) struct Finished {
    /// None when it was killed for taking too long.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Standard output was longer than what is kept.
    pub(crate) cut: bool,
}

/// What a command reads.
#[derive(Debug)]
pub(crate) enum Input {
    Nothing,
    Bytes(Vec<u8>),
    File(File),
}

/// Runs a command in a process group of its own, feeds it `stdin`, keeps a bounded part of what it
/// says, and kills the whole group when `timeout` is over.
pub(crate) fn run(command: Command, stdin: Option<Vec<u8>>, timeout: Duration) -> std::io::Result<Finished> {
    run_with(command, stdin.map_or(Input::Nothing, Input::Bytes), None, timeout)
}

/// As [`run`]; with a file for standard output nothing of that is kept here.
pub(crate) fn run_with(
    mut command: Command,
    stdin: Input,
    stdout: Option<File>,
    timeout: Duration,
) -> std::io::Result<Finished> {
    let deadline = Instant::now() + timeout;
    command.process_group(0).stdout(stdout.map_or_else(Stdio::piped, Stdio::from)).stderr(Stdio::piped());
    let bytes = match stdin {
        Input::Nothing => {
            command.stdin(Stdio::null());
            None
        }
        Input::Bytes(bytes) => {
            command.stdin(Stdio::piped());
            Some(bytes)
        }
        Input::File(file) => {
            command.stdin(Stdio::from(file));
            None
        }
    };
    let mut child = command.spawn()?;
    if let (Some(input), Some(mut pipe)) = (bytes, child.stdin.take()) {
        // A child that ends early closes the pipe: its exit status says more than our write error.
        thread::spawn(move || drop(pipe.write_all(&input)));
    }
    let stdout = drain(child.stdout.take(), MAX_STDOUT);
    let stderr = drain(child.stderr.take(), MAX_STDERR);
    let mut out = stdout.recv_timeout(left(deadline));
    let mut err = stderr.recv_timeout(left(deadline));
    let mut status = None;
    if out.is_ok() && err.is_ok() {
        status = wait_until(&mut child, deadline)?;
    }
    if status.is_none() {
        kill_group(&child);
        let ended = child.wait()?;
        // The child may have ended well long ago while something it left behind held its pipes.
        status = ended.success().then_some(ended);
        out = out.or_else(|_| stdout.recv_timeout(GRACE));
        err = err.or_else(|_| stderr.recv_timeout(GRACE));
    }
    let (stdout, cut) = out.unwrap_or_default();
    let (stderr, _) = err.unwrap_or_default();
    Ok(Finished { status, stdout, stderr, cut })
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn drain(pipe: Option<impl Read + Send + 'static>, limit: usize) -> Receiver<(Vec<u8>, bool)> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut kept = Vec::new();
        let mut cut = false;
        if let Some(mut pipe) = pipe {
            drop(pipe.by_ref().take(limit as u64).read_to_end(&mut kept));
            cut = std::io::copy(&mut pipe, &mut std::io::sink()).is_ok_and(|more| more > 0);
        }
        drop(sender.send((kept, cut)));
    });
    receiver
}

/// Both pipes are closed, so the end is near: a short poll spares a thread per command.
fn wait_until(child: &mut Child, deadline: Instant) -> std::io::Result<Option<ExitStatus>> {
    let deadline = deadline.max(Instant::now() + GRACE);
    let mut pause = Duration::from_micros(50);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// The child is not reaped yet, so its group id cannot have been given to anybody else.
fn kill_group(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_is_bounded_and_never_blocks_the_child() {
        let done = run(sh("head -c 1000000 /dev/zero >&2; echo hi"), None, GRACE * 5).expect("runs");
        assert_eq!(done.stdout, b"hi\n");
        assert_eq!(done.stderr.len(), MAX_STDERR);
        assert!(done.status.is_some_and(|s| s.success()));
    }

    #[test]
    fn a_command_that_takes_too_long_dies_with_all_its_children() {
        let started = Instant::now();
        let done = run(sh("sleep 60 & sleep 60"), None, Duration::from_millis(100)).expect("runs");
        assert!(done.status.is_none());
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn large_input_and_large_output_at_once_do_not_deadlock() {
        let input = vec![b'x'; 4 * 1024 * 1024];
        let done = run(sh("cat"), Some(input.clone()), GRACE * 10).expect("runs");
        assert_eq!(done.stdout.len(), input.len());
    }
}
