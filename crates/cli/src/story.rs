//! How one request is told to people: what became of it, what shows that, and what mends it.

use anstream::adapter::strip_str;
use yardmaster_protocol::{Blame, Evidence, Failure, RequestView};

use crate::screen::{Line, style, wrap};
use crate::words;

const LOG_LINES: usize = 8;
const PATHS: usize = 6;

/// One line: `✓ r12 landed as 1a2b3c4d · roy/req-12 · 3.2 s`.
pub(crate) fn headline(view: &RequestView) -> Line {
    let row = &view.row;
    let (symbol, colour) = style::of_state(&row.state);
    let id = Line::styled(colour, format!("{symbol} ")).add(style::BOLD, row.request.to_string());
    let said = match (&view.failure, view.commit) {
        (Some(failure), _) => format!(" {}: {}", row.state, words::cause_in_words(failure.cause)),
        (None, Some(commit)) => format!(" {} as {}", row.state, commit.short()),
        (None, None) => match words::note(row) {
            note if note.is_empty() => format!(" {}", row.state),
            note => format!(" {}, {note}", row.state),
        },
    };
    let position = row.position.map(|p| format!(" · at {p}")).unwrap_or_default();
    id.add(colour, said)
        .text(format!("{position} · {}", row.branch))
        .add(style::DIM, format!(" · {}", words::duration(row.waited_ms)))
}

/// Message, evidence and what to do, at most `width` columns wide.
pub(crate) fn failure(failure: &Failure, width: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = wrap(&failure.evidence.message, width).into_iter().map(Line::plain).collect();
    lines.extend(evidence(&failure.evidence, width));
    if let Some(fault) = fault(failure.blame) {
        lines.push(field("fault", Line::plain(fault)));
    }
    if !failure.next.is_empty() {
        lines.push(Line::styled(style::BOLD, "What to do"));
        for (i, step) in failure.next.iter().enumerate() {
            lines.extend(numbered(i + 1, step, width));
        }
    }
    lines
}

fn evidence(evidence: &Evidence, width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    if !evidence.paths.is_empty() {
        let shown: Vec<&str> = evidence.paths.iter().take(PATHS).map(String::as_str).collect();
        let more = match evidence.paths.len().saturating_sub(PATHS) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        lines.push(field("paths", Line::plain(format!("{}{more}", shown.join(", ")))));
    }
    if !evidence.with.is_empty() {
        lines.push(field("with", Line::plain(evidence.with.join(", "))));
    }
    if let Some(log) = &evidence.log {
        lines.push(field("log", Line::plain(format!("yardmaster logs {log}"))));
    }
    if let Some(tail) = &evidence.log_tail {
        let tail = strip_str(tail).to_string();
        let tail: Vec<&str> = tail.lines().filter(|l| !l.trim().is_empty()).collect();
        let last = tail.iter().skip(tail.len().saturating_sub(LOG_LINES));
        lines.extend(last.map(|l| Line::styled(style::DIM, "  │ ").text(l).cut(width)));
    }
    lines
}

fn fault(blame: Blame) -> Option<&'static str> {
    match blame {
        Blame::Own => None,
        Blame::Base => Some("the target's as it was, not this branch's"),
        Blame::Ahead => Some("a change that landed ahead of it"),
        Blame::Infra => Some("the machinery's, not this branch's: announce it again"),
        Blame::Flake => Some("the gate's: it says different things of the same tree"),
    }
}

fn field(name: &str, value: Line) -> Line {
    Line::styled(style::DIM, format!("{name:<6}")).join(value)
}

/// A command is broken where it has to be: it must be seen whole.
fn numbered(number: usize, step: &str, width: usize) -> Vec<Line> {
    let (text, colour) = match step.strip_prefix("# ") {
        Some(remark) => (remark, style::PLAIN),
        None => (step, style::CYAN),
    };
    let first = format!("{number:>2}. ");
    let parts = wrap(text, width.saturating_sub(first.len()));
    let line = |(i, part): (usize, String)| {
        let lead = if i == 0 { first.clone() } else { " ".repeat(first.len()) };
        Line::styled(style::DIM, lead).add(colour, part)
    };
    parts.into_iter().enumerate().map(line).collect()
}

/// Everything that is known of a request.
pub(crate) fn request(view: &RequestView, width: usize) -> Vec<Line> {
    let row = &view.row;
    let mut lines = vec![headline(view)];
    let mut add = |name: &str, value: String| lines.extend(wide_field(name, &value, width));
    add("agent", format!("{} for {}", row.agent, row.requirement));
    add("target", view.target.to_string());
    if let Some(head) = view.head {
        add("head", head.to_string());
    }
    if let Some(candidate) = view.candidate {
        add("candidate", candidate.to_string());
    }
    if let Some(commit) = view.commit {
        add("commit", commit.to_string());
    }
    if let Some(run) = &view.run {
        add("run", format!("{run} (yardmaster logs {run})"));
    }
    if !view.files.is_empty() {
        let shown: Vec<&str> = view.files.iter().take(PATHS).map(String::as_str).collect();
        let more = view.files.len().saturating_sub(PATHS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        add("files", format!("{}{more}", shown.join(", ")));
    }
    if !row.note.is_empty() && view.failure.is_none() && view.blockers.is_empty() {
        add("note", row.note.clone());
    }
    for blocker in &view.blockers {
        add("waits", format!("{}, until {}", blocker.reason, blocker.until));
    }
    if let Some(why) = &view.failure {
        lines.extend(failure(why, width.saturating_sub(2)).into_iter().map(|l| l.indented(2)));
    }
    lines
}

fn wide_field(name: &str, value: &str, width: usize) -> Vec<Line> {
    let lead = |i: usize| if i == 0 { format!("  {name:<10}") } else { " ".repeat(12) };
    let parts = wrap(value, width.saturating_sub(12));
    parts.into_iter().enumerate().map(|(i, part)| Line::styled(style::DIM, lead(i)).text(part)).collect()
}
