use std::collections::BTreeSet;
use std::path::Path;

use git2::{Diff, DiffFindOptions, DiffOptions, Oid, Repository};
use yardmaster_protocol::{ChangeSize, CommitId};

use crate::objects::{find_commit, oid};
use crate::{GitError, Mirror};

/// The most paths that are listed of one change.
pub const MAX_FILES: usize = 1_000;
/// The most that these may take together, in bytes as JSON: they stand in one fact.
const MAX_LISTED_BYTES: usize = 256 * 1024;
/// Beyond so many files, lines are counted without looking for renames.
const MAX_RENAME_FILES: usize = 1_000;
/// Beyond so many files, lines are not counted: each is taken for one, so that the largest change is not the smallest.
const MAX_COUNTED_FILES: usize = 20_000;
/// Larger files count as binary: no lines.
const MAX_COUNTED_BYTES: i64 = 1024 * 1024;

/// What differs between two commits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Paths, sorted, cut at [`MAX_FILES`]; of a rename both names.
    pub files: Vec<String>,
    /// Lines as git counts them, and the full count of files.
    pub size: ChangeSize,
}

impl Mirror {
    /// What differs between two commits of the mirror.
    ///
    /// # Errors
    /// When one of them is not in the mirror.
    pub fn changed_paths(&self, from: CommitId, to: CommitId) -> Result<Changes, GitError> {
        self.with_repository(|repo| {
            let (from, to) = (find_commit(repo, from)?, find_commit(repo, to)?);
            between(repo, from.tree_id(), to.tree_id())
        })
    }

    /// Whether `commit` contains `ancestor`.
    ///
    /// # Errors
    /// When the object database cannot be used.
    pub fn contains(&self, commit: CommitId, ancestor: CommitId) -> Result<bool, GitError> {
        self.with_repository(|repo| crate::objects::contains(repo, oid(commit), oid(ancestor)))
    }
}

/// Tells every path that differs between two commits of the repository at `mirror`; of a rename both names.
///
/// # Errors
/// When one of them is not there.
pub fn each_difference(
    mirror: &Path,
    from: CommitId,
    to: CommitId,
    mut tell: impl FnMut(&str),
) -> Result<(), GitError> {
    let repo = Repository::open_bare(mirror)?;
    let trees = (find_commit(&repo, from)?.tree()?, find_commit(&repo, to)?.tree()?);
    let diff = repo.diff_tree_to_tree(Some(&trees.0), Some(&trees.1), None)?;
    for delta in diff.deltas() {
        for path in [delta.old_file(), delta.new_file()].iter().filter_map(|file| file.path_bytes()) {
            tell(&String::from_utf8_lossy(path));
        }
    }
    Ok(())
}

pub(crate) fn between(repo: &Repository, from: Oid, to: Oid) -> Result<Changes, GitError> {
    let (from, to) = (repo.find_tree(from)?, repo.find_tree(to)?);
    let mut options = DiffOptions::new();
    options.max_size(MAX_COUNTED_BYTES).context_lines(0);
    let mut diff = repo.diff_tree_to_tree(Some(&from), Some(&to), Some(&mut options))?;
    let mut paths = BTreeSet::new();
    for delta in diff.deltas() {
        for file in [delta.old_file(), delta.new_file()] {
            paths.extend(file.path_bytes().map(|p| String::from_utf8_lossy(p).into_owned()));
        }
    }
    let files = u32::try_from(paths.len()).unwrap_or(u32::MAX);
    let lines = lines(&mut diff, paths.len())?;
    let files_shown = listed(paths, MAX_FILES, MAX_LISTED_BYTES);
    Ok(Changes { files: files_shown, size: ChangeSize { lines, files } })
}

/// The first paths, at most so many and of so many bytes, escaped.
pub(crate) fn listed(paths: impl IntoIterator<Item = String>, most: usize, most_bytes: usize) -> Vec<String> {
    let mut left = most_bytes;
    let fits = |path: &String| {
        let escaped: usize = path.chars().map(|c| if c.is_ascii_control() { 6 } else { c.len_utf8() }).sum();
        let quotes = path.bytes().filter(|b| b"\"\\".contains(b)).count();
        left.checked_sub(escaped + quotes + 3).inspect(|fewer| left = *fewer).is_some()
    };
    paths.into_iter().take(most).take_while(fits).collect()
}

fn lines(diff: &mut Diff<'_>, files: usize) -> Result<u64, GitError> {
    if files > MAX_COUNTED_FILES {
        return Ok(files as u64);
    }
    if files <= MAX_RENAME_FILES {
        diff.find_similar(Some(DiffFindOptions::new().renames(true)))?;
    }
    let stats = diff.stats()?;
    Ok(stats.insertions() as u64 + stats.deletions() as u64)
}
