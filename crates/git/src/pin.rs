use std::collections::HashSet;
use std::sync::PoisonError;

use git2::{ErrorCode, Oid, Repository};
use yardmaster_failpoint::{Point, hit};
use yardmaster_protocol::{BranchName, CommitId, Inspection, RequestId};

use crate::changes::between;
use crate::git::Extent;
use crate::look::TARGETS;
use crate::objects::{commit_id, find_commit, merge_bases, oid};
use crate::{GitError, Mirror};

const REQUESTS: &str = "refs/yardmaster/requests/";
/// The most branches of one fetch.
const MAX_BATCH: usize = 100;
/// Branches may vanish between two commands; so often that is looked at again.
const MAX_ROUNDS: usize = 3;

/// A branch that was announced and is to be taken into custody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinAsk {
    /// The request that it is for; the pin is named after it.
    pub request: RequestId,
    /// Where the work is.
    pub branch: BranchName,
    /// The head that was announced; none takes whatever the branch has.
    pub commit: Option<CommitId>,
}

impl Mirror {
    /// Takes announced branches into custody, many in one fetch, and inspects each against `tip`.
    /// Answers in the order of the asks. A head that is pinned already stays pinned, whatever became
    /// of its branch.
    ///
    /// # Errors
    /// When the remote does not answer, `tip` is not in the mirror, or the object database cannot be used.
    pub fn pin(&self, asks: &[PinAsk], tip: CommitId) -> Result<Vec<(RequestId, Inspection)>, GitError> {
        let mut answers = Vec::with_capacity(asks.len());
        for batch in batches(asks) {
            let _one_at_a_time = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
            let mut wanted = Vec::new();
            for ask in batch {
                if !self.with_repository(|repo| is_pinned_as_announced(repo, ask))? {
                    wanted.push(ask);
                }
            }
            hit(Point::BeforePinFetch);
            let missing = self.fetch_pins(wanted)?;
            hit(Point::AfterPinFetch);
            for ask in batch {
                let inspection = if missing.contains(&ask.request) {
                    self.with_repository(|repo| remove_pin(repo, ask.request))?;
                    Inspection::BranchMissing
                } else {
                    self.with_repository(|repo| inspect(repo, ask, tip))?
                };
                answers.push((ask.request, inspection));
            }
        }
        Ok(answers)
    }

    /// Takes heads into custody whose pins are not here, because another mirror had them or a power cut took
    /// them, and gives those that cannot be had any more: what is whole here, else what the branch has now,
    /// else what the remote gives out by its id.
    ///
    /// # Errors
    /// When the remote does not answer: then nothing can be said of any of them.
    pub fn restore(&self, asks: &[PinAsk]) -> Result<Vec<RequestId>, GitError> {
        let mut lost = Vec::new();
        for batch in batches(asks) {
            let _one_at_a_time = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
            let mut open = Vec::new();
            for ask in batch {
                if !self.pin_what_is_here(ask)? {
                    open.push(ask);
                }
            }
            self.fetch_pins(open.clone())?;
            for ask in open {
                let Some(commit) = ask.commit else { continue };
                if self.with_repository(|repo| is_pinned_as_announced(repo, ask))? {
                    continue;
                }
                let by_id = format!("+{commit}:{}", pin_name(ask.request));
                if self.fetch(&[by_id], Extent::News)?.is_err() {
                    self.with_repository(|repo| remove_pin(repo, ask.request))?;
                    lost.push(ask.request);
                }
            }
        }
        if !lost.is_empty() {
            self.heads(&[])?;
        }
        Ok(lost)
    }

    /// What pinning `branch` would find now. Its commits are fetched, and no ref is made for them.
    ///
    /// # Errors
    /// When the remote does not answer, or the branch moves while it is asked.
    pub fn inspect_branch(&self, branch: &BranchName, tip: CommitId) -> Result<Inspection, GitError> {
        let _one_at_a_time = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = self.heads(&[branch])?.get(branch.as_str()).copied() else {
            return Ok(Inspection::BranchMissing);
        };
        self.fetch(&[format!("refs/heads/{branch}")], Extent::News)?
            .map_err(|why| GitError::Unreachable { why })?;
        self.with_repository(|repo| {
            if !repo.odb()?.exists(found) {
                let why = format!("`{branch}` moved while it was fetched: ask again");
                return Err(GitError::Unreachable { why });
            }
            judge(repo, found, None, tip)
        })
    }

    /// Whether the head and all that it is made of are in the mirror; then it is pinned.
    fn pin_what_is_here(&self, ask: &PinAsk) -> Result<bool, GitError> {
        let Some(commit) = ask.commit else { return Ok(false) };
        if self.lacks(&[commit])? == [commit] {
            return Ok(false);
        }
        // A fetch that was cut off may have left the commit without its trees.
        let (head, known) = (commit.to_string(), format!("--glob={TARGETS}*"));
        let whole = self.git.local(&["rev-list", "--quiet", "--objects", &head, "--not", &known], None)?;
        if !whole.status.is_some_and(|s| s.success()) {
            return Ok(false);
        }
        self.with_repository(|repo| {
            repo.reference(&pin_name(ask.request), oid(commit), true, "restored")?;
            Ok(true)
        })
    }

