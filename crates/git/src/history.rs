use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use git2::{Oid, Repository};

use crate::GitError;
use crate::objects::merge_bases;
use crate::recent::Recent;

/// Commits whose parents are kept.
const COMMITS: usize = 100_000;
/// Merge bases that are kept.
const BASES: usize = 20_000;

const OURS: u8 = 1;
const THEIRS: u8 = 2;
const STALE: u8 = 4;
const FOUND: u8 = 8;

/// Where two histories left each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    One(Oid),
    /// Several that are equally good.
    Many(Vec<Oid>),
    /// They have no commit in common.
    None,
}

/// What two histories have in common, and what only the first one has.
pub(crate) struct Parting {
    pub(crate) base: Base,
    pub(crate) only_ours: HashSet<Oid>,
}

#[derive(Debug, Clone)]
struct Node {
    time: i64,
    tree: Oid,
    parents: Arc<[Oid]>,
}

#[derive(Default)]
struct Paint {
    flags: u8,
    /// How often it waits in the heap.
    waiting: usize,
}

/// The graph of commits as far as it was walked.
#[derive(Debug)]
pub(crate) struct History {
    nodes: Recent<Oid, Node>,
    bases: Recent<(Oid, Oid), Base>,
}

impl History {
    pub(crate) fn new() -> History {
        History { nodes: Recent::new(COMMITS), bases: Recent::new(BASES) }
    }

    fn node(&mut self, repo: &Repository, id: Oid) -> Result<Node, GitError> {
        if let Some(known) = self.nodes.get(id, |_| 1) {
            return Ok(known);
        }
        let commit = repo.find_commit(id)?;
        let node = Node {
            time: commit.time().seconds(),
            tree: commit.tree_id(),
            parents: commit.parent_ids().collect(),
        };
        self.nodes.put(id, node.clone(), 1);
        Ok(node)
    }

    /// When a commit says that it was made, in seconds; of none, zero.
    pub(crate) fn time(&mut self, repo: &Repository, id: Option<Oid>) -> Result<i64, GitError> {
        id.map_or(Ok(0), |id| Ok(self.node(repo, id)?.time))
    }

    pub(crate) fn tree(&mut self, repo: &Repository, id: Oid) -> Result<Oid, GitError> {
        Ok(self.node(repo, id)?.tree)
    }

    /// The merge base of two commits, remembered.
    pub(crate) fn base(&mut self, repo: &Repository, ours: Oid, theirs: Oid) -> Result<Base, GitError> {
        let key = (ours.min(theirs), ours.max(theirs));
        if let Some(known) = self.bases.get(key, |_| 1) {
            return Ok(known);
        }
        let base = self.part(repo, ours, theirs)?.base;
        self.bases.put(key, base.clone(), 1);
        Ok(base)
    }

    /// Paints both histories downwards until only what both have is left, as git does.
    pub(crate) fn part(&mut self, repo: &Repository, ours: Oid, theirs: Oid) -> Result<Parting, GitError> {
        let mut painted: HashMap<Oid, Paint> = HashMap::new();
        let mut heap = BinaryHeap::new();
        let mut open = 0_usize;
        for (id, flag) in [(ours, OURS), (theirs, THEIRS)] {
            let paint = painted.entry(id).or_default();
            paint.flags |= flag;
            paint.waiting += 1;
            open += 1;
            heap.push((self.node(repo, id)?.time, id));
        }
        let mut found = Vec::new();
        while open > 0 {
            let Some((_, id)) = heap.pop() else { break };
            let Some(paint) = painted.get_mut(&id) else { continue };
            paint.waiting -= 1;
            if paint.flags & STALE == 0 {
                open -= 1;
            }
            let mut flags = paint.flags & (OURS | THEIRS | STALE);
            if flags == OURS | THEIRS {
                if paint.flags & FOUND == 0 {
                    paint.flags |= FOUND;
                    found.push(id);
                }
                flags |= STALE;
            }
            for parent in self.node(repo, id)?.parents.iter() {
                let paint = painted.entry(*parent).or_default();
                if paint.flags & flags == flags {
                    continue;
                }
                let was_stale = paint.flags & STALE != 0;
                paint.flags |= flags;
                let is_stale = paint.flags & STALE != 0;
                if is_stale && !was_stale {
                    open -= paint.waiting;
                }
                paint.waiting += 1;
                open += usize::from(!is_stale);
                heap.push((self.node(repo, *parent)?.time, *parent));
            }
        }
        found.retain(|id| painted.get(id).is_some_and(|p| p.flags & STALE == 0));
        let only_ours = painted.into_iter().filter(|(_, p)| p.flags & !FOUND == OURS).map(|(id, _)| id);
        let only_ours = only_ours.collect();
        let base = match found[..] {
            [] => Base::None,
            [one] => Base::One(one),
            // Of several some may be beneath others: the library sorts that out, as git does.
            _ => {
                let best = merge_bases(repo, ours, theirs)?;
                match best[..] {
                    [] => Base::None,
                    [one] => Base::One(one),
                    _ => Base::Many(best),
                }
            }
        };
        Ok(Parting { base, only_ours })
    }

    /// Those of `wanted` that `tip` contains, as far as the dates of commits tell the truth; a commit
    /// that is not named may still be contained.
    pub(crate) fn contained(
        &mut self,
        repo: &Repository,
        tip: Oid,
        wanted: &HashSet<Oid>,
    ) -> Result<HashSet<Oid>, GitError> {
        let mut oldest = i64::MAX;
        for id in wanted {
            oldest = oldest.min(self.node(repo, *id)?.time);
        }
        let mut seen = HashSet::from([tip]);
        let mut heap = BinaryHeap::from([(self.node(repo, tip)?.time, tip)]);
        let mut contained = HashSet::new();
        while let Some((time, id)) = heap.pop() {
            if time < oldest || contained.len() == wanted.len() {
                break;
            }
            if wanted.contains(&id) {
                contained.insert(id);
            }
            for parent in self.node(repo, id)?.parents.iter() {
                if seen.insert(*parent) {
                    heap.push((self.node(repo, *parent)?.time, *parent));
                }
            }
        }
        Ok(contained)
    }
}
