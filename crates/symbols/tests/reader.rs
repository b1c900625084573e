//! Reading in a process that can be killed.

use std::process::Command;
use std::time::{Duration, Instant};

use yardmaster_symbols::{ApiChange, FileChange, ReadError, Reader, change, meet};

const LIMIT: Duration = Duration::from_secs(2);

fn reader() -> Reader {
    Reader::new(Command::new(env!("CARGO_BIN_EXE_read-definitions")))
}

fn plain() -> [FileChange<'static>; 1] {
    [FileChange { path: "a.rs", old: None, new: Some(b"fn ok() { other() }") }]
}

fn signal(reader: &Reader, signal: &str) {
    let id = reader.child_id().expect("a child").to_string();
    let sent = Command::new("kill").args([&format!("-{signal}"), &id]).status();
    assert!(sent.is_ok_and(|s| s.success()));
}

#[test]
fn the_child_reads_what_we_would_and_stays() {
    let mut reader = reader();
    let files = [
        FileChange { path: "a.rs", old: Some(b"fn a() {}"), new: Some(b"fn a(x: u8) { b(x) }") },
        FileChange { path: "b.py", old: None, new: Some(b"\xff") },
        FileChange { path: "c.go", old: Some(b"package c\n"), new: None },
    ];
    let read = reader.change(&files, LIMIT).expect("read");
    assert_eq!(read, change(files));
    assert_eq!(read.skipped, 1);
    let id = reader.child_id();
    assert_eq!(reader.change(&[], LIMIT).expect("read"), ApiChange::default());
    assert_eq!(reader.child_id(), id);
}

#[test]
fn a_child_that_does_not_answer_is_killed_and_the_next_change_is_read() {
    let mut reader = reader();
    reader.change(&plain(), LIMIT).expect("read");
    signal(&reader, "STOP");
    let (asked, limit) = (Instant::now(), Duration::from_millis(50));
    let large = " ".repeat(yardmaster_symbols::MAX_FILE_BYTES);
    let files = [FileChange { path: "a.rs", old: None, new: Some(large.as_bytes()) }];
    assert!(matches!(reader.change(&files, limit), Err(ReadError::Late(_))));
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    assert_eq!(reader.child_id(), None);
    assert_eq!(reader.change(&plain(), LIMIT).expect("read"), change(plain()));
}

#[test]
fn a_child_that_died_while_nobody_asked_costs_no_change() {
    let mut reader = reader();
    reader.change(&plain(), LIMIT).expect("read");
    let id = reader.child_id();
    signal(&reader, "KILL");
    let gone = Instant::now() + Duration::from_secs(30);
    let state = format!("/proc/{}/stat", id.expect("a child"));
    // Until it is a zombie; where there is no /proc the file cannot be read.
    while std::fs::read_to_string(&state).is_ok_and(|s| !s.contains(") Z ")) && Instant::now() < gone {
        std::thread::yield_now();
    }
    reader.change(&plain(), LIMIT).expect("read");
    assert_ne!(reader.child_id(), id);
}

#[test]
fn a_program_that_is_none_of_ours_says_nothing_of_the_change() {
    for command in [Command::new("/nowhere/yardmaster"), Command::new("true"), {
        let mut echo = Command::new("printf");
        echo.arg("\\000\\000\\000\\002hi");
        echo
    }] {
        let mut reader = Reader::new(command);
        let read = reader.change(&plain(), LIMIT);
        assert!(matches!(read, Err(ReadError::NotStarted(_))), "{read:?}");
    }
}

#[test]
fn a_child_ends_with_its_parent() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_read-definitions"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
}

proptest::proptest! {
    /// Source comes from strangers, and parsers were seen to loop for ever and to break. Whatever it is, it costs
    /// its own change and no other.
    #[test]
    fn no_text_takes_more_than_its_own_change_with_it(
        old in "[a-z(){}<>:;.,=\"'#/* \\n\u{e4}]{0,200}",
        new in proptest::collection::vec(proptest::sample::select(vec![
            "fn ", "impl ", "struct ", "class ", "def ", "func ", "type ", "a", "b ", "(", ")", "{", "}", "\n", "    ", ":", "=", "static ", "#define ", "\"", "<", ">", "::", ".",
        ]), 0..80),
    ) {
        let mut reader = reader();
        let new = new.concat();
        for path in ["a.rs", "a.py", "a.ts", "a.tsx", "a.go", "a.c"] {
            let files = [FileChange { path, old: Some(old.as_bytes()), new: Some(new.as_bytes()) }];
            match reader.change(&files, Duration::from_millis(200)) {
                Ok(found) => assert_eq!(meet(&found, &found), []),
                Err(why) => {
                    assert!(matches!(why, ReadError::Late(_) | ReadError::Died(_)), "{why}");
                    eprintln!("{why}: {path} {old:?} {new:?}");
                    assert_eq!(reader.change(&plain(), LIMIT).expect("read"), change(plain()));
                }
            }
        }
    }
}
