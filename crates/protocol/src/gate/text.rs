use std::collections::BTreeMap;

use serde::Deserialize;

use super::{DEFAULT_STEP_TIMEOUT_MS, Gate, MAX_STEPS, PROJECT_FILE, Step};
use crate::{parse_bytes, parse_duration_ms};

/// The longest name of a label, a lock or a stage, in bytes.
const MAX_WORD: usize = 64;
/// The most labels or locks of one step.
const MAX_WORDS: usize = 16;
const MAX_ENVIRONMENT: usize = 256;
const MAX_CPU: u32 = 4_096;
const MAX_RETRY: u32 = 10;

/// Why a project file cannot be used; names the key and says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{PROJECT_FILE}: {0}")]
pub struct GateError(pub String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GateText {
    timeout: Option<String>,
    environment: Option<String>,
    #[serde(default)]
    steps: Vec<StepText>,
    run: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct StepText {
    name: Option<String>,
    run: String,
    timeout: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    labels: Vec<String>,
    when: Option<Vec<String>>,
    stage: Option<String>,
    after: Option<Vec<String>>,
    cpu: Option<u32>,
    mem: Option<String>,
    #[serde(default)]
    locks: Vec<String>,
    #[serde(default)]
    retry: u32,
}

impl GateText {
    pub(crate) fn gate(self) -> Result<Gate, GateError> {
        let declared = self.timeout.as_deref();
        let default_ms = timeout("gate.timeout", declared, DEFAULT_STEP_TIMEOUT_MS)?;
        let learns = declared.is_none();
        let mut steps = self.steps;
        if let Some(run) = self.run {
            if !steps.is_empty() {
                return Err(GateError("give either `gate.run` or `[[gate.steps]]`, not both".into()));
            }
            steps.push(StepText { run, ..StepText::default() });
        }
        if steps.is_empty() {
            return Err(GateError(
                "`[gate]` has no step: add `run = \"make test\"`, or `[[gate.steps]]` with `run`".into(),
            ));
        }
        if steps.len() > MAX_STEPS {
            return Err(GateError(format!("{} steps are too many; at most {MAX_STEPS}", steps.len())));
        }
        let environment = self.environment;
        let unfit = |text: &String| {
            text.trim().is_empty() || text.len() > MAX_ENVIRONMENT || text.chars().any(char::is_control)
        };
        if environment.as_ref().is_some_and(unfit) {
            return Err(GateError(format!(
                "`gate.environment` is not 1 to {MAX_ENVIRONMENT} printable characters, such as `rust-1.90`"
            )));
        }
        let step = |(i, text): (usize, StepText)| text.step(i, default_ms, learns);
        let steps: Vec<Step> = steps.into_iter().enumerate().map(step).collect::<Result<_, _>>()?;
        check_order(&steps)?;
        Ok(Gate { steps, environment })
    }
}

/// What `after` names stands before, once.
fn check_order(steps: &[Step]) -> Result<(), GateError> {
    for (place, step) in steps.iter().enumerate() {
        for name in step.after.iter().flatten() {
            let key = format!("gate.steps[{place}].after");
            let named = steps.iter().filter(|s| s.name == *name).count();
            let of_stage = |s: &Step| s.stage.as_ref() == Some(name);
            let staged = steps.iter().filter(|s| of_stage(s)).count();
            if named + staged == 0 {
                return Err(GateError(format!("`{key}`: no step and no stage is called `{name}`")));
            }
            if named > 1 || (named > 0 && staged > 0) {
                return Err(GateError(format!(
                    "`{key}`: `{name}` is more than one: give them names of their own"
                )));
            }
            if steps[place..].iter().any(|s| s.name == *name || of_stage(s)) {
                return Err(GateError(format!(
                    "`{key}`: `{name}` does not end before this step: move this step below it"
                )));
            }
        }
    }
    Ok(())
}

impl StepText {
    fn step(self, index: usize, default_ms: u64, learns: bool) -> Result<Step, GateError> {
        let key = |field: &str| format!("gate.steps[{index}].{field}");
        if self.run.trim().is_empty() {
            return Err(GateError(format!("`{}` is empty", key("run"))));
        }
        check_env(&key("env"), &self.env)?;
        check_words(&key("labels"), &self.labels)?;
        check_words(&key("locks"), &self.locks)?;
        if let Some(stage) = &self.stage {
            check_word(&key("stage"), stage)?;
        }
        if self.when.as_ref().is_some_and(Vec::is_empty) {
            return Err(GateError(format!("`{}` is empty: name a glob, or leave it out", key("when"))));
        }
        if let Some(cpu) = self.cpu.filter(|cpu| !(1..=MAX_CPU).contains(cpu)) {
            return Err(GateError(format!("`{}`: {cpu} is not 1 to {MAX_CPU} processors", key("cpu"))));
        }
        if self.retry > MAX_RETRY {
            return Err(GateError(format!("`{}`: {} is not 0 to {MAX_RETRY}", key("retry"), self.retry)));
        }
        let mem = self.mem.as_deref().map(|text| match parse_bytes(text) {
            Ok(0) => Err(GateError(format!("`{}` is zero", key("mem")))),
            Ok(bytes) => Ok(bytes),
            Err(why) => Err(GateError(format!("`{}`: {why}", key("mem")))),
        });
        Ok(Step {
            name: self.name.unwrap_or_else(|| format!("step-{}", index + 1)),
            run: self.run,
            learns_timeout: learns && self.timeout.is_none(),
            timeout_ms: timeout(&key("timeout"), self.timeout.as_deref(), default_ms)?,
            env: self.env,
            labels: self.labels,
            when: self.when.unwrap_or_default(),
            stage: self.stage,
            after: self.after,
            cpu: self.cpu.unwrap_or_default(),
            mem_bytes: mem.transpose()?.unwrap_or_default(),
            locks: self.locks,
            retry: self.retry,
        })
    }
}

fn check_env(key: &str, env: &BTreeMap<String, String>) -> Result<(), GateError> {
    let fits = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if let Some(name) = env.keys().find(|name| !fits(name)) {
        return Err(GateError(format!("`{key}` names `{name}`, which is no environment variable")));
    }
    if env.values().any(|value| value.contains('\0')) {
        return Err(GateError(format!("`{key}` has a value with a NUL in it")));
    }
    Ok(())
}

fn check_words(key: &str, words: &[String]) -> Result<(), GateError> {
    if words.len() > MAX_WORDS {
        return Err(GateError(format!("`{key}` has {} words; at most {MAX_WORDS}", words.len())));
    }
    words.iter().try_for_each(|word| check_word(key, word))
}

fn check_word(key: &str, word: &str) -> Result<(), GateError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.=/:@+".contains(c);
    if word.is_empty() || word.len() > MAX_WORD || !word.chars().all(fits) {
        let shown: String = word.escape_debug().take(MAX_WORD).collect();
        return Err(GateError(format!(
            "`{key}`: `{shown}` is not 1 to {MAX_WORD} letters, digits and `_-.=/:@+`"
        )));
    }
    Ok(())
}

fn timeout(key: &str, text: Option<&str>, default_ms: u64) -> Result<u64, GateError> {
    match text.map(parse_duration_ms) {
        None => Ok(default_ms),
        Some(Ok(0)) => Err(GateError(format!("`{key}` is zero"))),
        Some(Ok(ms)) => Ok(ms),
        Some(Err(why)) => Err(GateError(format!("`{key}`: {why}"))),
    }
}
