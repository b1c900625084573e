use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use git2::Repository;
use rustix::fs::{FlockOperation, flock};

use crate::GitError;
use crate::assemble::Merged;
use crate::durable::{remove_torn, replace_file};
use crate::environment::Environment;
use crate::git::Git;
use crate::guard::Landings;
use crate::history::History;
use crate::objects::trust_what_is_here;
use crate::options::GitOptions;
use crate::project::OwnersFile;
use crate::sweep::sweep;
use crate::worktree::mend_heads;

/// Idle handles on the repository beyond this many are closed.
const MAX_IDLE: usize = 8;

/// Our own bare copy of the remote, with the refs that keep announced work alive.
///
/// Can be shared by threads: every call takes a handle of its own on the repository.
#[derive(Debug)]
pub struct Mirror {
    pub(crate) git: Git,
    pub(crate) options: GitOptions,
    pub(crate) counters: Counters,
    pub(crate) landings: Landings,
    pub(crate) merged: Merged,
    /// Commits and their parents, as far as merges were looked at.
    pub(crate) history: Mutex<History>,
    pub(crate) owners: OwnersFile,
    /// Two fetches at once would fight for the lock of one ref.
    pub(crate) fetching: Mutex<()>,
    idle: Mutex<Vec<Idle>>,
    /// Held as long as the mirror is open, so that nobody else sweeps locks of ours.
    _alone: Option<File>,
}

struct Idle(Repository);

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Idle").field(&self.0.path()).finish()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) in_memory: AtomicU64,
    pub(crate) escalated: AtomicU64,
    pub(crate) checked: AtomicU64,
    pub(crate) disagreed: AtomicU64,
    pub(crate) sampled: AtomicU64,
}

/// Merges since the mirror was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MergeCounters {
    /// Worked out in memory.
    pub in_memory: u64,
    /// Left to `git merge-tree`, conflicts included.
    pub escalated: u64,
    /// Of those in memory, held against `git merge-tree`.
    pub checked: u64,
    /// Of those checked, how many git saw differently.
    pub disagreed: u64,
}

impl Mirror {
    /// Creates or opens the bare mirror at `dir` and remembers `remote`, a URL or a path. Removes
    /// stale locks when no other process has the mirror open.
    ///
    /// # Errors
    /// When git is missing or too old, or `dir` cannot be used.
    pub fn open(dir: &Path, remote: &str, options: GitOptions) -> Result<Mirror, GitError> {
        trust_what_is_here();
        fs::create_dir_all(dir).map_err(GitError::io(dir))?;
        let dir = dir.canonicalize().map_err(GitError::io(dir))?;
        let (remote, local) = resolve(remote)?;
        let trusted: Vec<&Path> = local.iter().map(PathBuf::as_path).chain([dir.as_path()]).collect();
        let environment = Environment::prepare(&dir, &trusted, &options)?;
        let git = Git {
            dir: dir.clone(),
            environment,
            net_timeout: options.net_timeout,
            variables: Vec::new(),
            synced: true,
        };
        check_version(&git)?;
        let alone = hold_alone(&dir)?;
        if alone.is_some() {
            sweep(&dir);
        }
        if !dir.join("HEAD").is_file() || !dir.join("objects").is_dir() {
            git.local_ok(&["init", "--quiet", "--bare", "--template=", "--object-format=sha1"])?;
        }
        configure(&dir, &remote)?;
        // Without a branch in it git takes the directory for no repository.
        if fs::read(dir.join("HEAD")).is_ok_and(|text| text.is_empty()) {
            replace_file(&dir.join("HEAD"), "ref: refs/heads/main\n")?;
        }
        let repo = Repository::open_bare(&dir)?;
        if alone.is_some() {
            remove_torn(&git)?;
            mend_heads(&repo);
        }
        Ok(Mirror {
            git,
            options,
            counters: Counters::default(),
            landings: Landings::default(),
            merged: Merged::default(),
            history: Mutex::new(History::new()),
            owners: OwnersFile::default(),
            fetching: Mutex::new(()),
            idle: Mutex::new(vec![Idle(repo)]),
            _alone: alone,
        })
    }

