use std::fmt::Write as _;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use git2::Oid;

use crate::Trouble;

/// git in `dir`, whatever the person at the terminal has configured.
pub(crate) fn command(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir);
    for (name, value) in [
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_AUTHOR_NAME", "bench"),
        ("GIT_AUTHOR_EMAIL", "bench@example.invalid"),
        ("GIT_COMMITTER_NAME", "bench"),
        ("GIT_COMMITTER_EMAIL", "bench@example.invalid"),
    ] {
        command.env(name, value);
    }
    command
}

/// What git says, whatever its exit code.
pub(crate) fn output(dir: &Path, args: &[&str]) -> Result<Output, Trouble> {
    Ok(command(dir).args(args).output()?)
}

/// What git prints, trimmed; an error when it fails.
pub(crate) fn run(dir: &Path, args: &[&str]) -> Result<String, Trouble> {
    let done = output(dir, args)?;
    if !done.status.success() {
        let told = String::from_utf8_lossy(&done.stderr);
        return Err(format!("git {} in {}: {}", args.join(" "), dir.display(), told.trim()).into());
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

/// What git makes of each pair: the tree, or none where it sees a conflict. New objects are written to `dir`.
pub(crate) fn merge_trees(dir: &Path, pairs: &[(Oid, Oid)]) -> Result<Vec<Option<Oid>>, Trouble> {
    // From a file, because git answers while it is still being asked.
    let mut asked = tempfile::tempfile()?;
    for (first, second) in pairs {
        writeln!(asked, "{first} {second}")?;
    }
    asked.rewind()?;
    let args = ["merge-tree", "--write-tree", "--allow-unrelated-histories", "--stdin", "-z"];
    let more = ["--no-messages", "--name-only"];
    let done = command(dir).args(args).args(more).stdin(asked).output()?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).trim().into());
    }
    let mut fields = done.stdout.split(|b| *b == 0);
    let mut trees = Vec::with_capacity(pairs.len());
    for _ in pairs {
        let (clean, tree) = (fields.next(), fields.next().ok_or("git gave too few answers")?);
        trees.push(if clean == Some(b"1") { Some(Oid::from_str(std::str::from_utf8(tree)?)?) } else { None });
        fields.by_ref().take_while(|f| !f.is_empty()).for_each(drop);
    }
    Ok(trees)
}

/// A new bare repository, which borrows the objects of `source` if there is one.
pub(crate) fn create_bare(path: &Path, source: Option<&Path>) -> Result<(), Trouble> {
    std::fs::create_dir_all(path)?;
    run(path, &["init", "--quiet", "--bare", "--initial-branch=main"])?;
    let Some(source) = source else { return Ok(()) };
    let objects = run(source, &["rev-parse", "--path-format=absolute", "--git-path", "objects"])?;
    std::fs::create_dir_all(path.join("objects/info"))?;
    std::fs::write(path.join("objects/info/alternates"), format!("{objects}\n"))?;
    Ok(())
}

/// A bare repository with `files` files on `main` and so many branches `work/N` from there; each changes a
/// file of its own and adds one, so that all of them merge.
pub(crate) fn create_generated(path: &Path, files: usize, branches: usize) -> Result<(), Trouble> {
    create_bare(path, None)?;
    let mut child = command(path).args(["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn()?;
    let mut pipe = child.stdin.take().ok_or("no pipe to git fast-import")?;
    let mut text = commit("main", None);
    for n in 0..files.max(1) {
        file(&mut text, &path_of(n), &format!("{}\n", "a line of code\n".repeat(20)));
    }
    for n in 0..branches {
        text.push_str(&commit(&branch(n), Some("main")));
        file(&mut text, &format!("added/{}/{n}.txt", n % 100), &format!("work {n}\n"));
        if n < files {
            file(&mut text, &path_of(n), &format!("changed by {n}\n{}", "a line of code\n".repeat(20)));
        }
    }
    pipe.write_all(text.as_bytes())?;
    drop(pipe);
    if !child.wait()?.success() {
        return Err("git fast-import failed".into());
    }
    run(path, &["repack", "-a", "-d", "-q"])?;
    run(path, &["pack-refs", "--all"])?;
    Ok(())
}

/// The branch with that number.
pub(crate) fn branch(number: usize) -> String {
    format!("work/{number}")
}

fn path_of(number: usize) -> String {
    format!("src/{}/{}/file{number}.txt", number % 10, number / 10 % 20)
}

fn commit(branch: &str, from: Option<&str>) -> String {
    let message = format!("work on {branch}");
    let mut text = format!(
        "commit refs/heads/{branch}\ncommitter Agent <agent@example.invalid> 1767225600 +0000\ndata {}\n{message}\n",
        message.len()
    );
    if let Some(from) = from {
        let _ = writeln!(text, "from refs/heads/{from}");
    }
    text
}

fn file(text: &mut String, path: &str, content: &str) {
    let _ = write!(text, "M 100644 inline {path}\ndata {}\n{content}\n", content.len());
}
