use std::cmp::Ordering;

use git2::{Odb, Oid};

use super::store::{Slot, Store};
use crate::GitError;

/// Deeper directories are left to git.
pub(super) const MAX_DEPTH: usize = 256;
/// The most lines of one change that are kept; what is below the rest is read again when it is needed.
const MAX_KEPT: usize = 20_000;

/// A line of a directory that one side changed.
#[derive(Debug, Clone)]
pub(super) struct Changed {
    pub(super) name: Box<[u8]>,
    pub(super) old: Option<Slot>,
    pub(super) new: Option<Slot>,
    /// What changed in it, where it is a directory before and after and was looked into.
    pub(super) below: Option<Vec<Changed>>,
}

impl Changed {
    /// A directory before and after.
    pub(super) fn is_inner(&self) -> bool {
        self.old.is_some_and(Slot::is_tree) && self.new.is_some_and(Slot::is_tree)
    }

    fn may_add(&self) -> bool {
        match (self.old, self.new) {
            (_, None) => false,
            (Some(old), Some(new)) if old.is_tree() == new.is_tree() => {
                old.is_tree() && self.below.as_ref().is_none_or(|below| below.iter().any(Changed::may_add))
            }
            _ => true,
        }
    }
}

/// Everything that one side changed since a tree.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) root: Vec<Changed>,
    /// Some path is new, so that a rename may be seen in it.
    pub(super) may_add: bool,
}

impl Change {
    pub(super) fn between(
        store: &mut Store,
        odb: &Odb<'_>,
        old: Option<Oid>,
        new: Oid,
    ) -> Result<Change, GitError> {
        let mut kept = 0;
        let root = if old == Some(new) { Vec::new() } else { whole(store, odb, old, new, 0, &mut kept)? };
        let may_add = root.iter().any(Changed::may_add);
        Ok(Change { root, may_add })
    }
}

fn whole(
    store: &mut Store,
    odb: &Odb<'_>,
    old: Option<Oid>,
    new: Oid,
    depth: usize,
    kept: &mut usize,
) -> Result<Vec<Changed>, GitError> {
    let mut lines = changed_lines(store, odb, old, Some(new))?;
    *kept += lines.len();
    for line in lines.iter_mut().filter(|line| line.is_inner()) {
        if let (Some(old), Some(new)) = (line.old, line.new)
            && *kept < MAX_KEPT
            && depth < MAX_DEPTH
        {
            line.below = Some(whole(store, odb, Some(old.id), new.id, depth + 1, kept)?);
        }
    }
    Ok(lines)
}

/// The lines in which two directories differ, by name.
pub(super) fn changed_lines(
    store: &mut Store,
    odb: &Odb<'_>,
    old: Option<Oid>,
    new: Option<Oid>,
) -> Result<Vec<Changed>, GitError> {
    let (before, after) = (store.listing(odb, old)?, store.listing(odb, new)?);
    let (mut before, mut after) = (before.lines().iter().peekable(), after.lines().iter().peekable());
    let mut lines = Vec::new();
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return Ok(lines),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let old = if order == Ordering::Greater { None } else { before.next() };
        let new = if order == Ordering::Less { None } else { after.next() };
        let Some((name, _)) = old.or(new) else { return Ok(lines) };
        let (old, new) = (old.map(|l| l.1), new.map(|l| l.1));
        if old != new {
            lines.push(Changed { name: name.clone(), old, new, below: None });
        }
    }
}
