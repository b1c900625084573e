use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use yardmaster_protocol::CommitId;

use crate::environment::Environment;
use crate::git::Git;
use crate::options::GitOptions;
use crate::stray::{empty, remove, unlock_directories};
use crate::{GitError, objects};

/// Marks the directories in the mirror that stand behind worktrees of ours.
const PREFIX: &str = "yardmaster-";
/// Only we write this index. What a gate does to the one that it sees cannot hide a changed file from us.
const INDEX: &str = "yardmaster-index";

/// The standing checkout of one lane. One lane at a time uses it.
#[derive(Debug)]
pub struct Worktree {
    dir: PathBuf,
    git: Git,
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
        let worktree = Worktree { dir, git };
        worktree.link()?;
        worktree.remove_locks()?;
        Ok(worktree)
    }

    /// The root of the checkout.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the checkout exactly the tree of `commit`: tracked files as they are there, untracked
    /// files and nested repositories gone, ignored files kept. Writes only what differs.
    ///
    /// # Errors
    /// When the commit is not in the mirror, or files cannot be written.
    pub fn checkout(&self, commit: CommitId) -> Result<(), GitError> {
        self.link()?;
        self.remove_locks()?;
        self.write(&self.git.dir().join("HEAD"), &format!("{commit}\n"))?;
        let first = match self.reset_and_clean(commit) {
            Ok(()) => return self.show_index(),
            Err(error) => error,
        };
        let repo = git2::Repository::open_bare(self.git.dir().join("../.."))?;
        objects::find_commit(&repo, commit)?;
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

    fn reset_and_clean(&self, commit: CommitId) -> Result<(), GitError> {
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
            self.write(&gitdir.join("HEAD"), "ref: refs/heads/yardmaster-nothing-yet\n")?;
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
