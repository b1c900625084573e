use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use git2::{Odb, Oid, Repository};
use yardmaster_protocol::{Assembled, Assembly};

use crate::GitError;
use crate::objects::{Entry, find_commit, parse_tree};

/// What `git` syncs when it writes to the mirror. By default it does so for packs only, and a head that
/// was taken into custody could be gone after a power cut, or be an empty file.
pub(crate) const SYNCED: [&str; 2] =
    ["core.fsync=objects,derived-metadata,reference", "core.fsyncMethod=batch"];

/// Replaces a file in such a way that a power cut leaves the old one or the new one.
pub(crate) fn replace_file(path: &Path, text: &str) -> Result<(), GitError> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(format!(".{}", std::process::id()));
    let fresh = PathBuf::from(fresh);
    let written = File::create(&fresh).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(GitError::io(&fresh))?;
    fs::rename(&fresh, path).map_err(GitError::io(path))
}

/// Brings what was assembled onto the disk: libgit2 leaves that to the kernel, but the journal will count
/// on it.
pub(crate) fn sync_stack(repo: &Repository, stack: &[Assembled]) -> Result<(), GitError> {
    let odb = repo.odb()?;
    let mut new = BTreeSet::new();
    for assembled in stack {
        let Assembly::Clean { commit, .. } = &assembled.assembly else { continue };
        if *commit == assembled.base {
            continue;
        }
        let commit = find_commit(repo, *commit)?;
        let parents: Vec<Oid> = commit.parents().map(|parent| parent.tree_id()).collect();
        collect(&odb, commit.tree_id(), &parents, &mut new)?;
        new.insert(commit.id());
    }
    new.into_iter().try_for_each(|object| sync_loose(repo.path(), object))
}

/// What is in a tree and in none of the others at the same place.
fn collect(odb: &Odb<'_>, tree: Oid, others: &[Oid], new: &mut BTreeSet<Oid>) -> Result<(), GitError> {
    if others.contains(&tree) || !new.insert(tree) {
        return Ok(());
    }
    let raw: Vec<_> = others.iter().map(|other| odb.read(*other)).collect::<Result<_, _>>()?;
    let others: Vec<Vec<Entry<'_>>> =
        raw.iter().map(|object| parse_tree(object.data())).collect::<Result<_, _>>()?;
    let read = odb.read(tree)?;
    for entry in parse_tree(read.data())? {
        let at: Vec<&Entry<'_>> =
            others.iter().filter_map(|other| other.iter().find(|e| e.name == entry.name)).collect();
        if at.iter().any(|other| other.id == entry.id) {
            continue;
        }
        if entry.is_tree() {
            let at: Vec<Oid> = at.iter().filter(|e| e.is_tree()).map(|e| e.id).collect();
            collect(odb, entry.id, &at, new)?;
        } else {
            new.insert(entry.id);
        }
    }
    Ok(())
}

/// Packs were synced when they were written, and of other repositories' commits there is no object here.
fn sync_loose(mirror: &Path, object: Oid) -> Result<(), GitError> {
    let path = loose_path(mirror, object);
    match File::open(&path) {
        Ok(file) => file.sync_all().map_err(GitError::io(&path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(GitError::io(&path)(error)),
    }
}

fn loose_path(mirror: &Path, object: Oid) -> PathBuf {
    let id = object.to_string();
    let (dir, name) = id.split_at(2);
    mirror.join("objects").join(dir).join(name)
}

/// Takes away what a power cut left of files that nobody counted on: an object that is there but cannot be
/// read would never be written again, and a ref without content stops every fetch.
///
/// Only for whoever holds the mirror alone.
pub(crate) fn remove_torn(mirror: &Path) {
    let dirs = fs::read_dir(mirror.join("objects")).into_iter().flatten().flatten();
    for dir in dirs.filter(|d| d.file_name().len() == 2) {
        for object in fs::read_dir(dir.path()).into_iter().flatten().flatten() {
            remove_if_empty(&object.path());
        }
    }
    remove_empty_below(&mirror.join("refs"), 64);
}

fn remove_empty_below(dir: &Path, depth: usize) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => remove_empty_below(&path, depth - 1),
            Ok(kind) if kind.is_file() => remove_if_empty(&path),
            _ => {}
        }
    }
}

fn remove_if_empty(path: &Path) {
    if !fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() == 0) {
        return;
    }
    match fs::remove_file(path) {
        Ok(()) => tracing::warn!(path = %path.display(), "removed an empty file that a power cut left"),
        Err(error) => tracing::warn!(path = %path.display(), %error, "cannot remove an empty file"),
    }
}
