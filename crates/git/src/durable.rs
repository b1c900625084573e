use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use git2::{Odb, Oid, Repository};

use crate::GitError;
use crate::git::Git;
use crate::objects::parse_tree;

/// What `git` syncs when it writes to the mirror. By default it does so for packs only, and a head that
/// was taken into custody could be gone after a power cut. Refs are not worth a sync each: the journal knows
/// what they pointed to.
pub(crate) const SYNCED: [&str; 2] = ["core.fsync=objects,derived-metadata", "core.fsyncMethod=batch"];
/// The smallest that a file system has.
const BLOCK_BYTES: u64 = 512;
const MAX_DEPTH: usize = 64;
/// Files that are synced at the same time.
const SYNCED_AT_ONCE: usize = 8;

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

/// Brings objects onto the disk that were written by libgit2: it leaves that to the kernel, but the journal will
/// count on them. Several threads, because the file system brings what they ask for at the same time onto the disk
/// at once.
pub(crate) fn sync_all(repo: &Repository, mut objects: Vec<Oid>) -> Result<(), GitError> {
    objects.sort_unstable();
    objects.dedup();
    let mirror = repo.path();
    let sync = |some: &[Oid]| some.iter().try_for_each(|object| sync_loose(mirror, *object));
    let each = objects.len().div_ceil(SYNCED_AT_ONCE).max(1);
    std::thread::scope(|scope| {
        let mut shares = objects.chunks(each);
        let own = shares.next();
        let others: Vec<_> = shares.map(|share| scope.spawn(move || sync(share))).collect();
        let first = own.map_or(Ok(()), sync);
        let done = |other: std::thread::ScopedJoinHandle<'_, _>| {
            other.join().unwrap_or_else(|_| Err(GitError::Damaged("a thread that syncs objects died".into())))
        };
        others.into_iter().map(done).fold(first, Result::and)
    })
}

/// What is in `tree` and not at the same place in `other`.
pub(crate) fn collect(
    odb: &Odb<'_>,
    tree: Oid,
    other: Option<Oid>,
    new: &mut Vec<Oid>,
) -> Result<(), GitError> {
    let mut open = vec![(tree, other)];
    while let Some((tree, other)) = open.pop() {
        if Some(tree) == other {
            continue;
        }
        new.push(tree);
        let (raw, beside) = (odb.read(tree)?, other.map(|other| odb.read(other)).transpose()?);
        let beside = parse_tree(beside.as_ref().map_or(&[][..], |tree| tree.data()))?;
        for entry in parse_tree(raw.data())? {
            let at = beside.iter().find(|e| e.name == entry.name && e.is_tree() == entry.is_tree());
            match at {
                Some(at) if at.id == entry.id => {}
                _ if entry.is_tree() => open.push((entry.id, at.map(|at| at.id))),
                _ => new.push(entry.id),
            }
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
pub(crate) fn remove_torn(git: &Git) -> Result<(), GitError> {
    remove_torn_refs(&git.dir().join("refs"), MAX_DEPTH);
    for (id, path) in loose_objects(git.dir()) {
        let is_torn = match fs::metadata(&path).map_err(GitError::io(&path))?.len() {
            0 => true,
            // A file is cut where a block ends. Not by libgit2: it reads what is cut for ever.
            bytes if bytes % BLOCK_BYTES == 0 => {
                let read = git.local(&["cat-file", "--batch"], Some(format!("{id}\n").into_bytes()))?;
                !read.status.is_some_and(|s| s.success())
            }
            _ => false,
        };
        if is_torn {
            remove(&path);
        }
    }
    Ok(())
}

fn loose_objects(mirror: &Path) -> Vec<(Oid, PathBuf)> {
    let dirs = fs::read_dir(mirror.join("objects")).into_iter().flatten().flatten();
    let files = dirs.filter(|dir| dir.file_name().len() == 2).flat_map(|dir| {
        let start = dir.file_name().to_string_lossy().into_owned();
        let files = fs::read_dir(dir.path()).into_iter().flatten().flatten();
        files.map(move |file| (start.clone() + &file.file_name().to_string_lossy(), file))
    });
    let object = |(id, file): (String, fs::DirEntry)| {
        Some((Oid::from_str(&id).ok().filter(|_| id.len() == 40)?, file.path()))
    };
    files.filter_map(object).collect()
}

fn remove_torn_refs(dir: &Path, depth: usize) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => remove_torn_refs(&path, depth - 1),
            Ok(kind) if kind.is_file() && fs::read_to_string(&path).is_ok_and(|text| !is_ref(&text)) => {
                remove(&path);
            }
            _ => {}
        }
    }
}

fn is_ref(text: &str) -> bool {
    let text = text.trim_end();
    text.starts_with("ref: ") || (text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => tracing::warn!(path = %path.display(), "removed a file that a power cut tore"),
        Err(error) => tracing::warn!(path = %path.display(), %error, "cannot remove a torn file"),
    }
}
