use std::sync::Once;

use git2::{ErrorCode, Odb, OdbObject, Oid, Repository};
use yardmaster_protocol::{CommitId, ObjectId, TreeId};

use crate::GitError;

static TRUSTING: Once = Once::new();

/// Reads objects without hashing each again, as git does: what comes into a mirror is hashed as it comes, and the
/// checksum in each object shows damage. Hashing takes longer than most that is done with an object.
pub(crate) fn trust_what_is_here() {
    TRUSTING.call_once(|| git2::opts::strict_hash_verification(false));
}

/// A directory's mode.
pub(crate) const TREE: u32 = 0o040_000;

/// One line of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) mode: u32,
    pub(crate) name: &'a [u8],
    pub(crate) id: Oid,
}

impl Entry<'_> {
    pub(crate) fn is_tree(&self) -> bool {
        self.mode == TREE
    }

    /// A file whose content can be merged line by line.
    pub(crate) fn is_regular(&self) -> bool {
        matches!(self.mode, 0o100_644 | 0o100_755)
    }

    /// Old repositories carry modes that git writes differently today.
    pub(crate) fn is_canonical(&self) -> bool {
        self.is_tree() || self.is_regular() || matches!(self.mode, 0o120_000 | 0o160_000)
    }
}

/// The lines of a raw tree object.
pub(crate) fn parse_tree(raw: &[u8]) -> Result<Vec<Entry<'_>>, GitError> {
    let mut entries = Vec::with_capacity(raw.len() / 36);
    let mut rest = raw;
    while !rest.is_empty() {
        let (entry, after) = parse_entry(rest).ok_or_else(is_cut)?;
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}

pub(crate) fn is_cut() -> GitError {
    GitError::Damaged("a tree is cut".into())
}

/// The lines of a tree by plain name, so that a file and a directory of one name meet; none has no lines.
pub(crate) fn read_lines<'a>(tree: Option<&'a OdbObject<'_>>) -> Result<Vec<Entry<'a>>, GitError> {
    let mut lines = parse_tree(tree.map_or(&[][..], |tree| tree.data()))?;
    lines.sort_by(|a, b| a.name.cmp(b.name));
    Ok(lines)
}

/// The first line of a raw tree and what comes after it; none where it is cut.
pub(crate) fn parse_entry(raw: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let space = raw.iter().position(|b| *b == b' ')?;
    let mode = u32::from_str_radix(std::str::from_utf8(&raw[..space]).ok()?, 8).ok()?;
    let rest = &raw[space + 1..];
    let nul = rest.iter().position(|b| *b == 0)?;
    let id = Oid::from_bytes(rest.get(nul + 1..nul + 21)?).ok()?;
    Some((Entry { mode, name: &rest[..nul], id }, &rest[nul + 21..]))
}

/// How many bytes the first line of a raw tree takes; none where it is cut.
pub(crate) fn entry_length(raw: &[u8]) -> Option<usize> {
    let length = raw.iter().position(|b| *b == 0)? + 21;
    (length <= raw.len()).then_some(length)
}

/// Writes a tree and gives its id.
pub(crate) fn write_tree(odb: &Odb<'_>, mut entries: Vec<Entry<'_>>) -> Result<Oid, GitError> {
    entries.sort_by(|a, b| sort_key(a).cmp(sort_key(b)));
    let mut raw = Vec::with_capacity(entries.iter().map(|e| e.name.len() + 28).sum());
    for entry in entries {
        raw.extend_from_slice(format!("{:o} ", entry.mode).as_bytes());
        raw.extend_from_slice(entry.name);
        raw.push(0);
        raw.extend_from_slice(entry.id.as_bytes());
    }
    Ok(odb.write(git2::ObjectType::Tree, &raw)?)
}

/// Git sorts a directory as if its name ended with a slash.
pub(crate) fn sort_key<'a>(entry: &Entry<'a>) -> impl Iterator<Item = &'a u8> + use<'a> {
    entry.name.iter().chain(if entry.is_tree() { b"/".iter() } else { b"".iter() })
}

pub(crate) fn oid(id: CommitId) -> Oid {
    raw_oid(id.0)
}

fn raw_oid(id: ObjectId) -> Oid {
    Oid::from_bytes(&id.0).unwrap_or_else(|_| unreachable!("20 bytes are an object id"))
}

pub(crate) fn commit_id(oid: Oid) -> CommitId {
    CommitId(object_id(oid))
}

pub(crate) fn tree_id(oid: Oid) -> TreeId {
    TreeId(object_id(oid))
}

fn object_id(oid: Oid) -> ObjectId {
    let bytes = oid.as_bytes().first_chunk::<20>();
    ObjectId(*bytes.unwrap_or_else(|| unreachable!("SHA-1 ids have 20 bytes")))
}

/// A commit of the mirror.
pub(crate) fn find_commit(repo: &Repository, id: CommitId) -> Result<git2::Commit<'_>, GitError> {
    repo.find_commit(oid(id)).map_err(|e| match e.code() {
        ErrorCode::NotFound => GitError::NoCommit(id),
        _ => e.into(),
    })
}

/// Whether `tip` contains `commit`; a commit that the mirror does not have is contained in nothing.
pub(crate) fn contains(repo: &Repository, tip: Oid, commit: Oid) -> Result<bool, GitError> {
    if tip == commit {
        return Ok(true);
    }
    if !repo.odb()?.exists(commit) {
        return Ok(false);
    }
    Ok(repo.graph_descendant_of(tip, commit)?)
}

/// Every best common ancestor; none for unrelated histories.
pub(crate) fn merge_bases(repo: &Repository, a: Oid, b: Oid) -> Result<Vec<Oid>, GitError> {
    match repo.merge_bases(a, b) {
        Ok(bases) => Ok(bases.iter().copied().collect()),
        Err(e) if e.code() == ErrorCode::NotFound => Ok(Vec::new()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Trees come from strangers: each is read as it stands, or is none.
        #[test]
        fn a_tree_is_read_as_it_stands_or_not_at_all(
            whole in proptest::collection::vec(("[1-7][0-7]{4,5}", "[^\\x00]{1,12}", [0_u8; 20].map(|_| proptest::prelude::any::<u8>())), 0..8),
            cut in 0_usize..400,
            noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        ) {
            let mut raw = Vec::new();
            for (mode, name, id) in &whole {
                raw.extend(format!("{mode} {name}\0").bytes());
                raw.extend(id);
            }
            let read = parse_tree(&raw).expect("a whole tree");
            assert_eq!(read.len(), whole.len());
            for (entry, (mode, name, id)) in read.iter().zip(&whole) {
                assert_eq!(format!("{:o}", entry.mode), *mode);
                assert_eq!((entry.name, entry.id.as_bytes()), (name.as_bytes(), &id[..]));
            }
            let shorter = parse_tree(raw.get(..cut).unwrap_or(&raw));
            assert!(shorter.is_err() || shorter.is_ok_and(|entries| entries.len() <= whole.len()));
            let _ = parse_tree(&noise);
        }
    }
}
