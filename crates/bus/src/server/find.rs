use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{ServerBinary, ServerError};
use crate::connect::new_enough;

const PROGRAM: &str = "nats-server";
/// Names the binary when nobody named it otherwise.
const VARIABLE: &str = "NATS_SERVER";
const VERSION_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_TRIED: usize = 32;

/// Looks for a nats-server that is new enough. `explicit`, or else the variable `NATS_SERVER`, is the only
/// one looked at where it is given; otherwise every one on `PATH`, then those in the `extra` directories:
/// a distribution's old one may come first. Blocks for as long as the programs take to tell their version.
///
/// # Errors
/// `NotFound`, with what was found instead.
pub fn find(explicit: Option<&Path>, extra: &[PathBuf]) -> Result<ServerBinary, ServerError> {
    let named = explicit.map(Path::to_path_buf);
    let named = named.or_else(|| std::env::var_os(VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = match named {
        Some(named) => vec![named],
        None => std::env::split_paths(&path)
            .chain(extra.iter().cloned())
            .map(|dir| dir.join(PROGRAM))
            .filter(|file| file.is_file())
            .take(MAX_TRIED)
            .collect(),
    };
    choose(candidates)
}

fn choose(candidates: Vec<PathBuf>) -> Result<ServerBinary, ServerError> {
    let mut notes = Vec::new();
    for path in candidates {
        match version_of(&path) {
            Ok(version) if new_enough(&version) => return Ok(ServerBinary { path, version }),
            Ok(version) => notes.push(format!("{} is {version}, too old", path.display())),
            Err(why) => notes.push(format!("{}: {why}", path.display())),
        }
    }
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
    Err(ServerError::NotFound { notes })
}

fn version_of(path: &Path) -> Result<String, String> {
    let mut child = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| e.to_string())?;
    let deadline = Instant::now() + VERSION_TIMEOUT;
    loop {
        match child.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) if Instant::now() < deadline => sleep(Duration::from_millis(2)),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err("it does not tell its version".into());
            }
        }
    }
    let mut text = String::new();
    if let Some(stdout) = child.stdout.take() {
        let _ = stdout.take(4_096).read_to_string(&mut text);
    }
    parse_version(&text).ok_or_else(|| "it is no nats-server".into())
}

/// `nats-server: v2.15.1`.
fn parse_version(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(PROGRAM))?;
    let version = line.rsplit(' ').next()?.trim_start_matches('v');
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn program(dir: &Path, name: &str, says: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).expect("writes");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("permits");
        path
    }

    #[test]
    fn an_old_server_in_front_is_passed_over_and_told_of() {
        let dir = tempfile::tempdir().expect("a directory");
        let old = program(dir.path(), "old", "nats-server: v2.9.10");
        let new = program(dir.path(), "new", "nats-server: v2.14.6");
        let other = program(dir.path(), "other", "hello");
        let found = choose(vec![old.clone(), other.clone(), new.clone()]).expect("finds the new one");
        assert_eq!(found, ServerBinary { path: new, version: "2.14.6".into() });

        let none = choose(vec![old, other]).expect_err("none is new enough").to_string();
        assert!(none.contains("2.9.10, too old") && none.contains("no nats-server"), "{none}");
        assert!(none.contains("cargo xtask demo") && none.contains("NATS_SERVER"), "{none}");
    }

    #[test]
    fn versions_are_read_from_what_the_program_prints() {
        assert_eq!(parse_version("nats-server: v2.15.1\n"), Some("2.15.1".into()));
        for bad in ["", "nats: v1", "nats-server: unknown"] {
            assert_eq!(parse_version(bad), None, "{bad}");
        }
    }
}
