use std::path::Path;

use git2::{Oid, Repository, Signature, Time};

use super::oracle;
use crate::{Trouble, git};

/// Branch heads that are pending at once.
pub(super) struct Window {
    /// The target's tip.
    pub(super) tip: Oid,
    pub(super) heads: Vec<Oid>,
}

/// The newest heads of branches and pull requests that the default branch does not contain, each as its
/// author left it, forked where it was forked.
pub(super) fn as_they_are(repository: &Path, count: usize) -> Result<Window, Trouble> {
    let mut window = pending(repository)?;
    window.heads.truncate(count);
    Ok(window)
}

/// The newest of the same heads that merge into the tip and change something there, each as one commit on the
/// tip, as if all of them had just been rebased.
pub(super) fn on_one_base(repository: &Path, scratch: &Path, count: usize) -> Result<Window, Trouble> {
    let repo = Repository::open_bare(scratch)?;
    let Window { tip, heads: pending } = pending(repository)?;
    let base = repo.find_commit(tip)?;
    let mut heads = Vec::new();
    for some in pending.chunks(count) {
        let lines = some.iter().map(|head| format!("{tip} {head}\n")).collect();
        for (head, tree) in some.iter().zip(oracle::trees(scratch, lines)?) {
            if let Some(tree) = tree.filter(|tree| *tree != base.tree_id())
                && heads.len() < count
            {
                heads.push(commit(&repo, tree, &head.to_string(), &[tip])?);
            }
        }
        if heads.len() == count {
            break;
        }
    }
    Ok(Window { tip, heads })
}

/// What the newest true merges brought in, the oldest first, each as one commit on the commit before them. Those
/// that do not apply there cleanly are left out.
pub(super) fn of_merges(repository: &Path, scratch: &Path, count: usize) -> Result<Window, Trouble> {
    let looked_at = (count * 4).to_string();
    let args = [
        "rev-list",
        "--first-parent",
        "--min-parents=2",
        "--max-parents=2",
        "--parents",
        "-n",
        &looked_at,
        "HEAD",
    ];
    let listed = git::run(repository, &args)?;
    let repo = Repository::open_bare(scratch)?;
    let mut merged = Vec::new();
    for line in listed.lines() {
        let ids: Vec<Oid> = line.split(' ').map(Oid::from_str).collect::<Result<_, _>>()?;
        if let [_, first, second] = ids[..]
            && let Ok(fork) = repo.merge_base(first, second)
        {
            merged.push((first, second, fork));
        }
    }
    let tip = merged.last().ok_or("there are no merges")?.0;
    let base = repo.find_commit(tip)?.tree_id();
    let lines = merged.iter().rev().map(|(_, second, fork)| format!("{fork} -- {tip} {second}\n")).collect();
    let mut heads = Vec::new();
    for ((_, second, _), tree) in merged.iter().rev().zip(oracle::trees(scratch, lines)?) {
        if let Some(tree) = tree.filter(|tree| *tree != base)
            && heads.len() < count
        {
            heads.push(commit(&repo, tree, &second.to_string(), &[tip])?);
        }
    }
    Ok(Window { tip, heads })
}

/// The newest first.
fn pending(repository: &Path) -> Result<Window, Trouble> {
    let tip = Oid::from_str(&git::run(repository, &["rev-parse", "HEAD"])?)?;
    let listed = git::run(
        repository,
        &[
            "for-each-ref",
            "--no-merged=HEAD",
            "--sort=-committerdate",
            "--format=%(objectname)",
            "refs/heads",
            "refs/pull/*/head",
            "refs/remotes",
        ],
    )?;
    let repo = Repository::open(repository)?;
    let mut heads: Vec<Oid> = Vec::new();
    for line in listed.lines() {
        let head = Oid::from_str(line)?;
        // Git refuses to merge what has no history in common.
        if !heads.contains(&head) && repo.merge_base(tip, head).is_ok() {
            heads.push(head);
        }
    }
    Ok(Window { tip, heads })
}

fn commit(repo: &Repository, tree: Oid, message: &str, parents: &[Oid]) -> Result<Oid, Trouble> {
    let parents: Vec<_> = parents.iter().map(|id| repo.find_commit(*id)).collect::<Result<_, _>>()?;
    let seconds = parents.iter().map(|parent| parent.time().seconds()).max().unwrap_or(0) + 1;
    let who = Signature::new("bench", "bench@example.invalid", &Time::new(seconds, 0))?;
    let tree = repo.find_tree(tree)?;
    Ok(repo.commit(None, &who, &who, message, &tree, &parents.iter().collect::<Vec<_>>())?)
}

/// The commits that the target would move to, were each of some heads landed first.
pub(super) fn landings(scratch: &Path, tip: Oid, heads: &[Oid], count: usize) -> Result<Vec<Oid>, Trouble> {
    let repo = Repository::open_bare(scratch)?;
    let lines = heads.iter().map(|head| format!("{tip} {head}\n"));
    let mut tips = Vec::new();
    for (head, tree) in heads.iter().zip(oracle::trees(scratch, lines.collect())?) {
        if let Some(tree) = tree
            && tips.len() < count
        {
            tips.push(commit(&repo, tree, "landed", &[tip, *head])?);
        }
    }
    Ok(tips)
}
