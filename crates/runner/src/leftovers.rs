use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use yardmaster_protocol::RunId;

use crate::environment::{LANE_DIR_VARIABLE, STEP_VARIABLE};

const RECORD_BYTES: u64 = 4 << 10;
/// Of a process's environment; Linux allows a single variable of 128 KiB.
const ENVIRON_BYTES: u64 = 4 << 20;
/// A process that forks faster than it is killed is given up on after so many looks, 1 ms apart.
const SWEEPS: u32 = 1_000;

/// Records of process groups begin so; there is one for each step that is running.
pub(crate) const RECORD: &str = "running";

/// The file in a lane's directory that names the process group of a step that is running.
#[derive(Debug, Clone)]
pub(crate) struct CrashRecord {
    pub(crate) path: PathBuf,
    pub(crate) run: RunId,
}

#[derive(Debug, Serialize, Deserialize)]
struct Running {
    run: RunId,
    group: i32,
    started: ProcessStart,
}

/// Tells a process from a later one with the same id.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ProcessStart {
    boot: String,
    ticks: u64,
}

impl CrashRecord {
    /// Records the group of `leader`. Without a record a crash leaves the group to the sweep.
    pub(crate) fn write(&self, leader: Pid) {
        let Some(started) = ProcessStart::of(leader) else { return };
        let running = Running { run: self.run.clone(), group: leader.as_raw_nonzero().get(), started };
        let new = self.path.with_extension(format!("new-{}", running.group));
        let written = serde_json::to_vec(&running)
            .map_err(io::Error::other)
            .and_then(|text| fs::write(&new, text))
            .and_then(|()| fs::rename(&new, &self.path));
        if let Err(why) = written {
            tracing::warn!(%why, path = %self.path.display(), "the crash record was not written");
        }
    }

    pub(crate) fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl ProcessStart {
    /// None where there is no `/proc`, or no such process.
    fn of(pid: Pid) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may have anything in it; field 22 is the 20th after it.
        let ticks = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        Some(Self { boot, ticks })
    }
}

/// Ends what a crashed predecessor left running: the recorded group, if its leader still is the one
/// that was recorded, and every process that has the lane in its environment. Blocking.
pub(crate) fn clean(lane_dir: &Path) {
    let entries = fs::read_dir(lane_dir).into_iter().flatten().filter_map(Result::ok);
    let records: Vec<PathBuf> = entries
        .filter(|e| e.file_name().as_bytes().starts_with(RECORD.as_bytes()))
        .map(|e| e.path())
        .collect();
    for record in &records {
        if let Some(running) = recorded(record)
            && let Some(group) = Pid::from_raw(running.group)
            && ProcessStart::of(group).is_some_and(|now| now == running.started)
        {
            tracing::warn!(run = %running.run, group = running.group, "ending what a crash left running");
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
    sweep(&Marked::lane(lane_dir));
    for record in records {
        let _ = fs::remove_file(record);
    }
}

/// Which processes belong to a lane, or to one step that runs in it.
#[derive(Debug, Clone)]
pub(crate) struct Marked(Vec<Vec<u8>>);

impl Marked {
    pub(crate) fn lane(lane_dir: &Path) -> Marked {
        Marked(vec![[LANE_DIR_VARIABLE.as_bytes(), b"=", lane_dir.as_os_str().as_bytes()].concat()])
    }

    pub(crate) fn step(lane_dir: &Path, place: usize) -> Marked {
        let Marked(mut entries) = Marked::lane(lane_dir);
        entries.push(format!("{STEP_VARIABLE}={}", place + 1).into_bytes());
        Marked(entries)
    }
}

fn recorded(path: &Path) -> Option<Running> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(RECORD_BYTES).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Kills every process that has the mark in its environment, wherever it went, until there is none.
/// Says how many it had to kill. Does nothing where there is no `/proc`. Blocking.
pub(crate) fn sweep(mark: &Marked) -> usize {
    let mut environ = Vec::new();
    let mut found = std::collections::BTreeSet::new();
    for _ in 0..SWEEPS {
        let marked = marked(mark, &mut environ);
        if marked.is_empty() {
            break;
        }
        for pid in marked {
            kill_marked(pid, mark, &mut environ);
            found.insert(pid.as_raw_nonzero());
        }
        sleep(Duration::from_millis(1));
    }
    found.len()
}

fn marked(mark: &Marked, environ: &mut Vec<u8>) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let ours = rustix::process::getpid();
    processes
        .filter_map(|process| process.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .filter(|&pid| pid != ours && has_mark(pid, mark, environ))
        .collect()
}

fn has_mark(pid: Pid, Marked(entries): &Marked, environ: &mut Vec<u8>) -> bool {
    environ.clear();
    // Processes of others cannot be read, and ended ones have nothing.
    let read = File::open(format!("/proc/{pid}/environ"))
        .and_then(|file| file.take(ENVIRON_BYTES).read_to_end(environ));
    let has = |entry: &Vec<u8>| environ.split(|&byte| byte == 0).any(|variable| variable == entry);
    read.is_ok() && entries.iter().all(has)
}

/// Looks once more with the process held by a descriptor, so that no later one with its id is hit.
#[cfg(target_os = "linux")]
fn kill_marked(pid: Pid, mark: &Marked, environ: &mut Vec<u8>) {
    use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if has_mark(pid, mark, environ) {
        let _ = pidfd_send_signal(process, Signal::KILL);
    }
}

#[cfg(not(target_os = "linux"))]
fn kill_marked(_: Pid, _: &Marked, _: &mut Vec<u8>) {}
