use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::time::{Instant, sleep};

const POLITE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

/// Sends a signal to a whole group; no error when it is gone.
pub(super) fn signal_group(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, signal);
    }
}

/// The process whose number is in `pid_file`, if it was started with `config`: the number alone may have
/// gone to somebody else since.
pub(super) fn left_over(pid_file: &Path, config: &Path) -> Option<u32> {
    let pid: u32 = fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
    runs_with(pid, config).then_some(pid)
}

/// Ends a server that a crashed process left behind.
pub(super) async fn end(pid: u32, config: &Path) {
    for signal in [Signal::TERM, Signal::KILL] {
        signal_group(pid, signal);
        let deadline = Instant::now() + POLITE;
        while Instant::now() < deadline {
            if !runs_with(pid, config) {
                return;
            }
            sleep(POLL).await;
        }
    }
}

/// False for zombies too: they have no command line.
fn runs_with(pid: u32, config: &Path) -> bool {
    let Some(config) = config.to_str() else { return false };
    let command = match fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(command) => command,
        Err(_) if Path::new("/proc/self").exists() => return false,
        Err(_) => {
            let ps = Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output();
            ps.map(|output| output.stdout).unwrap_or_default()
        }
    };
    String::from_utf8_lossy(&command).contains(config)
}
