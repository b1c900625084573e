mod change;
mod consider;
mod enter;
mod meet;
mod oracle;
mod request;
mod room;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use git2::Oid;
use yardmaster_protocol::{CommitId, RequestId};

use crate::history::{Base, History};
use crate::objects::{find_commit, oid};
use crate::{GitError, Mirror};
pub use consider::Considered;
use oracle::{Question, ask};
use request::{Owners, Request};
pub(crate) use room::sweep_rooms;
use store::Store;

/// The most merges that git is asked about in one call of [`Matrix::add`] or [`Matrix::settle`].
pub const MAX_ASKED: usize = 256;
/// The most meetings that are kept of one request when it comes, the first ones by id.
pub const MAX_MEETINGS: usize = 400;

/// How two heads merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Cleanly, and no path was changed by both.
    Apart,
    /// Cleanly, though both changed some path.
    Overlap,
    /// They may not merge, and git has not been asked yet: see [`Matrix::settle`].
    Unsettled,
    /// They do not merge: git says so.
    Conflict,
}

/// How a request meets another one, or the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What `git merge-tree` makes of the two heads.
    pub verdict: Verdict,
    /// The first 20 paths: of a conflict those in conflict, else those that both changed.
    pub paths: Vec<String>,
}

/// How a request meets another pending one; those that are apart have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meeting {
    /// The other one.
    pub with: RequestId,
    /// `Overlap`, `Unsettled` or `Conflict`.
    pub verdict: Verdict,
    /// The first 20 paths: of a conflict those in conflict, else those that both changed.
    pub paths: Vec<String>,
}

/// What the matrix did since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MatrixCounters {
    /// Pairs of requests, and of a request and a tip, that were looked at.
    pub weighed: u64,
    /// Of these, those that only git could judge.
    pub left_to_git: u64,
    /// Of these, those that git has judged.
    pub asked: u64,
}

/// Two requests, or one against the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Target(RequestId),
    Pair(RequestId, RequestId),
}

/// How every pending request of one target merges with the target and with every other pending one, kept
/// up to date as requests come and go and the target moves.
///
/// A verdict is that of `git merge-tree --write-tree` on the two heads. Where the changed paths are apart,
/// or meet in plain edits of lines that do not touch, it is worked out in memory without a process; git is
/// asked, one process for all questions of a call, about everything else, so every conflict is git's word.
/// Nothing is written to the mirror. All requests must be pinned in it. One matrix serves one target.
///
/// ```no_run
/// # use yardmaster_git::{GitError, Matrix, Mirror};
/// # use yardmaster_protocol::{CommitId, RequestId};
/// # fn f(mirror: &Mirror, tip: CommitId, head: CommitId) -> Result<(), GitError> {
/// let mut matrix = Matrix::new(tip);
/// for meeting in matrix.add(mirror, RequestId(1), head)? {
///     println!("{:?} with {}: {:?}", meeting.verdict, meeting.with, meeting.paths);
/// }
/// let against_target = matrix.against_target(RequestId(1));
/// let changed = matrix.follow(mirror, tip)?;
/// # Ok(()) }
/// ```
pub struct Matrix {
    tip: Oid,
    store: Store,
    history: History,
    requests: BTreeMap<RequestId, Request>,
    owners: Owners,
    pairs: BTreeMap<RequestId, BTreeMap<RequestId, Arc<Standing>>>,
    /// None for a request that the target has.
    targets: BTreeMap<RequestId, Option<Standing>>,
    open: BTreeMap<Key, Question>,
    /// Requests of which more meetings were left out than are kept.
    crowded: BTreeMap<RequestId, usize>,
    counters: MatrixCounters,
}

impl std::fmt::Debug for Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Matrix").field("tip", &self.tip).field("requests", &self.requests.len()).finish()
    }
}

impl Matrix {
    /// An empty one for a target whose tip this is.
    pub fn new(tip: CommitId) -> Matrix {
        Matrix {
            tip: oid(tip),
            store: Store::new(),
            history: History::new(),
            requests: BTreeMap::new(),
            owners: Owners::default(),
            pairs: BTreeMap::new(),
            targets: BTreeMap::new(),
            open: BTreeMap::new(),
            crowded: BTreeMap::new(),
            counters: MatrixCounters::default(),
        }
    }

    /// Takes a request in, or its new head, and says how it meets each one that is here already.
    ///
    /// # Errors
    /// When `head` or the tip is not in the mirror, or the object database or git cannot be used; then the
    /// request is not in the matrix.
    pub fn add(&mut self, mirror: &Mirror, id: RequestId, head: CommitId) -> Result<Vec<Meeting>, GitError> {
        let entered = self.enter(mirror, &[(id, head)]).and_then(|()| self.settle(mirror));
        if let Err(error) = entered {
            self.remove(id);
            return Err(error);
        }
        Ok(self.meetings(id))
    }

