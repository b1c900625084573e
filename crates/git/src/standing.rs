use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use git2::{Oid, Repository};

/// Trees with more files are brought up to date by git alone.
const MOST_FILES: usize = 1_000_000;
const MOST_UNTRACKED: usize = 10_000;
const MAX_DEPTH: usize = 512;
/// The longest wait for the clock of the file system to go on.
const CLOCK_LIMIT: Duration = Duration::from_secs(1);
/// Attributes by which a file differs from its blob, and lines beyond a simple reading.
const CONVERTING: [&[u8]; 5] = [b"crlf", b"ident", b"filter", b"working-tree-encoding", b"[attr]"];

/// What stands in a checkout: every tracked file as it was when git or we had written it, and what git
/// ignores. A gate cannot change a file without changing its stamp.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) tree: Oid,
    /// The tracked files by their directory, both as git names them.
    pub(crate) dirs: HashMap<Vec<u8>, Dir>,
    /// Paths that no tree has and git ignores, and whether they are directories.
    ignored: HashMap<Vec<u8>, bool>,
    files: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Dir {
    pub(crate) files: HashMap<OsString, Stamp>,
    /// Directories with tracked files below.
    dirs: HashSet<OsString>,
}

/// Changes with every write, chmod or replacement; the time of the last change cannot be set by anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    dev: u64,
    ino: u64,
    mode: u32,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(meta: &Metadata) -> Stamp {
        Stamp {
            dev: meta.dev(),
            ino: meta.ino(),
            mode: meta.mode(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

impl Standing {
    /// Takes in what stands at `root`, which git has just made exactly `tree`. None where it cannot be told
    /// from files alone when something has changed. `is_ignored` says which of some paths git ignores.
    pub(crate) fn read(
        root: &Path,
        repo: &Repository,
        tree: Oid,
        is_ignored: impl Fn(&BTreeSet<Vec<u8>>) -> Option<BTreeSet<Vec<u8>>>,
    ) -> Option<Standing> {
        let mut standing = Standing { tree, dirs: HashMap::new(), ignored: HashMap::new(), files: 0 };
        standing.dirs.insert(Vec::new(), Dir::default());
        standing.list(repo, tree, &[], 0)?;
        standing.stamp(root, is_ignored)?;
        standing.settle(root)?;
        Some(standing)
    }

    /// The files of a tree, without their stamps.
    fn list(&mut self, repo: &Repository, tree: Oid, path: &[u8], depth: usize) -> Option<()> {
        let nobody = Stamp { dev: 0, ino: 0, mode: 0, size: 0, modified: (0, 0), changed: (0, 0) };
        let tree = repo.find_tree(tree).ok().filter(|_| depth < MAX_DEPTH)?;
        for entry in &tree {
            let name = OsStr::from_bytes(entry.name_bytes()).to_owned();
            let below = joined(path, entry.name_bytes());
            match entry.filemode() {
                0o040_000 => {
                    self.dirs.get_mut(path)?.dirs.insert(name);
                    self.dirs.insert(below.clone(), Dir::default());
                    self.list(repo, entry.id(), &below, depth + 1)?;
                }
                0o100_644 | 0o100_755 | 0o120_000 => {
                    if entry.name_bytes() == b".gitattributes" && converts(repo, entry.id()) {
                        return None;
                    }
                    self.files += 1;
                    self.dirs.get_mut(path)?.files.insert(name, nobody);
                }
                _ => return None,
            }
        }
        (self.files <= MOST_FILES).then_some(())
    }

    /// Stamps what is there, and asks git about the rest.
    fn stamp(
        &mut self,
        root: &Path,
        is_ignored: impl Fn(&BTreeSet<Vec<u8>>) -> Option<BTreeSet<Vec<u8>>>,
    ) -> Option<()> {
        let mut stamped = 0;
        let mut unknown: Vec<(Vec<u8>, bool)> = Vec::new();
        let paths: Vec<Vec<u8>> = self.dirs.keys().cloned().collect();
        for path in paths {
            let dir = self.dirs.get_mut(&path)?;
            for entry in fs::read_dir(root.join(OsStr::from_bytes(&path))).ok()? {
                let entry = entry.ok()?;
                let (name, meta) = (entry.file_name(), entry.metadata().ok()?);
                if path.is_empty() && name == ".git" {
                    continue;
                }
                if let Some(stamp) = dir.files.get_mut(&name) {
                    *stamp = Stamp::of(&meta);
                    stamped += 1;
                } else if dir.dirs.contains(&name) {
                    meta.is_dir().then_some(())?;
                } else {
                    unknown.push((joined(&path, name.as_bytes()), meta.is_dir()));
                }
            }
        }
        if stamped != self.files {
            return None;
        }
        if unknown.len() > MOST_UNTRACKED {
            return None;
        }
        let asked: BTreeSet<Vec<u8>> = unknown.iter().map(|(path, _)| path.clone()).collect();
        // What is not ignored itself may have something ignored below, which a look does not tell from new files.
        if !asked.is_empty() && is_ignored(&asked)? != asked {
            return None;
        }
        self.ignored = unknown.into_iter().collect();
        Some(())
    }

    /// Waits until whatever is changed from now on gets a later time than all that is known.
    pub(crate) fn settle(&self, root: &Path) -> Option<()> {
        let stamps = self.dirs.values().flat_map(|dir| dir.files.values());
        let latest = stamps.map(|stamp| stamp.changed).max();
        let probe = root.parent()?.join("clock");
        let until = Instant::now() + CLOCK_LIMIT;
        loop {
            fs::write(&probe, b"").ok()?;
            let meta = fs::symlink_metadata(&probe).ok()?;
            if meta.dev() != fs::symlink_metadata(root).ok()?.dev() {
                return None;
            }
            if latest.is_none_or(|latest| (meta.ctime(), meta.ctime_nsec()) > latest) {
                return Some(());
            }
            if Instant::now() > until {
                return None;
            }
            sleep(Duration::from_micros(500));
        }
    }

    /// Whether everything stands as it was left, with nothing new but what is below something ignored.
    pub(crate) fn is_untouched(&self, root: &Path) -> bool {
        let mut seen = 0;
        let same =
            self.dirs.iter().all(|(path, dir)| self.is_dir_untouched(&at(root, path), path, dir, &mut seen));
        same && seen == self.files
    }

    fn is_dir_untouched(&self, at: &Path, path: &[u8], dir: &Dir, seen: &mut usize) -> bool {
        let Ok(entries) = fs::read_dir(at) else { return false };
        let mut below = 0;
        for entry in entries {
            let Ok(entry) = entry else { return false };
            let (name, Ok(kind)) = (entry.file_name(), entry.file_type()) else { return false };
            if path.is_empty() && name == ".git" {
                continue;
            }
            if let Some(stamp) = dir.files.get(&name) {
                if !entry.metadata().is_ok_and(|meta| Stamp::of(&meta) == *stamp) {
                    return false;
                }
                *seen += 1;
            } else if dir.dirs.contains(&name) {
                if !kind.is_dir() {
                    return false;
                }
                below += 1;
            } else if self.ignored.get(&joined(path, name.as_bytes())) != Some(&kind.is_dir()) {
                return false;
            }
        }
        below == dir.dirs.len()
    }

    /// Takes a file that was removed out; directories without tracked files go with it.
    pub(crate) fn forget(&mut self, path: &[u8]) -> Option<()> {
        let (mut parent, mut name) = split(path);
        self.dirs.get_mut(parent)?.files.remove(OsStr::from_bytes(name))?;
        self.files -= 1;
        while self.dirs.get(parent).is_some_and(|dir| dir.files.is_empty() && dir.dirs.is_empty()) {
            if parent.is_empty() {
                break;
            }
            self.dirs.remove(parent);
            (parent, name) = split(parent);
            self.dirs.get_mut(parent)?.dirs.remove(OsStr::from_bytes(name));
        }
        Some(())
    }

    /// Takes a file in that was written.
    pub(crate) fn remember(&mut self, path: &[u8], stamp: Stamp) {
        self.ignored.remove(path);
        let (mut parent, mut name) = split(path);
        let files = &mut self.dirs.entry(parent.to_vec()).or_default().files;
        if files.insert(OsStr::from_bytes(name).to_owned(), stamp).is_none() {
            self.files += 1;
        }
        while !parent.is_empty() {
            (parent, name) = split(parent);
            let dir = self.dirs.entry(parent.to_vec()).or_default();
            if !dir.dirs.insert(OsStr::from_bytes(name).to_owned()) {
                break;
            }
        }
    }
}

fn converts(repo: &Repository, id: Oid) -> bool {
    let Ok(blob) = repo.find_blob(id) else { return true };
    let has = |word: &&[u8]| blob.content().windows(word.len()).any(|part| part == *word);
    CONVERTING.iter().any(has)
}

pub(crate) fn joined(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

/// The directory and the name in it.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

pub(crate) fn at(root: &Path, path: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(path))
}
