use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AgentName, BranchName, RequestId};

/// Two requests that meet at a definition: they may merge cleanly and break each other all the same. It is
/// advice, read from source code without resolving names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DefinitionMeeting {
    /// The one that altered it; where both did, either of them.
    pub one: RequestId,
    /// The other.
    pub other: RequestId,
    /// How they meet.
    pub meeting: MeetingKind,
    /// The definition: `Mirror::open`.
    pub symbol: String,
    /// A file in which it is, or was.
    pub path: String,
    /// The first file in which `other` newly uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_in: Option<String>,
}

/// How two requests meet at a definition, the most telling first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MeetingKind {
    /// One removes or renames what the other newly uses.
    RemovedAndUsed,
    /// Both add it, differently.
    BothAdded,
    /// One changes what users see of it, the other newly uses it.
    ChangedAndUsed,
    /// Both change it, differently; one of them may remove it.
    BothChanged,
}

/// What an event tells of a meeting with another request. The two merge; whether they work together nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Advice {
    /// The other request.
    pub with: RequestId,
    /// Who announced that.
    pub agent: AgentName,
    /// Where its work is.
    pub branch: BranchName,
    /// How they meet.
    pub meeting: MeetingKind,
    /// The definition: `Mirror::open`.
    pub symbol: String,
    /// Where it is, or was, and where it is newly used.
    pub paths: Vec<String>,
    /// The same as a sentence.
    pub sentence: String,
}

impl DefinitionMeeting {
    /// As a sentence, with other names for the two.
    pub fn told_of(&self, one: impl fmt::Display, other: impl fmt::Display) -> String {
        let DefinitionMeeting { symbol, path, .. } = self;
        let using = self.used_in.as_deref().unwrap_or("its files");
        match self.meeting {
            MeetingKind::RemovedAndUsed => {
                format!("{one} removes `{symbol}` from {path}, and {other} newly uses it in {using}")
            }
            MeetingKind::ChangedAndUsed => format!(
                "{one} changes the signature of `{symbol}` in {path}, and {other} newly uses it in {using}"
            ),
            MeetingKind::BothAdded => format!("{one} and {other} both add `{symbol}` in {path}"),
            MeetingKind::BothChanged => format!("{one} and {other} both change `{symbol}` in {path}"),
        }
    }
}

impl fmt::Display for DefinitionMeeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told_of(self.one, self.other))
    }
}

/// Source code of a request that was not read: it meets nobody there, whatever it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unread {
    /// Whose.
    pub request: RequestId,
    /// What of it.
    #[serde(flatten)]
    pub what: NotRead,
}

/// What was not read of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotRead {
    /// Why not.
    pub why: UnreadWhy,
    /// So many files were not read; not there where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u32>,
    /// The first of them, at most 3.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

/// Why source code was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnreadWhy {
    /// Too large, too many, no text, or not in time.
    LeftOut,
    /// A parser broke on it or did not come back, or the text cannot be had.
    Broke,
    /// The process that reads cannot be started.
    NoReader,
    /// What is kept of all requests together is as much as is kept.
    NoRoom,
}

/// What an event tells of source code that was not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnreadNotice {
    /// What of it.
    #[serde(flatten)]
    pub what: NotRead,
    /// The same as a sentence, and what follows from it.
    pub sentence: String,
}

impl From<NotRead> for UnreadNotice {
    fn from(what: NotRead) -> UnreadNotice {
        let sentence = what.to_string();
        UnreadNotice { what, sentence }
    }
}

/// What follows.
const NOTHING: &str = "what it does there to definitions is not known, and holds up nobody";

impl fmt::Display for NotRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            UnreadWhy::LeftOut => "too large, too many, no text, or not in time",
            UnreadWhy::Broke => "reading it broke or did not end",
            UnreadWhy::NoReader => "the process that reads it cannot be started",
            UnreadWhy::NoRoom => "too much is kept of others",
        };
        let Some(files) = self.files else {
            return write!(f, "not read: all of its source code ({why}), so {NOTHING}");
        };
        let all = usize::try_from(files).unwrap_or(usize::MAX);
        let more = match all.saturating_sub(self.paths.len()) {
            0 => String::new(),
            1 => "1 more file".to_owned(),
            more => format!("{more} more files"),
        };
        let which = match self.paths.join(", ") {
            paths if paths.is_empty() => more.replace(" more", ""),
            paths if more.is_empty() => paths,
            paths => format!("{paths} and {more}"),
        };
        write!(f, "not read: {which} ({why}), so {NOTHING}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_read_is_told_with_what_follows_from_it() {
        let told = |why, files, paths: &[&str]| {
            let paths = paths.iter().map(|path| (*path).to_owned()).collect();
            NotRead { why, files, paths }.to_string()
        };
        assert_eq!(
            told(UnreadWhy::LeftOut, Some(4), &["a.rs", "b.rs"]),
            "not read: a.rs, b.rs and 2 more files (too large, too many, no text, or not in time), so what it does there to definitions is not known, and holds up nobody"
        );
        assert!(told(UnreadWhy::LeftOut, Some(1), &["a.rs"]).starts_with("not read: a.rs (too"));
        assert!(told(UnreadWhy::LeftOut, Some(1), &[]).starts_with("not read: 1 file (too"));
        assert_eq!(
            told(UnreadWhy::Broke, None, &[]),
            "not read: all of its source code (reading it broke or did not end), so what it does there to definitions is not known, and holds up nobody"
        );
    }
}
