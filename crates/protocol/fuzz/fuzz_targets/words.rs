//! Names and ids: whatever is let through prints as itself, parses again and is safe where it is used.
#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use yardmaster_protocol::{
    AgentName, BadId, BranchName, CommitId, GateId, JournalPosition, RequestId, Requirement, RunId,
    agent_of_subject, parse_duration_ms,
};

fn survives<T: FromStr<Err = BadId> + Display + PartialEq + std::fmt::Debug>(text: &str) -> Option<String> {
    match text.parse::<T>() {
        Ok(id) => {
            let printed = id.to_string();
            assert_eq!(printed.parse::<T>().as_ref(), Ok(&id));
            Some(printed)
        }
        Err(BadId(why)) => {
            assert!(!why.chars().any(char::is_control), "{why:?}");
            assert!(why.len() < 1_000);
            None
        }
    }
}

fuzz_target!(|text: &str| {
    for token in [survives::<AgentName>(text), survives::<RunId>(text), survives::<GateId>(text)] {
        assert!(token.is_none_or(|t| t.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))));
    }
    if let Some(branch) = survives::<BranchName>(text) {
        assert!(!branch.starts_with('-') && !branch.contains(['\0', '\n', ':', '^', '~', '\\', ' ']));
        assert!(!branch.split('/').any(|part| part.is_empty() || part.starts_with('.')));
    }
    assert!(survives::<Requirement>(text).is_none_or(|r| !r.contains('\n')));
    survives::<CommitId>(text);
    survives::<RequestId>(text);
    survives::<JournalPosition>(text);
    let _ = agent_of_subject(text);
    let _ = agent_of_subject(&format!("work.integration.{text}"));
    let _ = parse_duration_ms(text);
});
