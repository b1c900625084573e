use std::cmp::Ordering;

use git2::{Odb, Oid};

use super::store::{Slot, Store};
use crate::GitError;
use crate::objects::{Entry, entry_length, is_cut, parse_entry, sort_key};

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
    let (mut before, mut after) = (before.raw(), after.raw());
    let mut lines = Vec::new();
    while !before.is_empty() || !after.is_empty() {
        // Most lines are the same.
        if let Some(length) = entry_length(before)
            && after.get(..length) == before.get(..length)
        {
            (before, after) = (&before[length..], &after[length..]);
            continue;
        }
        let (old, new) = (entry(before)?, entry(after)?);
        let order = match (&old, &new) {
            (None, _) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some((a, _)), Some((b, _))) => sort_key(a).cmp(sort_key(b)),
        };
        let old = old.filter(|_| order != Ordering::Greater);
        let new = new.filter(|_| order != Ordering::Less);
        let Some((named, _)) = old.or(new) else { break };
        let slot = |line: Option<(Entry<'_>, _)>| line.map(|(e, _)| Slot { mode: e.mode, id: e.id });
        if slot(old) != slot(new) {
            lines.push(Changed { name: named.name.into(), old: slot(old), new: slot(new), below: None });
        }
        (before, after) = (old.map_or(before, |line| line.1), new.map_or(after, |line| line.1));
    }
    Ok(by_plain_name(lines))
}

fn entry(raw: &[u8]) -> Result<Option<(Entry<'_>, &[u8])>, GitError> {
    if raw.is_empty() { Ok(None) } else { parse_entry(raw).ok_or_else(is_cut).map(Some) }
}

/// A file and a directory of one name are lines apart in git's order, and one changed line here.
fn by_plain_name(mut lines: Vec<Changed>) -> Vec<Changed> {
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    lines.dedup_by(|next, line| {
        let is_one = next.name == line.name && line.old.is_none() != next.old.is_none();
        let is_one = is_one && line.new.is_none() != next.new.is_none();
        if is_one {
            (line.old, line.new) = (line.old.or(next.old), line.new.or(next.new));
        }
        is_one
    });
    lines
}

#[cfg(test)]
mod tests {
    use git2::ObjectType;

    use super::*;
    use crate::objects::write_tree;

    #[test]
    fn a_file_that_becomes_a_directory_is_one_line_wherever_git_sorts_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let repo = git2::Repository::init_bare(dir.path()).expect("a repository");
        let odb = repo.odb().expect("objects");
        let file = odb.write(ObjectType::Blob, b"x\n").expect("a file");
        let inner = write_tree(&odb, vec![Entry { mode: 0o100_644, name: b"y", id: file }]).expect("a tree");
        let tree = |lines: &[(&'static str, u32, Oid)]| {
            let entry = |(name, mode, id): &(&'static str, u32, Oid)| Entry {
                mode: *mode,
                name: name.as_bytes(),
                id: *id,
            };
            write_tree(&odb, lines.iter().map(entry).collect()).expect("a tree")
        };
        let (plain, folder) = (("a", 0o100_644, file), ("a", 0o040_000, inner));
        let old = tree(&[plain, ("a.c", 0o100_644, file), ("b", 0o100_644, file), ("z", 0o100_644, file)]);
        let new = tree(&[folder, ("a.c", 0o100_644, file), ("b", 0o100_755, file), ("c", 0o100_644, file)]);
        let changed = |old, new| {
            let lines = changed_lines(&mut Store::new(), &odb, Some(old), Some(new)).expect("trees");
            let told =
                lines.iter().map(|l| (l.name[0] as char, l.old.map(|s| s.mode), l.new.map(|s| s.mode)));
            told.collect::<Vec<_>>()
        };
        let (file, program, folder) = (Some(0o100_644), Some(0o100_755), Some(0o040_000));
        let forth = [('a', file, folder), ('b', file, program), ('c', None, file), ('z', file, None)];
        assert_eq!(changed(old, new), forth);
        assert_eq!(changed(new, old), forth.map(|(name, old, new)| (name, new, old)));
        assert_eq!(changed(old, old), []);
    }
}
