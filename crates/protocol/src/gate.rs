use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{GateId, Label};

mod text;

pub use text::GateError;
pub(crate) use text::GateText;

/// The file at the tip of the target that defines the gate and the other rules of the project.
pub const PROJECT_FILE: &str = ".yardmaster.toml";
/// How long a step may take when the project does not say: 30 minutes.
pub const DEFAULT_STEP_TIMEOUT_MS: u64 = 30 * 60 * 1_000;
/// The most steps that a gate may have.
pub const MAX_STEPS: usize = 64;

/// What must be green before a candidate lands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gate {
    /// One after the other, unless they say otherwise; the first red one ends the run. None: everything
    /// is green.
    pub steps: Vec<Step>,
    /// What else verdicts depend on, such as a toolchain or an image: where it changes, nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
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
    /// What a runner must have to run it, such as `gpu` or `os=linux`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// It runs only where one of these paths differs from a tip that is known to be green; read as
    /// [`PathFilter`](crate::PathFilter). None: always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<String>,
    /// Steps of one stage run at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The steps or stages that must be green before it starts. Missing: all that stand before it, but those of
    /// its own stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<String>>,
    /// Processors that it takes of the host's, while it runs; 0: it is not counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cpu: u32,
    /// Memory that it takes of the host's, while it runs, in bytes; 0: it is not counted.
    #[serde(default, skip_serializing_if = "is_none")]
    pub mem_bytes: u64,
    /// Only one step on a host holds a lock of such a name at a time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<String>,
    /// How often a red run of it may be repeated before it counts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry: u32,
    /// Nobody has declared `timeout_ms`, so a shorter one may be learned from runs. No part of the gate's
    /// identity.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub learns_timeout: bool,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn is_none(bytes: &u64) -> bool {
    *bytes == 0
}

impl Step {
    /// A step that only says what to run.
    pub fn command(name: &str, run: &str) -> Step {
        Step {
            name: name.to_owned(),
            run: run.to_owned(),
            timeout_ms: DEFAULT_STEP_TIMEOUT_MS,
            env: BTreeMap::new(),
            labels: Vec::new(),
            when: Vec::new(),
            stage: None,
            after: None,
            cpu: 0,
            mem_bytes: 0,
            locks: Vec::new(),
            retry: 0,
            learns_timeout: false,
        }
    }
}

impl Gate {
    /// A gate of one command.
    pub fn command(run: &str) -> Gate {
        Gate { steps: vec![Step::command("gate", run)], environment: None }
    }

    /// The identity of the definition; verdicts are kept by it. Made of what is set only, so that a gate keeps
    /// its identity when a version of ours has more to set.
    pub fn id(&self) -> GateId {
        let text = if self.steps.is_empty() {
            "none".to_owned()
        } else {
            let mut steps = self.steps.clone();
            steps.iter_mut().for_each(|step| step.learns_timeout = false);
            let mut hash = Sha256::new();
            hash.update(serde_json::to_vec(&steps).unwrap_or_default());
            if let Some(environment) = &self.environment {
                hash.update(b"\n");
                hash.update(environment);
            }
            hash.finalize().iter().take(6).map(|b| format!("{b:02x}")).collect()
        };
        GateId::new(text).unwrap_or_else(|_| unreachable!("hex digits are a token"))
    }

    /// What a runner must have to run all of it.
    pub fn needs(&self) -> BTreeSet<Label> {
        self.steps.iter().flat_map(|s| &s.labels).filter_map(|label| Label::new(label).ok()).collect()
    }

    /// The longest that a run may take by its own limits, in milliseconds.
    pub fn timeout_ms(&self) -> u64 {
        self.steps.iter().map(|s| s.timeout_ms).fold(0, u64::saturating_add)
    }

    /// For each step the places of those that must be green before it starts, all of them before its own
    /// place. What a step names and nobody has stands for all that are before it.
    pub fn waits(&self) -> Vec<Vec<usize>> {
        let step = |(place, step): (usize, &Step)| -> Vec<usize> {
            let before = &self.steps[..place];
            let Some(names) = &step.after else {
                let other = |s: &Step| step.stage.is_none() || s.stage != step.stage;
                return (0..place).filter(|i| other(&before[*i])).collect();
            };
            let called = |s: &Step, name: &String| s.name == *name || s.stage.as_ref() == Some(name);
            if names.iter().any(|name| !before.iter().any(|s| called(s, name))) {
                return (0..place).collect();
            }
            (0..place).filter(|i| names.iter().any(|name| called(&before[*i], name))).collect()
        };
        self.steps.iter().enumerate().map(step).collect()
    }

