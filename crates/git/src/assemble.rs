use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use git2::{Oid, Repository};
use yardmaster_protocol::{Assembled, Assembly, CandidateSpec, CommitId, MergedBy};

use crate::candidate::write_commit;
use crate::durable::{collect, sync_all};
use crate::guard::Made;
use crate::history::Base;
use crate::inverse::steps;
use crate::merge::{Merge, merge};
use crate::mergetree::merge_trees;
use crate::objects::{commit_id, find_commit, merge_bases, oid, tree_id};
use crate::project::Unusable;
use crate::{CrossCheck, GitError, Mirror, changelog};

/// A merge that was worked out in memory and that git has not confirmed yet.
struct Claim {
    base: Oid,
    head: Oid,
    /// Before the changelog's line was put in.
    tree: Oid,
    known_as: Known,
}

/// What comes of making a stack besides its commits.
#[derive(Default)]
struct Making {
    claims: Vec<Claim>,
    /// Merges that git made.
    by_git: Vec<(Known, Oid)>,
    /// Objects that are to be on the disk before anything is answered.
    written: Vec<Oid>,
}

/// All that a clean merge, and what the guard says of it, depends on: the same values give the same tree. The
/// commits above a batch that has landed are made anew, and most of them are merges that were made before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Known {
    ours: Oid,
    head: Oid,
    forks: Vec<Oid>,
    author: String,
    needs_gate: bool,
}

/// Clean merges that git has confirmed, or made.
pub(crate) type Merged = std::sync::Mutex<HashMap<Known, Oid>>;

/// Beyond so many all are forgotten.
const MERGES_KEPT: usize = 8_192;

type Pair = (Oid, Oid);

impl Mirror {
    /// Assembles a stack: each spec on top of the last clean one, the first on `base`. A conflict is
    /// reported and skipped, so that the next one is assembled on what the conflicting one was tried on.
    /// What is answered is on the disk.
    ///
    /// # Errors
    /// When `base` or a head is not in the mirror, or the object database or git cannot be used.
    pub fn assemble(&self, base: CommitId, specs: &[CandidateSpec]) -> Result<Vec<Assembled>, GitError> {
        self.with_repository(|repo| {
            let mut confirmed: HashSet<Pair> = HashSet::new();
            let mut distrusted: HashSet<Pair> = HashSet::new();
            let (mut making, mut certain) = (Making::default(), Vec::new());
            // Ends: each round distrusts a pair more, and a distrusted pair is never claimed again.
            loop {
                let stack = self.stack(repo, base, specs, &distrusted, &mut making)?;
                let claims = std::mem::take(&mut making.claims).into_iter();
                let open: Vec<Claim> = claims.filter(|c| !confirmed.contains(&(c.base, c.head))).collect();
                let wrong = self.disputed(&open)?;
                confirmed.extend(open.iter().map(|c| (c.base, c.head)));
                let borne_out = open.into_iter().filter(|c| !wrong.contains(&(c.base, c.head)));
                certain.extend(borne_out.map(|claim| (claim.known_as, claim.tree)));
                if wrong.is_empty() {
                    sync_all(repo, making.written)?;
                    // What is remembered is not written again, so it has to be on the disk.
                    certain.append(&mut making.by_git);
                    certain.into_iter().for_each(|(merge, tree)| self.remember(merge, tree));
                    return Ok(stack);
                }
                distrusted.extend(wrong);
            }
        })
    }

    fn stack(
        &self,
        repo: &Repository,
        base: CommitId,
        specs: &[CandidateSpec],
        distrusted: &HashSet<Pair>,
        making: &mut Making,
    ) -> Result<Vec<Assembled>, GitError> {
        let mut stack = Vec::with_capacity(specs.len());
        let mut top = base;
        for spec in specs {
            let assembly = if distrusted.contains(&(oid(top), oid(spec.head))) {
                disagreement()
            } else {
                self.candidate(repo, top, spec, making)?
            };
            let next = assembly.candidate().map_or(top, |(commit, _)| commit);
            stack.push(Assembled { base: top, request: spec.request, assembly });
            top = next;
        }
        Ok(stack)
    }

