use std::collections::hash_map::RandomState;
use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::ServeError;

/// Everything of ours on disk, held by one process.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    /// Held until the process ends.
    _lock: File,
}

/// Where state goes by default: `$XDG_STATE_HOME/yardmaster`, else `~/.local/state/yardmaster`.
pub fn state_home() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(|| PathBuf::from("."))
        .join("yardmaster")
}

/// The URL of the embedded server that was started last by this user, if one was.
pub fn known_url() -> Option<String> {
    let text = fs::read_to_string(state_home().join("nats-url")).ok()?;
    Some(text.trim().to_owned()).filter(|url| !url.is_empty())
}

impl StateDir {
    /// Makes and locks the directory; `chosen`, or one named after the remote.
    pub(crate) fn open(chosen: Option<&Path>, remote: &str, name: &str) -> Result<StateDir, ServeError> {
        let path = chosen.map_or_else(|| state_home().join(slug(remote, name)), Path::to_path_buf);
        let refused = |e: std::io::Error| ServeError::StateDir { path: path.clone(), why: e.to_string() };
        fs::create_dir_all(&path).map_err(refused)?;
        let path = path.canonicalize().map_err(refused)?;
        let lock = File::create(path.join("lock")).map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ServeError::InUse { path }),
            Err(TryLockError::Error(e)) => return Err(refused(e)),
        }
        let dir = StateDir { path, _lock: lock };
        match fs::read_to_string(dir.claim()) {
            // Empty: a power cut came before it was on the disk.
            Ok(found) if !found.is_empty() && found != remote => {
                Err(ServeError::OtherRemote { path: dir.path, found, wanted: remote.to_owned() })
            }
            Ok(_) | Err(_) => Ok(dir),
        }
    }

    /// Who we are to other daemons: the same after every restart on this directory of this machine.
    pub(crate) fn identity(&self) -> Result<String, ServeError> {
        let file = self.path.join("id");
        let known = fs::read_to_string(&file).unwrap_or_default();
        let id = if known.trim().is_empty() {
            let id = format!("{:016x}", RandomState::new().build_hasher().finish());
            let refused =
                |e: std::io::Error| ServeError::StateDir { path: self.path.clone(), why: e.to_string() };
            fs::write(&file, &id).map_err(refused)?;
            id
        } else {
            known.trim().to_owned()
        };
        Ok(format!("{}:{}:{id}", crate::standby::host(), self.path.display()))
    }

    fn claim(&self) -> PathBuf {
        self.path.join("remote")
    }

    /// From now on the directory is for `remote` alone. To be called once the remote has answered: a
    /// mistyped one must not keep the right one out.
    pub(crate) fn claim_for(&self, remote: &str) -> Result<(), ServeError> {
        let refused =
            |e: std::io::Error| ServeError::StateDir { path: self.path.clone(), why: e.to_string() };
        if fs::read_to_string(self.claim()).is_ok_and(|found| found == remote) {
            return Ok(());
        }
        let fresh = self.path.join("remote.fresh");
        let written = File::create(&fresh).and_then(|mut file| {
            file.write_all(remote.as_bytes())?;
            file.sync_all()
        });
        written.and_then(|()| fs::rename(&fresh, self.claim())).map_err(refused)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn mirror(&self) -> PathBuf {
        self.path.join("mirror.git")
    }

    /// Logs on their way from runners elsewhere; on the same disk as those that are here.
    pub(crate) fn log_arrivals(&self) -> PathBuf {
        self.path.join("log-arrivals")
    }

    /// Packs on their way to runners elsewhere.
    pub(crate) fn packs(&self) -> PathBuf {
        self.path.join("packs")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    pub(crate) fn lanes(&self) -> PathBuf {
        self.path.join("lanes")
    }

    pub(crate) fn lane(&self, number: u32) -> PathBuf {
        self.lanes().join(number.to_string())
    }

    pub(crate) fn nats(&self) -> PathBuf {
        self.path.join("nats")
    }

    /// Tells the commands of this user where the embedded server is.
    pub(crate) fn publish_url(&self, url: &str) {
        let home = state_home();
        let written = fs::create_dir_all(&home)
            .and_then(|()| fs::write(home.join("nats-url"), url))
            .and_then(|()| fs::write(self.path.join("nats-url"), url));
        if let Err(why) = written {
            tracing::warn!(%why, "the server's address could not be written down: commands need --nats-url {url}");
        }
    }

    /// Takes the address back, if it is still ours.
    pub(crate) fn retract_url(&self, url: &str) {
        let file = state_home().join("nats-url");
        if fs::read_to_string(&file).is_ok_and(|text| text.trim() == url) {
            let _ = fs::remove_file(file);
        }
        let _ = fs::remove_file(self.path.join("nats-url"));
    }
}

/// A readable directory name that differs where remotes differ.
fn slug(remote: &str, name: &str) -> String {
    let last = remote.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
    let last = last.trim_end_matches(".git");
    let plain: String =
        last.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(40).collect();
    // FNV-1a: stable across versions, and nothing depends on it being hard to invert.
    let hash = format!("{name}\0{remote}")
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("{plain}-{:08x}", hash & 0xffff_ffff)
}
