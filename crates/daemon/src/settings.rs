use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::builder::DefaultState;
use config::{Config, ConfigBuilder, ConfigError, Environment, File, FileFormat};
use serde::Deserialize;
use yardmaster_protocol::{
    AgentName, BranchName, DefinitionsPolicy, Gate, Label, Requirement, parse_bytes, parse_duration_ms,
};
use yardmaster_queue::{BaseRed, ChangelogPolicy, Cycles, Definitions, GateRule, Guarantee, Overlap, Policy};
use yardmaster_runner::HostLimits;

use crate::rules::Rules;

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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    nats: RawNats,
    repo: RawRepo,
    gate: RawGate,
    runner: RawRunner,
    state: RawState,
    queue: RawQueue,
    intake: RawIntake,
    git: RawGit,
    guard: RawGuard,
    auth: RawAuth,
    changelog: RawChangelog,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNats {
    url: String,
    credentials: Option<PathBuf>,
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    replicas: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRepo {
    remote: Option<String>,
    target: String,
    targets: Vec<String>,
    poll: String,
    ssh_command: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGate {
    command: Option<String>,
    timeout: Option<String>,
    environment: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRunner {
    slots: u32,
    pass_env: Vec<String>,
    labels: Vec<String>,
    cpu: Option<u32>,
    mem: Option<String>,
    cache_dir: Option<PathBuf>,
    disk: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawState {
    dir: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawQueue {
    window_min: Option<u32>,
    window_max: Option<u32>,
    ageing: String,
    max_pending: usize,
    max_pending_per_agent: usize,
    max_lost_runs: u32,
    base_red: String,
    stall_grace: String,
    overlap: String,
    definitions: String,
    batch: u32,
    guarantee: String,
    least_chance: f64,
    cycles: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIntake {
    poison_after: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGit {
    cross_check: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGuard {
    takes_back: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAuth {
    bind_agent_to_subject: bool,
    trusted_runners: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChangelog {
    enabled: bool,
    path: String,
    template: String,
}

/// Every key with its default; the weakest layer, and the reference of what there is.
const DEFAULTS: &str = r#"
name = "default"
[nats]
url = "embedded"
replicas = 1
[repo]
target = "main"
targets = []
poll = "10s"
[gate]
[runner]
slots = 4
pass_env = []
labels = []
[state]
[queue]
ageing = "30m"
max_pending = 20000
max_pending_per_agent = 256
max_lost_runs = 3
base_red = "differential"
stall_grace = "60s"
overlap = "textual"
definitions = "advise"
batch = 32
guarantee = "every-commit"
least_chance = 0.05
cycles = "refuse"
[intake]
poison_after = 2
[git]
cross_check = "all"
[guard]
takes_back = "refuse"
[auth]
bind_agent_to_subject = false
trusted_runners = []
[changelog]
enabled = false
path = "CHANGELOG.md"
template = "- {requirement}: {title} ({agent})"
"#;

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
    pub(crate) fn definitions(dir: &Path) -> Result<DefinitionsPolicy, SettingsError> {
        let file = dir.join(DEFAULT_FILE);
        let config = file.is_file().then(|| file.clone());
        let layers = outer_layers(&Flags { config, ..Flags::default() });
        let read = layers.build().and_then(|all| all.get_string("queue.definitions"));
        let text =
            read.map_err(|e| SettingsError { problems: vec![told(&e, &file).trim_end().to_owned()] })?;
        let mut problems = Vec::new();
        let policy = match definitions(&text, &mut problems) {
            Definitions::Off => DefinitionsPolicy::Off,
            Definitions::Advise => DefinitionsPolicy::Advise,
            Definitions::Enforce => DefinitionsPolicy::Enforce,
        };
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

type Layers = ConfigBuilder<DefaultState>;

fn defaults() -> Layers {
    Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml))
}

fn outer_layers(flags: &Flags) -> Layers {
    let mut layers = defaults();
    layers = match &flags.config {
        Some(path) => layers.add_source(File::from(path.as_path()).format(FileFormat::Toml).required(true)),
        None => layers.add_source(File::new(DEFAULT_FILE, FileFormat::Toml).required(false)),
    };
    let environment = Environment::with_prefix("YARDMASTER")
        .prefix_separator("__")
        .separator("__")
        .ignore_empty(true)
        .list_separator(",")
        .with_list_parse_key("runner.pass_env")
        .with_list_parse_key("runner.labels")
        .with_list_parse_key("repo.targets")
        .with_list_parse_key("auth.trusted_runners")
        .try_parsing(true);
    layers.add_source(environment)
}

fn read(layers: Layers, flags: &Flags) -> Result<Raw, ConfigError> {
    let path = |p: &Option<PathBuf>| p.as_ref().map(|p| p.to_string_lossy().into_owned());
    layers
        .set_override_option("nats.url", flags.nats_url.clone())?
        .set_override_option("repo.remote", flags.remote.clone())?
        .set_override_option("repo.target", flags.target.clone())?
        .set_override_option("gate.command", flags.gate.clone())?
        .set_override_option("runner.slots", flags.slots)?
        .set_override_option("state.dir", path(&flags.state_dir))?
        .set_override_option("name", flags.name.clone())?
        .build()?
        .try_deserialize()
}

/// What the layers could not be read for. Where a path is told it is the one that was given, and not one
/// relative to somewhere.
fn told(error: &ConfigError, file: &Path) -> String {
    match error {
        ConfigError::FileParse { cause, .. } => format!("{}: {cause}", file.display()),
        ConfigError::Type { origin, unexpected, expected, key } => {
            let key = key.as_deref().unwrap_or("the whole");
            let origin = match origin.as_deref() {
                Some("the environment") => " (from the environment)".to_owned(),
                Some(_) => format!(" (from {})", file.display()),
                None => String::new(),
            };
            format!("`{key}` is {unexpected}, but must be {expected}{origin}")
        }
        ConfigError::At { error, key: Some(key), .. } => format!("under `{key}`: {error}"),
        other => other.to_string(),
    }
}

impl Raw {
    fn checked(self, problems: &mut Vec<String>) -> Option<Settings> {
        let policy = self.policy(problems);
        let poll = duration("repo.poll", &self.repo.poll, problems).max(Duration::from_millis(100));
        let cross_check = cross_check(&self.git.cross_check, problems);
        let host = self.runner.host(problems);
        let refuse_takes_back = takes_back(&self.guard.takes_back, problems);
        if self.repo.remote.as_deref().is_none_or(|r| r.trim().is_empty()) {
            problems.push(
                "`repo.remote` is missing: say where to land with --remote URL-OR-PATH, YARDMASTER__REPO__REMOTE, or `remote` under [repo]".to_owned(),
            );
        }
        if self.runner.slots > MOST_SLOTS {
            problems.push(format!(
                "`runner.slots` (--slots) is {}, but must be 0 (only runners elsewhere) to {MOST_SLOTS}",
                self.runner.slots
            ));
        }
        if ![1, 3, 5].contains(&self.nats.replicas) {
            problems.push(format!("`nats.replicas` is {}, but must be 1, 3 or 5", self.nats.replicas));
        }
        if self.nats.user.is_some() != self.nats.password.is_some() {
            problems.push("`nats.user` and `nats.password` go together".to_owned());
        }
        let labels = labels(&self.runner.labels, problems);
        let disk_bytes = self.runner.disk.as_deref().and_then(|text| bytes("runner.disk", text, problems));
        let url = Some(self.nats.url).filter(|url| url != "embedded");
        Some(Settings {
            name: self.name,
            nats: NatsSettings {
                url,
                credentials: self.nats.credentials,
                user: self.nats.user,
                password: self.nats.password,
                token: self.nats.token,
                replicas: self.nats.replicas,
            },
            remote: self.repo.remote.as_deref().map(located).unwrap_or_default(),
            poll,
            slots: self.runner.slots,
            pass_env: self.runner.pass_env,
            host,
            cache_dir: self.runner.cache_dir,
            disk_bytes,
            state_dir: self.state.dir,
            ssh_command: self.repo.ssh_command,
            cross_check,
            poison_after: self.intake.poison_after.max(1),
            refuse_takes_back,
            policy: policy?,
            labels,
            window_min: self.queue.window_min,
            window_max: self.queue.window_max,
            announce_url: true,
        })
    }

    fn policy(&self, problems: &mut Vec<String>) -> Option<Policy> {
        let mut branch = |key: &str, text: &str| match BranchName::new(text) {
            Ok(branch) => Some(branch),
            Err(why) => {
                problems.push(format!("`{key}`: {why}"));
                None
            }
        };
        let target = branch("repo.target", &self.repo.target);
        let others: Vec<_> = self.repo.targets.iter().filter_map(|t| branch("repo.targets", t)).collect();
        let gate = gate(&self.gate, problems);
        let ageing = duration("queue.ageing", &self.queue.ageing, problems);
        let kept = if self.changelog.enabled { changelog(&self.changelog, problems) } else { None };
        let stall_grace = duration("queue.stall_grace", &self.queue.stall_grace, problems);
        let base_red = base_red(&self.queue.base_red, problems);
        let overlap = overlap(&self.queue.overlap, problems);
        let guarantee = guarantee(&self.queue.guarantee, problems);
        let cycles = cycles(&self.queue.cycles, problems);
        let least_chance = least_chance(self.queue.least_chance, problems);
        let definitions = definitions(&self.queue.definitions, problems);
        let mut policy = Policy::new(target?);
        policy.targets.extend(others.into_iter().collect::<BTreeSet<_>>());
        policy.gate = gate;
        policy.batch_max = self.queue.batch.max(1);
        (policy.guarantee, policy.cycles, policy.least_chance) = (guarantee, cycles, least_chance);
        policy.ageing_ms = millis(ageing).max(1_000);
        policy.max_pending = self.queue.max_pending.max(1);
        policy.max_pending_per_agent = self.queue.max_pending_per_agent.max(1);
        policy.max_lost_runs = self.queue.max_lost_runs.max(1);
        policy.bind_agent_to_subject = self.auth.bind_agent_to_subject;
        policy.trusted = trusted(&self.auth.trusted_runners, problems);
        policy.changelog = kept;
        policy.base_red = base_red;
        policy.overlap = overlap;
        policy.definitions = definitions;
        policy.stall_grace_ms = millis(stall_grace);
        let (window_min, window_max) = (self.queue.window_min, self.queue.window_max);
        Some(Rules { policy, window_min, window_max }.at(self.runner.slots))
    }
}

/// A path as seen from everywhere: the state directory is found by it, and `r.git` is another repository in
/// another directory.
fn located(remote: &str) -> String {
    let path = std::path::Path::new(remote);
    let found = path.is_dir().then(|| path.canonicalize().ok()).flatten();
    found.and_then(|path| path.to_str().map(str::to_owned)).unwrap_or_else(|| remote.to_owned())
}

fn gate(raw: &RawGate, problems: &mut Vec<String>) -> GateRule {
    let Some(command) = raw.command.as_deref().map(str::trim) else { return GateRule::FromTarget };
    match command {
        "" => {
            problems.push(
                "`gate.command` (--gate) is empty: give a command, or `none` to land without any test"
                    .to_owned(),
            );
            GateRule::FromTarget
        }
        "none" => GateRule::Fixed(Gate::default()),
        command => {
            let mut gate = Gate::command(command);
            gate.environment.clone_from(&raw.environment);
            gate.steps.iter_mut().for_each(|s| s.learns_timeout = raw.timeout.is_none());
            if let Some(timeout) = &raw.timeout {
                let ms = millis(duration("gate.timeout", timeout, problems)).max(1);
                gate.steps.iter_mut().for_each(|s| s.timeout_ms = ms);
            }
            GateRule::Fixed(gate)
        }
    }
}

/// More than nothing.
fn bytes(key: &str, text: &str, problems: &mut Vec<String>) -> Option<u64> {
    let read = parse_bytes(text).and_then(|bytes| match bytes {
        0 => Err("0 bytes are too few".to_owned()),
        bytes => Ok(bytes),
    });
    read.map_err(|why| problems.push(format!("`{key}`: {why}"))).ok()
}

impl RawRunner {
    fn host(&self, problems: &mut Vec<String>) -> HostLimits {
        let machine = HostLimits::of_machine();
        if self.cpu == Some(0) {
            problems
                .push("`runner.cpu` is 0, but must be 1 or more processors; leave it out for all".to_owned());
        }
        let mem = self.mem.as_deref().and_then(|text| bytes("runner.mem", text, problems));
        let mem_bytes = mem.unwrap_or(machine.mem_bytes);
        HostLimits { cpu: self.cpu.unwrap_or(machine.cpu), mem_bytes }
    }
}

fn changelog(raw: &RawChangelog, problems: &mut Vec<String>) -> Option<ChangelogPolicy> {
    let plain =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.eq_ignore_ascii_case(".git");
    if !raw.path.split('/').all(plain) || raw.path.contains('\0') {
        problems.push(format!(
            "`changelog.path` is `{}`, but must be a plain path inside the repository",
            raw.path
        ));
        return None;
    }
    if raw.template.contains('\n')
        || Requirement::new(raw.template.chars().take(128).collect::<String>()).is_err()
    {
        problems.push("`changelog.template` must be one line of printable text".to_owned());
        return None;
    }
    Some(ChangelogPolicy { path: raw.path.clone(), template: raw.template.clone() })
}

fn base_red(text: &str, problems: &mut Vec<String>) -> BaseRed {
    match text {
        "differential" => BaseRed::Differential,
        "block" => BaseRed::Block,
        "ignore" => BaseRed::Ignore,
        other => {
            problems.push(format!(
                "`queue.base_red` is `{other}`, but must be \"differential\", \"block\" or \"ignore\""
            ));
            BaseRed::default()
        }
    }
}

fn overlap(text: &str, problems: &mut Vec<String>) -> Overlap {
    match text {
        "textual" => Overlap::Textual,
        "files" => Overlap::Files,
        "systems" => Overlap::Systems,
        other => {
            problems.push(format!(
                "`queue.overlap` is `{other}`, but must be \"textual\", \"files\" or \"systems\""
            ));
            Overlap::default()
        }
    }
}

fn trusted(names: &[String], problems: &mut Vec<String>) -> BTreeSet<AgentName> {
    let mut parse = |name: &String| match name.parse::<AgentName>() {
        Ok(agent) => Some(agent),
        Err(error) => {
            problems.push(format!("`auth.trusted_runners`: {error}"));
            None
        }
    };
    names.iter().filter_map(&mut parse).collect()
}

fn guarantee(text: &str, problems: &mut Vec<String>) -> Guarantee {
    match text {
        "every-commit" => Guarantee::EveryCommit,
        "every-push" => Guarantee::EveryPush,
        other => {
            problems.push(format!(
                "`queue.guarantee` is `{other}`, but must be \"every-commit\" or \"every-push\""
            ));
            Guarantee::default()
        }
    }
}

fn cycles(text: &str, problems: &mut Vec<String>) -> Cycles {
    match text {
        "refuse" => Cycles::Refuse,
        "bundle" => Cycles::Bundle,
        other => {
            problems.push(format!("`queue.cycles` is `{other}`, but must be \"refuse\" or \"bundle\""));
            Cycles::default()
        }
    }
}

/// In thousandths.
fn least_chance(share: f64, problems: &mut Vec<String>) -> u16 {
    if (0.0..=1.0).contains(&share) {
        return (share * 1_000.0).round() as u16;
    }
    problems.push(format!("`queue.least_chance` is {share}, but must be from 0 to 1"));
    0
}

fn definitions(text: &str, problems: &mut Vec<String>) -> Definitions {
    match text {
        "off" => Definitions::Off,
        "advise" => Definitions::Advise,
        "enforce" => Definitions::Enforce,
        other => {
            problems.push(format!(
                "`queue.definitions` is `{other}`, but must be \"off\", \"advise\" or \"enforce\""
            ));
            Definitions::default()
        }
    }
}

fn labels(texts: &[String], problems: &mut Vec<String>) -> BTreeSet<Label> {
    let mut label = |text: &String| match Label::new(text) {
        Ok(label) => Some(label),
        Err(why) => {
            problems.push(format!("`runner.labels`: {why}"));
            None
        }
    };
    texts.iter().filter_map(&mut label).collect()
}

fn takes_back(text: &str, problems: &mut Vec<String>) -> bool {
    if !["refuse", "allow"].contains(&text) {
        problems.push(format!("`guard.takes_back` is `{text}`, but must be \"refuse\" or \"allow\""));
    }
    text != "allow"
}

fn cross_check(text: &str, problems: &mut Vec<String>) -> CrossCheckSetting {
    match text {
        "all" => CrossCheckSetting::All,
        "off" => CrossCheckSetting::Off,
        other => match other.strip_prefix("1/").and_then(|n| n.parse().ok()).filter(|n| *n > 0) {
            Some(n) => CrossCheckSetting::Sampled(n),
            None => {
                problems
                    .push(format!("`git.cross_check` is `{other}`, but must be \"all\", \"1/N\" or \"off\""));
                CrossCheckSetting::All
            }
        },
    }
}

fn duration(key: &str, text: &str, problems: &mut Vec<String>) -> Duration {
    match parse_duration_ms(text) {
        Ok(ms) => Duration::from_millis(ms),
        Err(why) => {
            problems.push(format!("`{key}`: {why}"));
            Duration::ZERO
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
