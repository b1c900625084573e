use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use yardmaster_protocol::{AgentName, BranchName, Gate};

/// How the queue is to be run. An argument of every decision, never part of the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Where a request lands that names no target.
    pub default_target: BranchName,
    /// Every branch that is served, the default one among them.
    pub targets: BTreeSet<BranchName>,
    /// What must be green.
    pub gate: GateRule,
    /// The least number of requests that are tested at the same time, at least 1.
    pub window_min: u32,
    /// The greatest.
    pub window_max: u32,
    /// After each such time of waiting a request counts one class better, in milliseconds.
    pub ageing_ms: u64,
    /// Announcements beyond so many pending requests are refused.
    pub max_pending: usize,
    /// Announcements of one agent beyond so many pending requests of its own are refused.
    #[serde(default = "max_pending_per_agent")]
    pub max_pending_per_agent: usize,
    /// So many runs of one candidate may be lost before its request is given up.
    pub max_lost_runs: u32,
    /// The subject's token must be the announcing agent.
    pub bind_agent_to_subject: bool,
    /// Keep a changelog in the merge commits.
    pub changelog: Option<ChangelogPolicy>,
    /// What a red tip means for requests.
    #[serde(default)]
    pub base_red: BaseRed,
    /// Beyond what runs take, something has to end within so many milliseconds.
    #[serde(default = "stall_grace_ms")]
    pub stall_grace_ms: u64,
    /// Which requests are kept apart.
    #[serde(default)]
    pub overlap: Overlap,
    /// What it means that two meet at a definition.
    #[serde(default)]
    pub definitions: Definitions,
    /// Runs that can go on at the same time, wherever the runners are; 0: not known, then the window counts.
    #[serde(default)]
    pub slots: u32,
    /// The most requests that land on one run; 1: each one is tested itself.
    #[serde(default = "one")]
    pub batch_max: u32,
    /// Which commits on the target were tested themselves.
    #[serde(default)]
    pub guarantee: Guarantee,
    /// Agents whose word that a gate has passed counts.
    pub trusted: BTreeSet<AgentName>,
    /// No run is started of which it is less likely, in thousandths, that what it stands on lands.
    #[serde(default = "least_chance")]
    pub least_chance: u16,
    /// What becomes of requests that depend on each other in a circle.
    #[serde(default)]
    pub cycles: Cycles,
}

/// Which commits on the target were tested themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// Every commit on the first-parent history: a batch lands beneath one merge commit.
    #[default]
    EveryCommit,
    /// The tip of every push.
    EveryPush,
}

/// What becomes of requests that depend on each other in a circle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cycles {
    /// They wait, and are told of the circle.
    #[default]
    Refuse,
    /// They are tested together once, and land together or not at all.
    Bundle,
}

fn one() -> u32 {
    1
}

fn least_chance() -> u16 {
    50
}

/// What it means that two requests meet at a definition, by their source code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Definitions {
    /// Nobody reads any.
    #[default]
    Off,
    /// It is told, and among equals those go first that meet fewer others.
    Advise,
    /// The later one waits until the earlier one is decided.
    Enforce,
}

/// Which requests are kept apart: the later one waits until the earlier one is decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Those that do not merge with each other. What merges is tested on top of each other.
    #[default]
    Textual,
    /// Those that touch the same file, too.
    Files,
    /// Those that touch the same system or the same file, too.
    Systems,
}

fn stall_grace_ms() -> u64 {
    60_000
}

/// What it means for requests that the target's own tip is red.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseRed {
    /// Who is red in a step that the tip does not pass either is not blamed, but waits until the target moves;
    /// who is green lands.
    #[default]
    Differential,
    /// Nothing is tested and nothing lands until somebody else moves the target.
    Block,
    /// The tip is never tested: who is red on top of it is blamed.
    Ignore,
}

/// Where the gate's definition comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateRule {
    /// From `.yardmaster.toml` at the tip of the target.
    FromTarget,
    /// From our own configuration; no steps: everything is green.
    Fixed(Gate),
}

/// How the changelog is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangelogPolicy {
    /// The file, from the root.
    pub path: String,
    /// One line; `{requirement}`, `{title}`, `{agent}`, `{branch}` and `{request}` are replaced.
    pub template: String,
}

fn max_pending_per_agent() -> usize {
    256
}

impl Policy {
    /// The defaults for one target.
    pub fn new(target: BranchName) -> Policy {
        Policy {
            targets: BTreeSet::from([target.clone()]),
            default_target: target,
            gate: GateRule::FromTarget,
            window_min: 2,
            window_max: 8,
            ageing_ms: 30 * 60 * 1_000,
            max_pending: 20_000,
            max_pending_per_agent: max_pending_per_agent(),
            max_lost_runs: 3,
            bind_agent_to_subject: false,
            changelog: None,
            base_red: BaseRed::default(),
            stall_grace_ms: stall_grace_ms(),
            overlap: Overlap::default(),
            slots: 0,
            batch_max: one(),
            guarantee: Guarantee::default(),
            trusted: BTreeSet::new(),
            least_chance: least_chance(),
            cycles: Cycles::default(),
            definitions: Definitions::default(),
        }
    }

    /// No gate by the operator's own word: everything that merges is green.
    pub(crate) fn is_ungated(&self) -> bool {
        matches!(&self.gate, GateRule::Fixed(gate) if gate.steps.is_empty())
    }
}
