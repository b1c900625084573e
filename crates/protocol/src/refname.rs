use std::fmt;

/// The rule that a branch name breaks; reads well after the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRefName {
    /// Nothing there.
    Empty,
    /// Over 240 bytes.
    TooLong,
    /// Would be read as an option by a program.
    LeadingDash,
    /// A control character, a space, or one of `~ ^ : ? * [ \`.
    Character(char),
    /// `..`, `@{`, `//`, or a name that is just `@` or `HEAD`.
    Sequence(&'static str),
    /// A part starts with a dot, or ends with a dot or `.lock`; or the name starts or ends with `/`.
    Part,
    /// A full reference name instead of a branch.
    FullName,
}

impl fmt::Display for BadRefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong => f.write_str("is longer than 240 bytes"),
            Self::LeadingDash => f.write_str("starts with `-`, which a program could take for an option"),
            Self::Character(c) if c.is_control() => f.write_str("contains a control character"),
            Self::Character(c) => write!(f, "contains `{c}`, which git does not allow in a branch name"),
            Self::Sequence(s) => write!(f, "contains `{s}`, which git does not allow in a branch name"),
            Self::Part => f.write_str(
                "has a part that git does not allow (a leading or trailing dot or slash, or `.lock`)",
            ),
            Self::FullName => f.write_str("is a full reference name: give the branch without `refs/heads/`"),
        }
    }
}

/// Git's rules for a branch (`git help check-ref-format`), and ours: printable, bounded, never an option.
pub(crate) fn check(name: &str) -> Result<(), BadRefName> {
    if name.is_empty() {
        return Err(BadRefName::Empty);
    }
    if name.len() > 240 {
        return Err(BadRefName::TooLong);
    }
    if name.starts_with('-') {
        return Err(BadRefName::LeadingDash);
    }
    if name == "HEAD" || name == "@" {
        return Err(BadRefName::Sequence(if name == "@" { "@" } else { "HEAD" }));
    }
    if name.starts_with("refs/") {
        return Err(BadRefName::FullName);
    }
    let refused = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    if let Some(c) = name.chars().find(|c| refused(*c)) {
        return Err(BadRefName::Character(c));
    }
    if let Some(s) = ["..", "@{", "//"].into_iter().find(|s| name.contains(s)) {
        return Err(BadRefName::Sequence(s));
    }
    let part_is_bad =
        |p: &str| p.is_empty() || p.starts_with('.') || p.ends_with('.') || p.ends_with(".lock");
    if name.split('/').any(part_is_bad) {
        return Err(BadRefName::Part);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branch_names_by_the_rules_of_git_and_ours() {
        for good in ["main", "roy/req-012", "a/b/c", "feature@2", "ünïcode", "a.b", "x-"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "-x",
            "--upload-pack=x",
            "a..b",
            "a b",
            "a~1",
            "a^",
            "a:b",
            "+a:b",
            "a?",
            "a*",
            "a[",
            "a\\b",
            "a\nb",
            "a\0b",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.lock",
            "a.lock/b",
            "a.",
            "@",
            "HEAD",
            "a@{1}",
            "refs/heads/a",
            "\u{7f}",
            "\u{a0}x",
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(check(&"x".repeat(241)).is_err());
    }

    /// Everything that we let through, git lets through too.
    #[test]
    fn git_agrees() {
        for good in ["main", "roy/req-012", "feature@2", "ünïcode", "a.b", "x-", "a{b", "a'b\"c", "a|b;c"] {
            assert_eq!(check(good), Ok(()));
            let status = std::process::Command::new("git")
                .args(["check-ref-format", "--branch", good])
                .output()
                .expect("git runs");
            assert!(status.status.success(), "{good}");
        }
    }
}
