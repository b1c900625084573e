use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{GateId, parse_duration_ms};

/// The file at the tip of the target that defines the gate and the other rules of the project.
pub const PROJECT_FILE: &str = ".yardmaster.toml";
/// How long a step may take when the project does not say: 30 minutes.
pub const DEFAULT_STEP_TIMEOUT_MS: u64 = 30 * 60 * 1_000;
/// The most steps that a gate may have.
pub const MAX_STEPS: usize = 64;

/// What must be green before a candidate lands: steps, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gate {
    /// In order; the first red one ends the run. None: everything is green.
    pub steps: Vec<Step>,
}

/// One command of a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// How people and events call it.
    pub name: String,
    /// A shell command, run by `sh -c` in the root of a checkout.
    pub run: String,
    /// The longest that it may take, in milliseconds.
    pub timeout_ms: u64,
    /// Set for this step on top of the scrubbed environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

impl Gate {
    /// A gate of one command.
    pub fn command(run: &str) -> Gate {
        Gate {
            steps: vec![Step {
                name: "gate".to_owned(),
                run: run.to_owned(),
                timeout_ms: DEFAULT_STEP_TIMEOUT_MS,
                env: BTreeMap::new(),
            }],
        }
    }

    /// The identity of the definition; verdicts are kept by it.
    pub fn id(&self) -> GateId {
        let text = if self.steps.is_empty() {
            "none".to_owned()
        } else {
            let definition = serde_json::to_vec(&self.steps).unwrap_or_default();
            Sha256::digest(definition).iter().take(6).map(|b| format!("{b:02x}")).collect()
        };
        GateId::new(text).unwrap_or_else(|_| unreachable!("hex digits are a token"))
    }

    /// The longest that a run may take by its own limits, in milliseconds.
    pub fn timeout_ms(&self) -> u64 {
        self.steps.iter().map(|s| s.timeout_ms).fold(0, u64::saturating_add)
    }
}

/// Why a project file cannot be used; names the key and says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{PROJECT_FILE}: {0}")]
pub struct GateError(pub String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GateText {
    timeout: Option<String>,
    #[serde(default)]
    steps: Vec<StepText>,
    run: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepText {
    name: Option<String>,
    run: String,
    timeout: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

impl GateText {
    pub(crate) fn gate(self) -> Result<Gate, GateError> {
        let default_ms = timeout("gate.timeout", self.timeout.as_deref(), DEFAULT_STEP_TIMEOUT_MS)?;
        let mut steps = self.steps;
        if let Some(run) = self.run {
            if !steps.is_empty() {
                return Err(GateError("give either `gate.run` or `[[gate.steps]]`, not both".into()));
            }
            steps.push(StepText { name: None, run, timeout: None, env: BTreeMap::new() });
        }
        if steps.is_empty() {
            return Err(GateError(
                "`[gate]` has no step: add `run = \"make test\"`, or `[[gate.steps]]` with `run`".into(),
            ));
        }
        if steps.len() > MAX_STEPS {
            return Err(GateError(format!("{} steps are too many; at most {MAX_STEPS}", steps.len())));
        }
        let step = |(i, text): (usize, StepText)| text.step(i, default_ms);
        Ok(Gate { steps: steps.into_iter().enumerate().map(step).collect::<Result<_, _>>()? })
    }
}

impl StepText {
    fn step(self, index: usize, default_ms: u64) -> Result<Step, GateError> {
        let key = |field: &str| format!("gate.steps[{index}].{field}");
        if self.run.trim().is_empty() {
            return Err(GateError(format!("`{}` is empty", key("run"))));
        }
        let fits = |name: &str| {
            !name.is_empty()
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if let Some(name) = self.env.keys().find(|name| !fits(name)) {
            return Err(GateError(format!(
                "`{}` names `{name}`, which is no environment variable",
                key("env")
            )));
        }
        if self.env.values().any(|value| value.contains('\0')) {
            return Err(GateError(format!("`{}` has a value with a NUL in it", key("env"))));
        }
        Ok(Step {
            name: self.name.unwrap_or_else(|| format!("step-{}", index + 1)),
            run: self.run,
            timeout_ms: timeout(&key("timeout"), self.timeout.as_deref(), default_ms)?,
            env: self.env,
        })
    }
}

fn timeout(key: &str, text: Option<&str>, default_ms: u64) -> Result<u64, GateError> {
    match text.map(parse_duration_ms) {
        None => Ok(default_ms),
        Some(Ok(0)) => Err(GateError(format!("`{key}` is zero"))),
        Some(Ok(ms)) => Ok(ms),
        Some(Err(why)) => Err(GateError(format!("`{key}`: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MAX_PROJECT_BYTES, Project};

    #[test]
    fn a_project_file_defines_the_gate() {
        let project = Project::parse(
            "[gate]\ntimeout = \"5m\"\n[[gate.steps]]\nname = \"unit\"\nrun = \"make test\"\n\
             [[gate.steps]]\nrun = \"make e2e\"\ntimeout = \"90s\"\nenv = { DB = \"x\" }\n",
        );
        let gate = project.expect("parses").gate.expect("has a gate");
        assert_eq!(gate.steps[0].timeout_ms, 300_000);
        assert_eq!((gate.steps[1].name.as_str(), gate.steps[1].timeout_ms), ("step-2", 90_000));
        assert_ne!(gate.id(), Gate::command("make test").id());
        assert_eq!(Gate::default().id().as_str(), "none");
    }

    /// What is told and what is run has to fit into one message, escaped.
    #[test]
    fn long_project_files_and_long_mistakes_are_cut() {
        let longest = format!("[gate]\nrun = '{}'", "\u{7f}".repeat(MAX_PROJECT_BYTES - 15));
        assert!(Project::parse(&longest).is_err_and(|e| e.to_string().len() < 8 * 1024));
        let printable = longest.replace('\u{7f}', "x");
        let gate = Project::parse(&printable).expect("parses").gate.expect("has a gate");
        assert!(serde_json::to_vec(&gate).is_ok_and(|json| json.len() < 400 * 1024));
        let over = format!("{printable}\n");
        assert!(Project::parse(&over).is_err_and(|e| e.to_string().contains("too many")));
        let mistake = "é".repeat(30_000);
        assert!(Project::parse(&mistake).is_err_and(|e| e.to_string().len() < 8 * 1024));
    }

    #[test]
    fn mistakes_are_named() {
        let texts = [
            "gate = 1",
            "[gate]\n",
            "[gate]\nrun = \"\"",
            "[gate]\nrun = \"x\"\ntimeout = \"soon\"",
            "[gate]\nrun = \"x\"\ntypo = 1",
            "[[gate.steps]]\nrun = \"x\"\nenv = { \"A B\" = \"1\" }",
        ];
        let printed: Vec<String> =
            texts.iter().map(|t| Project::parse(t).expect_err(t).to_string()).collect();
        insta::assert_snapshot!(printed.join("\n---\n"));
    }
}
