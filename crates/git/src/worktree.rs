use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use git2::{Oid, Repository};
use yardmaster_protocol::CommitId;

use crate::durable::replace_file;
use crate::environment::Environment;
use crate::git::Git;
use crate::options::GitOptions;
use crate::standing::Standing;
use crate::stray::{empty, remove, unlock_directories};
use crate::switch::Difference;
use crate::{GitError, objects};

/// Marks the directories in the mirror that stand behind worktrees of ours.
const PREFIX: &str = "yardmaster-";
/// Only we write this index. What a gate does to the one that it sees cannot hide a changed file from us.
const INDEX: &str = "yardmaster-index";
/// Where a worktree is before its first checkout.
const NOTHING_YET: &str = "ref: refs/heads/yardmaster-nothing-yet\n";
/// So many checkouts by git in a row show that a look at the files is vain here;
const VAIN: u32 = 3;
/// then only one of so many is remembered for another look.
const RARELY: u32 = 16;

/// The standing checkout of one lane. One lane at a time uses it.
#[derive(Debug)]
pub struct Worktree {
    dir: PathBuf,
    git: Git,
    /// What the last checkout left, as long as nothing went wrong since.
    standing: Mutex<Option<Standing>>,
    /// Checkouts in a row that git had to do.
    by_git: AtomicU32,
}

impl Worktree {
    /// Opens the worktree at `dir`, or makes it; mends what a crash or a gate left. An empty or
    /// missing directory is taken; one with anything else in it is not.
    ///
    /// # Errors
    /// When `mirror_path` is no mirror, or `dir` holds what is not ours.
    pub fn open(mirror_path: &Path, dir: &Path) -> Result<Worktree, GitError> {
        let mirror = mirror_path.canonicalize().map_err(GitError::io(mirror_path))?;
        if !mirror.join("objects").is_dir() {
            return Err(GitError::Refused(format!("`{}` is no mirror: open it first", mirror.display())));
        }
        fs::create_dir_all(dir).map_err(GitError::io(dir))?;
        let dir = dir.canonicalize().map_err(GitError::io(dir))?;
        let gitdir = mirror.join("worktrees").join(name_of(&dir));
        if !gitdir.is_dir() && !is_empty(&dir)? && !was_ours(&dir) {
            return Err(GitError::Refused(format!(
                "`{}` is not empty and no worktree of ours: name an empty directory",
                dir.display()
            )));
        }
        let environment = Environment::of(&mirror, &GitOptions::default());
        let variables = vec![("GIT_WORK_TREE", dir.clone()), ("GIT_INDEX_FILE", gitdir.join(INDEX))];
        let net_timeout = Duration::from_secs(300);
        let git = Git { dir: gitdir, environment, net_timeout, variables, synced: false };
        let worktree = Worktree { dir, git, standing: Mutex::default(), by_git: AtomicU32::new(0) };
        worktree.link()?;
        worktree.remove_locks()?;
        Ok(worktree)
    }

    /// The root of the checkout.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the checkout exactly the tree of `commit`: tracked files as they are there, untracked
    /// files and nested repositories gone, ignored files kept. Writes only what differs. Where a look at the
    /// files shows that the gate has changed and left nothing, by ourselves; else by git.
    ///
    /// # Errors
    /// When the commit is not in the mirror, or files cannot be written.
    pub fn checkout(&self, commit: CommitId) -> Result<(), GitError> {
        // A HEAD that names what is not there would stop every fetch of the mirror.
        objects::find_commit(&Repository::open_bare(self.common_dir())?, commit)?;
        self.link()?;
        self.remove_locks()?;
        self.write(&self.git.dir().join("HEAD"), &format!("{commit}\n"))?;
        match self.switch(commit) {
            Ok(true) => return self.show_index(),
            Ok(false) => {}
            Err(error) => tracing::debug!(dir = %self.dir.display(), %error, "git checks it out"),
        }
        let first = match self.reset_and_clean(commit) {
            Ok(()) => {
                self.take_stock(commit);
                return self.show_index();
            }
            Err(error) => error,
        };
        tracing::warn!(dir = %self.dir.display(), error = %first, "checkout failed; directories are unlocked");
        unlock_directories(&self.dir);
        if self.reset_and_clean(commit).is_err() {
            tracing::warn!(dir = %self.dir.display(), "checkout failed again; it is made anew");
            empty(&self.dir).map_err(GitError::io(&self.dir))?;
            self.remove_locks()?;
            self.remove_own(INDEX)?;
            self.link()?;
            self.reset_and_clean(commit)?;
        }
        self.show_index()
    }

