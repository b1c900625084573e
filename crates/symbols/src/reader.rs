//! The parent's side: one child that reads, started when it is needed, killed when it takes too long.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::ApiChange;
use crate::change::FileChange;
use crate::error::ReadError;
use crate::frame::{self, GREETING, MAX_ANSWER, MAX_GREETING};

/// A child has so much more time than it was told: the machine may be busy with something else.
const GRACE: Duration = Duration::from_secs(1);
/// From its start to its greeting.
const START: Duration = Duration::from_secs(5);

/// Reads changes in a child process. A parser that does not come back, or breaks, takes the child with it and
/// nothing else: the next change gets another one.
#[derive(Debug)]
pub struct Reader {
    command: Command,
    running: Option<Running>,
}

/// A child, killed when it is dropped.
#[derive(Debug)]
struct Running {
    child: Child,
    questions: Sender<Vec<u8>>,
    /// Of a thread of its own, because a child that does not read blocks whoever writes.
    answers: Receiver<io::Result<Vec<u8>>>,
}

impl Reader {
    /// `command` has to come to [`crate::serve_child`]. It gets no environment: what breaks a parser finds no secrets
    /// there.
    pub fn new(mut command: Command) -> Reader {
        command
            .process_group(0)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Reader { command, running: None }
    }

    /// [`crate::change_within`], in the child. Takes a second longer than `limit` at the most, and five more where
    /// a child has to be started first. A child that was there before and dies is no witness, because it may have
    /// been dying already: then another one gets what is left of the time.
    ///
    /// # Errors
    /// When it was not read. Unless there was no child at all, asking again costs another child.
    pub fn change(&mut self, files: &[FileChange<'_>], limit: Duration) -> Result<ApiChange, ReadError> {
        let began = Instant::now();
        let mut question = question(files, limit)?;
        let mut left = limit;
        if let Some(running) = self.running.take().and_then(Running::still_alive) {
            match self.ask(running, question, left) {
                Err(ReadError::Died(_)) => {}
                read => return read,
            }
            left = limit.saturating_sub(began.elapsed());
            question = self::question(files, left)?;
        }
        let running = Running::start(&mut self.command).map_err(ReadError::NotStarted)?;
        self.ask(running, question, left)
    }

    fn ask(
        &mut self,
        mut running: Running,
        question: Vec<u8>,
        limit: Duration,
    ) -> Result<ApiChange, ReadError> {
        let bound = limit.saturating_add(GRACE);
        let answer = running.ask(question, bound).ok_or(ReadError::Late(bound))?;
        let read = answer.and_then(|answer| Ok(serde_json::from_slice(&answer)?)).map_err(ReadError::Died)?;
        self.running = Some(running);
        Ok(read)
    }

    /// The child's process id, while there is one.
    pub fn child_id(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }
}

fn question(files: &[FileChange<'_>], limit: Duration) -> Result<Vec<u8>, ReadError> {
    let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    frame::question(files, limit_ms).ok_or(ReadError::TooLong)
}

impl Running {
    fn start(command: &mut Command) -> io::Result<Running> {
        let mut child = command.spawn()?;
        let (questions, asked) = channel::<Vec<u8>>();
        let (told, answers) = channel();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut running = Running { child, questions, answers };
        let (Some(mut stdin), Some(mut stdout)) = (stdin, stdout) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        thread::Builder::new().name("read-definitions".to_owned()).spawn(move || {
            let mut answer = |limit| {
                let answer = frame::read(&mut stdout, limit).and_then(|a| a.ok_or_else(closed));
                told.send(answer).is_ok()
            };
            let mut goes_on = answer(MAX_GREETING);
            while goes_on && let Ok(question) = asked.recv() {
                // Where it cannot be written, what is read next says that the child has ended.
                let _ = stdin.write_all(&question).and_then(|()| stdin.flush());
                goes_on = answer(MAX_ANSWER);
            }
        })?;
        match running.hear(START) {
            Some(Ok(greeting)) if greeting == GREETING.as_bytes() => Ok(running),
            Some(Err(why)) => Err(why),
            Some(Ok(_)) => Err(io::Error::other("another version of the program answers")),
            None => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn still_alive(mut self) -> Option<Running> {
        matches!(self.child.try_wait(), Ok(None)).then_some(self)
    }

    /// None when there is no answer in time.
    fn ask(&mut self, question: Vec<u8>, bound: Duration) -> Option<io::Result<Vec<u8>>> {
        if self.questions.send(question).is_err() {
            return Some(Err(closed()));
        }
        self.hear(bound)
    }

    fn hear(&mut self, bound: Duration) -> Option<io::Result<Vec<u8>>> {
        match self.answers.recv_timeout(bound) {
            Ok(answer) => Some(answer),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(closed())),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it says nothing more")
}
