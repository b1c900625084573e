use std::collections::BTreeSet;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

use crate::project::MAX_PROJECT_BYTES;
use crate::{AgentName, MAX_GLOB_BYTES, MAX_GLOBS};

/// One line of a CODEOWNERS file, as far as agents are concerned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerRule {
    /// In the syntax of that file.
    pub pattern: String,
    /// The agents among the owners. None of them an agent: the paths have no owner here.
    pub owners: BTreeSet<AgentName>,
}

/// Who owns which paths: of all rules that fit a path the last one counts.
#[derive(Debug, Clone, Default)]
pub struct Owners {
    set: GlobSet,
    /// Of each glob of `set`, the rule that it is from.
    rule_of: Vec<usize>,
    rules: Vec<OwnerRule>,
}

/// Reads the text of a CODEOWNERS file.
///
/// # Errors
/// What is wrong, with the number of the line.
pub(crate) fn parse(text: &str) -> Result<Vec<OwnerRule>, String> {
    if text.len() > MAX_PROJECT_BYTES {
        return Err(format!("{} bytes are too many; at most {MAX_PROJECT_BYTES}", text.len()));
    }
    let mut rules = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut words = words(line).into_iter();
        let Some(pattern) = words.next() else { continue };
        let owners = words.filter_map(|word| AgentName::new(word.strip_prefix('@').unwrap_or(&word)).ok());
        let rule = OwnerRule { pattern, owners: owners.collect() };
        compile(std::slice::from_ref(&rule)).map_err(|why| format!("line {}: {why}", number + 1))?;
        rules.push(rule);
    }
    if rules.len() > MAX_GLOBS {
        return Err(format!("{} rules are too many; at most {MAX_GLOBS}: use wider ones", rules.len()));
    }
    Owners::new(&rules)?;
    Ok(rules)
}

/// Words by blanks, of which a backslash takes the meaning; the rest after a `#` is a comment.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let Some(word) = words.last_mut() else { break };
        match c {
            '\\' => word.extend(['\\'].into_iter().chain(chars.next())),
            '#' if word.is_empty() => break,
            c if c.is_whitespace() => words.push(String::new()),
            c => word.push(c),
        }
    }
    words.into_iter().filter(|w| !w.is_empty()).collect()
}

impl Owners {
    /// Makes rules ready.
    ///
    /// # Errors
    /// Which pattern cannot be used, and why.
    pub fn new(rules: &[OwnerRule]) -> Result<Owners, String> {
        let (set, rule_of) = compile(rules)?;
        Ok(Owners { set, rule_of, rules: rules.to_vec() })
    }

    /// Whether nobody owns anything.
    pub fn is_empty(&self) -> bool {
        self.rules.iter().all(|rule| rule.owners.is_empty())
    }

    /// The agents that own a path; none: nobody does.
    pub fn of(&self, path: &str) -> Option<&BTreeSet<AgentName>> {
        let last = self.set.matches(path).into_iter().filter_map(|glob| self.rule_of.get(glob)).max();
        let rule = last.and_then(|rule| self.rules.get(*rule));
        rule.map(|rule| &rule.owners).filter(|owners| !owners.is_empty())
    }
}

fn compile(rules: &[OwnerRule]) -> Result<(GlobSet, Vec<usize>), String> {
    let (mut set, mut rule_of) = (GlobSetBuilder::new(), Vec::new());
    for (index, rule) in rules.iter().enumerate() {
        let told =
            |why: &str| format!("pattern `{}` {why}", rule.pattern.chars().take(80).collect::<String>());
        for glob in globs(&rule.pattern).map_err(told)? {
            let built = GlobBuilder::new(&glob).literal_separator(true).backslash_escape(true).build();
            set.add(built.map_err(|e| told(&format!("cannot be used: {}", e.kind())))?);
            rule_of.push(index);
        }
    }
    let set = set.build().map_err(|e| format!("the patterns are too much together: {}", e.kind()))?;
    Ok((set, rule_of))
}

/// A pattern as globs from the root: without a slash before its end it fits at any depth, and what names a
/// folder stands for all that is below it.
fn globs(pattern: &str) -> Result<Vec<String>, &'static str> {
    if pattern.len() > MAX_GLOB_BYTES {
        return Err("is too long: at most 256 bytes are taken");
    }
    if pattern.starts_with('!') || pattern.contains(['[', ']', '{', '}']) {
        return Err("uses `!`, `[ ]` or `{ }`, which such files do not know");
    }
    let is_folder = pattern.ends_with('/');
    let path = pattern.strip_suffix('/').unwrap_or(pattern);
    let from_root = path.contains('/');
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) && !(path.is_empty() && is_folder) {
        return Err("is not a path from the root of the repository");
    }
    if path.is_empty() {
        return Ok(vec!["**".to_owned()]);
    }
    let path = if from_root { path.to_owned() } else { format!("**/{path}") };
    let below = format!("{path}/**");
    let last = path.rsplit('/').next().unwrap_or_default();
    Ok(match (is_folder, last.contains(['*', '?'])) {
        (true, _) => vec![below],
        (false, true) => vec![path],
        (false, false) => vec![path, below],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of GitHub's own page on such files, with agents for people.
    const EXAMPLES: &str = "\
# comment
*       @global-1 @global-2   # of everything
*.js    @js-owner
*.go docs@example.com
*.txt @octo-org/octocats
/build/logs/ @doctocat
docs/*  docs-1
apps/ @octocat
/docs/ @doctocat
/scripts/ @doctocat @octocat
**/logs @octocat
/apps/ @octocat
/apps/github
with\\ blank @blank
";

    fn owners() -> Owners {
        Owners::new(&parse(EXAMPLES).expect("parses")).expect("compiles")
    }

    #[test]
    fn the_last_rule_that_fits_counts() {
        let owners = owners();
        let of = |path: &str| {
            let names = owners.of(path).map(|o| o.iter().map(AgentName::as_str).collect::<Vec<_>>());
            names.unwrap_or_default().join(" ")
        };
        let cases = [
            ("README", "global-1 global-2"),
            ("deep/in/a.js", "js-owner"),
            ("main.go", ""),
            ("deep/a.txt", ""),
            ("build/logs/x/y", "octocat"),
            ("build/logs", "octocat"),
            ("docs/a", "doctocat"),
            ("sub/docs/a", "global-1 global-2"),
            ("sub/apps/x/y.js", "octocat"),
            ("apps/x", "octocat"),
            ("apps/github", ""),
            ("apps/github/x", ""),
            ("scripts/run", "doctocat octocat"),
            ("deeply/nested/logs/x", "octocat"),
            ("with blank", "blank"),
        ];
        for (path, expected) in cases {
            assert_eq!(of(path), expected, "{path}");
        }
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, line) in [("* @a\n!x @b", 2), ("a[b] @a", 1), ("\n\n/../x @a", 3), ("a//b @c", 1)] {
            let told = parse(text).expect_err(text);
            assert!(told.starts_with(&format!("line {line}: pattern `")), "{told}");
        }
        assert!(parse(&"x @a\n".repeat(MAX_GLOBS + 1)).is_err());
        assert!(parse("/ @root").is_ok_and(|rules| Owners::new(&rules).is_ok_and(|o| o.of("a/b").is_some())));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[ -~\n]{0,200}", path in "[a-z/*]{0,20}") {
            if let Ok(rules) = parse(&text) {
                let _ = Owners::new(&rules).map(|owners| owners.of(&path).is_some());
            }
        }
    }
}
