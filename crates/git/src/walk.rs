use std::cmp::Ordering;

use git2::{ObjectType, Odb, Oid};

use crate::GitError;
use crate::attributes::MergeRules;
use crate::hunks::{MAX_BLOB, merge_lines};
use crate::objects::{Entry, parse_tree, read_lines, write_tree};

/// Deeper directories are left to git.
const MAX_DEPTH: usize = 256;

/// How a walk ended when it did not end with a tree.
pub(crate) enum Stop {
    /// Only git can say; why, for the log.
    Escalate(&'static str),
    /// An object could not be read or written.
    Failed(GitError),
}

impl<E: Into<GitError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Failed(error.into())
    }
}

/// Merges three trees, descending only into what differs: exact, or not at all.
///
/// Git's renames matter only where the other side changed or deleted the renamed file, or added to
/// a directory that is gone. Each of these shows here as a path that both sides changed and that is
/// no pair of regular files, so all of them stop the walk, and no rename has to be looked for.
///
/// What was written on the way is added to `written`, and is not on the disk yet.
pub(crate) fn merge_trees(
    odb: &Odb<'_>,
    base: Oid,
    ours: Oid,
    theirs: Oid,
    written: &mut Vec<Oid>,
) -> Result<Oid, Stop> {
    let mut walk = Walk { odb, rules: Vec::new(), written };
    match walk.trees(Some(base), ours, theirs)? {
        Some(tree) => Ok(tree),
        None => walk.write_tree(Vec::new()),
    }
}

struct Walk<'a> {
    odb: &'a Odb<'a>,
    /// What `.gitattributes` say, one for each directory on the way down.
    rules: Vec<Vec<MergeRules>>,
    written: &'a mut Vec<Oid>,
}

type Slot<'a> = Option<Entry<'a>>;