    /// From what stands to the tree of `commit`, without git. Not done: nothing is known of what stands, or it is
    /// not as it was left, or the trees differ in what only git should read.
    fn switch(&self, commit: CommitId) -> Result<bool, GitError> {
        // Taken out: what goes wrong from here on leaves nothing that could be trusted.
        let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut standing) = standing else { return Ok(false) };
        if self.common_dir().join("info").join("attributes").exists() || !standing.is_untouched(&self.dir) {
            return Ok(false);
        }
        let repo = Repository::open_bare(self.common_dir())?;
        let tree = objects::find_commit(&repo, commit)?.tree_id();
        let Some(difference) = Difference::between(&repo, standing.tree, tree)? else { return Ok(false) };
        difference.apply(&repo, &self.dir, &self.git.dir().join(INDEX), &mut standing)?;
        standing.tree = tree;
        if standing.settle(&self.dir).is_none() {
            return Ok(false);
        }
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = Some(standing);
        self.by_git.store(0, Ordering::Relaxed);
        Ok(true)
    }

    /// Remembers what git has just checked out. A gate that leaves something each time makes that vain, so then
    /// it is done rarely.
    fn take_stock(&self, commit: CommitId) {
        let times = self.by_git.fetch_add(1, Ordering::Relaxed);
        if times >= VAIN && !times.is_multiple_of(RARELY) {
            return;
        }
        let ignored = |paths: &BTreeSet<Vec<u8>>| self.ignored_among(paths);
        let standing = Repository::open_bare(self.common_dir()).ok().and_then(|repo| {
            let tree = objects::find_commit(&repo, commit).ok()?.tree_id();
            Standing::read(&self.dir, &repo, tree, ignored)
        });
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    fn ignored_among(&self, paths: &BTreeSet<Vec<u8>>) -> Option<BTreeSet<Vec<u8>>> {
        let asked = paths.iter().flat_map(|path| path.iter().copied().chain([0])).collect();
        let done = self.git.local(&["check-ignore", "-z", "--stdin"], Some(asked)).ok()?;
        if done.cut || !matches!(done.status?.code(), Some(0 | 1)) {
            return None;
        }
        let told = done.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty());
        Some(told.map(<[u8]>::to_vec).collect())
    }

    /// A link in the place of a directory with tracked files is removed: git would look at the files behind it,
    /// find them as they should be, and leave the checkout without them.
    fn unlink_replaced_directories(&self) {
        let Ok(index) = git2::Index::open(&self.git.dir().join(INDEX)) else { return };
        let mut dirs: BTreeSet<PathBuf> = BTreeSet::new();
        for entry in index.iter() {
            let path = Path::new(OsStr::from_bytes(&entry.path));
            for dir in path.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()) {
                if !dirs.insert(dir.to_owned()) {
                    break;
                }
            }
        }
        // The upper ones come first.
        for dir in dirs.iter().map(|dir| self.dir.join(dir)) {
            if fs::symlink_metadata(&dir).is_ok_and(|meta| meta.is_symlink()) {
                drop(fs::remove_file(&dir));
            }
        }
    }

    fn common_dir(&self) -> PathBuf {
        self.git.dir().join("../..")
    }

    fn reset_and_clean(&self, commit: CommitId) -> Result<(), GitError> {
        self.unlink_replaced_directories();
        self.git.local_ok(&["reset", "--quiet", "--hard", &commit.to_string()])?;
        self.git.local_ok(&["clean", "--quiet", "-d", "--force", "--force"])?;
        Ok(())
    }

    /// The links between the checkout and the mirror, written again where they differ.
    fn link(&self) -> Result<(), GitError> {
        let gitdir = self.git.dir();
        fs::create_dir_all(gitdir).map_err(GitError::io(gitdir))?;
        let dot_git = self.dir.join(".git");
        if dot_git.is_dir() {
            unlock_directories(&dot_git);
            remove(&dot_git).map_err(GitError::io(&dot_git))?;
        }
        self.write(&gitdir.join("commondir"), "../..\n")?;
        self.write(&gitdir.join("gitdir"), &format!("{}\n", dot_git.display()))?;
        self.write(&dot_git, &format!("gitdir: {}\n", gitdir.display()))?;
        if !gitdir.join("HEAD").is_file() {
            self.write(&gitdir.join("HEAD"), NOTHING_YET)?;
        }
        // Rules that a gate wrote for all worktrees would keep its strays from being removed.
        if let Some(common) = gitdir.parent().and_then(Path::parent) {
            let exclude = common.join("info").join("exclude");
            remove(&exclude).map_err(GitError::io(&exclude))?;
        }
        Ok(())
    }

    fn remove_locks(&self) -> Result<(), GitError> {
        for name in ["index.lock", "HEAD.lock", "ORIG_HEAD.lock", "config.worktree", "info"] {
            self.remove_own(name)?;
        }
        self.remove_own(&format!("{INDEX}.lock"))
    }

    fn remove_own(&self, name: &str) -> Result<(), GitError> {
        let path = self.git.dir().join(name);
        remove(&path).map_err(GitError::io(&path))
    }

    /// The index that git commands of a gate see.
    fn show_index(&self) -> Result<(), GitError> {
        let (own, shown) = (self.git.dir().join(INDEX), self.git.dir().join("index"));
        remove(&shown).map_err(GitError::io(&shown))?;
        fs::copy(&own, &shown).map_err(GitError::io(&shown))?;
        Ok(())
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), GitError> {
        if fs::symlink_metadata(path).is_ok_and(|m| m.is_file())
            && fs::read_to_string(path).is_ok_and(|old| old == text)
        {
            return Ok(());
        }
        let fresh = self.git.dir().join("fresh");
        fs::write(&fresh, text).map_err(GitError::io(&fresh))?;
        // The checkout may be on another file system, so a rename may have to be a copy.
        if fs::rename(&fresh, path).is_ok() {
            return Ok(());
        }
        remove(path).map_err(GitError::io(path))?;
        fs::copy(&fresh, path).map(drop).map_err(GitError::io(path))
    }
}

