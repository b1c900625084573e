//! How much of a disk lanes and caches may take together, and what goes when it is more: whole checkouts and whole
//! entries of the cache directory, the least recently used first, and none that is in use.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, OwnedMutexGuard, OwnedRwLockReadGuard, RwLock};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use yardmaster_protocol::DiskUse;

use crate::checkout::remove;

/// Between two looks at least.
const PAUSE: Duration = Duration::from_secs(60);
/// Looks take at most one in so many parts of the time.
const SHARE: u32 = 20;
/// What is on its way out has a name that begins so.
const GOING: &str = ".yardmaster-evicted";
/// What of a lane's directory is evicted.
const OF_LANE: [&str; 2] = ["worktree", "tmp"];
const MIB: u64 = 1 << 20;

/// What lanes and caches of one process take of the disk. Shared by all lanes.
#[derive(Debug, Clone)]
pub struct Disk {
    shared: Arc<Shared>,
}

/// How much there may be, and where.
#[derive(Debug, Clone)]
pub struct DiskLimits {
    /// The most bytes that lanes and caches may take together.
    pub most_bytes: u64,
    /// The directory that has the directories of lanes, also of those that an earlier start had.
    pub lanes: PathBuf,
    /// The directory whose entries are caches.
    pub cache_dir: Option<PathBuf>,
}

impl DiskLimits {
    /// Half of the disk that `dir` is on; what cannot be known does not limit.
    pub fn half_of(dir: &Path) -> u64 {
        let bytes = rustix::fs::statvfs(dir).map(|disk| disk.f_blocks.saturating_mul(disk.f_frsize));
        bytes.map_or(u64::MAX, |bytes| bytes / 2)
    }
}

#[derive(Debug)]
struct Shared {
    limits: DiskLimits,
    seats: Mutex<BTreeMap<PathBuf, Arc<Seat>>>,
    /// Read by every run: nothing goes from the cache directory below one.
    running: Arc<RwLock<()>>,
    look: Notify,
    told: Mutex<DiskUse>,
    number: AtomicU64,
}

/// One lane, as far as it can be evicted.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    busy: Arc<tokio::sync::Mutex<()>>,
    evicted: AtomicBool,
}

impl Seat {
    /// Whether the checkout went since the last time that this was asked.
    pub(crate) fn was_evicted(&self) -> bool {
        self.evicted.swap(false, Ordering::AcqRel)
    }
}

/// A run: until this is dropped its lane and the caches stay.
#[derive(Debug)]
pub(crate) struct InUse {
    disk: Disk,
    _lane: OwnedMutexGuard<()>,
    _caches: OwnedRwLockReadGuard<()>,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.disk.shared.look.notify_one();
    }
}

/// Something that can be evicted as a whole.
#[derive(Debug)]
struct Unit {
    what: What,
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Lane,
    Cache,
}

impl Disk {
    /// Nothing is looked at before [`Disk::keep`] or [`Disk::look`].
    pub fn new(limits: DiskLimits) -> Disk {
        let told = DiskUse { most_bytes: limits.most_bytes, ..DiskUse::default() };
        let shared = Shared {
            limits,
            seats: Mutex::default(),
            running: Arc::default(),
            look: Notify::new(),
            told: Mutex::new(told),
            number: AtomicU64::new(0),
        };
        Disk { shared: Arc::new(shared) }
    }

