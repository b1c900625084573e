use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use git2::Oid;

use crate::{Trouble, git};

/// Which of these pairs merge cleanly by one resident `git merge-tree`, and how long it took.
pub(super) fn resident(scratch: &Path, pairs: &[(Oid, Oid)]) -> Result<(Vec<bool>, Duration), Trouble> {
    let started = Instant::now();
    let input = pairs.iter().map(|(a, b)| format!("{a} {b}\n")).collect();
    let clean = trees(scratch, input)?.iter().map(Option::is_some).collect();
    Ok((clean, started.elapsed()))
}

/// What each line merges to, by one process; none where git sees a conflict.
pub(super) fn trees(scratch: &Path, lines: Vec<String>) -> Result<Vec<Option<Oid>>, Trouble> {
    let mut child = git::command(scratch)
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
