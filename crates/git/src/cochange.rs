use std::collections::{BTreeMap, BTreeSet};

use git2::{DiffOptions, Repository, Sort};
use yardmaster_protocol::CommitId;

use crate::objects::find_commit;
use crate::{GitError, Mirror};

/// Commits with more files say nothing about which belong together.
const MAX_FILES_OF_COMMIT: usize = 100;
/// Paths beyond so many are left out, those of the oldest commits.
const MAX_PATHS: usize = 200_000;

/// Which paths changed in the same commits, over the last first-parent commits of a branch.
#[derive(Debug, Clone, Default)]
pub struct Cochange {
    commits: Vec<Vec<usize>>,
    paths: Vec<String>,
    read: u32,
}

/// How often two sets of paths changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Together {
    /// Commits that changed something of both.
    pub both: u32,
    /// Of the first.
    pub first: u32,
    /// Of the second.
    pub second: u32,
    /// The path of each that changed together most often, and in how many commits.
    pub example: Option<(String, String, u32)>,
}

impl Mirror {
    /// Reads which paths changed together in the last `most` first-parent commits of `tip`.
    ///
    /// # Errors
    /// When `tip` is not in the mirror, or the object database cannot be used.
    pub fn cochange(&self, tip: CommitId, most: usize) -> Result<Cochange, GitError> {
        self.with_repository(|repo| {
            let mut found = Cochange::default();
            let mut known: BTreeMap<String, usize> = BTreeMap::new();
            let mut walk = repo.revwalk()?;
            walk.set_sorting(Sort::TOPOLOGICAL)?;
            walk.simplify_first_parent()?;
            walk.push(find_commit(repo, tip)?.id())?;
            for id in walk.take(most) {
                let paths = changed(repo, id?)?;
                found.read += 1;
                if paths.len() > MAX_FILES_OF_COMMIT || known.len() + paths.len() > MAX_PATHS {
                    continue;
                }
                let numbered = paths.into_iter().map(|path| {
                    *known.entry(path).or_insert_with_key(|path| {
                        found.paths.push(path.clone());
                        found.paths.len() - 1
                    })
                });
                let numbered = numbered.collect();
                found.commits.push(numbered);
            }
            Ok(found)
        })
    }
}

impl Cochange {
    /// First-parent commits that were read.
    pub fn commits(&self) -> u32 {
        self.read
    }

    /// Every path that was seen.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    /// The paths that fit, for [`Cochange::together`].
    pub fn select(&self, fits: impl Fn(&str) -> bool) -> BTreeSet<usize> {
        (0..self.paths.len()).filter(|n| self.paths.get(*n).is_some_and(|path| fits(path))).collect()
    }

    /// How often two selections changed together.
    pub fn together(&self, first: &BTreeSet<usize>, second: &BTreeSet<usize>) -> Together {
        let mut found = Together::default();
        let mut pairs: BTreeMap<(usize, usize), u32> = BTreeMap::new();
        for commit in &self.commits {
            let of = |set: &BTreeSet<usize>| -> Vec<usize> {
                commit.iter().filter(|n| set.contains(n)).copied().collect()
            };
            let (a, b) = (of(first), of(second));
            found.first += u32::from(!a.is_empty());
            found.second += u32::from(!b.is_empty());
            found.both += u32::from(!a.is_empty() && !b.is_empty());
            let mixed = a.iter().flat_map(|a| b.iter().map(move |b| (*a, *b)));
            for pair in mixed.filter(|(a, b)| a != b) {
                *pairs.entry(pair).or_default() += 1;
            }
        }
        let best = pairs.into_iter().max_by_key(|(pair, count)| (*count, std::cmp::Reverse(*pair)));
        found.example = best.and_then(|((a, b), count)| {
            Some((self.paths.get(a)?.clone(), self.paths.get(b)?.clone(), count))
        });
        found
    }
}

fn changed(repo: &Repository, id: git2::Oid) -> Result<BTreeSet<String>, GitError> {
    let commit = repo.find_commit(id)?;
    let before = commit.parent(0).ok().map(|p| p.tree()).transpose()?;
    let mut options = DiffOptions::new();
    options.skip_binary_check(true);
    let diff = repo.diff_tree_to_tree(before.as_ref(), Some(&commit.tree()?), Some(&mut options))?;
    let sides = diff.deltas().flat_map(|d| [d.old_file().path_bytes(), d.new_file().path_bytes()].map(owned));
    Ok(sides.flatten().collect())
}

fn owned(path: Option<&[u8]>) -> Option<String> {
    path.map(|p| String::from_utf8_lossy(p).into_owned())
}
