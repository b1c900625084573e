//! Replays the last merges of a repository: `merge_bench REPOSITORY [COUNT]`.
//!
//! Each true two-parent merge is made again in four ways: by us, by a spawned `git merge-tree`, by
//! libgit2, and by the maintainer, whose tree may hold more than the merge.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use git2::{MergeOptions, Oid, Repository};
use yardmaster_git::{CrossCheck, GitOptions, Mirror};
use yardmaster_protocol::{Assembly, CandidateSpec, CommitId, MergedBy, Millis, RequestId};

type Res<T> = Result<T, Box<dyn Error>>;

#[derive(Default)]
struct Engine {
    times: Vec<Duration>,
    same_as_git: usize,
    same_as_maintainer: usize,
    /// Clean where git sees a conflict.
    false_clean: usize,
    /// A conflict where git is clean.
    false_conflict: usize,
    other_tree: usize,
}

impl Engine {
    fn count(&mut self, took: Duration, tree: Option<&str>, git: Option<&str>, maintainer: &str) {
        self.times.push(took);
        self.same_as_maintainer += usize::from(tree == Some(maintainer));
        match (tree, git) {
            (a, b) if a == b => self.same_as_git += 1,
            (Some(_), Some(_)) => self.other_tree += 1,
            (Some(_), None) => self.false_clean += 1,
            (None, _) => self.false_conflict += 1,
        }
    }

    fn print(&mut self, name: &str) {
        self.times.sort_unstable();
        let at = |share: usize| {
            let index = self.times.len().saturating_sub(1) * share / 100;
            self.times.get(index).map_or(0.0, |t| t.as_secs_f64() * 1_000.0)
        };
        println!(
            "{name:<22} {:>8} {:>10} {:>11} {:>12} {:>14} {:>9.2} {:>9.2}",
            self.same_as_git,
            self.other_tree,
            self.false_clean,
            self.false_conflict,
            self.same_as_maintainer,
            at(50),
            at(95)
        );
    }
}

fn main() -> Res<()> {
    let mut args = std::env::args().skip(1);
    let source = args.next().ok_or("give the path of a repository")?;
    let count: usize = args.next().unwrap_or_else(|| "150".to_owned()).parse()?;
    let source = Repository::open(source)?;
    let scratch = tempfile::tempdir()?;
    let options = GitOptions { cross_check: CrossCheck::Off, ..GitOptions::default() };
    let mirror = Mirror::open(&scratch.path().join("mirror"), "/nowhere", options)?;
    let objects = source.commondir().join("objects").canonicalize()?;
    std::fs::create_dir_all(mirror.path().join("objects/info"))?;
    std::fs::write(mirror.path().join("objects/info/alternates"), format!("{}\n", objects.display()))?;
    if std::env::var_os("COMMIT_GRAPH").is_some() {
        write_commit_graph(&source, mirror.path())?;
    }
    let mirror = reopened(mirror)?;
    let repo = Repository::open_bare(mirror.path())?;

    let (mut ours, mut git, mut libgit2) = (Engine::default(), Engine::default(), Engine::default());
    let mut bases = Engine::default();
    let (mut escalated, mut memory, mut conflicts) = (0, 0, 0);
    for (merge, a, b) in last_merges(&source, count)? {
        let maintainer = repo.find_commit(merge)?.tree_id().to_string();
        let started = Instant::now();
        let spawned = merge_tree(mirror.path(), a, b)?;
        git.count(started.elapsed(), spawned.as_deref(), spawned.as_deref(), &maintainer);

        let started = Instant::now();
        repo.merge_bases(a, b)?;
        bases.times.push(started.elapsed());
        let started = Instant::now();
        let assembled = mirror.assemble(id(a)?, &[spec(id(b)?)])?;
        let took = started.elapsed();
        let tree = match assembled.first().map(|a| &a.assembly) {
            Some(Assembly::Clean { tree, by, .. }) => {
                memory += usize::from(*by == MergedBy::Memory);
                escalated += usize::from(*by == MergedBy::Git);
                Some(tree.to_string())
            }
            _ => None,
        };
        conflicts += usize::from(tree.is_none());
        ours.count(took, tree.as_deref(), spawned.as_deref(), &maintainer);

        let started = Instant::now();
        let tree = by_libgit2(&repo, a, b)?;
        libgit2.count(started.elapsed(), tree.as_deref(), spawned.as_deref(), &maintainer);
    }
    println!(
        "{} merges: {memory} in memory, {escalated} escalated and clean, {conflicts} conflicts",
        ours.times.len()
    );
    println!(
        "{:<22} {:>8} {:>10} {:>11} {:>12} {:>14} {:>9} {:>9}",
        "engine",
        "as git",
        "other tree",
        "false clean",
        "false confl.",
        "as maintainer",
        "median ms",
        "p95 ms"
    );
    ours.print("exact or escalate");
    git.print("git merge-tree");
    libgit2.print("libgit2 merge_commits");
    bases.print("(merge base alone)");
    Ok(())
}

/// The handles that were opened before know nothing of the alternate.
fn reopened(mirror: Mirror) -> Res<Mirror> {
    let path = mirror.path().to_owned();
    drop(mirror);
    let options = GitOptions { cross_check: CrossCheck::Off, ..GitOptions::default() };
    Ok(Mirror::open(&path, "/nowhere", options)?)
}

/// As a mirror in use has one.
fn write_commit_graph(source: &Repository, mirror: &Path) -> Res<()> {
    let tips = Command::new("git").arg("-C").arg(source.path()).args(["rev-list", "--all"]).output()?;
    let list = mirror.join("tips");
    std::fs::write(&list, tips.stdout)?;
    let status = Command::new("git")
        .arg("-C")
        .arg(mirror)
        .args(["commit-graph", "write", "--stdin-commits", "--no-progress"])
        .stdin(std::fs::File::open(list)?)
        .status()?;
    if !status.success() {
        return Err("git commit-graph failed".into());
    }
    Ok(())
}

fn last_merges(source: &Repository, count: usize) -> Res<Vec<(Oid, Oid, Oid)>> {
    let listed = Command::new("git")
        .arg("-C")
        .arg(source.path())
        .args(["log", "--all", "--min-parents=2", "--max-parents=2", "--format=%H %P"])
        .output()?;
    let text = String::from_utf8(listed.stdout)?;
    let mut merges = Vec::new();
    for line in text.lines() {
        let ids: Vec<Oid> = line.split(' ').map(Oid::from_str).collect::<Result<_, _>>()?;
        let [merge, a, b] = ids[..] else { continue };
        let is_true_merge = source.merge_base(a, b).is_ok_and(|base| base != a && base != b);
        if is_true_merge {
            merges.push((merge, a, b));
        }
        if merges.len() == count {
            break;
        }
    }
    Ok(merges)
}

fn merge_tree(dir: &Path, a: Oid, b: Oid) -> Res<Option<String>> {
    let done = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["merge-tree", "--write-tree", "--no-messages", "--name-only"])
        .args([a.to_string(), b.to_string()])
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()?;
    let clean = done.status.success();
    Ok(clean.then(|| String::from_utf8_lossy(&done.stdout).trim().to_owned()))
}

fn by_libgit2(repo: &Repository, a: Oid, b: Oid) -> Res<Option<String>> {
    let (a, b) = (repo.find_commit(a)?, repo.find_commit(b)?);
    let mut index = repo.merge_commits(&a, &b, Some(&MergeOptions::new()))?;
    if index.has_conflicts() {
        return Ok(None);
    }
    Ok(Some(index.write_tree_to(repo)?.to_string()))
}

fn id(oid: Oid) -> Res<CommitId> {
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
