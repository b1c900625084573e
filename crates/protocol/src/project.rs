use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::codeowners::{self, OwnerRule};
use crate::gate::GateText;
use crate::globs::{Globs, MAX_GLOB_BYTES, MAX_GLOBS, PathFilter};
use crate::{AgentName, Gate, GateError, Priority};

/// The longest project file, in bytes: it stands in facts, its gate in jobs, each one message.
pub const MAX_PROJECT_BYTES: usize = 64 * 1024;
/// A mistake is told with its line, whatever its length; cut after so many characters.
const MAX_MISTAKE: usize = 1_000;
const MAX_SYSTEMS: usize = 64;
const MAX_SYSTEM_NAME: usize = 64;
const MAX_AGENTS: usize = 256;
const MAX_CLASS: u8 = 9;

/// What `.yardmaster.toml` says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// The gate, where the file has one.
    pub gate: Option<Gate>,
    /// Parts of the software by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub systems: BTreeMap<String, System>,
    /// Who may touch what.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scope: Scope,
    /// What has to be approved before it lands.
    #[serde(default, skip_serializing_if = "is_default")]
    pub review: ReviewRule,
    /// When two requests have nothing to do with each other.
    #[serde(default, skip_serializing_if = "is_default")]
    pub independence: Independence,
    /// What the file of code owners says, where the scope names one; the last rule that fits counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<OwnerRule>,
}

/// When two requests have nothing to do with each other: then neither is tested on top of the other, and what
/// was tested before the other one landed counts after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Independence {
    /// Never: every commit on the target is tested itself.
    #[default]
    None,
    /// When they touch no file in common.
    Files,
    /// When they touch no system in common, and both touch some.
    Systems,
}

/// A part of the software.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// Its paths, as [`Globs`].
    pub paths: Vec<String>,
    /// The class of work on it: 1 comes first, 9 last.
    pub priority: Priority,
}

/// Who may touch which paths, held against git's own diff.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Only for agents whose own `allow` names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protected: Vec<String>,
    /// For agents that are not listed.
    #[serde(default)]
    pub default: Access,
    /// The path of the file that says who owns what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codeowners: Option<String>,
    /// By agent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub agents: BTreeMap<AgentName, AgentScope>,
}

/// What an agent may touch of which nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Everything that is not protected.
    #[default]
    Allow,
    /// Nothing.
    Deny,
}

/// What one agent may touch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentScope {
    /// If present, only these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// Never these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

