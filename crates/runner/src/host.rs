use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use yardmaster_protocol::Step;

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What all lanes of a host share: processors, memory, and locks by name. Steps take what they declare
/// before they start, all of it at once, in the order in which they ask; what declares nothing takes nothing.
///
/// Locks hold among all processes of one user on one host. Processors and memory are counted by each process
/// for itself.
#[derive(Debug, Clone)]
pub struct Host {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    all: HostLimits,
    locks: PathBuf,
    state: Mutex<State>,
}

/// How much steps may take together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostLimits {
    /// Processors.
    pub cpu: u32,
    /// Bytes of memory.
    pub mem_bytes: u64,
}

impl HostLimits {
    /// What this machine has; what cannot be known does not limit.
    pub fn of_machine() -> HostLimits {
        let cpu = std::thread::available_parallelism().ok().and_then(|n| u32::try_from(n.get()).ok());
        let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib = total.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        let mem_bytes = kib.map_or(u64::MAX, |kib| kib.saturating_mul(1 << 10));
        HostLimits { cpu: cpu.unwrap_or(u32::MAX), mem_bytes }
    }
}

#[derive(Debug, Default)]
struct State {
    taken: Taken,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug, Default)]
struct Taken {
    cpu: u32,
    mem_bytes: u64,
    locks: BTreeSet<String>,
}

#[derive(Debug)]
struct Waiting {
    needs: Needs,
    granted: oneshot::Sender<Claim>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Needs {
    cpu: u32,
    mem_bytes: u64,
    locks: BTreeSet<String>,
}

/// What a step has taken; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    host: Host,
    needs: Needs,
    _files: Vec<File>,
}

impl Host {
    /// A host with so much of everything. Lock files of all processes of this user are in one directory below
    /// that for temporary files.
    pub fn new(all: HostLimits) -> Host {
        let user = rustix::process::getuid().as_raw();
        Host::with_locks(all, std::env::temp_dir().join(format!("yardmaster-locks-{user}")))
    }

    /// The same with lock files elsewhere.
    pub fn with_locks(all: HostLimits, locks: PathBuf) -> Host {
        Host { shared: Arc::new(Shared { all, locks, state: Mutex::default() }) }
    }

