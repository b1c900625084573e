use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use super::faults::HookFault;
use crate::{PATIENCE, Remote};

/// The hooks of a remote that goes wrong when it is told to: each takes the fault that lies ready, if it
/// is one of its own, writes down that it did, and carries it out.
pub(crate) struct Hooks {
    dir: PathBuf,
}

/// `$1` finds who pushes by walking up from the receiver.
const SCRIPT: &str = r#"#!/bin/sh
dir="DIR"
mv "$dir/NAME" "$dir/taken.$$" 2>/dev/null || exit 0
read -r fault < "$dir/taken.$$"
echo "$fault" >> "$dir/log"
receiver=$PPID
case "$fault" in
*-sleeps) sleep 0.4 ;;
*-declines) echo "not today"; exit 1 ;;
*-kills-receiver) kill -9 "$receiver" ;;
*-kills-pusher)
    at=$receiver
    while [ "$at" -gt 1 ]; do
        if tr '\0' ' ' < "/proc/$at/cmdline" | grep -q 'git push '; then kill -9 "$at"; break; fi
        at=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$at/status")
    done
    sleep 0.05 ;;
esac
exit 0
"#;

impl Hooks {
    pub(crate) fn install(remote: &Remote) -> Hooks {
        let dir = remote.path().join("siege");
        std::fs::create_dir_all(&dir).expect("a directory");
        std::fs::write(dir.join("log"), "").expect("written");
        for name in ["pre", "post"] {
            let hook = remote.path().join("hooks").join(format!("{name}-receive"));
            let script = SCRIPT.replace("DIR", &dir.to_string_lossy()).replace("NAME", name);
            std::fs::create_dir_all(hook.parent().expect("hooks/")).expect("a directory");
            std::fs::write(&hook, script).expect("written");
            std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).expect("executable");
        }
        Hooks { dir }
    }

    /// Lays a fault ready for the next push.
    pub(crate) fn arm(&self, fault: HookFault) {
        let (stage, _) = fault.name().split_once('-').expect("pre- or post-");
        let new = self.dir.join("new");
        std::fs::write(&new, format!("{}\n", fault.name())).expect("written");
        std::fs::rename(new, self.dir.join(stage)).expect("renamed");
    }

    /// Takes back what no push has taken.
    pub(crate) fn disarm(&self) {
        for stage in ["pre", "post"] {
            let _ = std::fs::remove_file(self.dir.join(stage));
        }
    }

    /// What was carried out so far.
    pub(crate) fn taken(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// Returns when more than `before` were carried out.
    pub(crate) async fn more_than(&self, before: usize) {
        let until = tokio::time::Instant::now() + PATIENCE;
        while self.taken().len() <= before && tokio::time::Instant::now() < until {
            // A hook has nobody to tell: it is looked at until it was there.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
