//! Where settings come from: defaults, file, environment, flags.

use std::path::{Path, PathBuf};

use config::builder::DefaultState;
use config::{Config, ConfigBuilder, ConfigError, Environment, File, FileFormat};

use super::raw::Raw;
use super::{DEFAULT_FILE, Flags};

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

pub(super) type Layers = ConfigBuilder<DefaultState>;

pub(super) fn defaults() -> Layers {
    Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml))
}

pub(super) fn outer_layers(flags: &Flags) -> Layers {
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

pub(super) fn read(layers: Layers, flags: &Flags) -> Result<Raw, ConfigError> {
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
pub(super) fn told(error: &ConfigError, file: &Path) -> String {
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
