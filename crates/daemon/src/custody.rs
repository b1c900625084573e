use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use yardmaster_git::{GitError, Mirror, PinAsk};
use yardmaster_protocol::{Assembly, CommitId, RequestId};
use yardmaster_queue::{MadeCandidate, Policy, Queue};

use crate::ServeError;
use crate::serve::blocking;
use crate::shutdown::Shutdown;

const PAUSE: Duration = Duration::from_secs(1);

/// What the journal counts on and this mirror cannot get.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lacking {
    pub(crate) heads: Vec<RequestId>,
    pub(crate) candidates: Vec<CommitId>,
}

/// Makes the mirror one that can go on: unpins what a crash left, fetches heads again that another
/// daemon had in custody, and makes its candidates again, which gives the same commits. Waits for a
/// remote that is silent, because without it nobody can tell a head that is lost.
pub(crate) async fn take(
    mirror: &Arc<Mirror>,
    queue: &Queue,
    policy: &Policy,
    shutdown: &Shutdown,
) -> Result<Lacking, ServeError> {
    let keep: BTreeSet<RequestId> = queue.in_custody().collect();
    let heads: Vec<PinAsk> = queue
        .custodies()
        .map(|(request, branch, head)| PinAsk { request, branch: branch.clone(), commit: Some(head) })
        .collect();
    let made = queue.made_candidates(policy);
    loop {
        let (at, keep, heads, made) = (Arc::clone(mirror), keep.clone(), heads.clone(), made.clone());
        let taken = spawn_blocking(move || {
            let lost = heads_again(&at, &keep, &heads)?;
            Ok(Lacking { heads: lost, candidates: candidates_again(&at, &made)? })
        });
        match blocking(taken.await, mirror.path())? {
            Err(why @ GitError::Unreachable { .. }) if !shutdown.is_asked() => {
                tracing::error!(%why, "pending heads are not in this state directory, and the remote does not answer");
                tokio::select! {
                    () = shutdown.asked() => {}
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
            taken => return Ok(taken?),
        }
    }
}

fn heads_again(
    mirror: &Mirror,
    keep: &BTreeSet<RequestId>,
    heads: &[PinAsk],
) -> Result<Vec<RequestId>, GitError> {
    let pinned = mirror.pinned()?;
    let missing: Vec<PinAsk> =
        heads.iter().filter(|ask| pinned.binary_search(&ask.request).is_err()).cloned().collect();
    let lost = if missing.is_empty() { Vec::new() } else { mirror.restore(&missing)? };
    if !missing.is_empty() {
        tracing::warn!(heads = missing.len(), lost = lost.len(), "fetched heads that another mirror has");
    }
    let stale: Vec<RequestId> = pinned.into_iter().filter(|r| !keep.contains(r)).collect();
    mirror.unpin(&stale)?;
    Ok(lost)
}

/// Candidates stand on one another, so they are made in as many rounds as it takes; gives those that
/// cannot be made.
fn candidates_again(mirror: &Mirror, made: &[MadeCandidate]) -> Result<Vec<CommitId>, GitError> {
    let commits: Vec<CommitId> = made.iter().map(|c| c.commit).collect();
    let mut lacking: BTreeSet<CommitId> = mirror.lacks(&commits)?.into_iter().collect();
    let mut open: Vec<&MadeCandidate> = made.iter().filter(|c| lacking.contains(&c.commit)).collect();
    while !open.is_empty() {
        let (ready, waiting): (Vec<_>, Vec<_>) = open.into_iter().partition(|c| !lacking.contains(&c.base));
        let mut progress = false;
        for candidate in ready {
            let assembled = mirror.assemble(candidate.base, std::slice::from_ref(&candidate.spec));
            let again = matches!(
                assembled.ok().as_deref(),
                Some([a]) if matches!(&a.assembly, Assembly::Clean { commit, .. } if *commit == candidate.commit)
            );
            progress |= again && lacking.remove(&candidate.commit);
        }
        if !progress {
            break;
        }
        open = waiting;
    }
    Ok(lacking.into_iter().collect())
}
