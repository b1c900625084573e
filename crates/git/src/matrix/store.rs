use std::ops::Range;
use std::sync::{Arc, OnceLock};

use git2::{Odb, Oid};

use crate::GitError;
use crate::attributes::MergeRules;
use crate::hunks::{MAX_BLOB, reach};
use crate::objects::{TREE, is_cut, parse_entry};
use crate::recent::Recent;

/// Trees that are kept, in bytes.
const TREES: usize = 24 * 1024 * 1024;
/// Hunks that are kept, in bytes.
const HUNKS: usize = 8 * 1024 * 1024;
/// Texts that were changed, which are kept because others change them too; in bytes.
const TEXTS: usize = 8 * 1024 * 1024;
/// Files of attributes that are kept.
const RULES: usize = 256;

/// One side's line of a tree, without its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) mode: u32,
    pub(super) id: Oid,
}

impl Slot {
    pub(super) fn is_tree(self) -> bool {
        self.mode == TREE
    }

    /// A file whose content can be merged line by line.
    pub(super) fn is_regular(self) -> bool {
        matches!(self.mode, 0o100_644 | 0o100_755)
    }
}

/// A tree as it was read.
#[derive(Debug, Default)]
pub(super) struct Listing {
    raw: Box<[u8]>,
    /// Where each line starts, by plain name; made when a line is looked up.
    index: OnceLock<Vec<usize>>,
}

impl Listing {
    /// In git's order.
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    pub(super) fn get(&self, name: &[u8]) -> Result<Option<Slot>, GitError> {
        let index = match self.index.get() {
            Some(index) => index,
            None => {
                let index = by_name(&self.raw)?;
                self.index.get_or_init(|| index)
            }
        };
        let entry = |start: &usize| parse_entry(&self.raw[*start..]).map(|(entry, _)| entry);
        let found =
            index.binary_search_by(|start| entry(start).map(|e| e.name).unwrap_or_default().cmp(name));
        let found = found.ok().and_then(|at| entry(&index[at]));
        Ok(found.map(|e| Slot { mode: e.mode, id: e.id }))
    }

    fn weight(&self) -> usize {
        // With its index.
        self.raw.len() + self.raw.len() / 4 + 128
    }
}

fn by_name(raw: &[u8]) -> Result<Vec<usize>, GitError> {
    let mut lines = Vec::with_capacity(raw.len() / 32);
    let mut rest = raw;
    while !rest.is_empty() {
        let start = raw.len() - rest.len();
        let (entry, after) = parse_entry(rest).ok_or_else(is_cut)?;
        lines.push((entry.name, start));
        rest = after;
    }
    lines.sort_unstable();
    Ok(lines.into_iter().map(|(_, start)| start).collect())
}

/// The bytes of the old text between which each hunk can lie; or why only git can say.
pub(super) type Hunks = Arc<Result<Vec<Range<u32>>, &'static str>>;

fn hunks_weight(hunks: &Hunks) -> usize {
    hunks.as_ref().as_ref().map_or(0, |ranges| ranges.len() * 8) + 96
}

/// What was read from the object database lately; nothing in it can become wrong.
pub(super) struct Store {
    trees: Recent<Oid, Arc<Listing>>,
    hunks: Recent<(Oid, Oid), Hunks>,
    texts: Recent<Oid, Arc<[u8]>>,
    rules: Recent<Oid, Arc<MergeRules>>,
}

impl Store {
    pub(super) fn new() -> Store {
        Store {
            trees: Recent::new(TREES),
            hunks: Recent::new(HUNKS),
            texts: Recent::new(TEXTS),
            rules: Recent::new(RULES),
        }
    }

    /// The lines of a tree; of none, none.
    pub(super) fn listing(&mut self, odb: &Odb<'_>, tree: Option<Oid>) -> Result<Arc<Listing>, GitError> {
        let Some(tree) = tree else { return Ok(Arc::default()) };
        if let Some(known) = self.trees.get(tree, |l| l.weight()) {
            return Ok(known);
        }
        let listing = Arc::new(Listing { raw: odb.read(tree)?.data().into(), index: OnceLock::new() });
        self.trees.put(tree, Arc::clone(&listing), listing.weight());
        Ok(listing)
    }

    /// Where one text was changed into another.
    pub(super) fn hunks(&mut self, odb: &Odb<'_>, old: Oid, new: Oid) -> Result<Hunks, GitError> {
        if let Some(known) = self.hunks.get((old, new), hunks_weight) {
            return Ok(known);
        }
        let hunks: Hunks = Arc::new(match self.text(odb, old)? {
            Some(before) if odb.read_header(new)?.0 <= MAX_BLOB => reach(&before, odb.read(new)?.data()),
            _ => Err("a large file changed on both sides"),
        });
        self.hunks.put((old, new), Arc::clone(&hunks), hunks_weight(&hunks));
        Ok(hunks)
    }

    /// What a file said before; none where it is large.
    fn text(&mut self, odb: &Odb<'_>, id: Oid) -> Result<Option<Arc<[u8]>>, GitError> {
        if let Some(known) = self.texts.get(id, |text| text.len()) {
            return Ok(Some(known));
        }
        if odb.read_header(id)?.0 > MAX_BLOB {
            return Ok(None);
        }
        let text: Arc<[u8]> = odb.read(id)?.data().into();
        self.texts.put(id, Arc::clone(&text), text.len());
        Ok(Some(text))
    }

    /// What the `.gitattributes` of one directory say about merging.
    pub(super) fn rules(
        &mut self,
        odb: &Odb<'_>,
        tree: Option<Oid>,
    ) -> Result<Option<Arc<MergeRules>>, GitError> {
        let slot = self.listing(odb, tree)?.get(b".gitattributes")?;
        let Some(slot) = slot.filter(|slot| slot.is_regular()) else { return Ok(None) };
        if let Some(known) = self.rules.get(slot.id, |_| 1) {
            return Ok(Some(known));
        }
        let rules = Arc::new(MergeRules::parse(odb.read(slot.id)?.data()));
        self.rules.put(slot.id, Arc::clone(&rules), 1);
        Ok(Some(rules))
    }
}
