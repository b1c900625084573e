use std::collections::{BTreeSet, HashSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, symlink};
use std::path::Path;

use git2::{Index, IndexEntry, IndexTime, Oid, Repository};

use crate::GitError;
use crate::standing::{Stamp, Standing, at, split};

/// Larger files are written by git, piece by piece.
const MAX_BLOB: usize = 64 << 20;
const LINK: u32 = 0o120_000;

/// What has to be written and removed to get from one tree to another.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    removed: BTreeSet<Vec<u8>>,
    written: Vec<(Vec<u8>, u32, Oid)>,
}

impl Difference {
    /// None where the two differ in more than plain files and links, or in what says how files are to be read.
    pub(crate) fn between(repo: &Repository, from: Oid, to: Oid) -> Result<Option<Difference>, GitError> {
        let (from, to) = (repo.find_tree(from)?, repo.find_tree(to)?);
        let diff = repo.diff_tree_to_tree(Some(&from), Some(&to), None)?;
        let mut difference = Difference::default();
        for delta in diff.deltas() {
            let (old, new) = (delta.old_file(), delta.new_file());
            if let Some(path) = old.path_bytes().filter(|_| old.exists()) {
                difference.removed.insert(path.to_vec());
            }
            if let Some(path) = new.path_bytes().filter(|_| new.exists()) {
                let mode = u32::from(new.mode());
                if !is_plain(path, mode) {
                    return Ok(None);
                }
                difference.written.push((path.to_vec(), mode, new.id()));
            }
        }
        if difference.removed.iter().any(|path| !is_plain(path, 0o100_644)) {
            return Ok(None);
        }
        for (path, ..) in &difference.written {
            difference.removed.remove(path);
        }
        Ok(Some(difference))
    }

    /// Writes it below `root` and into the index, and takes it into what stands.
    pub(crate) fn apply(
        &self,
        repo: &Repository,
        root: &Path,
        index: &Path,
        standing: &mut Standing,
    ) -> Result<(), GitError> {
        if self.removed.is_empty() && self.written.is_empty() {
            return Ok(());
        }
        let mut index = Index::open(index)?;
        for path in &self.removed {
            remove(root, path).map_err(GitError::io(&at(root, path)))?;
            index.remove(Path::new(std::ffi::OsStr::from_bytes(path)), 0)?;
            standing.forget(path).ok_or_else(|| strange(path))?;
        }
        let mut made = HashSet::new();
        for (path, mode, id) in &self.written {
            let blob = repo.find_blob(*id)?;
            if blob.size() > MAX_BLOB {
                return Err(strange(path));
            }
            let file = at(root, path);
            let written = parents(root, path, &mut made).and_then(|()| write(&file, *mode, blob.content()));
            let meta = written.and_then(|()| fs::symlink_metadata(&file)).map_err(GitError::io(&file))?;
            index.add(&entry(path, *mode, *id, &meta))?;
            standing.remember(path, Stamp::of(&meta));
        }
        index.write()?;
        Ok(())
    }
}

fn strange(path: &[u8]) -> GitError {
    GitError::Refused(format!("`{}` is left to git", String::from_utf8_lossy(path)))
}

/// Whether it is a file or a link that says nothing about others, with a name that git takes.
fn is_plain(path: &[u8], mode: u32) -> bool {
    let fits = |part: &[u8]| {
        let is_of_git = part.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b".git"));
        let says_how = matches!(part, b".gitattributes" | b".gitignore");
        let is_harmless = matches!(part, b".github" | b".gitlab-ci.yml" | b".gitkeep") && mode != LINK;
        !matches!(part, b"" | b"." | b"..") && !says_how && (!is_of_git || is_harmless)
    };
    matches!(mode, 0o100_644 | 0o100_755 | LINK) && path.split(|byte| *byte == b'/').all(fits)
}

/// Removes a file and the directories that are empty then.
fn remove(root: &Path, path: &[u8]) -> io::Result<()> {
    fs::remove_file(at(root, path))?;
    let mut parent = split(path).0;
    while !parent.is_empty() && fs::remove_dir(at(root, parent)).is_ok() {
        parent = split(parent).0;
    }
    Ok(())
}

/// Makes the directories above a file; never goes through a link.
fn parents(root: &Path, path: &[u8], made: &mut HashSet<Vec<u8>>) -> io::Result<()> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
    for end in ends {
        if !made.insert(path[..end].to_vec()) {
            continue;
        }
        let dir = at(root, &path[..end]);
        match fs::symlink_metadata(&dir) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Err(io::Error::other("something else is in the place of a directory")),
            Err(why) if why.kind() == io::ErrorKind::NotFound => fs::create_dir(&dir)?,
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

fn write(file: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    if mode == LINK {
        return symlink(std::ffi::OsStr::from_bytes(content), file);
    }
    let permissions = if mode & 0o100 == 0 { 0o666 } else { 0o777 };
    OpenOptions::new().write(true).create_new(true).mode(permissions).open(file)?.write_all(content)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index has the lower 32 bits")]
fn entry(path: &[u8], mode: u32, id: Oid, meta: &fs::Metadata) -> IndexEntry {
    let time = |seconds: i64, nanos: i64| IndexTime::new(seconds as i32, nanos as u32);
    IndexEntry {
        ctime: time(meta.ctime(), meta.ctime_nsec()),
        mtime: time(meta.mtime(), meta.mtime_nsec()),
        dev: meta.dev() as u32,
        ino: meta.ino() as u32,
        mode,
        uid: meta.uid(),
        gid: meta.gid(),
        file_size: meta.size() as u32,
        id,
        flags: 0,
        flags_extended: 0,
        path: path.to_vec(),
    }
}
