//! The child's side: reads what it is asked to, until nobody asks any more.

use std::io::{self, BufReader, Read, Write as _, stdin, stdout};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::ApiChange;
use crate::change::{FileChange, change_within};
use crate::frame::{self, GREETING, MAX_ANSWER, Texts};

/// Memory that a child may take, in bytes of addresses; far more than a change within our bounds needs.
const MAX_MEMORY: u64 = 1024 * 1024 * 1024;
/// A child that is longer at one question than it was given, by so much, ends itself: its parent may be gone.
const OVERTIME: Duration = Duration::from_secs(2);
const LATE: i32 = 3;

/// Answers questions on standard input until it is closed. For a process of its own: it limits what that
/// process may take, and ends it when a parser does not come back.
pub fn serve_child() -> ExitCode {
    limit_process();
    let watch = match start_watch() {
        Ok(watch) => watch,
        Err(why) => return failed(&why),
    };
    let mut questions = BufReader::new(stdin().lock());
    if let Err(why) = say(GREETING.as_bytes()) {
        return failed(&why);
    }
    loop {
        match answer_next(&mut questions, &watch) {
            Ok(true) => {}
            Ok(false) => return ExitCode::SUCCESS,
            Err(why) => return failed(&why),
        }
    }
}

fn failed(why: &io::Error) -> ExitCode {
    eprintln!("reading definitions: {why}");
    ExitCode::FAILURE
}

fn answer_next(questions: &mut impl Read, watch: &Sender<Option<Duration>>) -> io::Result<bool> {
    let Some((header, texts)) = frame::next_question(questions)? else { return Ok(false) };
    let limit = Duration::from_millis(header.limit_ms);
    let _ = watch.send(Some(limit.saturating_add(OVERTIME)));
    let files: Vec<FileChange<'_>> = texts.iter().map(Texts::as_change).collect();
    let answer = answer(&files, limit)?;
    let _ = watch.send(None);
    say(&answer)?;
    Ok(true)
}

fn say(bytes: &[u8]) -> io::Result<()> {
    let mut out = stdout().lock();
    frame::write(&mut out, bytes)?;
    out.flush()
}

fn answer(files: &[FileChange<'_>], limit: Duration) -> io::Result<Vec<u8>> {
    let read = serde_json::to_vec(&change_within(files.iter().copied(), limit))?;
    if read.len() <= MAX_ANSWER {
        return Ok(read);
    }
    let mut nothing = ApiChange::default();
    files.iter().for_each(|file| nothing.skip(file.path));
    Ok(serde_json::to_vec(&nothing)?)
}

/// Where a limit is not known or not allowed the others have to do.
fn limit_process() {
    for (what, most) in [(Resource::As, MAX_MEMORY), (Resource::Core, 0), (Resource::Fsize, 0)] {
        let _ = setrlimit(what, Rlimit { current: Some(most), maximum: Some(most) });
    }
}

/// Ends the process when nothing is heard in the time that was told last.
fn start_watch() -> io::Result<Sender<Option<Duration>>> {
    let (told, hears) = channel();
    thread::Builder::new().name("watch".to_owned()).spawn(move || watch(&hears))?;
    Ok(told)
}

fn watch(hears: &Receiver<Option<Duration>>) {
    let mut limit = None;
    loop {
        let heard = match limit {
            Some(limit) => hears.recv_timeout(limit),
            None => hears.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match heard {
            Ok(next) => limit = next,
            Err(RecvTimeoutError::Timeout) => std::process::exit(LATE),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
