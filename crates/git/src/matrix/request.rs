use std::collections::{BTreeMap, HashMap, HashSet};

use git2::{Odb, Oid, Repository};
use yardmaster_protocol::{CommitId, RequestId};

use super::change::Change;
use super::meet::{Met, Side, common_paths, meet};
use super::oracle::Question;
use super::store::Store;
use crate::GitError;
use crate::history::{Base, History, Parting};
use crate::objects::find_commit;
use crate::walk::BY_ATTRIBUTES;

/// Of a request with more commits of its own, merge bases are looked for one by one.
const MAX_OWN: usize = 2_000;

/// A request as the matrix knows it.
pub(super) struct Request {
    pub(super) head: Oid,
    tree: Oid,
    /// Where it left the target, if that is one commit and its own commits are known.
    fork: Option<Oid>,
    /// What it changed since.
    change: Change,
    /// Its commits that the target does not have.
    own: Vec<Oid>,
}

/// What could be said of a pair without asking git.
pub(super) enum Weighed {
    /// They merge cleanly; the paths that both changed.
    Clean(Vec<String>),
    /// They have no commit in common.
    Unrelated,
    /// Git is to be asked; the paths that both changed.
    Asked(Question, Vec<String>),
}

/// What is read, and what was read.
pub(super) struct Reader<'a> {
    pub(super) repo: &'a Repository,
    pub(super) odb: &'a Odb<'a>,
    pub(super) store: &'a mut Store,
    pub(super) history: &'a mut History,
}

impl Reader<'_> {
    fn tree_of(&mut self, commit: Oid) -> Result<Oid, GitError> {
        self.history.tree(self.repo, commit)
    }

    /// Reads a head as it stands against the target's tip.
    pub(super) fn request(&mut self, head: CommitId, tip: Oid) -> Result<Request, GitError> {
        let commit = find_commit(self.repo, head)?;
        let (head, tree) = (commit.id(), commit.tree_id());
        let Parting { base, only_ours } = self.history.part(self.repo, head, tip)?;
        let (fork, from) = match base {
            Base::One(fork) if only_ours.len() <= MAX_OWN => (Some(fork), Some(fork)),
            Base::One(fork) => (None, Some(fork)),
            Base::Many(forks) => (None, forks.first().copied()),
            Base::None => (None, None),
        };
        let from = from.map(|fork| self.tree_of(fork)).transpose()?;
        let change = Change::between(self.store, self.odb, from, tree)?;
        let own = if fork.is_some() { only_ours.into_iter().collect() } else { Vec::new() };
        Ok(Request { head, tree, fork, change, own })
    }

    /// How a request meets the target's tip; none when the target has it.
    pub(super) fn against(&mut self, request: &Request, tip: Oid) -> Result<Option<Weighed>, GitError> {
        let base = match request.fork {
            Some(fork) => Base::One(fork),
            None => self.history.base(self.repo, request.head, tip)?,
        };
        if base == Base::One(request.head) {
            return Ok(None);
        }
        let theirs = Side { tree: self.tree_of(tip)?, change: None };
        // The target comes first, so that one process can be asked about all of them.
        self.weigh(&base, (tip, theirs), (request.head, request.side(&base))).map(Some)
    }

    /// How two requests meet.
    pub(super) fn pair(
        &mut self,
        ours: &Request,
        theirs: &Request,
        kin: bool,
        older: &HashSet<Oid>,
    ) -> Result<Weighed, GitError> {
        let base = match (ours.fork, theirs.fork) {
            // Nothing but the target's history is common to both, so their forks decide.
            (Some(a), Some(b)) if !kin => {
                if a == b || older.contains(&b) {
                    Base::One(b)
                } else {
                    self.history.base(self.repo, a, b)?
                }
            }
            _ => self.history.base(self.repo, ours.head, theirs.head)?,
        };
        if base == Base::One(ours.head) || base == Base::One(theirs.head) {
            return Ok(Weighed::Clean(common_paths(&ours.change.root, &theirs.change.root)));
        }
        let sides = ((ours.head, ours.side(&base)), (theirs.head, theirs.side(&base)));
        let weighed = self.weigh(&base, sides.0, sides.1)?;
        Ok(match weighed {
            // The target's own changes between two forks are nobody's meeting.
            Weighed::Clean(_) if ours.fork != theirs.fork => {
                Weighed::Clean(common_paths(&ours.change.root, &theirs.change.root))
            }
            other => other,
        })
    }

    fn weigh(
        &mut self,
        base: &Base,
        ours: (Oid, Side<'_>),
        theirs: (Oid, Side<'_>),
    ) -> Result<Weighed, GitError> {
        let question = |attributes| Question { ours: ours.0, theirs: theirs.0, attributes };
        let base = match base {
            Base::None => return Ok(Weighed::Unrelated),
            // A rule about attributes may be hidden there.
            Base::Many(_) => return Ok(Weighed::Asked(question(true), Vec::new())),
            Base::One(base) => self.tree_of(*base)?,
        };
        let Met { paths, left_to_git } = meet(self.store, self.odb, Some(base), ours.1, theirs.1)?;
        Ok(match left_to_git {
            None => Weighed::Clean(paths),
            Some(why) => Weighed::Asked(question(why == BY_ATTRIBUTES), paths),
        })
    }
}

impl Request {
    /// What it changed is known from its fork only.
    fn side(&self, base: &Base) -> Side<'_> {
        let change = matches!((self.fork, base), (Some(fork), Base::One(base)) if fork == *base);
        Side { tree: self.tree, change: change.then_some(&self.change) }
    }

    pub(super) fn fork(&self) -> Option<Oid> {
        self.fork
    }

    /// Some of its own commits are among these.
    pub(super) fn owns_one_of(&self, commits: &HashSet<Oid>) -> bool {
        self.fork.is_none() || self.own.iter().any(|id| commits.contains(id))
    }
}

/// Whose every commit is that the target does not have.
#[derive(Default)]
pub(super) struct Owners(HashMap<Oid, Vec<RequestId>>);

impl Owners {
    pub(super) fn enter(&mut self, id: RequestId, request: &Request) {
        for commit in &request.own {
            self.0.entry(*commit).or_default().push(id);
        }
    }

    pub(super) fn leave(&mut self, id: RequestId, request: &Request) {
        for commit in &request.own {
            if let Some(owners) = self.0.get_mut(commit) {
                owners.retain(|owner| *owner != id);
                if owners.is_empty() {
                    self.0.remove(commit);
                }
            }
        }
    }

    /// The requests that have commits with this one in common.
    pub(super) fn kin(&self, request: &Request) -> HashSet<RequestId> {
        request.own.iter().filter_map(|commit| self.0.get(commit)).flatten().copied().collect()
    }
}

/// The forks of all, each once.
pub(super) fn forks(requests: &BTreeMap<RequestId, Request>) -> HashSet<Oid> {
    requests.values().filter_map(|request| request.fork).collect()
}