    /// Waits until all that `step` declares is there, and takes it. Who asks for more than the host has gets
    /// the whole host. Can be dropped at any time.
    ///
    /// # Errors
    /// When lock files cannot be used.
    pub(crate) async fn claim(&self, step: &Step) -> io::Result<Option<Claim>> {
        let needs = Needs {
            cpu: step.cpu.min(self.shared.all.cpu),
            mem_bytes: step.mem_bytes.min(self.shared.all.mem_bytes),
            locks: step.locks.iter().cloned().collect(),
        };
        if needs.cpu == 0 && needs.mem_bytes == 0 && needs.locks.is_empty() {
            return Ok(None);
        }
        let (granted, claim) = oneshot::channel();
        self.state().waiting.push_back(Waiting { needs, granted });
        self.grant();
        let mut claim = claim.await.map_err(io::Error::other)?;
        // In the order of their names, so that no two processes wait for each other.
        for name in claim.needs.locks.clone() {
            let file = lock(&self.shared.locks, &name).await?;
            claim._files.push(file);
        }
        Ok(Some(claim))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives to those that wait, first come, first served: what an earlier one still lacks is kept for it, and
    /// who needs none of that may pass.
    fn grant(&self) {
        let mut unwanted = Vec::new();
        let mut state = self.state();
        let State { taken, waiting } = &mut *state;
        let mut left_cpu = self.shared.all.cpu.saturating_sub(taken.cpu);
        let mut left_mem = self.shared.all.mem_bytes.saturating_sub(taken.mem_bytes);
        let mut kept = taken.locks.clone();
        for Waiting { needs, granted } in std::mem::take(waiting) {
            if granted.is_closed() {
                continue;
            }
            let fits = needs.cpu <= left_cpu && needs.mem_bytes <= left_mem && needs.locks.is_disjoint(&kept);
            left_cpu = left_cpu.saturating_sub(needs.cpu);
            left_mem = left_mem.saturating_sub(needs.mem_bytes);
            kept.extend(needs.locks.iter().cloned());
            if !fits {
                waiting.push_back(Waiting { needs, granted });
                continue;
            }
            taken.cpu += needs.cpu;
            taken.mem_bytes += needs.mem_bytes;
            taken.locks.extend(needs.locks.iter().cloned());
            let claim = Claim { host: self.clone(), needs, _files: Vec::new() };
            unwanted.extend(granted.send(claim).err());
        }
        // Dropping a claim takes the lock of the state.
        drop(state);
        drop(unwanted);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self._files.clear();
        let mut state = self.host.state();
        state.taken.cpu -= self.needs.cpu;
        state.taken.mem_bytes -= self.needs.mem_bytes;
        state.taken.locks.retain(|name| !self.needs.locks.contains(name));
        drop(state);
        self.host.grant();
    }
}

/// A lock among processes: the kernel gives it back when its holder dies.
async fn lock(dir: &Path, name: &str) -> io::Result<File> {
    let file = lock_file(dir, name).map_err(|why| {
        let dir = dir.display();
        io::Error::new(why.kind(), format!("lock `{name}` in {dir}: {why}; remove that directory"))
    })?;
    let mut pause = FIRST_PAUSE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(pause).await,
            Err(TryLockError::Error(why)) => return Err(why),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn lock_file(dir: &Path, name: &str) -> io::Result<File> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(why) if why.kind() != io::ErrorKind::AlreadyExists => return Err(why),
        _ => {}
    }
    let found = fs::symlink_metadata(dir)?;
    if !found.is_dir() || found.uid() != rustix::process::getuid().as_raw() {
        return Err(io::Error::other("it is not a directory of our own"));
    }
    let path = dir.join(format!("{}.lock", name.replace('%', "%25").replace('/', "%2F")));
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn step(cpu: u32, mem_bytes: u64, locks: &[&str]) -> Step {
        let locks = locks.iter().map(|l| (*l).to_owned()).collect();
        Step { cpu, mem_bytes, locks, ..Step::command("x", "true") }
    }

    #[tokio::test]
    async fn first_come_first_served_and_nobody_starves() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::with_locks(HostLimits { cpu: 4, mem_bytes: 100 }, dir.path().join("locks"));
        assert!(host.claim(&step(0, 0, &[])).await.unwrap().is_none());
        let three = host.claim(&step(3, 0, &[])).await.unwrap();
        let large = step(9, 0, &[]);
        let mut large = Box::pin(host.claim(&large));
        assert!(large.as_mut().now_or_never().is_none(), "the whole host is not free");
        let one = step(1, 0, &[]);
        let mut one = Box::pin(host.claim(&one));
        assert!(one.as_mut().now_or_never().is_none(), "the free one is kept for who came before");
        let other = host.claim(&step(0, 50, &["db"])).await.unwrap();
        let waits = step(0, 0, &["db"]);
        let mut waits = Box::pin(host.claim(&waits));
        assert!(waits.as_mut().now_or_never().is_none());
        drop(three);
        let large = large.await.unwrap();
        assert!(one.as_mut().now_or_never().is_none());
        drop(other);
        let waited = waits.await.unwrap();
        drop(one);
        drop((large, waited));
        let whole = host.claim(&step(4, 100, &["db"])).now_or_never();
        assert!(whole.unwrap().unwrap().is_some(), "all was given back");
    }

    #[tokio::test]
    async fn a_lock_holds_against_another_process() {
        let dir = tempfile::tempdir().unwrap();
        let limits = HostLimits { cpu: 1, mem_bytes: 1 };
        // Nothing is shared between the two but the files.
        let [one, two] = [0; 2].map(|_| Host::with_locks(limits, dir.path().join("locks")));
        let held = one.claim(&step(0, 0, &["a/b", "c"])).await.unwrap();
        let wanted = step(0, 0, &["c"]);
        let mut waiting = Box::pin(two.claim(&wanted));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(held);
        assert!(waiting.await.unwrap().is_some());
    }
}
