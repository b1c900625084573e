//! What the guard against silent reverts would have refused of a repository's history:
//! `guard_history REPOSITORY [COUNT]`, for the newest COUNT merges on the first-parent history of HEAD.

use std::error::Error;
use std::time::{Duration, Instant};

use git2::{Oid, Repository};
use yardmaster_git::{GitOptions, Mirror};
use yardmaster_protocol::{CommitId, ObjectId, TreeId};

fn id(oid: Oid) -> Result<ObjectId, Box<dyn Error>> {
    Ok(oid.to_string().parse::<CommitId>()?.0)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: guard_history REPOSITORY [COUNT]";
    let path = args.next().ok_or(usage)?;
    let count: usize = args.next().map_or(Ok(500), |n| n.parse())?;
    let repo = Repository::open(&path)?;
    let scratch = std::env::temp_dir().join(format!("guard-history-{}", std::process::id()));
    let mirror = Mirror::open(&scratch, &path, GitOptions::default())?;
    let objects = repo.path().join("objects").canonicalize()?;
    std::fs::create_dir_all(scratch.join("objects/info"))?;
    std::fs::write(scratch.join("objects/info/alternates"), format!("{}\n", objects.display()))?;
    drop(mirror);
    let mirror = Mirror::open(&scratch, &path, GitOptions::default())?;
    let (mut seen, mut found, mut same) = (0_usize, 0, 0);
    let mut times: Vec<Duration> = Vec::new();
    let mut next = repo.head()?.peel_to_commit()?;
    while seen < count {
        let commit = next;
        let Ok(parent) = commit.parent(0) else { break };
        next = parent.clone();
        let Ok(head) = commit.parent(1) else { continue };
        seen += 1;
        let (base, tree) = (CommitId(id(parent.id())?), TreeId(id(commit.tree_id())?));
        let started = Instant::now();
        let taken = mirror.takes_back(base, CommitId(id(head.id())?), tree, "\n")?;
        times.push(started.elapsed());
        let Some(taken) = taken else { continue };
        let earlier = repo.find_commit(Oid::from_str(&taken.of.to_string())?)?;
        let author = |c: &git2::Commit<'_>| {
            c.parent(1).unwrap_or_else(|_| c.clone()).author().name().unwrap_or_default().to_owned()
        };
        let own = author(&earlier) == author(&commit);
        same += usize::from(own);
        found += 1;
        println!(
            "{} {:?}{}\n  takes back {} {:?}\n  in {}\n{}",
            commit.id(),
            commit.summary()?.unwrap_or_default(),
            if own { " [same author]" } else { "" },
            taken.of,
            taken.label,
            taken.paths.join(" "),
            taken.hunk.lines().take(14).map(|l| format!("    {l}\n")).collect::<String>()
        );
    }
    times.sort_unstable();
    let at =
        |share: usize| times.get(times.len().saturating_sub(1) * share / 100).copied().unwrap_or_default();
    println!(
        "{seen} merges, {found} take something back, {same} of them the same author's; p50 {:?} p95 {:?}",
        at(50),
        at(95)
    );
    std::fs::remove_dir_all(&scratch)?;
    Ok(())
}
