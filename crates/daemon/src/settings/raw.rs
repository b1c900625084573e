//! The shape of what is written down.

use std::path::PathBuf;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) name: String,
    pub(super) nats: RawNats,
    pub(super) repo: RawRepo,
    pub(super) gate: RawGate,
    pub(super) runner: RawRunner,
    pub(super) state: RawState,
    pub(super) queue: RawQueue,
    pub(super) intake: RawIntake,
    pub(super) git: RawGit,
    pub(super) guard: RawGuard,
    pub(super) auth: RawAuth,
    pub(super) changelog: RawChangelog,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNats {
    pub(super) url: String,
    pub(super) credentials: Option<PathBuf>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) token: Option<String>,
    pub(super) replicas: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRepo {
    pub(super) remote: Option<String>,
    pub(super) target: String,
    pub(super) targets: Vec<String>,
    pub(super) poll: String,
    pub(super) ssh_command: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGate {
    pub(super) command: Option<String>,
    pub(super) timeout: Option<String>,
    pub(super) environment: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRunner {
    pub(super) slots: u32,
    pub(super) pass_env: Vec<String>,
    pub(super) labels: Vec<String>,
    pub(super) cpu: Option<u32>,
    pub(super) mem: Option<String>,
    pub(super) cache_dir: Option<PathBuf>,
    pub(super) disk: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawState {
    pub(super) dir: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawQueue {
    pub(super) window_min: Option<u32>,
    pub(super) window_max: Option<u32>,
    pub(super) ageing: String,
    pub(super) max_pending: usize,
    pub(super) max_pending_per_agent: usize,
    pub(super) max_lost_runs: u32,
    pub(super) base_red: String,
    pub(super) stall_grace: String,
    pub(super) overlap: String,
    pub(super) definitions: String,
    pub(super) batch: u32,
    pub(super) guarantee: String,
    pub(super) least_chance: f64,
    pub(super) cycles: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIntake {
    pub(super) poison_after: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGit {
    pub(super) cross_check: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGuard {
    pub(super) takes_back: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAuth {
    pub(super) bind_agent_to_subject: bool,
    pub(super) trusted_runners: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawChangelog {
    pub(super) enabled: bool,
    pub(super) path: String,
    pub(super) template: String,
}
