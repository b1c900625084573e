use std::collections::{BTreeMap, HashSet};
use std::sync::PoisonError;

use git2::{ErrorCode, Oid, Repository};
use yardmaster_protocol::{BranchName, CommitId, MAX_PROJECT_BYTES, Movement, PROJECT_FILE, Sighting};

use crate::git::Extent;
use crate::mergetree::parse_oid;
use crate::objects::{commit_id, contains, find_commit, oid, tree_id};
use crate::worktree::mend_heads;
use crate::{GitError, Mirror};

/// The largest project file that is read.
const MAX_PROJECT_FILE: usize = MAX_PROJECT_BYTES;
/// The most commits that are listed of what a target lost.
const MAX_LOST: usize = 20_000;
pub(crate) const TARGETS: &str = "refs/yardmaster/targets/";

impl Mirror {
    /// Asks the remote where `target` is: fetches its tip, reads the project file there, and says how
    /// it moved since `known` and which of `asked` it contains.
    ///
    /// # Errors
    /// [`GitError::Unreachable`], [`GitError::RemoteEmpty`] and [`GitError::TargetMissing`] are told apart.
    pub fn look(
        &self,
        target: &BranchName,
        known: Option<CommitId>,
        asked: &[CommitId],
    ) -> Result<Sighting, GitError> {
        let _one_at_a_time = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        let local = format!("{TARGETS}{target}");
        let refspec = format!("+refs/heads/{target}:{local}");
        let extent = self.with_repository(|repo| {
            Ok(if repo.find_reference(&local).is_ok() { Extent::News } else { Extent::Everything })
        })?;
        if let Err(why) = self.fetch(std::slice::from_ref(&refspec), extent)? {
            self.diagnose(target, &why)?;
            self.with_repository(|repo| {
                mend_heads(repo);
                clear_way(repo, &local)
            })?;
            self.fetch(&[refspec], extent)?.map_err(|why| GitError::Unreachable { why })?;
        }
        self.sight(target, known, asked)
    }

    /// The text of a file of rules at a commit, at most 64 KiB; none when it is not there. One that cannot be
    /// read comes as a text that starts with `!` and says why.
    ///
    /// # Errors
    /// When the commit is not in the mirror.
    pub fn rules_at(&self, commit: CommitId, path: &str) -> Result<Option<String>, GitError> {
        self.with_repository(|repo| text_at(repo, &find_commit(repo, commit)?.tree()?, path))
    }

    /// What the mirror's own copy of `target` shows.
    fn sight(
        &self,
        target: &BranchName,
        known: Option<CommitId>,
        asked: &[CommitId],
    ) -> Result<Sighting, GitError> {
        self.with_repository(|repo| {
            let tip = repo.find_reference(&format!("{TARGETS}{target}"))?.peel_to_commit()?;
            let movement = movement(repo, known.map(oid), tip.id())?;
            let contained = self.contained(repo, tip.id(), asked)?;
            Ok(Sighting {
                tip: commit_id(tip.id()),
                tree: tree_id(tip.tree_id()),
                movement,
                contains: contained,
                project_file: text_at(repo, &tip.tree()?, PROJECT_FILE)?,
                lost: lost(repo, known.map(oid), tip.id(), movement)?,
            })
        })
    }

    /// Those of `asked` that `tip` contains, in one walk as far as the dates of commits tell the truth.
    fn contained(&self, repo: &Repository, tip: Oid, asked: &[CommitId]) -> Result<Vec<CommitId>, GitError> {
        let odb = repo.odb()?;
        let here: HashSet<Oid> = asked.iter().map(|c| oid(*c)).filter(|c| odb.exists(*c)).collect();
        let history = self.history.lock().ok();
        let found = history.map(|mut history| history.contained(repo, tip, &here)).transpose()?;
        let found = found.unwrap_or_default();
        let mut contained = Vec::new();
        for commit in asked {
            if found.contains(&oid(*commit)) || contains(repo, tip, oid(*commit))? {
                contained.push(*commit);
            }
        }
        Ok(contained)
    }

    /// A look that expects `target` at `expected`, a commit made here: if the remote says so, there is
    /// nothing to fetch. Any other commit may be there in part only, from a fetch that was cut off.
    pub(crate) fn look_expecting(
        &self,
        target: &BranchName,
        expected: CommitId,
        known: CommitId,
        asked: &[CommitId],
    ) -> Result<Sighting, GitError> {
        if self.heads(&[target])?.get(target.as_str()) != Some(&oid(expected)) {
            return self.look(target, Some(known), asked);
        }
        let local = format!("{TARGETS}{target}");
        {
            let _one_at_a_time = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
            self.with_repository(|repo| {
                repo.reference(&local, oid(expected), true, "landed")?;
                Ok(())
            })?;
        }
        self.sight(target, Some(known), asked)
    }

