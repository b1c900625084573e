use super::record::Foreign;
use crate::{Change, Remote};

/// Tries of one push: the queue pushes at the same time.
const TRIES: u32 = 200;

/// Somebody who knows nothing of the queue pushes a commit to `main`, by compare-and-swap as any push is.
pub(crate) fn push(remote: &Remote, n: usize) -> Foreign {
    let (path, line) = (format!("stranger-{n}.txt"), format!("stranger {n}"));
    let (branch, text) = (format!("stranger/{n}"), format!("{line}\n"));
    for _ in 0..TRIES {
        let from = remote.head("main");
        let files = [(path.as_str(), Some(text.as_str()))];
        let id = remote.commit(&Change { branch: &branch, from: Some(&from), files: &files });
        if remote.holds(&["update-ref", "refs/heads/main", &id, &from]) {
            return Foreign { id, path, line };
        }
    }
    panic!("a stranger could not push in {TRIES} tries");
}
