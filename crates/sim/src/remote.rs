use std::collections::{BTreeMap, BTreeSet};

use yardmaster_protocol::{BranchName, CommitId, Sighting};

use crate::gate::change_region;
use crate::git::Git;

/// A toy remote repository: branches that move by compare-and-swap only, and a hook.
#[derive(Debug, Clone, Default)]
pub(crate) struct Remote {
    /// Where every branch is.
    pub(crate) branches: BTreeMap<BranchName, CommitId>,
    /// Changes that the hook keeps out.
    pub(crate) refused: BTreeSet<String>,
    /// Whether anybody can talk to it.
    pub(crate) silent: bool,
}

/// How the remote took a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It did.
    Taken,
    /// The branch was not where the pusher thought.
    Moved,
    /// The hook said no.
    Declined(String),
}

impl Remote {
    /// A push with a lease on `from`.
    pub(crate) fn push(&mut self, git: &Git, branch: &BranchName, from: CommitId, to: CommitId) -> Pushed {
        let tip = self.branches.get(branch).copied();
        if tip == Some(to) {
            return Pushed::Taken;
        }
        if tip != Some(from) {
            return Pushed::Moved;
        }
        let (was, is) = (git.files(from), git.files(to));
        let kept_out = |name: &&String| {
            let region = change_region(name);
            is.contains_key(&region) && !was.contains_key(&region)
        };
        if let Some(name) = self.refused.iter().find(kept_out) {
            return Pushed::Declined(format!("{name} is not welcome"));
        }
        self.branches.insert(branch.clone(), to);
        Pushed::Taken
    }

    /// A look at a branch.
    pub(crate) fn look(
        &self,
        git: &Git,
        branch: &BranchName,
        known: Option<CommitId>,
        asked: &[CommitId],
    ) -> Option<Sighting> {
        let tip = *self.branches.get(branch).filter(|_| !self.silent)?;
        Some(Sighting {
            tip,
            tree: git.tree(tip),
            movement: git.movement(known, tip),
            contains: asked.iter().copied().filter(|c| git.contains(tip, *c)).collect(),
            project_file: None,
            lost: known.map(|known| git.not_in(known, tip)).unwrap_or_default(),
        })
    }
}