    /// Fetches refs in one process; the inner error is why git could not.
    pub(crate) fn fetch(&self, refspecs: &[String], extent: Extent) -> Result<Result<(), String>, GitError> {
        let args = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--stdin",
            "--end-of-options",
            "origin",
        ];
        let done = self.git.fetch(&args, refspecs, extent)?;
        match done.status {
            Some(status) if status.success() => Ok(Ok(())),
            _ => Ok(Err(self.git.why(&done))),
        }
    }

    /// The remote's branches, all of them or those that are named.
    pub(crate) fn heads(&self, branches: &[&BranchName]) -> Result<BTreeMap<String, Oid>, GitError> {
        let mut args: Vec<String> =
            ["ls-remote", "--quiet", "--heads", "--end-of-options", "origin"].map(str::to_owned).to_vec();
        args.extend(branches.iter().map(|b| format!("refs/heads/{b}")));
        let done = self.git.remote(&args)?;
        if !done.status.is_some_and(|s| s.success()) {
            return Err(GitError::Unreachable { why: self.git.why(&done) });
        }
        let text = String::from_utf8_lossy(&done.stdout);
        let line = |line: &str| {
            let (id, name) = line.split_once('\t')?;
            Some((name.strip_prefix("refs/heads/")?.to_owned(), parse_oid(id.as_bytes()).ok()?))
        };
        Ok(text.lines().filter_map(line).collect())
    }

    /// Why a fetch of the target failed; nothing when the remote has it.
    fn diagnose(&self, target: &BranchName, why: &str) -> Result<(), GitError> {
        tracing::debug!(%target, why, "fetch of the target failed");
        let heads = self.heads(&[])?;
        if heads.is_empty() {
            return Err(GitError::RemoteEmpty);
        }
        if !heads.contains_key(target.as_str()) {
            return Err(GitError::TargetMissing(target.clone()));
        }
        Ok(())
    }
}

/// A target `a/b` cannot be kept beside an old target `a`, and the other way.
fn clear_way(repo: &Repository, wanted: &str) -> Result<(), GitError> {
    for reference in repo.references_glob(&format!("{TARGETS}*"))? {
        let mut reference = reference?;
        let in_the_way = reference.name().is_ok_and(|name| {
            name.strip_prefix(wanted)
                .or_else(|| wanted.strip_prefix(name))
                .is_some_and(|r| r.starts_with('/'))
        });
        if in_the_way {
            reference.delete()?;
        }
    }
    Ok(())
}

fn movement(repo: &Repository, known: Option<Oid>, tip: Oid) -> Result<Movement, GitError> {
    let Some(known) = known else { return Ok(Movement::First) };
    Ok(if known == tip {
        Movement::Same
    } else if contains(repo, tip, known)? {
        Movement::Forward
    } else if repo.odb()?.exists(known) && contains(repo, known, tip)? {
        Movement::Rewound
    } else {
        Movement::Diverged
    })
}

/// What was on the target and is not any more.
fn lost(
    repo: &Repository,
    known: Option<Oid>,
    tip: Oid,
    movement: Movement,
) -> Result<Vec<CommitId>, GitError> {
    let known = known.filter(|_| matches!(movement, Movement::Rewound | Movement::Diverged));
    let Some(known) = known.filter(|known| repo.odb().is_ok_and(|odb| odb.exists(*known))) else {
        return Ok(Vec::new());
    };
    let mut walk = repo.revwalk()?;
    walk.push(known)?;
    walk.hide(tip)?;
    walk.take(MAX_LOST).map(|id| Ok(commit_id(id?))).collect()
}

/// The text of a file that holds rules. One that cannot be read must not pass for one that is not there,
/// for that would change the rules: it becomes a text that no parser takes and that says why.
pub(crate) fn text_at(
    repo: &Repository,
    tree: &git2::Tree<'_>,
    path: &str,
) -> Result<Option<String>, GitError> {
    let entry = match tree.get_path(std::path::Path::new(path)) {
        Ok(entry) => entry,
        Err(e) if e.code() == ErrorCode::NotFound => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let unreadable = |why: &str| Ok(Some(format!("! {path} {why}\n")));
    if !matches!(entry.filemode(), 0o100_644 | 0o100_755) {
        return unreadable("is not a plain file");
    }
    let (size, _) = repo.odb()?.read_header(entry.id())?;
    if size > MAX_PROJECT_FILE {
        return unreadable("is larger than 64 KiB");
    }
    match String::from_utf8(repo.find_blob(entry.id())?.content().to_vec()) {
        Ok(text) => Ok(Some(text)),
        Err(_) => unreadable("is not UTF-8 text"),
    }
}
