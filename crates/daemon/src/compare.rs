use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use yardmaster_git::{Considered, GitError, Matrix, Mirror, Verdict};
use yardmaster_protocol::{BranchName, CommitId, PairConflict, RequestId, TipConflict};

use crate::caught::caught;

/// Pairs that are told at once at the most: a fact has to fit into a record.
const PAIRS_TOLD: usize = 1_000;
/// Requests that are told at once not to merge with the tip.
const WITH_TIP_TOLD: usize = 1_000;
/// Requests that one branch that is looked at is compared with besides those that were compared before.
const TAKEN_IN: usize = 500;
/// Paths that are told of each conflict.
const PATHS_TOLD: usize = 5;

/// How what is pending merges, by target; one comparison at a time for each.
#[derive(Default)]
pub(crate) struct Matrices(Mutex<BTreeMap<BranchName, Shared>>);

type Shared = Arc<Known>;

/// What is kept of one target.
#[derive(Default)]
pub(crate) struct Known {
    /// None: nothing was compared yet, or it went wrong, and it is made anew.
    matrix: Mutex<Option<Matrix>>,
}

/// What is to be compared.
pub(crate) struct Question {
    pub(crate) tip: CommitId,
    /// Those that have not been compared yet.
    pub(crate) new: Vec<RequestId>,
    /// All that is in custody.
    pub(crate) heads: Vec<(RequestId, CommitId)>,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) tip: CommitId,
    pub(crate) requests: Vec<RequestId>,
    pub(crate) conflicts: Vec<PairConflict>,
    pub(crate) with_tip: Vec<TipConflict>,
}

impl Matrices {
    /// That of one target.
    pub(crate) fn of(&self, target: &BranchName) -> Shared {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(target.clone()).or_default())
    }
}

/// Brings the matrix up to date and says what is new. After trouble it is made anew the next time; a head
/// that makes us panic is compared with nothing then, and shows itself when it is assembled.
pub(crate) fn compare(mirror: &Mirror, known: &Known, question: Question) -> Result<Comparison, GitError> {
    let mut slot = known.matrix.lock().unwrap_or_else(PoisonError::into_inner);
    let matrix = slot.take();
    match caught(|| brought_up_to_date(mirror, matrix, &question)) {
        Ok(Ok(matrix)) => {
            let found = told(&matrix, &question);
            *slot = Some(matrix);
            Ok(found)
        }
        Ok(Err(why)) => Err(why),
        Err(why) => {
            tracing::error!(why, "comparing what waits made the program fail; it is left out");
            let (tip, requests) = (question.tip, question.new);
            Ok(Comparison { tip, requests, conflicts: Vec::new(), with_tip: Vec::new() })
        }
    }
}

/// How a branch would meet what is pending, and those of `heads` that it was not compared with: the matrix takes in only
/// so many more at once. What the matrix lacks and gets here, the next comparison finds there.
pub(crate) fn consider(
    mirror: &Mirror,
    known: &Known,
    tip: CommitId,
    heads: &[(RequestId, CommitId)],
    branch: CommitId,
) -> Result<(Considered, Vec<RequestId>), GitError> {
    let mut slot = known.matrix.lock().unwrap_or_else(PoisonError::into_inner);
    // Trouble in the middle of it leaves nothing behind, and it is made anew.
    let mut matrix = slot.take().unwrap_or_else(|| Matrix::new(tip));
    if matrix.tip() != tip {
        matrix.follow(mirror, tip)?;
    }
    let missing: Vec<(RequestId, CommitId)> =
        heads.iter().filter(|(id, head)| !matrix.has(*id, *head)).copied().collect();
    let (taken_in, rest) = missing.split_at(missing.len().min(TAKEN_IN));
    matrix.add_all(mirror, taken_in)?;
    let considered = matrix.consider(mirror, branch);
    *slot = Some(matrix);
    Ok((considered?, rest.iter().map(|(id, _)| *id).collect()))
}

fn brought_up_to_date(
    mirror: &Mirror,
    matrix: Option<Matrix>,
    question: &Question,
) -> Result<Matrix, GitError> {
    let mut matrix = match matrix {
        None => Matrix::new(question.tip),
        Some(mut matrix) => {
            let wanted: BTreeSet<RequestId> = question.heads.iter().map(|(id, _)| *id).collect();
            let gone: Vec<RequestId> = matrix.requests().filter(|id| !wanted.contains(id)).collect();
            gone.into_iter().for_each(|id| matrix.remove(id));
            matrix.follow(mirror, question.tip)?;
            matrix
        }
    };
    let missing: Vec<(RequestId, CommitId)> =
        question.heads.iter().filter(|(id, head)| !matrix.has(*id, *head)).copied().collect();
    matrix.add_all(mirror, &missing)?;
    Ok(matrix)
}

fn told(matrix: &Matrix, question: &Question) -> Comparison {
    let some = |paths: &[String]| paths.iter().take(PATHS_TOLD).cloned().collect();
    let new: BTreeSet<RequestId> = question.new.iter().copied().collect();
    let mut conflicts = Vec::new();
    for one in &new {
        let met = matrix.meetings(*one).into_iter().filter(|m| m.verdict == Verdict::Conflict);
        let once = met.filter(|m| m.with < *one || !new.contains(&m.with));
        conflicts.extend(once.map(|m| PairConflict { one: *one, other: m.with, paths: some(&m.paths) }));
    }
    conflicts.truncate(PAIRS_TOLD);
    let with_tip = question.heads.iter().filter_map(|(request, _)| {
        let standing = matrix.against_target(*request).filter(|s| s.verdict == Verdict::Conflict)?;
        Some(TipConflict { request: *request, paths: some(&standing.paths) })
    });
    Comparison {
        tip: question.tip,
        requests: question.new.clone(),
        conflicts,
        with_tip: with_tip.take(WITH_TIP_TOLD).collect(),
    }
}
