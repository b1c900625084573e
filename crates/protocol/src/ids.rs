use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::refname;

/// A text that is not the id it was given as; the message reads well after "refused: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadId(pub String);

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident, $pattern:expr, $check:expr) => {
        $(#[$doc])*
        ///
        /// Shared: a copy costs no memory of its own.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses at the border.
            ///
            /// # Errors
            /// Says which rule the text breaks.
            pub fn new(text: impl Into<String>) -> Result<Self, BadId> {
                let text = text.into();
                let check: fn(&str) -> Result<(), BadId> = $check;
                check(&text)?;
                Ok(Self(text.into()))
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(d)?).map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $pattern})
            }
        }
    };
}

fn token(what: &str, text: &str, max: usize) -> Result<(), BadId> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if text.is_empty() || text.len() > max || !text.chars().all(fits) {
        return Err(BadId(format!(
            "{what} `{}` must be 1 to {max} characters of A-Z a-z 0-9 _ -",
            shown(text)
        )));
    }
    Ok(())
}

/// A text from outside, cut and stripped of control characters so that it can be printed.
fn shown(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

string_id!(
    /// Who announces work: one NATS subject token, `[A-Za-z0-9_-]{1,64}`.
    AgentName, "^[A-Za-z0-9_-]{1,64}$", |t| token("agent", t, 64)
);

string_id!(
    /// A branch without `refs/heads/`, valid by git's rules and safe as an argument.
    BranchName, "^[^-].{0,239}$",
    |t| refname::check(t).map_err(|why| BadId(format!("branch `{}` {why}", shown(t))))
);

string_id!(
    /// What a piece of work is for, such as `REQ-012`: 1 to 128 printable characters.
    Requirement, "^.{1,128}$",
    |t| {
        if t.trim().is_empty() || t.chars().count() > 128 || t.chars().any(char::is_control) {
            return Err(BadId(format!(
                "requirement `{}` must be 1 to 128 printable characters", shown(t)
            )));
        }
        Ok(())
    }
);

string_id!(
    /// One run of a gate on one candidate, unique per attempt.
    RunId, "^[A-Za-z0-9_-]{1,64}$", |t| token("run", t, 64)
);

string_id!(
    /// A runner on whatever machine, unique among those of one queue.
    RunnerName, "^[A-Za-z0-9_-]{1,64}$", |t| token("runner", t, 64)
);

string_id!(
    /// What a runner has and a step of a gate may need, such as `os=linux` or `gpu`.
    Label, "^[A-Za-z0-9_.=/:@+-]{1,64}$",
    |t| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-.=/:@+".contains(c);
        if t.is_empty() || t.len() > 64 || !t.chars().all(fits) {
            return Err(BadId(format!(
                "label `{}` must be 1 to 64 letters, digits and _ - . = / : @ +", shown(t)
            )));
        }
        Ok(())
    }
);

string_id!(
    /// The identity of a gate's definition: two gates with the same id ask for the same work.
    GateId, "^[A-Za-z0-9_-]{1,64}$", |t| token("gate", t, 64)
);

/// One merge request: `r1`, `r2`, … in the order in which the journal first named them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl FromStr for RequestId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        text.strip_prefix('r')
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .map(Self)
            .ok_or_else(|| BadId(format!("`{}` is not a request id such as r12", shown(text))))
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for RequestId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RequestId".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^r[0-9]+$"})
    }
}

/// A git object id, SHA-1, printed as 40 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub [u8; 20]);

impl ObjectId {
    /// The first ten digits, enough for people.
    pub fn short(&self) -> String {
        let mut hex = self.to_string();
        hex.truncate(10);
        hex
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ObjectId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId(format!("`{}` is not a full object id of 40 hex digits", shown(text)));
        if text.len() != 40 || !text.is_ascii() {
            return Err(bad());
        }
        let mut bytes = [0; 20];
        for (i, byte) in bytes.iter_mut().enumerate() {
            let pair = text.get(2 * i..2 * i + 2).ok_or_else(bad)?;
            if !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(bad());
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

macro_rules! object_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub ObjectId);

        impl $name {
            /// The first ten digits, enough for people.
            pub fn short(&self) -> String {
                self.0.short()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                text.parse().map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": "^[0-9a-f]{40}$"})
            }
        }
    };
}

object_id!(
    /// The id of a commit.
    CommitId
);
object_id!(
    /// The id of a tree: what a checkout contains, whatever its history.
    TreeId
);

/// The sequence of a message in the INTEGRATION stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct IntakeSeq(pub u64);

/// Where a fact stands in the journal: the record's stream sequence and its index in the record.
/// Printed `17.3`; it is the identity of the event that the fact causes.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct JournalPosition {
    /// Stream sequence of the record.
    pub record: u64,
    /// Index of the fact among all facts of the record.
    pub index: u32,
}

impl fmt::Display for JournalPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.record, self.index)
    }
}

impl FromStr for JournalPosition {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId(format!("`{}` is not a journal position such as 17.3", shown(text)));
        let (record, index) = text.split_once('.').ok_or_else(bad)?;
        Ok(Self { record: record.parse().map_err(|_| bad())?, index: index.parse().map_err(|_| bad())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_refuse_what_could_hurt_and_keep_what_is_fine() {
        assert!(AgentName::new("roy-2").is_ok());
        for bad in ["", "a.b", "a b", "a*", "a>", &"x".repeat(65), "né"] {
            assert!(AgentName::new(bad).is_err(), "{bad}");
        }
        assert!(Requirement::new("REQ-012").is_ok());
        for bad in ["", "  ", "a\nb", "\u{1b}[31m"] {
            assert!(Requirement::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!("r12".parse(), Ok(RequestId(12)));
        for bad in ["12", "r", "r-1", "r+1", "rx", "r99999999999999999999"] {
            assert!(bad.parse::<RequestId>().is_err(), "{bad}");
        }
        let hex = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(hex.parse::<CommitId>().map(|c| c.to_string()), Ok(hex.to_owned()));
        for bad in ["", "abc", &"g".repeat(40), &"+1".repeat(20), &"é".repeat(20)] {
            assert!(bad.parse::<CommitId>().is_err(), "{bad}");
        }
    }
}
