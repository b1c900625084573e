use std::fs::{self, File};
use std::path::Path;
use std::sync::PoisonError;

use yardmaster_protocol::CommitId;

use crate::mirror::Mirror;
use crate::objects::{commit_id, find_commit, oid};
use crate::process::Input;
use crate::{GitError, look};

/// Candidates that came from elsewhere, with everything beneath them.
const RECEIVED: &str = "refs/yardmaster/received/";
/// As many of them are kept; what only older ones have goes with the next thorough tidying.
const KEPT: usize = 48;

impl Mirror {
    /// Writes to `to` what somebody who has `known` lacks of `commit`: a thin pack. Of `known`, what is not
    /// here is left out. Returns its size in bytes.
    ///
    /// # Errors
    /// [`GitError::NoCommit`] when it is not here; [`GitError::Io`] when `to` cannot be written.
    pub fn pack(&self, commit: CommitId, known: &[CommitId], to: &Path) -> Result<u64, GitError> {
        let common: Vec<CommitId> = self.with_repository(|repo| {
            find_commit(repo, commit)?;
            Ok(known.iter().copied().filter(|id| repo.find_commit(oid(*id)).is_ok()).collect())
        })?;
        // A commit that is here only in part, after a fetch that was cut off, is no common ground.
        let packed = self.pack_without(commit, &common, to);
        if packed.is_err() && !common.is_empty() {
            return self.pack_without(commit, &[], to);
        }
        packed
    }

    fn pack_without(&self, commit: CommitId, common: &[CommitId], to: &Path) -> Result<u64, GitError> {
        let mut wanted = format!("{commit}\n");
        for id in common {
            wanted.push_str(&format!("^{id}\n"));
        }
        let file = File::create(to).map_err(GitError::io(to))?;
        let args = ["pack-objects", "--revs", "--thin", "--stdout", "--delta-base-offset", "--quiet"];
        self.git.local_files(&args, Input::Bytes(wanted.into_bytes()), Some(file))?;
        Ok(fs::metadata(to).map_err(GitError::io(to))?.len())
    }

    /// Takes in a pack that [`Mirror::pack`] wrote for `commit` and keeps the commit.
    ///
    /// # Errors
    /// When the pack is damaged, needs what is not here, or has not got the commit.
    pub fn unpack(&self, commit: CommitId, from: &Path) -> Result<(), GitError> {
        let _one_at_a_time = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        let file = File::open(from).map_err(GitError::io(from))?;
        self.git.local_files(&["index-pack", "--stdin", "--fix-thin"], Input::File(file), None)?;
        self.with_repository(|repo| {
            find_commit(repo, commit)?;
            repo.reference(&format!("{RECEIVED}{commit}"), oid(commit), true, "received")?;
            Ok(())
        })
    }

    /// Whether `commit` is here. Where everything comes by whole fetches and packs, so is what it needs.
    ///
    /// # Errors
    /// When the mirror cannot be read.
    pub fn has(&self, commit: CommitId) -> Result<bool, GitError> {
        self.with_repository(|repo| Ok(repo.find_commit(oid(commit)).is_ok()))
    }

    /// Commits that are here with everything beneath them: tips of targets and received candidates, the latest
    /// first; at most `most`.
    ///
    /// # Errors
    /// When the mirror cannot be read.
    pub fn whole_commits(&self, most: usize) -> Result<Vec<CommitId>, GitError> {
        self.with_repository(|repo| {
            let mut found: Vec<(i64, CommitId)> = Vec::new();
            for prefix in [look::TARGETS, RECEIVED] {
                for reference in repo.references_glob(&format!("{prefix}*"))?.flatten() {
                    if let Ok(commit) = reference.peel_to_commit() {
                        found.push((commit.time().seconds(), commit_id(commit.id())));
                    }
                }
            }
            found.sort_unstable_by(|a, b| b.cmp(a));
            found.dedup();
            Ok(found.into_iter().map(|(_, id)| id).take(most).collect())
        })
    }

    /// Forgets all but the latest received candidates and those `in_use`, and packs what is left, without what nothing needs any
    /// more: of a mirror whose candidates can be had again. What a worktree has checked out stays.
    ///
    /// # Errors
    /// When the disk is full or git fails; the mirror stays usable.
    pub fn tidy_received(&self, in_use: &[CommitId]) -> Result<(), GitError> {
        let _one_at_a_time = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = self.whole_commits(KEPT)?;
        kept.extend(in_use);
        self.with_repository(|repo| {
            for mut reference in repo.references_glob(&format!("{RECEIVED}*"))?.flatten() {
                if reference.target().is_none_or(|id| !kept.contains(&commit_id(id))) {
                    reference.delete()?;
                }
            }
            Ok(())
        })?;
        self.git.local_ok(&["repack", "-a", "-d", "-l", "--quiet"])?;
        self.git.local_ok(&["prune-packed", "--quiet"])?;
        Ok(())
    }
}
