use git2::{Odb, Oid};

use super::change::{Change, Changed, MAX_DEPTH, changed_lines};
use super::store::{Slot, Store};
use crate::GitError;
use crate::hunks::touching;
use crate::walk::BY_ATTRIBUTES;

/// The most paths in which two requests meet that are kept.
pub(super) const MAX_PATHS: usize = 20;
/// Longer paths are cut.
const MAX_PATH: usize = 512;

/// One side of a merge as seen from the base.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) tree: Oid,
    /// Where it is known already.
    pub(super) change: Option<&'a Change>,
}

impl<'a> Side<'a> {
    fn view(self) -> View<'a> {
        View { tree: Some(self.tree), changed: self.change.map(|change| change.root.as_slice()) }
    }
}

/// How two sides meet.
#[derive(Debug, Default)]
pub(super) struct Met {
    /// The first paths that both changed.
    pub(super) paths: Vec<String>,
    /// Why only git can say how they merge; none: they merge cleanly.
    pub(super) left_to_git: Option<&'static str>,
}

/// Whether two sides merge cleanly, without making the merge: the same walk as that which merges, with
/// what is known of a side in place of its trees, and only lines that both sides changed looked into.
pub(super) fn meet(
    store: &mut Store,
    odb: &Odb<'_>,
    base: Option<Oid>,
    ours: Side<'_>,
    theirs: Side<'_>,
) -> Result<Met, GitError> {
    // It is walked along a side whose changes are known.
    let (ours, theirs) = if ours.change.is_some() { (ours, theirs) } else { (theirs, ours) };
    let may_add = [ours, theirs].iter().any(|side| side.change.is_none_or(|change| change.may_add));
    let mut walk = Walk { store, odb, may_add, dirs: Vec::new(), path: Vec::new(), met: Met::default() };
    walk.dir(base, ours.view(), theirs.view())?;
    Ok(walk.met)
}

/// One side's directory.
#[derive(Clone, Copy)]
struct View<'a> {
    tree: Option<Oid>,
    changed: Option<&'a [Changed]>,
}

struct Walk<'a> {
    store: &'a mut Store,
    odb: &'a Odb<'a>,
    /// A side may have new paths, so that a path that both deleted may be half of a rename.
    may_add: bool,
    /// Both sides' directories on the way down, for what their attributes say.
    dirs: Vec<[Option<Oid>; 2]>,
    path: Vec<u8>,
    met: Met,
}

