use std::fmt;

/// An invariant that a history broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant, in a few words.
    pub rule: &'static str,
    /// What was seen instead.
    pub found: String,
}

impl Violation {
    /// `rule` was broken: `found` was seen.
    pub fn new(rule: &'static str, found: impl Into<String>) -> Violation {
        Violation { rule, found: found.into() }
    }

    /// Ok when `holds`, else the violation with what `found` says.
    ///
    /// # Errors
    /// When it does not hold.
    pub fn unless(holds: bool, rule: &'static str, found: impl FnOnce() -> String) -> Result<(), Violation> {
        if holds { Ok(()) } else { Err(Violation::new(rule, found())) }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.found)
    }
}

impl std::error::Error for Violation {}
