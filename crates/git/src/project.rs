//! What a merge would make of the target's project file. With one that cannot be used nothing lands any more, and
//! whoever mends it would have to go around the queue.

use std::sync::{Mutex, PoisonError};

use git2::{Oid, Repository, Tree};
use yardmaster_protocol::{CommitId, PROJECT_FILE, Project};

use crate::inverse::Steps;
use crate::look::text_at;
use crate::objects::find_commit;
use crate::{GitError, Mirror};

/// A project file that was read, and the file of code owners that it names.
pub(crate) type OwnersFile = Mutex<Option<(Oid, Option<String>)>>;

/// Where a project cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// The project file; also the one that it names, if that is at fault.
    pub paths: Vec<String>,
    /// What is wrong with it.
    pub why: String,
}

impl Mirror {
    /// What a branch that changes `files` breaks of the project, by what is at its head.
    ///
    /// # Errors
    /// When the head is not in the mirror.
    pub fn breaks_project(
        &self,
        head: CommitId,
        files: &[String],
        needs_gate: bool,
    ) -> Result<Option<Unusable>, GitError> {
        let touches = |path: &str| files.iter().any(|file| file == path);
        self.with_repository(|repo| {
            self.broken_in(repo, &find_commit(repo, head)?.tree()?, touches, needs_gate)
        })
    }

    /// What `steps` towards the tree `merged` break of it.
    pub(crate) fn broken_by(
        &self,
        repo: &Repository,
        merged: Oid,
        steps: &Steps,
        needs_gate: bool,
    ) -> Result<Option<Unusable>, GitError> {
        let touches = |path: &str| steps.contains_key(path.as_bytes());
        self.broken_in(repo, &repo.find_tree(merged)?, touches, needs_gate)
    }

    fn broken_in(
        &self,
        repo: &Repository,
        tree: &Tree<'_>,
        touches: impl Fn(&str) -> bool,
        needs_gate: bool,
    ) -> Result<Option<Unusable>, GitError> {
        if !touches(PROJECT_FILE) && !self.owners_file(repo, tree)?.is_some_and(|path| touches(&path)) {
            return Ok(None);
        }
        let lacking = |why: &str| Unusable { paths: vec![PROJECT_FILE.to_owned()], why: why.to_owned() };
        Ok(match project_in(repo, tree)? {
            Err(unusable) => Some(unusable),
            Ok(project) if !needs_gate || project.gate.is_some() => None,
            Ok(_) if tree.get_name(PROJECT_FILE).is_none() => {
                Some(lacking("`.yardmaster.toml`, which says how candidates are tested, would be gone"))
            }
            Ok(_) => Some(lacking("`.yardmaster.toml` would have no `[gate]`")),
        })
    }

    /// The file of code owners that the project file in `tree` names. That one seldom changes, so the last is
    /// remembered.
    fn owners_file(&self, repo: &Repository, tree: &Tree<'_>) -> Result<Option<String>, GitError> {
        let Some(entry) = tree.get_name(PROJECT_FILE) else { return Ok(None) };
        let mut known = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, path)) = known.as_ref().filter(|(id, _)| *id == entry.id()) {
            return Ok(path.clone());
        }
        let text = text_at(repo, tree, PROJECT_FILE)?.unwrap_or_default();
        let path = Project::parse(&text).ok().and_then(|project| project.scope.codeowners);
        *known = Some((entry.id(), path.clone()));
        Ok(path)
    }
}

fn project_in(repo: &Repository, tree: &Tree<'_>) -> Result<Result<Project, Unusable>, GitError> {
    let Some(text) = text_at(repo, tree, PROJECT_FILE)? else { return Ok(Ok(Project::default())) };
    let mut paths = vec![PROJECT_FILE.to_owned()];
    let project = match Project::parse(&text) {
        Ok(project) => project,
        Err(why) => return Ok(Err(Unusable { paths, why: why.to_string() })),
    };
    let Some(owners) = project.scope.codeowners.clone() else { return Ok(Ok(project)) };
    let text = text_at(repo, tree, &owners)?;
    paths.push(owners);
    Ok(project.with_owners(text.as_deref()).map_err(|why| Unusable { paths, why: why.to_string() }))
}