    /// What was seen last, and what was evicted.
    pub fn told(&self) -> DiskUse {
        self.shared.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the start and after runs, beside them, at most once a minute. Ends when it is dropped.
    pub async fn keep(&self) {
        loop {
            let began = Instant::now();
            self.look().await;
            sleep(PAUSE.max(began.elapsed() * SHARE)).await;
            self.shared.look.notified().await;
        }
    }

    /// Measures, and evicts until the rest fits. Waits for the end of runs in what has to go, where there is nothing
    /// else.
    pub async fn look(&self) {
        let shared = Arc::clone(&self.shared);
        let Ok(units) = spawn_blocking(move || shared.measure()).await else { return };
        let mut bytes: u64 = units.iter().map(|u| u.bytes).sum();
        self.tell(|told| told.bytes = bytes);
        for unit in self.shared.victims(units, bytes) {
            let evicted = match unit.what {
                What::Lane => self.evict_lane(&unit).await,
                What::Cache => self.evict_cache(&unit).await,
            };
            match evicted {
                Ok(true) => {
                    bytes = bytes.saturating_sub(unit.bytes);
                    self.tell_evicted(&unit, bytes);
                }
                Ok(false) => {}
                Err(why) => tracing::warn!(%why, path = %unit.path.display(), "nothing was evicted here"),
            }
        }
    }

    fn tell(&self, change: impl FnOnce(&mut DiskUse)) {
        change(&mut self.shared.told.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn tell_evicted(&self, unit: &Unit, left: u64) {
        let kind = if unit.what == What::Lane { "lane" } else { "cache" };
        let name = unit.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (mib, limit) = (unit.bytes / MIB, self.shared.limits.most_bytes / MIB);
        tracing::info!(kind, name, mib, left_mib = left / MIB, limit_mib = limit, "evicted, to have room");
        self.tell(|told| {
            told.bytes = left;
            told.evicted += 1;
            told.last = Some(format!("{kind} {name} ({mib} MiB)"));
        });
    }

    /// The seat of the lane at `dir`, for its owner.
    pub(crate) fn seat(&self, dir: &Path) -> Arc<Seat> {
        Arc::clone(self.shared.seats().entry(dir.to_owned()).or_default())
    }

    /// Waits until nothing of the lane is being evicted, and keeps it from that. Can be dropped at any time.
    pub(crate) async fn hold(&self, seat: &Seat) -> InUse {
        let lane = Arc::clone(&seat.busy).lock_owned().await;
        let caches = Arc::clone(&self.shared.running).read_owned().await;
        InUse { disk: self.clone(), _lane: lane, _caches: caches }
    }

    /// Renamed while nobody is in it, and removed afterwards: who comes next does not wait for that.
    async fn evict_lane(&self, unit: &Unit) -> io::Result<bool> {
        let seat = self.shared.seats().get(&unit.path).cloned();
        let (going, dir) = (self.shared.aside(&unit.path), unit.path.clone());
        let (held, lock) = match &seat {
            Some(seat) => (Some(Arc::clone(&seat.busy).lock_owned().await), None),
            // One that an earlier start had, unless another process has it now.
            None => match File::open(dir.join("lock")) {
                Ok(lock) if lock.try_lock().is_ok() => (None, Some(lock)),
                _ => return Ok(false),
            },
        };
        let at = going.clone();
        let renamed = blocking(move || {
            fs::create_dir_all(&at)?;
            for part in OF_LANE {
                put_aside(&dir.join(part), &at.join(part))?;
            }
            if let Some(seat) = seat {
                seat.evicted.store(true, Ordering::Release);
            }
            Ok(())
        });
        renamed.await?;
        drop((held, lock));
        blocking(move || discard(&going)).await?;
        Ok(true)
    }

    /// Runs that begin meanwhile wait for those that are under way: nobody says which entries they use.
    async fn evict_cache(&self, unit: &Unit) -> io::Result<bool> {
        let nobody = self.shared.running.write().await;
        let (path, going) = (unit.path.clone(), self.shared.aside(unit.path.parent().unwrap_or(&unit.path)));
        let at = going.clone();
        blocking(move || put_aside(&path, &at)).await?;
        drop(nobody);
        blocking(move || discard(&going)).await?;
        Ok(true)
    }
}

impl Shared {
    fn seats(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn aside(&self, dir: &Path) -> PathBuf {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        dir.join(format!("{GOING}-{}-{number}", std::process::id()))
    }

    /// The least recently used that have to go so that the rest fits. A lane in use is the most recently used.
    fn victims(&self, mut units: Vec<Unit>, mut bytes: u64) -> Vec<Unit> {
        let seats = self.seats();
        let is_busy = |u: &Unit| seats.get(&u.path).is_some_and(|seat| seat.busy.try_lock().is_err());
        units.sort_by_cached_key(|u| (is_busy(u), u.used));
        let mut victims = Vec::new();
        for unit in units.into_iter().filter(|u| u.bytes > 0) {
            if bytes <= self.limits.most_bytes {
                break;
            }
            bytes = bytes.saturating_sub(unit.bytes);
            victims.push(unit);
        }
        // Those that a run has to end for come last.
        victims.sort_by_cached_key(is_busy);
        victims
    }

    /// Everything that can be evicted. Removes what a crash left on its way out.
    fn measure(&self) -> Vec<Unit> {
        let mut linked = HashSet::new();
        let mut units = Vec::new();
        for dir in entries(&self.limits.lanes) {
            if !dir.join("lock").is_file() {
                continue;
            }
            remove_going(&dir);
            let used = fs::metadata(dir.join("tmp")).and_then(|m| m.modified());
            let bytes = OF_LANE.iter().map(|part| measure(&dir.join(part), &mut linked).0).sum();
            units.push(Unit {
                what: What::Lane,
                bytes,
                used: used.unwrap_or(SystemTime::UNIX_EPOCH),
                path: dir,
            });
        }
        for path in self.limits.cache_dir.iter().flat_map(|dir| {
            remove_going(dir);
            entries(dir)
        }) {
            let (bytes, used) = measure(&path, &mut linked);
            units.push(Unit { what: What::Cache, path, bytes, used });
        }
        units
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

fn put_aside(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

/// A cache may be a single file.
fn discard(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_dir()) {
        fs::remove_file(path)
    } else {
        remove(path)
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().filter_map(|e| Some(e.ok()?.path())).collect()
}

fn remove_going(dir: &Path) {
    let is_going = |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(GOING));
    for path in entries(dir).into_iter().filter(is_going) {
        if let Err(why) = discard(&path) {
            tracing::warn!(%why, path = %path.display(), "something evicted stays; remove it by hand");
        }
    }
}

/// Bytes on the disk of all that is at `path`, and when the latest of it was used; files of several names count once.
fn measure(path: &Path, linked: &mut HashSet<(u64, u64)>) -> (u64, SystemTime) {
    let (mut bytes, mut used) = (0_u64, SystemTime::UNIX_EPOCH);
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        // What vanishes meanwhile takes nothing.
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        used = used.max(last_use(&meta));
        if meta.is_dir() {
            open.extend(entries(&path));
        } else if meta.nlink() > 1 && !linked.insert((meta.dev(), meta.ino())) {
            continue;
        }
        bytes = bytes.saturating_add(meta.blocks().saturating_mul(512));
    }
    (bytes, used)
}

/// Directories are read by our own look.
fn last_use(meta: &Metadata) -> SystemTime {
    let written = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let read = meta.accessed().ok().filter(|_| meta.is_file());
    read.map_or(written, |read| read.max(written))
}