    /// Where the mirror is.
    pub fn path(&self) -> &Path {
        self.git.dir()
    }

    /// Merges that git saw differently; every one was reported as a conflict.
    pub fn disagreements(&self) -> u64 {
        self.counters.disagreed.load(Ordering::Relaxed)
    }

    /// How merges were worked out.
    pub fn merges(&self) -> MergeCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MergeCounters {
            in_memory: read(&self.counters.in_memory),
            escalated: read(&self.counters.escalated),
            checked: read(&self.counters.checked),
            disagreed: read(&self.counters.disagreed),
        }
    }

    /// Packs loose objects and writes the commit graph, so that the mirror stays quick. Nothing is ever
    /// pruned: candidates have no refs. For idle moments, about once in an hour.
    ///
    /// # Errors
    /// When the disk is full or git fails; the mirror stays usable.
    pub fn tidy(&self) -> Result<(), GitError> {
        self.git.local_ok(&["repack", "-d", "-l", "--geometric=2", "--quiet"])?;
        self.git.local_ok(&["commit-graph", "write", "--reachable", "--split", "--no-progress"])?;
        Ok(())
    }

    pub(crate) fn with_repository<T>(
        &self,
        work: impl FnOnce(&Repository) -> Result<T, GitError>,
    ) -> Result<T, GitError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let repo = match idle {
            Some(Idle(repo)) => repo,
            None => Repository::open_bare(self.path())?,
        };
        let result = work(&repo);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(Idle(repo));
        }
        drop(idle);
        result
    }
}

/// A remote that is a path becomes absolute: git runs in the mirror's directory.
fn resolve(remote: &str) -> Result<(String, Option<PathBuf>), GitError> {
    if remote.is_empty() || remote.starts_with('-') || remote.chars().any(char::is_control) {
        return Err(GitError::Refused(format!(
            "`{}` is no remote: give a URL or a path",
            remote.escape_debug()
        )));
    }
    if let Some(path) = remote.strip_prefix("file://") {
        return Ok((remote.to_owned(), Some(PathBuf::from(path))));
    }
    let path = Path::new(remote);
    if path.exists() {
        let path = path.canonicalize().map_err(GitError::io(path))?;
        return Ok((path.display().to_string(), Some(path)));
    }
    // Not there (yet): a relative path is still meant from where the daemon was started.
    let is_path = path.is_absolute() || remote.starts_with("./") || remote.starts_with("../");
    if is_path {
        let path = std::path::absolute(path).map_err(GitError::io(path))?;
        return Ok((path.display().to_string(), Some(path)));
    }
    Ok((remote.to_owned(), None))
}

/// The configuration is ours: it is written anew, whatever was there.
fn configure(dir: &Path, remote: &str) -> Result<(), GitError> {
    let url = remote.replace('\\', "\\\\").replace('"', "\\\"");
    let text = format!(
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n\tlogAllRefUpdates = false\n\
         [gc]\n\tauto = 0\n\tpruneExpire = never\n\tworktreePruneExpire = never\n[maintenance]\n\tauto = false\n\
         [remote \"origin\"]\n\turl = \"{url}\"\n"
    );
    let path = dir.join("config");
    if fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    replace_file(&path, &text)
}

/// None when another process has the mirror open; then its locks are left alone.
fn hold_alone(dir: &Path) -> Result<Option<File>, GitError> {
    let path = dir.join("yardmaster").join("open");
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(GitError::io(&path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(_) => Ok(None),
    }
}

fn check_version(git: &Git) -> Result<(), GitError> {
    let done = git.local_ok(&["version"])?;
    let text = String::from_utf8_lossy(&done.stdout);
    let number = text.trim().trim_start_matches("git version ");
    let mut parts = number.split('.').map(|p| p.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version < (2, 40) {
        return Err(GitError::OldGit { found: format!("git {number}") });
    }
    Ok(())
}
