//! Single values.

use std::collections::BTreeSet;
use std::time::Duration;

use yardmaster_protocol::{AgentName, Label, parse_bytes, parse_duration_ms};
use yardmaster_queue::{BaseRed, Cycles, Definitions, Guarantee, Overlap};

use super::CrossCheckSetting;

/// One of these words; the default where it is another.
fn one_of<T: Copy + Default>(key: &str, text: &str, words: &[(&str, T)], problems: &mut Vec<String>) -> T {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return *value;
    }
    let words: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let all = match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    };
    problems.push(format!("`{key}` is `{text}`, but must be {all}"));
    T::default()
}

pub(super) fn at_least_one<T: From<u8> + PartialEq>(key: &str, number: T, problems: &mut Vec<String>) -> T {
    if number == T::from(0) {
        problems.push(format!("`{key}` is 0, but must be 1 or more"));
    }
    number
}

pub(super) fn base_red(text: &str, problems: &mut Vec<String>) -> BaseRed {
    one_of(
        "queue.base_red",
        text,
        &[("differential", BaseRed::Differential), ("block", BaseRed::Block), ("ignore", BaseRed::Ignore)],
        problems,
    )
}

pub(super) fn overlap(text: &str, problems: &mut Vec<String>) -> Overlap {
    one_of(
        "queue.overlap",
        text,
        &[("textual", Overlap::Textual), ("files", Overlap::Files), ("systems", Overlap::Systems)],
        problems,
    )
}

pub(super) fn guarantee(text: &str, problems: &mut Vec<String>) -> Guarantee {
    one_of(
        "queue.guarantee",
        text,
        &[("every-commit", Guarantee::EveryCommit), ("every-push", Guarantee::EveryPush)],
        problems,
    )
}

pub(super) fn cycles(text: &str, problems: &mut Vec<String>) -> Cycles {
    one_of("queue.cycles", text, &[("refuse", Cycles::Refuse), ("bundle", Cycles::Bundle)], problems)
}

pub(super) fn definitions(text: &str, problems: &mut Vec<String>) -> Definitions {
    one_of(
        "queue.definitions",
        text,
        &[("off", Definitions::Off), ("advise", Definitions::Advise), ("enforce", Definitions::Enforce)],
        problems,
    )
}

/// More than nothing.
pub(super) fn bytes(key: &str, text: &str, problems: &mut Vec<String>) -> Option<u64> {
    let read = parse_bytes(text).and_then(|bytes| match bytes {
        0 => Err("0 bytes are too few".to_owned()),
        bytes => Ok(bytes),
    });
    read.map_err(|why| problems.push(format!("`{key}`: {why}"))).ok()
}

pub(super) fn trusted(names: &[String], problems: &mut Vec<String>) -> BTreeSet<AgentName> {
    let mut parse = |name: &String| match name.parse::<AgentName>() {
        Ok(agent) => Some(agent),
        Err(error) => {
            problems.push(format!("`auth.trusted_runners`: {error}"));
            None
        }
    };
    names.iter().filter_map(&mut parse).collect()
}

/// In thousandths.
pub(super) fn least_chance(share: f64, problems: &mut Vec<String>) -> u16 {
    if (0.0..=1.0).contains(&share) {
        return (share * 1_000.0).round() as u16;
    }
    problems.push(format!("`queue.least_chance` is {share}, but must be from 0 to 1"));
    0
}

pub(super) fn labels(texts: &[String], problems: &mut Vec<String>) -> BTreeSet<Label> {
    let mut label = |text: &String| match Label::new(text) {
        Ok(label) => Some(label),
        Err(why) => {
            problems.push(format!("`runner.labels`: {why}"));
            None
        }
    };
    texts.iter().filter_map(&mut label).collect()
}

pub(super) fn takes_back(text: &str, problems: &mut Vec<String>) -> bool {
    if !["refuse", "allow"].contains(&text) {
        problems.push(format!("`guard.takes_back` is `{text}`, but must be \"refuse\" or \"allow\""));
    }
    text != "allow"
}

pub(super) fn cross_check(text: &str, problems: &mut Vec<String>) -> CrossCheckSetting {
    match text {
        "all" => CrossCheckSetting::All,
        "off" => CrossCheckSetting::Off,
        other => match other.strip_prefix("1/").and_then(|n| n.parse().ok()).filter(|n| *n > 0) {
            Some(n) => CrossCheckSetting::Sampled(n),
            None => {
                problems
                    .push(format!("`git.cross_check` is `{other}`, but must be \"all\", \"1/N\" or \"off\""));
                CrossCheckSetting::All
            }
        },
    }
}

pub(super) fn duration(key: &str, text: &str, problems: &mut Vec<String>) -> Duration {
    match parse_duration_ms(text) {
        Ok(ms) => Duration::from_millis(ms),
        Err(why) => {
            problems.push(format!("`{key}`: {why}"));
            Duration::ZERO
        }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
