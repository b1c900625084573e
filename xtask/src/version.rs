use std::fmt;

/// A version of a server, without what may follow the three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) patch: u32,
}

impl Version {
    /// Finds the first word that is a version: `nats-server: v2.15.1`, `2.9.10-1+b3`, `2.12`.
    pub(crate) fn find(text: &str) -> Option<Version> {
        text.split_whitespace().find_map(Version::of_word)
    }

    fn of_word(word: &str) -> Option<Version> {
        let word = word.strip_prefix('v').unwrap_or(word);
        // A Debian version may start with an epoch, `1:2.12.0-1`.
        let word = word.split_once(':').map_or(word, |(_, rest)| rest);
        let numbers = word.split(['-', '+', '~']).next().unwrap_or(word);
        let mut parts = numbers.split('.').map(|part| part.parse::<u32>().ok());
        let (major, minor) = (parts.next()??, parts.next()??);
        let patch = parts.next().unwrap_or(Some(0))?;
        parts.next().is_none().then_some(Version { major, minor, patch })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn versions_are_found_in_what_programs_print() {
        let found = |text: &str| Version::find(text).map(|v| v.to_string());
        assert_eq!(found("nats-server: v2.15.1\n").as_deref(), Some("2.15.1"));
        assert_eq!(found("nats-server: v2.12.0-RC.1").as_deref(), Some("2.12.0"));
        assert_eq!(found("  Candidate: 2.9.10-1+b3").as_deref(), Some("2.9.10"));
        assert_eq!(found("1:2.12-1").as_deref(), Some("2.12.0"));
        assert_eq!(found("Candidate: (none)"), None);
        assert_eq!(found("v2.x.1 4 1.2.3.4"), None);
    }

    #[test]
    fn ten_is_more_than_nine() {
        assert!(Version::find("2.9.10") < Version::find("2.12.0"));
    }
}
