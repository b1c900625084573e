use std::collections::BTreeSet;

use serde_json::Value;
use yardmaster_protocol::{Event, EventBody};

/// What an event says to people, without what differs from one request to the next: every sentence, and
/// which parts of the evidence are there.
pub(crate) fn words(event: &Event) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let token = event.body.token();
    let mut say = |what: &str, text: &str| {
        found.insert(format!("{token} {what}: {}", plain(text)));
    };
    match &event.body {
        EventBody::MergeFailed(failure) => {
            let cause = format!("{:?}", failure.cause);
            say(&cause, &failure.evidence.message);
            say("next", &failure.next.join("; "));
            if let Ok(Value::Object(parts)) = serde_json::to_value(&failure.evidence) {
                let there: Vec<&str> = parts.keys().map(String::as_str).collect();
                say(&format!("{cause} with"), &there.join(" "));
            }
        }
        EventBody::MergeBlocked { reason, blockers, .. } => {
            reason.iter().for_each(|reason| say("reason", reason));
            for blocker in blockers {
                let (with, paths) = (blocker.with.is_some(), !blocker.paths.is_empty());
                say(&format!("{:?} with {with}, paths {paths}, until", blocker.kind), &blocker.until);
            }
        }
        EventBody::RequestRejected { why, .. } => say("why", &why.message),
        body => {
            let why = serde_json::to_value(body).ok();
            let part = |name: &str| Some(why.as_ref()?.get(name)?.as_str()?.to_owned());
            if let (Some(why), Some(who)) = (part("why"), part("who")) {
                say(&who, &why);
            }
        }
    }
    found
}

/// Numbers and ids are all the same, and a list is as good as its first item.
fn plain(text: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let mut plain = String::new();
        let is_id = |part: &str| {
            part.len() >= 10 && part.chars().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase())
        };
        for part in word.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
            let (body, end) =
                part.split_at(part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).len());
            let body = if is_id(body) { "ID".to_owned() } else { digits(body) };
            plain.push_str(&body);
            plain.push_str(end);
        }
        let again = out.last().is_some_and(|last| last.trim_end_matches(',') == plain.trim_end_matches(','));
        match out.last_mut() {
            Some(last) if again && last.ends_with(',') => *last = plain,
            _ => out.push(plain),
        }
    }
    out.join(" ")
}

fn digits(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' if out.ends_with('N') => {}
            '0'..='9' => out.push('N'),
            other => out.push(other),
        }
    }
    out
}
