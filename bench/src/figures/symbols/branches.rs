use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use git2::{Oid, Repository};
use tempfile::TempDir;
use yardmaster_git::{CrossCheck, Mirror};
use yardmaster_symbols::{ApiChange, FileChange, Language, change};

use super::super::merge::{commit_id, mirror, ms};
use crate::{Trouble, git};

/// A branch that landed by a merge.
pub(super) struct Branch {
    pub(super) head: Oid,
    /// Where it left the target; places count from the newest commit of the target.
    pub(super) base: Oid,
    pub(super) left: Option<usize>,
    pub(super) landed: usize,
    pub(super) api: ApiChange,
    /// Milliseconds, to read the files and to compare them.
    pub(super) read_ms: f64,
    pub(super) compare_ms: f64,
}

impl Branch {
    /// Whether each was written without the other, as the history of the target has it.
    pub(super) fn is_beside(&self, newer: &Branch) -> bool {
        newer.landed < self.landed && newer.left.is_some_and(|left| left > self.landed)
    }
}

pub(super) struct Branches {
    pub(super) repository: PathBuf,
    pub(super) mirror: Mirror,
    pub(super) repo: Repository,
    pub(super) list: Vec<Branch>,
    _scratch: TempDir,
}

impl Branches {
    /// Second parents of the newest merges in the first-parent history, newest first.
    pub(super) fn newest(repository: &Path, count: usize) -> Result<Branches, Trouble> {
        let scratch = tempfile::tempdir()?;
        let mirror = mirror(repository, &scratch.path().join("mirror"), CrossCheck::Off)?;
        let repo = Repository::open(repository)?;
        let listed = git::run(repository, &["log", "--first-parent", "--format=%H %P", "HEAD"])?;
        let lines: Vec<Vec<Oid>> = listed
            .lines()
            .map(|line| line.split(' ').map(Oid::from_str).collect::<Result<_, _>>())
            .collect::<Result<_, _>>()?;
        let places: HashMap<Oid, usize> =
            lines.iter().enumerate().filter_map(|(i, ids)| Some((*ids.first()?, i))).collect();
        let mut list = Vec::new();
        for (landed, ids) in lines.iter().enumerate() {
            let [_, first, head] = ids[..] else { continue };
            let Ok(base) = repo.merge_base(first, head) else { continue };
            if list.len() == count || base == head {
                continue;
            }
            let started = Instant::now();
            let files = mirror.changed_files(commit_id(base)?, commit_id(head)?, is_read)?;
            let read_ms = ms(started.elapsed());
            let started = Instant::now();
            let api = change(files.files.iter().map(as_change));
            let compare_ms = ms(started.elapsed());
            if compare_ms > 500.0 {
                let bytes = |f: &yardmaster_git::FileContents| f.new.as_ref().map_or(0, Vec::len);
                let (all, skipped) = (files.files.iter().map(bytes).sum::<usize>(), api.skipped);
                eprintln!(
                    "  slow: {head} {} files, {all} bytes, {compare_ms:.0} ms, {skipped} skipped",
                    files.files.len()
                );
            }
            let left = places.get(&base).copied();
            list.push(Branch { head, base, left, landed, api, read_ms, compare_ms });
        }
        Ok(Branches { repository: repository.to_owned(), mirror, repo, list, _scratch: scratch })
    }

    pub(super) fn change(&self, from: Oid, to: Oid) -> Result<ApiChange, Trouble> {
        let files = self.mirror.changed_files(commit_id(from)?, commit_id(to)?, is_read)?;
        Ok(change(files.files.iter().map(as_change)))
    }
}

pub(super) fn is_read(path: &str) -> bool {
    Language::of(path).is_some()
}

pub(super) fn as_change(file: &yardmaster_git::FileContents) -> FileChange<'_> {
    FileChange { path: &file.path, old: file.old.as_deref(), new: file.new.as_deref() }
}