/// What needs an approval before it lands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewRule {
    /// Requests that touch one of these; nothing: none needs one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Whose verdicts count; nothing: everybody's.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub by: BTreeSet<AgentName>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProjectText {
    gate: Option<GateText>,
    #[serde(default)]
    systems: BTreeMap<String, SystemText>,
    #[serde(default)]
    scope: ScopeText,
    #[serde(default)]
    review: ReviewText,
    #[serde(default)]
    independence: IndependenceText,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct IndependenceText {
    #[serde(default)]
    by: Independence,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SystemText {
    paths: Vec<String>,
    priority: Option<u8>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ScopeText {
    #[serde(default)]
    protected: Vec<String>,
    #[serde(default)]
    default: Access,
    codeowners: Option<String>,
    #[serde(default)]
    agents: BTreeMap<String, AgentScope>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ReviewText {
    required: Option<bool>,
    paths: Option<Vec<String>>,
    #[serde(default)]
    by: Vec<String>,
}

impl Project {
    /// Reads the text of `.yardmaster.toml`.
    ///
    /// # Errors
    /// What is wrong, with line and column where the text itself is broken.
    pub fn parse(text: &str) -> Result<Project, GateError> {
        if text.len() > MAX_PROJECT_BYTES {
            return Err(GateError(format!(
                "{} bytes are too many; at most {MAX_PROJECT_BYTES}: move what is long into scripts",
                text.len()
            )));
        }
        Project::read(text).map_err(|GateError(why)| GateError(why.chars().take(MAX_MISTAKE).collect()))
    }

    fn read(text: &str) -> Result<Project, GateError> {
        let parsed: ProjectText =
            toml::from_str(text).map_err(|e| GateError(e.to_string().trim_end().to_owned()))?;
        let project = Project {
            gate: parsed.gate.map(GateText::gate).transpose()?,
            systems: systems(parsed.systems)?,
            scope: parsed.scope.scope()?,
            review: parsed.review.rule()?,
            independence: parsed.independence.by,
            owners: Vec::new(),
        };
        project.check_globs()?;
        Ok(project)
    }

    /// The same with what the file of code owners says, which the caller has read at the same commit.
    ///
    /// # Errors
    /// When it is not there, or which line of it cannot be used.
    pub fn with_owners(mut self, text: Option<&str>) -> Result<Project, GateError> {
        let Some(path) = &self.scope.codeowners else { return Ok(self) };
        let told = |why: String| {
            let why: String = why.chars().take(MAX_MISTAKE).collect();
            GateError(format!("`scope.codeowners`: `{path}` {why}"))
        };
        let text = text.ok_or_else(|| told("is not there".to_owned()))?;
        self.owners = codeowners::parse(text).map_err(|why| told(format!("cannot be used: {why}")))?;
        Ok(self)
    }

    /// The systems that `files` belong to.
    pub fn systems_of(&self, files: &[String]) -> BTreeSet<String> {
        let touched = |system: &System| {
            Globs::new(&system.paths).is_ok_and(|globs| files.iter().any(|f| globs.matches(f)))
        };
        self.systems.iter().filter(|(_, s)| touched(s)).map(|(name, _)| name.clone()).collect()
    }

    /// The best class among `systems`: each one's own, else what its name usually stands for. None when
    /// none of them has any.
    pub fn class_of<'a>(&self, systems: impl IntoIterator<Item = &'a String>) -> Option<Priority> {
        let class =
            |name: &String| self.systems.get(name).map(|s| s.priority).or_else(|| Priority::of_name(name));
        systems.into_iter().filter_map(class).min()
    }

    /// Every list of globs, with the key that it stands under.
    fn globs(&self) -> Vec<(String, &Vec<String>)> {
        let systems = self.systems.iter().map(|(name, s)| (format!("systems.{name}.paths"), &s.paths));
        let agents = self.scope.agents.iter().flat_map(|(agent, scope)| {
            let allow = scope.allow.iter().map(move |a| (format!("scope.agents.{agent}.allow"), a));
            allow.chain([(format!("scope.agents.{agent}.deny"), &scope.deny)])
        });
        let single = [("scope.protected", &self.scope.protected), ("review.paths", &self.review.paths)];
        let single = single.into_iter().map(|(key, list)| (key.to_owned(), list));
        systems.chain(agents).chain(single).collect()
    }

    /// Every list of globs that may have `!` in front.
    fn filters(&self) -> impl Iterator<Item = (String, &Vec<String>)> {
        let steps = self.gate.iter().flat_map(|gate| gate.steps.iter().enumerate());
        steps.map(|(i, step)| (format!("gate.steps[{i}].when"), &step.when))
    }

    fn check_globs(&self) -> Result<(), GateError> {
        let lists = self.globs();
        let filters: Vec<_> = self.filters().collect();
        let count: usize = lists.iter().chain(&filters).map(|(_, list)| list.len()).sum();
        if count > MAX_GLOBS {
            return Err(GateError(format!(
                "{count} globs are too many; at most {MAX_GLOBS}: use wider ones"
            )));
        }
        for (key, list) in lists {
            Globs::new(list).map_err(|why| GateError(format!("`{key}`: {why}")))?;
        }
        for (key, list) in filters {
            PathFilter::new(list).map_err(|why| GateError(format!("`{key}`: {why}")))?;
        }
        Ok(())
    }
}

fn systems(texts: BTreeMap<String, SystemText>) -> Result<BTreeMap<String, System>, GateError> {
    if texts.len() > MAX_SYSTEMS {
        return Err(GateError(format!("{} systems are too many; at most {MAX_SYSTEMS}", texts.len())));
    }
    let system = |(name, text): (String, SystemText)| {
        if name.is_empty() || name.len() > MAX_SYSTEM_NAME || name.chars().any(char::is_control) {
            return Err(GateError(format!(
                "`systems` has a name that is not 1 to {MAX_SYSTEM_NAME} printable characters"
            )));
        }
        if text.paths.is_empty() {
            return Err(GateError(format!("`systems.{name}.paths` is empty: name at least one glob")));
        }
        let priority = match text.priority {
            None => Priority::of_name(&name).unwrap_or(Priority::BACKEND),
            Some(class @ 1..=MAX_CLASS) => Priority(class),
            Some(other) => {
                let key = format!("systems.{name}.priority");
                return Err(GateError(format!("`{key}`: {other} is not 1 (first) to {MAX_CLASS} (last)")));
            }
        };
        Ok((name, System { paths: text.paths, priority }))
    };
    texts.into_iter().map(system).collect()
}

impl ScopeText {
    fn scope(self) -> Result<Scope, GateError> {
        if self.agents.len() > MAX_AGENTS {
            let count = self.agents.len();
            return Err(GateError(format!("`scope.agents` has {count} agents; at most {MAX_AGENTS}")));
        }
        let named = |(name, scope): (String, AgentScope)| Ok((agent("scope.agents", &name)?, scope));
        let agents = self.agents.into_iter().map(named).collect::<Result<_, GateError>>()?;
        let codeowners = self.codeowners;
        if codeowners.as_ref().is_some_and(|path| !is_plain_path(path)) {
            return Err(GateError(
                "`scope.codeowners` is not a path from the root of the repository, such as `.github/CODEOWNERS`"
                    .into(),
            ));
        }
        Ok(Scope { protected: self.protected, default: self.default, codeowners, agents })
    }
}

impl ReviewText {
    fn rule(self) -> Result<ReviewRule, GateError> {
        let paths = match (self.required, self.paths) {
            (Some(false), Some(_)) => {
                return Err(GateError(
                    "`review.required` is false and `review.paths` names some: leave one of them out".into(),
                ));
            }
            (_, Some(paths)) if paths.is_empty() => {
                return Err(GateError(
                    "`review.paths` is empty: write `required = true` for all paths, or name some".into(),
                ));
            }
            (_, Some(paths)) => paths,
            (Some(true), None) => vec!["**".to_owned()],
            (Some(false) | None, None) => Vec::new(),
        };
        if self.by.len() > MAX_AGENTS {
            return Err(GateError(format!("`review.by` has {} agents; at most {MAX_AGENTS}", self.by.len())));
        }
        let by = self.by.iter().map(|name| agent("review.by", name)).collect::<Result<_, _>>()?;
        Ok(ReviewRule { paths, by })
    }
}

fn is_plain_path(path: &str) -> bool {
    path.len() <= MAX_GLOB_BYTES
        && !path.contains(|c: char| c.is_control())
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn agent(key: &str, name: &str) -> Result<AgentName, GateError> {
    AgentName::new(name).map_err(|why| GateError(format!("`{key}`: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
        [gate]
        run = "make test"
        [systems.backend]
        paths = ["api/**", "server/**"]
        [systems.web]
        paths = ["web/**"]
        priority = 7
        [scope]
        protected = [".yardmaster.toml", "deploy/**"]
        default = "deny"
        [scope.agents.roy]
        allow = ["api/**"]
        deny = ["api/secret/**"]
        [review]
        paths = ["api/**"]
        by = ["reviewer-1"]
    "#;

    fn files(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|p| (*p).to_owned()).collect()
    }

    #[test]
    fn a_project_file_maps_paths_to_systems_and_these_to_classes() {
        let project = Project::parse(FULL).expect("parses");
        let of = |paths: &[&str]| project.systems_of(&files(paths));
        assert_eq!(of(&["api/a.rs", "README.md"]), BTreeSet::from(["backend".to_owned()]));
        assert_eq!(of(&["web/x", "server/y"]).len(), 2);
        assert!(of(&["README.md"]).is_empty());
        assert_eq!(project.class_of(&of(&["web/x"])), Some(Priority(7)));
        assert_eq!(project.class_of(&of(&["web/x", "server/y"])), Some(Priority::BACKEND));
        assert_eq!(project.class_of(&of(&[])), None);
        assert_eq!(project.class_of(&files(&["infra", "unheard-of"])), Some(Priority::INFRASTRUCTURE));
    }

    #[test]
    fn what_older_journals_hold_is_read_and_what_is_written_is_read_back() {
        let old: Project = serde_json::from_str(r#"{"gate":null}"#).expect("is read");
        assert_eq!(old, Project::default());
        assert_eq!(serde_json::to_string(&old).ok().as_deref(), Some(r#"{"gate":null}"#));
        let full = Project::parse(FULL).expect("parses");
        let written = serde_json::to_vec(&full).expect("is written");
        assert_eq!(serde_json::from_slice::<Project>(&written).ok(), Some(full));
    }

    #[test]
    fn review_is_asked_for_everywhere_or_for_paths() {
        let paths = |text: &str| Project::parse(text).expect(text).review.paths;
        assert_eq!(paths("[review]\nrequired = true"), ["**"]);
        assert_eq!(paths("[review]\nrequired = true\npaths = [\"api/**\"]"), ["api/**"]);
        assert!(paths("[review]\nrequired = false").is_empty() && paths("").is_empty());
    }

    #[test]
    fn mistakes_are_named() {
        let many = format!("[scope]\nprotected = {:?}", vec!["x"; MAX_GLOBS + 1]);
        let texts = [
            "[system.backend]\npaths = [\"api\"]",
            "[systems.backend]\npriority = 2",
            "[systems.backend]\npaths = []",
            "[systems.backend]\npaths = [\"api\"]\npriority = 10",
            "[systems.backend]\npaths = [\"./api\"]",
            "[scope]\nprotected = [\"{a\"]",
            "[scope]\ndefault = \"maybe\"",
            "[scope]\ncodeowners = \"../CODEOWNERS\"",
            "[scope.agents.\"a b\"]\nallow = []",
            "[scope.agents.roy]\nallows = []",
            "[review]\nrequired = false\npaths = [\"api\"]",
            "[review]\npaths = []",
            "[review]\nby = [\"@x\"]",
            &many,
        ];
        let printed: Vec<String> =
            texts.iter().map(|t| Project::parse(t).expect_err(t).to_string()).collect();
        insta::assert_snapshot!(printed.join("\n---\n"));
    }

    #[test]
    fn the_file_of_code_owners_must_be_there_where_it_is_named() {
        let named = Project::parse("[scope]\ncodeowners = \"CODEOWNERS\"").expect("parses");
        let told = |text| named.clone().with_owners(text).map_err(|e| e.to_string());
        assert_eq!(told(Some("* @roy\n")).map(|p| p.owners.len()), Ok(1));
        let missing = ".yardmaster.toml: `scope.codeowners`: `CODEOWNERS` is not there";
        assert_eq!(told(None), Err(missing.to_owned()));
        assert!(told(Some("! CODEOWNERS is larger than 64 KiB\n")).is_err_and(|why| why.contains("line 1")));
        assert_eq!(Project::default().with_owners(Some("* @roy")), Ok(Project::default()));
    }

    /// A file may be full of globs, and is read again whenever the target moves.
    #[test]
    fn the_most_globs_that_fit_are_read() {
        let globs: Vec<String> = (0..MAX_GLOBS).map(|i| format!("{{a,b}}/**/x{i}*/[a-z]?.rs")).collect();
        let text = format!("[scope]\nprotected = {globs:?}");
        let project = Project::parse(&text).expect("parses");
        assert_eq!(project.scope.protected.len(), MAX_GLOBS);
    }
}
