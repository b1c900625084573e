use git2::{DiffOptions, Oid};
use yardmaster_symbols::{Kind, meet};

use super::branches::{Branches, is_read};
use crate::{Trouble, git};

/// Of the merges that nobody amended, so many are looked at.
const SAMPLE: usize = 300;

pub(super) fn heading(searched: usize) -> String {
    format!(
        "\n### Advice about definitions: merges that maintainers amended\n\nAmong the newest {searched} merges of each repository: git merges them cleanly, but the maintainers' tree differs in source code that is read. Told: the two sides meet, in brackets without *both changed*. There: at a file that was amended.\n\n| repository | clean merges | amended | told | there | of {SAMPLE} others told |\n| --- | ---: | ---: | ---: | ---: | ---: |\n"
    )
}

struct Merge {
    commit: Oid,
    tree: Oid,
    first: Oid,
    second: Oid,
}

pub(super) fn rows(branches: &Branches, searched: usize) -> Result<String, Trouble> {
    let merges = merges(branches, searched)?;
    let pairs: Vec<_> = merges.iter().map(|m| (m.first, m.second)).collect();
    let trees = git::merge_trees(branches.mirror.path(), &pairs)?;
    let clean: Vec<(&Merge, Oid)> =
        merges.iter().zip(trees).filter_map(|(m, tree)| Some((m, tree?))).collect();
    let (amended, plain): (Vec<_>, Vec<_>) = clean.iter().copied().partition(|(m, tree)| m.tree != *tree);
    let (mut of, mut told, mut strictly, mut there) = (0, 0, 0, 0);
    for (merge, tree) in amended {
        let paths = amended_paths(branches, tree, merge.tree)?;
        if paths.is_empty() {
            continue;
        }
        let clashes = clashes(branches, merge)?;
        let at = |c: &yardmaster_symbols::Clash| {
            paths.contains(&c.path) || c.used_in.as_ref().is_some_and(|p| paths.contains(p))
        };
        of += 1;
        told += usize::from(!clashes.is_empty());
        strictly += usize::from(clashes.iter().any(|c| c.kind != Kind::BothChanged));
        there += usize::from(clashes.iter().any(at));
        eprintln!("  amended {} {paths:?}: {:?}", merge.commit, clashes.first());
    }
    let (mut others, mut others_strictly, mut sampled) = (0, 0, 0);
    for (merge, _) in plain.iter().step_by((plain.len() / SAMPLE).max(1)).take(SAMPLE) {
        let clashes = clashes(branches, merge)?;
        sampled += 1;
        others += usize::from(!clashes.is_empty());
        others_strictly += usize::from(clashes.iter().any(|c| c.kind != Kind::BothChanged));
    }
    Ok(format!(
        "| {} | {} | {of} | {told} ({strictly}) | {there} | {others} ({others_strictly}) of {sampled} |\n",
        branches.repository.display(),
        clean.len(),
    ))
}

fn merges(branches: &Branches, searched: usize) -> Result<Vec<Merge>, Trouble> {
    let count = format!("--max-count={searched}");
    let args =
        ["log", "--min-parents=2", "--max-parents=2", "--date-order", &count, "--format=%H %T %P", "HEAD"];
    let mut merges = Vec::new();
    for line in git::run(&branches.repository, &args)?.lines() {
        let ids: Vec<Oid> = line.split(' ').map(Oid::from_str).collect::<Result<_, _>>()?;
        if let [commit, tree, first, second] = ids[..] {
            merges.push(Merge { commit, tree, first, second });
        }
    }
    Ok(merges)
}

fn clashes(branches: &Branches, merge: &Merge) -> Result<Vec<yardmaster_symbols::Clash>, Trouble> {
    let Ok(base) = branches.repo.merge_base(merge.first, merge.second) else { return Ok(Vec::new()) };
    Ok(meet(&branches.change(base, merge.first)?, &branches.change(base, merge.second)?))
}

/// Files of source code in which the maintainers' tree is not git's.
fn amended_paths(branches: &Branches, git: Oid, theirs: Oid) -> Result<Vec<String>, Trouble> {
    let repo = git2::Repository::open_bare(branches.mirror.path())?;
    let (git, theirs) = (repo.find_tree(git)?, repo.find_tree(theirs)?);
    let diff = repo.diff_tree_to_tree(Some(&git), Some(&theirs), Some(&mut DiffOptions::new()))?;
    let paths = diff.deltas().filter_map(|d| Some(d.new_file().path()?.to_str()?.to_owned()));
    Ok(paths.filter(|path| is_read(path)).collect())
}
