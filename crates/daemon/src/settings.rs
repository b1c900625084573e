mod checked;
mod layers;
mod raw;
mod values;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use yardmaster_protocol::Label;
use yardmaster_queue::{Definitions, Policy};
use yardmaster_runner::HostLimits;

use crate::rules::Rules;
use layers::{Layers, defaults, outer_layers, read, told};
use values::definitions;

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "yardmaster.toml";
const MOST_SLOTS: u32 = 256;

/// What the command line said; the strongest layer.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// The configuration file; it must be there.
    pub config: Option<PathBuf>,
    /// `nats.url`
    pub nats_url: Option<String>,
    /// `repo.remote`
    pub remote: Option<String>,
    /// `repo.target`
    pub target: Option<String>,
    /// `gate.command`
    pub gate: Option<String>,
    /// `runner.slots`
    pub slots: Option<u32>,
    /// `state.dir`
    pub state_dir: Option<PathBuf>,
    /// `name`
    pub name: Option<String>,
}

/// Everything that a daemon is told, from all layers, checked as a whole.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The instance; it names the journal and the job stream.
    pub name: String,
    /// Where NATS is.
    pub nats: NatsSettings,
    /// The git remote: a URL or a path.
    pub remote: String,
    /// How often the target is looked at.
    pub poll: Duration,
    /// How many gates run at the same time.
    pub slots: u32,
    /// Variables of the daemon's environment that gates get too.
    pub pass_env: Vec<String>,
    /// What all gates together may take of what they declare.
    pub host: HostLimits,
    /// A directory that all gates get, for build caches.
    pub cache_dir: Option<PathBuf>,
    /// The most bytes that checkouts and caches may take; none: half of the disk.
    pub disk_bytes: Option<u64>,
    /// Where everything of ours is; none: chosen by the remote's name.
    pub state_dir: Option<PathBuf>,
    /// Used instead of `ssh`, for keys and options.
    pub ssh_command: Option<String>,
    /// Which in-memory merges git checks.
    pub cross_check: CrossCheckSetting,
    /// What a process died of so often is given up.
    pub poison_after: u32,
    /// Refuse what takes back landed work of others without saying so.
    pub refuse_takes_back: bool,
    /// How the queue is run.
    pub policy: Policy,
    /// What the runners inside the daemon have, besides `os=…` and `arch=…`.
    pub labels: BTreeSet<Label>,
    pub(crate) window_min: Option<u32>,
    pub(crate) window_max: Option<u32>,
    /// Tell the commands of this user where an embedded server is.
    pub announce_url: bool,
}

/// Which in-memory merges git checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrossCheckSetting {
    /// Every one.
    All,
    /// One in so many.
    Sampled(u32),
    /// None.
    Off,
}

/// Where NATS is and how to be let in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NatsSettings {
    /// None: a server of our own.
    pub url: Option<String>,
    /// A credentials file.
    pub credentials: Option<PathBuf>,
    /// With `password`.
    pub user: Option<String>,
    /// With `user`.
    pub password: Option<String>,
    /// Instead of both.
    pub token: Option<String>,
    /// Copies of every stream that we create.
    pub replicas: usize,
}

/// Everything that is wrong with the configuration, at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration cannot be used:{}", .problems.iter().map(|p| format!("\n  - {p}")).collect::<String>())]
pub struct SettingsError {
    /// Each names file or key and says what to write.
    pub problems: Vec<String>,
}

impl Settings {
    /// Reads all layers: defaults, file, environment (`YARDMASTER__SECTION__KEY`), flags.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(flags: &Flags) -> Result<Settings, SettingsError> {
        Settings::of(outer_layers(flags), flags)
    }

    /// Defaults and flags alone, for a daemon that shares nothing with others of this user: no file, no
    /// environment, and its embedded server stays unknown to commands.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn isolated(flags: &Flags) -> Result<Settings, SettingsError> {
        let settings = Settings::of(defaults(), flags)?;
        Ok(Settings { announce_url: false, ..settings })
    }

    /// `queue.definitions` alone, as a daemon would read it that is started in `dir`: the file there, the environment.
    ///
    /// # Errors
    /// When the file cannot be read, or what it says is none of the values.
    pub(crate) fn definitions(dir: &Path) -> Result<Definitions, SettingsError> {
        let file = dir.join(DEFAULT_FILE);
        let config = file.is_file().then(|| file.clone());
        let layers = outer_layers(&Flags { config, ..Flags::default() });
        let read = layers.build().and_then(|all| all.get_string("queue.definitions"));
        let text =
            read.map_err(|e| SettingsError { problems: vec![told(&e, &file).trim_end().to_owned()] })?;
        let mut problems = Vec::new();
        let policy = definitions(&text, &mut problems);
        if problems.is_empty() { Ok(policy) } else { Err(SettingsError { problems }) }
    }

    /// What can change while a daemon serves.
    pub(crate) fn rules(&self) -> Rules {
        Rules { policy: self.policy.clone(), window_min: self.window_min, window_max: self.window_max }
    }

    /// Which keys of `newer` differ and count only after a restart.
    pub fn kept_until_restart(&self, newer: &Settings) -> Vec<&'static str> {
        let same = [
            ("name", self.name == newer.name),
            ("nats", self.nats == newer.nats),
            ("repo.remote", self.remote == newer.remote),
            ("repo.poll", self.poll == newer.poll),
            ("repo.ssh_command", self.ssh_command == newer.ssh_command),
            ("runner.slots", self.slots == newer.slots),
            ("runner.labels", self.labels == newer.labels),
            ("runner.pass_env", self.pass_env == newer.pass_env),
            ("runner.cpu or runner.mem", self.host == newer.host),
            ("runner.cache_dir", self.cache_dir == newer.cache_dir),
            ("runner.disk", self.disk_bytes == newer.disk_bytes),
            ("state.dir", self.state_dir == newer.state_dir),
            ("git.cross_check", self.cross_check == newer.cross_check),
            ("guard.takes_back", self.refuse_takes_back == newer.refuse_takes_back),
            ("intake.poison_after", self.poison_after == newer.poison_after),
        ];
        same.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
    }

    fn of(layers: Layers, flags: &Flags) -> Result<Settings, SettingsError> {
        let file = flags.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        let raw = read(layers, flags)
            .map_err(|e| SettingsError { problems: vec![told(&e, file).trim_end().to_owned()] })?;
        let mut problems = Vec::new();
        let settings = raw.checked(&mut problems);
        match settings {
            Some(settings) if problems.is_empty() => Ok(settings),
            _ => Err(SettingsError { problems }),
        }
    }
}