impl Walk<'_> {
    fn dir(&mut self, base: Option<Oid>, ours: View<'_>, theirs: View<'_>) -> Result<(), GitError> {
        if self.dirs.len() >= MAX_DEPTH {
            self.leave("directories are nested too deep");
            return Ok(());
        }
        let read;
        let lines = match ours.changed {
            Some(lines) => lines,
            None => {
                read = changed_lines(self.store, self.odb, base, ours.tree)?;
                &read
            }
        };
        self.dirs.push([ours.tree, theirs.tree]);
        for line in lines {
            let (new, below) = self.look_up(theirs, line)?;
            if new == line.old {
                continue;
            }
            let length = self.path.len();
            if length > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&line.name);
            self.line(line, new, below)?;
            self.path.truncate(length);
        }
        self.dirs.pop();
        Ok(())
    }

    /// What the other side has at a line, and what is known to have changed below.
    fn look_up<'s>(
        &mut self,
        side: View<'s>,
        line: &Changed,
    ) -> Result<(Option<Slot>, Option<&'s [Changed]>), GitError> {
        match side.changed {
            Some(changed) => Ok(match changed.binary_search_by(|c| c.name.cmp(&line.name)) {
                Ok(found) => (changed[found].new, changed[found].below.as_deref()),
                Err(_) => (line.old, None),
            }),
            None => Ok((self.store.listing(self.odb, side.tree)?.get(&line.name)?, None)),
        }
    }

    /// A line that both sides changed.
    fn line(&mut self, ours: &Changed, new: Option<Slot>, below: Option<&[Changed]>) -> Result<(), GitError> {
        if ours.new == new {
            return self.same_change(ours);
        }
        let (Some(a), Some(b)) = (ours.new, new) else {
            return self.leave_here("one side deleted what the other changed");
        };
        if a.is_tree() && b.is_tree() && ours.old.is_none_or(Slot::is_tree) {
            let base = ours.old.map(|slot| slot.id);
            let ours = View { tree: Some(a.id), changed: ours.below.as_deref() };
            return self.dir(base, ours, View { tree: Some(b.id), changed: below });
        }
        let Some(old) = ours.old else {
            return self.leave_here("both sides added the same path");
        };
        if !old.is_regular() || old.mode != a.mode || old.mode != b.mode {
            return self.leave_here("a mode or type changed beside other changes");
        }
        self.note();
        if self.is_ruled(&ours.name)? {
            self.leave(BY_ATTRIBUTES);
        }
        if self.met.left_to_git.is_some() {
            return Ok(());
        }
        let ours = self.store.hunks(self.odb, old.id, a.id)?;
        let theirs = self.store.hunks(self.odb, old.id, b.id)?;
        match (ours.as_ref(), theirs.as_ref()) {
            (Ok(ours), Ok(theirs)) if !touching(ours, theirs) => {}
            (Ok(_), Ok(_)) => self.leave("both sides changed the same or neighbouring lines"),
            (Err(why), _) | (_, Err(why)) => self.leave(why),
        }
        Ok(())
    }

    /// Both sides made the same change. Where that deleted a file, git may see a rename on one side
    /// and a deletion on the other, if anything is new.
    fn same_change(&mut self, line: &Changed) -> Result<(), GitError> {
        match (line.old, line.new) {
            (Some(_), None) if self.may_add => self.leave_here("both sides deleted a file"),
            (Some(old), Some(new)) if old.is_tree() && new.is_tree() => {
                self.same_dir(old.id, new.id, line.below.as_deref(), 0)
            }
            (Some(old), Some(new)) if old.is_tree() != new.is_tree() => {
                self.leave_here("a file became a directory or the other way")
            }
            _ => {
                self.note();
                Ok(())
            }
        }
    }

    fn same_dir(
        &mut self,
        old: Oid,
        new: Oid,
        known: Option<&[Changed]>,
        depth: usize,
    ) -> Result<(), GitError> {
        if self.dirs.len() + depth >= MAX_DEPTH {
            self.leave("directories are nested too deep");
            return Ok(());
        }
        let read;
        let lines = match known {
            Some(lines) => lines,
            None => {
                read = changed_lines(self.store, self.odb, Some(old), Some(new))?;
                &read
            }
        };
        for line in lines {
            let length = self.path.len();
            self.path.push(b'/');
            self.path.extend_from_slice(&line.name);
            if let (Some(old), Some(new), true) = (line.old, line.new, line.is_inner()) {
                self.same_dir(old.id, new.id, line.below.as_deref(), depth + 1)?;
            } else {
                self.same_change(line)?;
            }
            self.path.truncate(length);
        }
        Ok(())
    }

    /// Whether attributes on either side may say how a file of this name is merged.
    fn is_ruled(&mut self, name: &[u8]) -> Result<bool, GitError> {
        for at in 0..self.dirs.len() {
            for side in 0..2 {
                let rules = self.store.rules(self.odb, self.dirs[at][side])?;
                if rules.is_some_and(|rules| rules.may_concern(name)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn leave_here(&mut self, why: &'static str) -> Result<(), GitError> {
        self.note();
        self.leave(why);
        Ok(())
    }

    fn leave(&mut self, why: &'static str) {
        // Git has to be told where the attributes are, whatever else there is.
        if self.met.left_to_git.is_none() || why == BY_ATTRIBUTES {
            self.met.left_to_git = Some(why);
        }
    }

    fn note(&mut self) {
        if self.met.paths.len() < MAX_PATHS {
            self.met.paths.push(told(&self.path));
        }
    }
}

/// A path as it is told.
pub(super) fn told(path: &[u8]) -> String {
    crate::git::cut(&String::from_utf8_lossy(path), MAX_PATH)
}

/// The first paths that two known changes have in common, whatever each of them began from.
pub(super) fn common_paths(ours: &[Changed], theirs: &[Changed]) -> Vec<String> {
    let mut paths = Vec::new();
    common(ours, theirs, &mut Vec::new(), &mut paths);
    paths
}

fn common(ours: &[Changed], theirs: &[Changed], path: &mut Vec<u8>, paths: &mut Vec<String>) {
    for line in ours {
        let Ok(found) = theirs.binary_search_by(|c| c.name.cmp(&line.name)) else { continue };
        if paths.len() >= MAX_PATHS {
            return;
        }
        let length = path.len();
        if length > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(&line.name);
        match (&line.below, &theirs[found].below) {
            (Some(ours), Some(theirs)) => common(ours, theirs, path, paths),
            _ => paths.push(told(path)),
        }
        path.truncate(length);
    }
}
