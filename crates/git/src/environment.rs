use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::GitError;
use crate::options::GitOptions;

/// Our own files inside the mirror's directory.
const OWN_DIR: &str = "yardmaster";

/// Where programs and temporary files are, how ssh signs, and how the network is reached.
const KEPT: [&str; 12] = [
    "PATH",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// What every git command of ours is started with: nothing of the user's, of the machine's, or of
/// the process that we run in.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    home: PathBuf,
    config: PathBuf,
    protocols: String,
    ssh_command: String,
}

impl Environment {
    /// Prepares the empty home and the configuration below the mirror's directory.
    ///
    /// A remote that is a path may belong to another user (a mounted volume): the operator named
    /// it, so exactly that directory is trusted, and no other.
    pub(crate) fn prepare(mirror: &Path, trusted: &[&Path], options: &GitOptions) -> Result<Self, GitError> {
        let own = mirror.join(OWN_DIR);
        let environment = Self::of(mirror, options);
        fs::create_dir_all(&environment.home).map_err(GitError::io(&own))?;
        let mut text = String::from("[safe]\n");
        for path in trusted {
            let quoted = path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
            text.push_str(&format!("\tdirectory = \"{quoted}\"\n"));
        }
        if fs::read_to_string(&environment.config).is_ok_and(|old| old == text) {
            return Ok(environment);
        }
        let fresh = own.join(format!("gitconfig.{}", std::process::id()));
        fs::write(&fresh, text).map_err(GitError::io(&fresh))?;
        fs::rename(&fresh, &environment.config).map_err(GitError::io(&fresh))?;
        Ok(environment)
    }

    /// The environment of a mirror that was opened before.
    pub(crate) fn of(mirror: &Path, options: &GitOptions) -> Self {
        let own = mirror.join(OWN_DIR);
        Self {
            home: own.join("home"),
            config: own.join("gitconfig"),
            protocols: options.allowed_protocols.join(":"),
            ssh_command: options.ssh_command.clone().unwrap_or_else(|| "ssh -o BatchMode=yes".to_owned()),
        }
    }

    /// `git` with nothing but what it needs, and no arguments yet beside our own settings.
    pub(crate) fn git(&self) -> Command {
        let mut command = Command::new(program());
        command.env_clear();
        for kept in KEPT {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command
            .env("HOME", &self.home)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_CONFIG_GLOBAL", &self.config)
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "false")
            .env("SSH_ASKPASS", "false")
            .env("GIT_SSH_COMMAND", &self.ssh_command)
            .env("GIT_ALLOW_PROTOCOL", &self.protocols)
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_ADVICE", "0");
        for setting in [
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "core.sparseCheckout=false",
            "core.attributesFile=/dev/null",
            "core.excludesFile=/dev/null",
            "credential.helper=",
            "protocol.version=2",
            "gc.auto=0",
            "maintenance.auto=false",
            "submodule.recurse=false",
            "fetch.recurseSubmodules=false",
            "push.recurseSubmodules=no",
            "push.gpgSign=false",
            "push.followTags=false",
        ] {
            command.args(["-c", setting]);
        }
        command
    }
}

/// Where git is: with a name that has to be looked for the library forks, and copying the tables of a process
/// that has mapped its packs costs more than git does.
fn program() -> PathBuf {
    let named = Path::new("git");
    let Some(path) = std::env::var_os("PATH") else { return named.into() };
    std::env::split_paths(&path)
        // What is not absolute would be looked for elsewhere, since the command runs in another directory.
        .take_while(|dir| dir.is_absolute())
        .map(|dir| dir.join(named))
        .find(|file| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file())
        .unwrap_or_else(|| named.into())
}