    /// Takes many in at once, quicker than one by one, and asks git about all that it has to be asked about.
    ///
    /// # Errors
    /// As [`Matrix::add`]; then some of them may be in the matrix.
    pub fn add_all(&mut self, mirror: &Mirror, requests: &[(RequestId, CommitId)]) -> Result<(), GitError> {
        self.enter(mirror, requests)?;
        while self.settle(mirror)? > 0 {}
        Ok(())
    }

    /// Forgets a request.
    pub fn remove(&mut self, id: RequestId) {
        let Some(request) = self.requests.remove(&id) else { return };
        self.owners.leave(id, &request);
        for other in self.pairs.remove(&id).unwrap_or_default().into_keys() {
            if let Some(meetings) = self.pairs.get_mut(&other) {
                meetings.remove(&id);
            }
        }
        self.targets.remove(&id);
        self.crowded.remove(&id);
        self.open.retain(|key, _| match key {
            Key::Target(one) => *one != id,
            Key::Pair(a, b) => *a != id && *b != id,
        });
    }

    /// Follows the target to a new tip, and gives the requests that stand otherwise against it now.
    ///
    /// # Errors
    /// When the tip is not in the mirror, or the object database or git cannot be used; then the matrix
    /// may still be at the old tip for some requests, and is to be told again.
    pub fn follow(&mut self, mirror: &Mirror, tip: CommitId) -> Result<Vec<RequestId>, GitError> {
        let before = self.targets.clone();
        mirror.with_repository(|repo| {
            let odb = repo.odb()?;
            let tip = find_commit(repo, tip)?.id();
            let parting = self.history.part(repo, tip, self.tip)?;
            let is_forward = parting.base == Base::One(self.tip);
            self.tip = tip;
            let ids: Vec<RequestId> = self.requests.keys().copied().collect();
            for id in ids {
                let Some(request) = self.requests.get(&id) else { continue };
                if !is_forward || request.owns_one_of(&parting.only_ours) {
                    self.read_again(repo, &odb, id)?;
                }
                self.weigh_target(repo, &odb, id)?;
            }
            Ok(())
        })?;
        while self.settle(mirror)? > 0 {}
        Ok(self.targets.iter().filter(|(id, now)| before.get(id) != Some(now)).map(|(id, _)| *id).collect())
    }

    /// Asks git about the next few merges that only it can judge, and gives the number that is left.
    ///
    /// # Errors
    /// When git cannot be used; the questions stay.
    pub fn settle(&mut self, mirror: &Mirror) -> Result<usize, GitError> {
        let batch: Vec<(Key, Question)> = self.open.iter().take(MAX_ASKED).map(|(k, q)| (*k, *q)).collect();
        let questions: Vec<Question> = batch.iter().map(|(_, question)| *question).collect();
        for ((key, _), answer) in batch.iter().zip(ask(mirror, &questions)?) {
            self.counters.asked += 1;
            self.open.remove(key);
            self.answered(*key, &answer);
        }
        Ok(self.open.len())
    }

    /// How a request meets the others, by id; those that are apart are not named.
    pub fn meetings(&self, id: RequestId) -> Vec<Meeting> {
        let meetings = self.pairs.get(&id).into_iter().flatten();
        let told = |(with, standing): (&RequestId, &Arc<Standing>)| Meeting {
            with: *with,
            verdict: standing.verdict,
            paths: standing.paths.clone(),
        };
        meetings.map(told).collect()
    }

    /// How two requests meet; none when one of them is not here, or met too many to keep them all.
    pub fn pair(&self, a: RequestId, b: RequestId) -> Option<Standing> {
        if !self.requests.contains_key(&a) || !self.requests.contains_key(&b) {
            return None;
        }
        match self.pairs.get(&a).and_then(|meetings| meetings.get(&b)) {
            Some(standing) => Some(Standing::clone(standing)),
            None if self.left_out(a) + self.left_out(b) > 0 => None,
            None => Some(Standing { verdict: Verdict::Apart, paths: Vec::new() }),
        }
    }

    /// How a request meets the target's tip; none when it is not here, or the target has it.
    pub fn against_target(&self, id: RequestId) -> Option<&Standing> {
        self.targets.get(&id)?.as_ref()
    }

    /// How many meetings of a request were not kept, because it met too many when it came.
    pub fn left_out(&self, id: RequestId) -> usize {
        self.crowded.get(&id).copied().unwrap_or(0)
    }

    /// Whether a request is here, with this head.
    pub fn has(&self, id: RequestId, head: CommitId) -> bool {
        self.requests.get(&id).is_some_and(|request| request.head == oid(head))
    }

    /// Those that are here.
    pub fn requests(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.requests.keys().copied()
    }

    /// What it did so far.
    pub fn counters(&self) -> MatrixCounters {
        self.counters
    }
}