    fn candidate(
        &self,
        repo: &Repository,
        top: CommitId,
        spec: &CandidateSpec,
        making: &mut Making,
    ) -> Result<Assembly, GitError> {
        let (base, head) = (find_commit(repo, top)?, find_commit(repo, spec.head)?);
        let forks = self.forks(repo, base.id(), head.id())?;
        let known_as = Known {
            ours: base.tree_id(),
            head: head.id(),
            forks: forks.clone(),
            author: spec.author.clone(),
            needs_gate: spec.needs_gate,
        };
        let remembered = self.merged.lock().ok().and_then(|known| known.get(&known_as).copied());
        let remembered = remembered.filter(|tree| repo.find_tree(*tree).is_ok());
        if let Some(merged) = remembered {
            return made_of(repo, spec, (&base, &head), merged, MergedBy::Memory, &mut making.written);
        }
        let written = &mut making.written;
        let (merged, by, forks) = match merge(repo, &self.git, base.id(), head.id(), forks, written)? {
            Merge::Contained => {
                let tree = tree_id(base.tree_id());
                return Ok(Assembly::Clean { commit: top, tree, by: MergedBy::Memory });
            }
            Merge::Conflict { paths, detail, hunk } => {
                self.counters.escalated.fetch_add(1, Ordering::Relaxed);
                return Ok(Assembly::Conflict { paths, detail, hunk });
            }
            Merge::Clean { tree, by, bases } => (tree, by, bases),
        };
        let made = steps(repo, base.tree_id(), merged)?;
        let made =
            Made { steps: &made, base: base.id(), head: head.id(), forks: &forks, author: &spec.author };
        if let Some(refused) = self.guarded(repo, &made, by)? {
            return Ok(refused);
        }
        if let Some(Unusable { paths, why }) = self.broken_by(repo, merged, made.steps, spec.needs_gate)? {
            return Ok(Assembly::BreaksProject { paths, why });
        }
        match by {
            MergedBy::Memory => {
                self.counters.in_memory.fetch_add(1, Ordering::Relaxed);
                making.claims.push(Claim { base: base.id(), head: head.id(), tree: merged, known_as });
            }
            MergedBy::Git => {
                // Git writes and syncs only what is not there yet, and some of it may be there unsynced.
                collect(&repo.odb()?, merged, Some(base.tree_id()), &mut making.written)?;
                making.by_git.push((known_as, merged));
                self.counters.escalated.fetch_add(1, Ordering::Relaxed);
            }
        }
        made_of(repo, spec, (&base, &head), merged, by, &mut making.written)
    }

    /// Where the two left each other. Every stack is walked again from its top, so what commits say is kept.
    fn forks(&self, repo: &Repository, base: Oid, head: Oid) -> Result<Vec<Oid>, GitError> {
        let found = self.history.lock().ok().map(|mut history| history.base(repo, base, head)).transpose()?;
        match found {
            Some(Base::One(fork)) => Ok(vec![fork]),
            Some(Base::None) => Ok(Vec::new()),
            Some(Base::Many(forks)) => Ok(forks),
            None => merge_bases(repo, base, head),
        }
    }

    fn remember(&self, merge: Known, tree: Oid) {
        if let Ok(mut known) = self.merged.lock() {
            if known.len() >= MERGES_KEPT {
                known.clear();
            }
            known.insert(merge, tree);
        }
    }

    /// The claims that git does not bear out.
    fn disputed(&self, claims: &[Claim]) -> Result<Vec<Pair>, GitError> {
        let asked: Vec<&Claim> = claims.iter().filter(|_| self.is_checked()).collect();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let pairs: Vec<Pair> = asked.iter().map(|c| (c.base, c.head)).collect();
        let answers = merge_trees(&self.git, &pairs)?;
        self.counters.checked.fetch_add(pairs.len() as u64, Ordering::Relaxed);
        let mut wrong = Vec::new();
        for (claim, answer) in asked.iter().zip(answers) {
            if answer != Some(claim.tree) {
                tracing::warn!(
                    base = %claim.base, head = %claim.head, ours = %claim.tree, git = ?answer,
                    "git sees a merge differently; it counts as a conflict",
                );
                self.counters.disagreed.fetch_add(1, Ordering::Relaxed);
                wrong.push((claim.base, claim.head));
            }
        }
        Ok(wrong)
    }

    fn is_checked(&self) -> bool {
        match self.options.cross_check {
            CrossCheck::All => true,
            CrossCheck::Off | CrossCheck::Sampled(0) => false,
            CrossCheck::Sampled(n) => {
                self.counters.sampled.fetch_add(1, Ordering::Relaxed).is_multiple_of(u64::from(n))
            }
        }
    }
}

/// The candidate of a clean merge, with its line of the changelog.
fn made_of(
    repo: &Repository,
    spec: &CandidateSpec,
    (base, head): (&git2::Commit<'_>, &git2::Commit<'_>),
    merged: Oid,
    by: MergedBy,
    written: &mut Vec<Oid>,
) -> Result<Assembly, GitError> {
    let tree = match spec.changelog.as_ref().map(|edit| changelog::edit(repo, merged, edit)).transpose()? {
        None => merged,
        Some(Ok(edited)) => {
            collect(&repo.odb()?, edited, Some(merged), written)?;
            edited
        }
        Some(Err(detail)) => {
            let paths = spec.changelog.iter().map(|edit| edit.path.clone()).collect();
            return Ok(Assembly::Conflict { paths, detail, hunk: None });
        }
    };
    let commit = write_commit(repo, spec, base, head, tree)?;
    written.push(commit);
    Ok(Assembly::Clean { commit: commit_id(commit), tree: tree_id(tree), by })
}

fn disagreement() -> Assembly {
    Assembly::Conflict {
        paths: Vec::new(),
        detail: "the in-memory merge and `git merge-tree` disagree about this merge: rebase the branch \
                 onto the target, and report it"
            .to_owned(),
        hunk: None,
    }
}
