use std::collections::{BTreeMap, BTreeSet};

use yardmaster_protocol::{Gate, PROJECT_FILE, Project};

use crate::git::Files;

/// Which region of a toy tree holds the gate's version.
pub(crate) const GATE_REGION: &str = "gate";

/// A toy gate: its verdict is a pure function of the tree and of the gate's version.
#[derive(Debug, Clone, Default)]
pub(crate) struct GateRules {
    /// Red wherever they are, unless their fix is there too.
    pub(crate) red: BTreeSet<String>,
    /// Red only where both are.
    pub(crate) together: BTreeSet<(String, String)>,
    /// The first is red unless the second is there.
    pub(crate) unless: BTreeMap<String, String>,
    /// Red only for the second version of the gate.
    pub(crate) strict: BTreeSet<String>,
}

impl GateRules {
    /// The verdict of `gate` on a tree.
    pub(crate) fn is_green(&self, files: &Files, gate: &Gate) -> bool {
        let there = |name: &str| files.contains_key(&change_region(name));
        let broken = |name: &str| there(name) && !files.contains_key(&fix_region(name));
        let strict = gate.steps.iter().any(|s| s.run.ends_with('2'));
        let red = self.red.iter().any(|name| broken(name))
            || self.together.iter().any(|(a, b)| broken(a) && broken(b))
            || self.unless.iter().any(|(a, b)| broken(a) && !there(b))
            || (strict && self.strict.iter().any(|name| broken(name)));
        !red
    }
}

/// What the project file says in a toy tree besides the gate.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn rules(files: &Files) -> Result<Project, String> {
    let text = files.get(PROJECT_FILE).map(String::as_str).unwrap_or_default();
    Project::parse(text).map_err(|e| e.to_string())
}

/// What the project file says in a toy tree.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn project(files: &Files) -> Result<Project, String> {
    let gate = files.get(GATE_REGION).map(|version| Gate::command(&version_command(version)));
    Ok(Project { gate, ..rules(files)? })
}

fn version_command(version: &str) -> String {
    format!("gate {version}")
}

/// The file that a change adds.
pub(crate) fn change_region(name: &str) -> String {
    format!("changes/{name}")
}

/// The file that makes a red change green.
pub(crate) fn fix_region(name: &str) -> String {
    format!("fixes/{name}")
}
