use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;

use git2::Oid;

use crate::cost::{Cost, cost};
use crate::{Trouble, git};

/// What one process is asked before its objects are thrown away.
const AT_ONCE: usize = 5_000;
/// A file system in memory.
const MEMORY: &str = "/dev/shm";

/// Which of these pairs merge cleanly, and what it took: one resident `git merge-tree` for every 5,000 pairs, which writes
/// to memory where that can be, so that it does not wait for a disk.
pub(super) fn resident(scratch: &Path, pairs: &[(Oid, Oid)]) -> Result<(Vec<bool>, Cost), Trouble> {
    let mut clean = Vec::with_capacity(pairs.len());
    let mut all = Cost::default();
    for pairs in pairs.chunks(AT_ONCE) {
        let lines: Vec<String> = pairs.iter().map(|(a, b)| format!("{a} {b}\n")).collect();
        let room =
            if Path::new(MEMORY).is_dir() { tempfile::tempdir_in(MEMORY)? } else { tempfile::tempdir()? };
        std::fs::create_dir(room.path().join("info"))?;
        let borrowed = format!("{}\n", scratch.join("objects").display());
        std::fs::write(room.path().join("info/alternates"), borrowed)?;
        let (some, took) = cost(|| asked(scratch, lines, Some(room.path())))?;
        clean.extend(some.iter().map(Option::is_some));
        all += took;
    }
    Ok((clean, all))
}

/// What each line merges to, by one process; none where git sees a conflict.
pub(super) fn trees(scratch: &Path, lines: Vec<String>) -> Result<Vec<Option<Oid>>, Trouble> {
    asked(scratch, lines, None)
}

fn asked(scratch: &Path, lines: Vec<String>, room: Option<&Path>) -> Result<Vec<Option<Oid>>, Trouble> {
    let mut child = git::command(scratch)
        .envs(room.map(|room| ("GIT_OBJECT_DIRECTORY", room)))
        .args(["merge-tree", "--write-tree", "--stdin", "-z", "--no-messages", "--name-only"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let count = lines.len();
    let mut pipe = child.stdin.take().ok_or("no pipe to git")?;
    let writer = std::thread::spawn(move || pipe.write_all(lines.concat().as_bytes()));
    let mut output = BufReader::new(child.stdout.take().ok_or("no pipe from git")?);
    let mut trees = Vec::with_capacity(count);
    for _ in 0..count {
        trees.push(answer(&mut output)?);
    }
    drop(output.read_to_end(&mut Vec::new()));
    writer.join().map_err(|_| "the writer died")??;
    if !child.wait()?.success() {
        return Err("git merge-tree --stdin failed".into());
    }
    Ok(trees)
}

/// A status, a tree, names of files, and an empty field.
fn answer(output: &mut impl BufRead) -> Result<Option<Oid>, Trouble> {
    let mut field = Vec::new();
    let mut next = |field: &mut Vec<u8>| -> Result<(), Trouble> {
        field.clear();
        if output.read_until(0, field)? == 0 {
            return Err("git merge-tree --stdin gave too few answers".into());
        }
        field.pop();
        Ok(())
    };
    next(&mut field)?;
    let clean = field == b"1";
    next(&mut field)?;
    let tree = Oid::from_str(std::str::from_utf8(&field)?)?;
    while !field.is_empty() {
        next(&mut field)?;
    }
    Ok(clean.then_some(tree))
}