/// Worktrees of ours at a commit that is not there, as a gate or a power cut can leave them, are at nothing then:
/// git fetches nothing into a repository with such a one.
pub(crate) fn mend_heads(repo: &Repository) {
    for entry in fs::read_dir(repo.path().join("worktrees")).into_iter().flatten().flatten() {
        let head = entry.path().join("HEAD");
        let is_ours = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
        let text = fs::read_to_string(&head).unwrap_or_default();
        let is_there = |id: Oid| repo.find_commit(id).is_ok();
        if !is_ours || text == NOTHING_YET || Oid::from_str(text.trim_end()).is_ok_and(is_there) {
            continue;
        }
        match replace_file(&head, NOTHING_YET) {
            Ok(()) => tracing::info!(path = %head.display(), "a worktree was at a commit that is not there"),
            Err(error) => {
                tracing::warn!(path = %head.display(), %error, "cannot mend the HEAD of a worktree");
            }
        }
    }
}

/// Different for different paths, the same for the same path.
fn name_of(dir: &Path) -> String {
    let hash = dir.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{PREFIX}{hash:016x}")
}

fn is_empty(dir: &Path) -> Result<bool, GitError> {
    Ok(fs::read_dir(dir).map_err(GitError::io(dir))?.next().is_none())
}

/// The mirror may have been moved or made anew since.
fn was_ours(dir: &Path) -> bool {
    let dot_git = dir.join(".git");
    fs::symlink_metadata(&dot_git).is_ok_and(|m| m.is_file())
        && fs::read_to_string(&dot_git).is_ok_and(|text| text.contains(&format!("/worktrees/{PREFIX}")))
}