impl Walk<'_> {
    /// None when nothing is left: git keeps no empty directories.
    fn trees(&mut self, base: Option<Oid>, ours: Oid, theirs: Oid) -> Result<Option<Oid>, Stop> {
        if ours == theirs {
            return self.same_change(base, ours, self.rules.len()).map(Some);
        }
        if base == Some(ours) {
            return Ok(Some(theirs));
        }
        if base == Some(theirs) {
            return Ok(Some(ours));
        }
        if self.rules.len() >= MAX_DEPTH {
            return Err(Stop::Escalate(TOO_DEEP));
        }
        let odb = self.odb;
        let raw = [base.map(|b| odb.read(b)).transpose()?, Some(odb.read(ours)?), Some(odb.read(theirs)?)];
        let mut sides: [Vec<Entry<'_>>; 3] = Default::default();
        for (side, object) in sides.iter_mut().zip(&raw) {
            *side = read_lines(object.as_ref())?;
        }
        self.rules.push(self.read_rules(&sides)?);
        let merged = self.entries(&sides);
        self.rules.pop();
        let merged = merged?;
        if merged.is_empty() {
            return Ok(None);
        }
        if merged.iter().any(|entry| !entry.is_canonical()) {
            return Err(Stop::Escalate("a file has a mode that git writes differently today"));
        }
        self.write_tree(merged).map(Some)
    }

    fn write_tree(&mut self, entries: Vec<Entry<'_>>) -> Result<Oid, Stop> {
        let tree = write_tree(self.odb, entries)?;
        self.written.push(tree);
        Ok(tree)
    }

    fn entries<'e>(&mut self, sides: &[Vec<Entry<'e>>; 3]) -> Result<Vec<Entry<'e>>, Stop> {
        let mut merged = Vec::with_capacity(sides[1].len().max(sides[2].len()));
        let mut at = [0_usize; 3];
        while let Some(name) = (0..3).filter_map(|s| sides[s].get(at[s])).map(|e| e.name).min() {
            let mut slots: [Slot<'e>; 3] = [None; 3];
            for side in 0..3 {
                if let Some(entry) = sides[side].get(at[side])
                    && entry.name.cmp(name) == Ordering::Equal
                {
                    slots[side] = Some(*entry);
                    at[side] += 1;
                }
            }
            let [base, ours, theirs] = slots;
            merged.extend(self.entry(base, ours, theirs)?);
        }
        Ok(merged)
    }

    fn entry<'e>(&mut self, base: Slot<'e>, ours: Slot<'e>, theirs: Slot<'e>) -> Result<Slot<'e>, Stop> {
        if ours == theirs {
            return match (base, ours) {
                (Some(_), None) => Err(Stop::Escalate("both sides deleted a file")),
                (Some(b), Some(o)) if b.is_tree() && o.is_tree() => {
                    self.same_change(Some(b.id), o.id, self.rules.len()).map(|_| ours)
                }
                (Some(b), Some(o)) if b.is_tree() != o.is_tree() => {
                    Err(Stop::Escalate("a file became a directory or the other way"))
                }
                _ => Ok(ours),
            };
        }
        if base == ours {
            return Ok(theirs);
        }
        if base == theirs {
            return Ok(ours);
        }
        let (Some(a), Some(b)) = (ours, theirs) else {
            return Err(Stop::Escalate("one side deleted what the other changed"));
        };
        let all_trees = a.is_tree() && b.is_tree() && base.is_none_or(|o| o.is_tree());
        if all_trees {
            let merged = self.trees(base.map(|o| o.id), a.id, b.id)?;
            return Ok(merged.map(|id| Entry { id, ..a }));
        }
        let Some(o) = base else {
            return Err(Stop::Escalate("both sides added the same path"));
        };
        if !o.is_regular() || o.mode != a.mode || o.mode != b.mode {
            return Err(Stop::Escalate("a mode or type changed beside other changes"));
        }
        if self.rules.iter().flatten().any(|rules| rules.may_concern(a.name)) {
            return Err(Stop::Escalate(BY_ATTRIBUTES));
        }
        Ok(Some(Entry { id: self.blobs(o.id, a.id, b.id)?, ..a }))
    }

    /// Both sides made the same change. Where that deleted a file, git may see a rename on one side
    /// and a deletion on the other.
    fn same_change(&self, base: Option<Oid>, both: Oid, depth: usize) -> Result<Oid, Stop> {
        let Some(base) = base.filter(|base| *base != both) else { return Ok(both) };
        if depth >= MAX_DEPTH {
            return Err(Stop::Escalate(TOO_DEEP));
        }
        let (before, after) = (self.odb.read(base)?, self.odb.read(both)?);
        let after = parse_tree(after.data())?;
        for old in parse_tree(before.data())? {
            match after.iter().find(|new| new.name == old.name) {
                Some(new) if new == &old => {}
                Some(new) if new.is_tree() && old.is_tree() => {
                    self.same_change(Some(old.id), new.id, depth + 1)?;
                }
                Some(new) if !new.is_tree() && !old.is_tree() => {}
                Some(_) | None => return Err(Stop::Escalate("both sides deleted a file")),
            }
        }
        Ok(both)
    }

    fn blobs(&mut self, base: Oid, ours: Oid, theirs: Oid) -> Result<Oid, Stop> {
        for id in [base, ours, theirs] {
            if self.odb.read_header(id)?.0 > MAX_BLOB {
                return Err(Stop::Escalate("a large file changed on both sides"));
            }
        }
        let (base, ours, theirs) = (self.odb.read(base)?, self.odb.read(ours)?, self.odb.read(theirs)?);
        let merged = merge_lines(base.data(), ours.data(), theirs.data()).map_err(Stop::Escalate)?;
        let blob = self.odb.write(ObjectType::Blob, &merged)?;
        self.written.push(blob);
        Ok(blob)
    }

    fn read_rules(&self, sides: &[Vec<Entry<'_>>; 3]) -> Result<Vec<MergeRules>, Stop> {
        let name: &[u8] = b".gitattributes";
        let mut rules = Vec::new();
        for side in &sides[1..] {
            if let Ok(found) = side.binary_search_by(|e| e.name.cmp(name))
                && side[found].is_regular()
            {
                rules.push(MergeRules::parse(self.odb.read(side[found].id)?.data()));
            }
        }
        Ok(rules)
    }
}

const TOO_DEEP: &str = "directories are nested too deep";
/// The one reason for which git has to be told where the attributes are.
pub(crate) const BY_ATTRIBUTES: &str = "`.gitattributes` choose how a file is merged";