    /// Those that are not in the mirror.
    ///
    /// # Errors
    /// When the object database cannot be read.
    pub fn lacks(&self, commits: &[CommitId]) -> Result<Vec<CommitId>, GitError> {
        self.with_repository(|repo| {
            let odb = repo.odb()?;
            Ok(commits.iter().filter(|c| !odb.exists(oid(**c))).copied().collect())
        })
    }

    /// Lets go of requests that have ended; unknown ones are fine.
    ///
    /// # Errors
    /// When a ref cannot be removed.
    pub fn unpin(&self, requests: &[RequestId]) -> Result<(), GitError> {
        self.with_repository(|repo| requests.iter().try_for_each(|request| remove_pin(repo, *request)))
    }

    /// What is in custody, sorted.
    ///
    /// # Errors
    /// When the refs cannot be read.
    pub fn pinned(&self) -> Result<Vec<RequestId>, GitError> {
        self.with_repository(|repo| {
            let mut pinned = Vec::new();
            for reference in repo.references_glob(&format!("{REQUESTS}*"))? {
                let reference = reference?;
                let id: Option<RequestId> =
                    reference.name().ok().and_then(|n| n.strip_prefix(REQUESTS)?.parse().ok());
                pinned.extend(id);
            }
            pinned.sort_unstable();
            Ok(pinned)
        })
    }

    /// Fetches heads to their pins; gives those whose branch the remote does not have.
    fn fetch_pins(&self, mut wanted: Vec<&PinAsk>) -> Result<HashSet<RequestId>, GitError> {
        let mut missing = HashSet::new();
        for round in 1.. {
            if wanted.is_empty() {
                break;
            }
            let refspec = |ask: &&PinAsk| format!("+refs/heads/{}:{REQUESTS}{}", ask.branch, ask.request);
            let Err(why) = self.fetch(&wanted.iter().map(refspec).collect::<Vec<_>>(), Extent::News)? else {
                break;
            };
            // One missing branch fails the whole fetch: find out which, and go on without it.
            let branches: Vec<&BranchName> = wanted.iter().map(|ask| &ask.branch).collect();
            let heads = self.heads(&branches)?;
            let (there, gone): (Vec<_>, Vec<_>) =
                wanted.into_iter().partition(|ask| heads.contains_key(ask.branch.as_str()));
            if round >= MAX_ROUNDS && gone.is_empty() {
                return Err(GitError::Unreachable { why });
            }
            missing.extend(gone.iter().map(|ask| ask.request));
            wanted = there;
        }
        Ok(missing)
    }
}

/// No two asks of one batch write the same ref.
fn batches(asks: &[PinAsk]) -> Vec<&[PinAsk]> {
    let mut batches = Vec::new();
    let (mut start, mut seen) = (0, HashSet::new());
    for (i, ask) in asks.iter().enumerate() {
        if i - start >= MAX_BATCH || !seen.insert(ask.request) {
            batches.push(&asks[start..i]);
            start = i;
            seen = HashSet::from([ask.request]);
        }
    }
    batches.push(&asks[start..]);
    batches
}

fn pin_name(request: RequestId) -> String {
    format!("{REQUESTS}{request}")
}

/// Without an announced commit an old pin proves nothing: it may be from a journal that is gone.
fn is_pinned_as_announced(repo: &Repository, ask: &PinAsk) -> Result<bool, GitError> {
    let Some(commit) = ask.commit else { return Ok(false) };
    match repo.refname_to_id(&pin_name(ask.request)) {
        Ok(found) => Ok(found == oid(commit)),
        Err(e) if e.code() == ErrorCode::NotFound => Ok(false),
        Err(e) => Err(e.into()),
    }
}

fn remove_pin(repo: &Repository, request: RequestId) -> Result<(), GitError> {
    match repo.find_reference(&pin_name(request)) {
        Ok(mut pin) => Ok(pin.delete()?),
        Err(e) if e.code() == ErrorCode::NotFound => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn inspect(repo: &Repository, ask: &PinAsk, tip: CommitId) -> Result<Inspection, GitError> {
    let found = repo.refname_to_id(&pin_name(ask.request))?;
    let inspection = judge(repo, found, ask.commit, tip)?;
    if !matches!(inspection, Inspection::Pinned { .. }) {
        remove_pin(repo, ask.request)?;
    }
    Ok(inspection)
}

/// What is to be said of a head that was found.
fn judge(
    repo: &Repository,
    found: Oid,
    announced: Option<CommitId>,
    tip: CommitId,
) -> Result<Inspection, GitError> {
    let unusable = |why: &str| Ok(Inspection::Unusable { why: why.to_owned() });
    let Ok(head) = repo.find_commit(found) else {
        return unusable("the branch does not point to a commit");
    };
    if announced.is_some_and(|announced| oid(announced) != found) {
        return Ok(Inspection::HeadMoved { found: commit_id(found) });
    }
    let tip = find_commit(repo, tip)?.id();
    let Some(merge_base) = merge_bases(repo, tip, found)?.first().copied() else {
        return unusable("it has no commit in common with the target");
    };
    let changes = between(repo, tree_of(repo, merge_base)?, head.tree_id())?;
    Ok(Inspection::Pinned {
        head: commit_id(found),
        merge_base: commit_id(merge_base),
        size: changes.size,
        files: changes.files,
        contained: merge_base == found,
    })
}

fn tree_of(repo: &Repository, commit: Oid) -> Result<Oid, GitError> {
    Ok(repo.find_commit(commit)?.tree_id())
}
