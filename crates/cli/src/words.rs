//! How things are said to people: durations, states, events.

use yardmaster_protocol::{Cause, ChangeSize, Event, EventBody, Pressure, RequestId, RequestRow};

use crate::screen::{Line, style};

/// `0.4 s`, `12 s`, `3m 12s`, `2h 05m`, `3d 4h`.
pub(crate) fn duration(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0..10 => format!("{}.{} s", s, ms % 1_000 / 100),
        10..60 => format!("{s} s"),
        60..3_600 => format!("{}m {:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h {:02}m", s / 3_600, s % 3_600 / 60),
        _ => format!("{}d {}h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// `1 file, 20 lines`.
pub(crate) fn size(size: &ChangeSize) -> String {
    let some = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    format!("{}, {}", some(size.files.into(), "file"), some(size.lines, "line"))
}

/// `● testing`, in the state's colour.
pub(crate) fn state(word: &str) -> Line {
    let (symbol, colour) = style::of_state(word);
    Line::styled(colour, format!("{symbol} {word}"))
}

/// A cause as programs write it.
pub(crate) fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Conflict => "conflict",
        Cause::GateRed => "gate_red",
        Cause::GateTimeout => "gate_timeout",
        Cause::BranchMissing => "branch_missing",
        Cause::HeadChanged => "head_changed",
        Cause::PushRefused => "push_refused",
        Cause::DependencyFailed => "dependency_failed",
        Cause::Policy => "policy",
    }
}

/// A cause as people say it.
pub(crate) fn cause_in_words(of: Cause) -> &'static str {
    match of {
        Cause::Conflict => "conflict",
        Cause::GateRed => "gate red",
        Cause::GateTimeout => "gate timed out",
        Cause::BranchMissing => "branch missing",
        Cause::HeadChanged => "head changed",
        Cause::PushRefused => "push refused",
        Cause::DependencyFailed => "dependency failed",
        Cause::Policy => "policy",
    }
}

/// `r1, r2`, or `3 more, r4, r5, r6`.
pub(crate) fn requests(ids: &[RequestId]) -> String {
    let last: Vec<String> = ids.iter().rev().take(3).rev().map(ToString::to_string).collect();
    match ids.len().saturating_sub(3) {
        0 => last.join(", "),
        more => format!("{more} more, {}", last.join(", ")),
    }
}

/// What happened, in one line: request, state, what matters.
pub(crate) fn event(event: &Event) -> Line {
    let (word, note) = told(&event.body);
    let who = event.about.as_ref().map_or_else(|| "-".to_owned(), |a| a.request.to_string());
    let (symbol, colour) = style::of_state(word);
    let branch = event.about.as_ref().map(|a| a.branch.to_string()).unwrap_or_default();
    let line = Line::styled(style::BOLD, format!("{who:<5}"))
        .add(colour, format!("{symbol} {word:<11}"))
        .text(branch);
    if note.is_empty() { line } else { line.add(style::DIM, format!(" · {note}")) }
}

/// Why a request is in its state, and who moved it to the front.
pub(crate) fn note(row: &RequestRow) -> String {
    match &row.promoted {
        None => row.note.clone(),
        Some(by) if row.note.is_empty() => format!("promoted by {}", by.who),
        Some(by) => format!("promoted by {}; {}", by.who, row.note),
    }
}

fn pressure_word(pressure: Pressure) -> &'static str {
    match pressure {
        Pressure::Steady => "steady",
        Pressure::Slow => "slow",
        Pressure::Stop => "stop",
    }
}

fn told(body: &EventBody) -> (&'static str, String) {
    match body {
        EventBody::MergeQueued { position, .. } => ("queued", format!("at {position}")),
        EventBody::MergeBlocked { reason, .. } => ("blocked", reason.join("; ")),
        EventBody::MergePromoted { who, why, needed_by: None } => ("promoted", format!("by {who}: {why}")),
        EventBody::MergePromoted { who, needed_by: Some(other), .. } => {
            ("promoted", format!("by {who}: {other} depends on it"))
        }
        EventBody::MergeTesting { base, behind, attempt, .. } => {
            let on = match behind.as_slice() {
                [] => format!("on {}", base.short()),
                behind => format!("on top of {}", requests(behind)),
            };
            ("testing", if *attempt > 1 { format!("{on}, attempt {attempt}") } else { on })
        }
        EventBody::MergeComplete { commit: None, .. } => ("landed", "nothing to merge".to_owned()),
        EventBody::MergeComplete { commit: Some(commit), gate, .. } => {
            let tested =
                if gate.reused { "verdict reused".to_owned() } else { format!("{:.1} s", gate.seconds) };
            let tested = if gate.run.is_none() { "no gate".to_owned() } else { tested };
            ("landed", format!("as {} · {tested}", commit.short()))
        }
        EventBody::MergeFailed(failure) => {
            let first = failure.evidence.message.lines().next().unwrap_or_default();
            ("failed", format!("{}: {first}", cause_in_words(failure.cause)))
        }
        EventBody::MergeWithdrawn { by } => ("withdrawn", format!("by {by}")),
        EventBody::MergeSuperseded { by } => ("superseded", format!("by {by}")),
        EventBody::RequestRejected { why, .. } => ("rejected", why.message.clone()),
        EventBody::Paused(n) => ("paused", n.why.clone()),
        EventBody::Resumed(n) => ("resumed", n.why.clone()),
        EventBody::Stalled(n) => ("stalled", n.why.clone()),
        EventBody::TargetRed(n) => ("target red", n.why.clone()),
        EventBody::Pressure { pressure, why, .. } => (pressure_word(*pressure), why.clone()),
        EventBody::TargetGreen(n) => ("target green", n.why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let said: Vec<String> = [0, 420, 9_999, 12_300, 192_000, 7_500_000, 273_600_000].map(duration).into();
        assert_eq!(said, ["0.0 s", "0.4 s", "9.9 s", "12 s", "3m 12s", "2h 05m", "3d 4h"]);
    }

    #[test]
    fn long_stacks_are_cut() {
        let ids: Vec<RequestId> = (1..6).map(RequestId).collect();
        assert_eq!(requests(&ids[..2]), "r1, r2");
        assert_eq!(requests(&ids), "2 more, r3, r4, r5");
    }
}