    /// Whether the step called `first` is green whenever the one called `then` has started.
    pub fn is_before(&self, first: &str, then: &str) -> bool {
        let place = |name: &str| self.steps.iter().position(|s| s.name == name);
        let (Some(first), Some(then)) = (place(first), place(then)) else { return false };
        let waits = self.waits();
        let mut needed = vec![false; self.steps.len()];
        needed[then] = true;
        for at in (0..=then).rev().filter(|at| *at > first) {
            if needed[at] {
                waits[at].iter().for_each(|w| needed[*w] = true);
            }
        }
        first < then && needed[first]
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

    /// Verdicts are kept by it in journals that are there already.
    #[test]
    fn a_gate_keeps_its_identity_and_what_is_set_counts() {
        assert_eq!(Gate::command("make test").id().as_str(), "0f676cc00666");
        let parse = |text: &str| Project::parse(text).expect(text).gate.expect("has a gate");
        let plain = parse("[[gate.steps]]\nname = \"gate\"\nrun = \"make test\"");
        assert!(plain.steps[0].learns_timeout, "nobody has declared a timeout");
        assert_eq!(plain.id(), Gate::command("make test").id());
        for more in [
            "[gate]\nenvironment = \"rust-1.90\"",
            "when = [\"api/**\"]",
            "stage = \"fast\"",
            "after = []",
            "cpu = 2",
            "mem = \"2GiB\"",
            "locks = [\"database\"]",
            "labels = [\"os=linux\"]",
            "retry = 1",
        ] {
            let step = "[[gate.steps]]\nname = \"gate\"\nrun = \"make test\"\n";
            let text =
                if more.starts_with('[') { format!("{more}\n{step}") } else { format!("{step}{more}") };
            let gate = parse(&text);
            assert_ne!(gate.id(), plain.id(), "{more}");
            let json = serde_json::to_string(&gate).expect("json");
            assert_eq!(serde_json::from_str::<Gate>(&json).expect(&json), gate);
        }
    }

    fn ordered(steps: &[(&str, &str, Option<&[&str]>)]) -> Gate {
        let step = |(name, stage, after): &(&str, &str, Option<&[&str]>)| Step {
            stage: (!stage.is_empty()).then(|| (*stage).to_owned()),
            after: after.map(|names| names.iter().map(|n| (*n).to_owned()).collect()),
            ..Step::command(name, "true")
        };
        Gate { steps: steps.iter().map(step).collect(), environment: None }
    }

    #[test]
    fn steps_follow_each_other_unless_they_say_otherwise() {
        let plain = ordered(&[("a", "", None), ("b", "", None), ("c", "", None)]);
        assert_eq!(plain.waits(), [vec![], vec![0], vec![0, 1]]);
        let staged =
            ordered(&[("a", "fast", None), ("b", "fast", None), ("c", "", None), ("d", "fast", None)]);
        assert_eq!(staged.waits(), [vec![], vec![], vec![0, 1], vec![2]]);
        let named = ordered(&[
            ("a", "", None),
            ("b", "", Some(&[])),
            ("c", "x", Some(&["a"])),
            ("d", "x", Some(&["a", "b"])),
            ("e", "", Some(&["x"])),
            ("f", "", Some(&["nobody"])),
        ]);
        assert_eq!(named.waits(), [vec![], vec![], vec![0], vec![0, 1], vec![2, 3], vec![0, 1, 2, 3, 4]]);
        assert!(named.is_before("a", "e") && named.is_before("b", "e") && named.is_before("a", "c"));
        assert!(!named.is_before("b", "c") && !named.is_before("c", "d") && !named.is_before("e", "a"));
        assert!(!named.is_before("a", "a") && !named.is_before("nobody", "a"));
        assert!(plain.is_before("a", "c") && !plain.is_before("c", "a"));
    }

    #[test]
    fn mistakes_of_order_and_resources_are_named() {
        let step = |more: &str| format!("[[gate.steps]]\nname = \"a\"\nrun = \"x\"\n{more}\n");
        let texts = [
            step("after = [\"b\"]"),
            step("after = [\"a\"]"),
            format!("{}{}{}", step(""), step(""), "[[gate.steps]]\nrun = \"x\"\nafter = [\"a\"]"),
            step("stage = \"a b\""),
            step("when = []"),
            step("when = [\"!\"]"),
            step("cpu = 0"),
            step("mem = \"lots\""),
            step("locks = [\"\"]"),
            step("labels = [\"a,b\"]"),
            step("retry = 100"),
            format!("[gate]\nenvironment = \"\"\n{}", step("")),
        ];
        let printed: Vec<String> =
            texts.iter().map(|t| Project::parse(t).expect_err(t).to_string()).collect();
        insta::assert_snapshot!(printed.join("\n---\n"));
    }
}
