use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use git2::{MergeOptions, Oid, Repository};
use yardmaster_git::{CrossCheck, GitOptions, Mirror};
use yardmaster_protocol::{CandidateSpec, CommitId, Millis, RequestId};

use crate::stats::{median, shown};
use crate::{Trouble, git};

const MERGES: usize = 100;

type Pair = (Oid, Oid);

pub(super) fn table(repositories: &[PathBuf]) -> Result<String, Trouble> {
    let mut text = format!(
        "\n### One merge\n\nThe newest {MERGES} true merges of each repository, milliseconds, median of one merge (resident: all in one process, the mean).\n\n| repository, files | spawned git, of ours | ours in memory | ours, confirmed by git | `git merge-tree` resident | `git merge-tree` spawned | libgit2 `merge_commits` |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    );
    if repositories.is_empty() {
        text.push_str("| (none: give --repository) | | | | | | |\n");
    }
    for repository in repositories {
        eprintln!("merge: {}", repository.display());
        let scratch = tempfile::tempdir()?;
        let pairs = pairs(repository)?;
        let ours = ours(repository, &scratch.path().join("mirror"), &pairs, CrossCheck::Off)?;
        let checked = ours_checked(repository, &scratch.path().join("checked"), &pairs)?;
        let dir = scratch.path().join("git");
        prepare(repository, &dir)?;
        let resident = resident(&dir, &pairs)?;
        let spawned = spawned(&dir, &pairs)?;
        let libgit2 = libgit2(&dir, &pairs)?;
        let files = git::run(repository, &["ls-tree", "-r", "--name-only", "HEAD"])?.lines().count();
        text.push_str(&format!(
            "| {} merges, {files} files | {:.0} | {} | {} | {} | {} | {} |\n",
            pairs.len(),
            spawned / ours.max(f64::EPSILON),
            shown(ours),
            shown(checked),
            shown(resident),
            shown(spawned),
            shown(libgit2),
        ));
    }
    Ok(text)
}

fn pairs(repository: &Path) -> Result<Vec<Pair>, Trouble> {
    let listed = git::run(
        repository,
        &["log", "--min-parents=2", "--max-parents=2", "--date-order", "--format=%P", "HEAD"],
    )?;
    let repo = Repository::open(repository)?;
    let mut pairs = Vec::new();
    for line in listed.lines() {
        let ids: Vec<Oid> = line.split(' ').map(Oid::from_str).collect::<Result<_, _>>()?;
        let [first, second] = ids[..] else { continue };
        if repo.merge_base(first, second).is_ok_and(|base| base != first && base != second) {
            pairs.push((first, second));
        }
        if pairs.len() == MERGES {
            break;
        }
    }
    Ok(pairs)
}

/// With a commit graph, as a repository has that is kept in order.
fn prepare(repository: &Path, dir: &Path) -> Result<(), Trouble> {
    git::create_bare(dir, Some(repository))?;
    let head = git::run(repository, &["rev-parse", "HEAD"])?;
    let mut child = git::command(dir)
        .args(["commit-graph", "write", "--stdin-commits", "--no-progress"])
        .stdin(Stdio::piped())
        .spawn()?;
    child.stdin.take().ok_or("no pipe to git")?.write_all(format!("{head}\n").as_bytes())?;
    if !child.wait()?.success() {
        return Err("git commit-graph failed".into());
    }
    Ok(())
}

pub(super) fn mirror(repository: &Path, dir: &Path, cross_check: CrossCheck) -> Result<Mirror, Trouble> {
    prepare(repository, dir)?;
    Ok(Mirror::open(dir, "/nowhere", GitOptions { cross_check, ..GitOptions::default() })?)
}

/// One after the other, each on its own.
fn ours(repository: &Path, dir: &Path, pairs: &[Pair], cross_check: CrossCheck) -> Result<f64, Trouble> {
    let mirror = mirror(repository, dir, cross_check)?;
    let mut took = Vec::new();
    for (first, second) in pairs {
        let (base, spec) = (commit_id(*first)?, spec(commit_id(*second)?));
        let started = Instant::now();
        mirror.assemble(base, &[spec])?;
        took.push(ms(started.elapsed()));
    }
    Ok(median(&took))
}

/// With git asked about every one of them, as the daemon is configured by default.
fn ours_checked(repository: &Path, dir: &Path, pairs: &[Pair]) -> Result<f64, Trouble> {
    ours(repository, dir, pairs, CrossCheck::All)
}

fn resident(dir: &Path, pairs: &[Pair]) -> Result<f64, Trouble> {
    let input: String = pairs.iter().map(|(a, b)| format!("{a} {b}\n")).collect();
    let started = Instant::now();
    let mut child = git::command(dir)
        .args(["merge-tree", "--write-tree", "--stdin", "-z", "--no-messages", "--name-only"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    child.stdin.take().ok_or("no pipe to git")?.write_all(input.as_bytes())?;
    if !child.wait()?.success() {
        return Err("git merge-tree --stdin failed".into());
    }
    Ok(ms(started.elapsed()) / pairs.len().max(1) as f64)
}

fn spawned(dir: &Path, pairs: &[Pair]) -> Result<f64, Trouble> {
    let mut took = Vec::new();
    for (first, second) in pairs {
        let (first, second) = (first.to_string(), second.to_string());
        let started = Instant::now();
        git::output(dir, &["merge-tree", "--write-tree", "--no-messages", "--name-only", &first, &second])?;
        took.push(ms(started.elapsed()));
    }
    Ok(median(&took))
}

fn libgit2(dir: &Path, pairs: &[Pair]) -> Result<f64, Trouble> {
    let repo = Repository::open_bare(dir)?;
    let mut took = Vec::new();
    for (first, second) in pairs {
        let started = Instant::now();
        let (first, second) = (repo.find_commit(*first)?, repo.find_commit(*second)?);
        let mut index = repo.merge_commits(&first, &second, Some(&MergeOptions::new()))?;
        if !index.has_conflicts() {
            index.write_tree_to(&repo)?;
        }
        took.push(ms(started.elapsed()));
    }
    Ok(median(&took))
}

pub(super) fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}

pub(super) fn commit_id(oid: Oid) -> Result<CommitId, Trouble> {
    Ok(oid.to_string().parse()?)
}

fn spec(head: CommitId) -> CandidateSpec {
    CandidateSpec {
        request: RequestId(1),
        head,
        message: "Merge\n".to_owned(),
        author: "bench".to_owned(),
        at: Millis(0),
        changelog: None,
        needs_gate: false,
    }
}
