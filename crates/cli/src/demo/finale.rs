use serde_json::{Value, json};
use yardmaster_protocol::{Event, EventBody};

use super::cast::{CAST, role_of};
use super::stage::colour_of;
use super::verify::{Check, Endings, Landed, Verified};
use crate::screen::{Column, Line, Table, panel, style, wrap};
use crate::{story, words};

/// Figures of the whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    pub(super) runs: usize,
    pub(super) seconds: f64,
}

/// Everything that there is to see in the end.
pub(super) fn told(verified: &Verified, endings: &Endings, figures: Figures, width: usize) -> Vec<Line> {
    let mut lines = section("main, newest first").to_vec();
    lines.extend(graph(&verified.main).into_iter().map(|l| l.cut(width)));
    lines.extend(section("what became of each branch"));
    lines.extend(outcomes(endings).lines(width));
    lines.extend(section("what the agents were told whose branch did not land"));
    for event in endings.values().filter_map(|e| e.last()) {
        lines.extend(failed(event, width.min(100)));
    }
    lines.extend(section("looked at again"));
    lines.extend(verified.checks.iter().flat_map(|c| checked(c, width)));
    lines.push(Line::new());
    lines.extend(summary(verified, endings, figures, width));
    lines
}

fn section(title: &str) -> [Line; 2] {
    [Line::new(), Line::styled(style::BOLD, title)]
}

/// Two lines for each merge: what stands on main, and what it brought.
fn graph(main: &[Landed]) -> Vec<Line> {
    let mut lines = Vec::new();
    for landed in main.iter().rev() {
        let id = landed.commit.get(..10).unwrap_or(&landed.commit);
        let Some(request) = &landed.request else {
            lines.push(
                Line::styled(style::BOLD, "  ◆    ")
                    .add(style::YELLOW, id)
                    .text(format!("  {}", landed.subject)),
            );
            continue;
        };
        let role = landed.subject.rsplit(' ').next().and_then(role_of);
        let system = role.map_or("", |r| r.system);
        let side = colour_of(system);
        lines.push(
            Line::styled(style::BOLD, "  ●")
                .add(side, "─╮  ")
                .add(style::YELLOW, id)
                .text(format!("  {:<26}", landed.subject))
                .add(style::DIM, format!("{request:<4} "))
                .add(side, system),
        );
        for (id, subject) in &landed.brought {
            lines.push(
                Line::styled(style::BOLD, "  │ ")
                    .add(side, "●  ")
                    .add(style::DIM, id.get(..10).unwrap_or(id))
                    .add(style::DIM, format!("  {subject}")),
            );
        }
    }
    lines
}

fn outcomes(endings: &Endings) -> Table {
    let mut table = Table::new(&[
        Column::fixed("REQUEST"),
        Column::fixed("AGENT"),
        Column::elastic("BRANCH", 16),
        Column::fixed("SYSTEM"),
        Column::fixed("OUTCOME"),
        Column::elastic("NOTE", 8),
    ]);
    for role in CAST {
        let Some(event) = endings.get(role.agent).and_then(|e| e.last()) else { continue };
        let request = event.about.as_ref().map(|a| a.request.to_string()).unwrap_or_default();
        let (state, note) = match &event.body {
            EventBody::MergeComplete { commit, gate, .. } => {
                let commit = commit.map(|c| c.short()).unwrap_or_default();
                ("landed", format!("as {commit}, gate {:.1} s", gate.seconds))
            }
            EventBody::MergeFailed(failure) => ("failed", words::cause_in_words(failure.cause).to_owned()),
            other => (other.token(), String::new()),
        };
        table.row([
            Line::styled(style::BOLD, request),
            Line::plain(role.agent),
            Line::plain(role.branch),
            Line::styled(colour_of(role.system), role.system),
            words::state(state),
            Line::styled(style::DIM, note),
        ]);
    }
    table
}

fn failed(event: &Event, width: usize) -> Vec<Line> {
    let (Some(about), EventBody::MergeFailed(failure)) = (&event.about, &event.body) else {
        return Vec::new();
    };
    let title = Line::styled(style::RED, format!("✗ {}", words::cause_in_words(failure.cause)))
        .add(style::BOLD, format!(" · {}", about.agent))
        .text(format!(" · {} {}", about.request, about.branch));
    panel(style::RED, title, story::failure(failure, width.saturating_sub(4)), width)
}

fn checked(check: &Check, width: usize) -> Vec<Line> {
    let (symbol, colour) = if check.ok { ("✓", style::GREEN) } else { ("✗", style::RED) };
    let text = if check.ok { check.what.clone() } else { format!("wrong: {}", check.what) };
    hanging(Line::styled(colour, format!("  {symbol} ")), &text, width)
}

/// A text behind a lead, broken where the screen ends.
fn hanging(lead: Line, text: &str, width: usize) -> Vec<Line> {
    let indent = lead.width();
    let parts = wrap(text, width.saturating_sub(indent));
    let mut lead = Some(lead);
    let line = |part: String| lead.take().unwrap_or_else(|| Line::plain(" ".repeat(indent))).text(part);
    parts.into_iter().map(line).collect()
}

fn summary(verified: &Verified, endings: &Endings, figures: Figures, width: usize) -> Vec<Line> {
    let (landed, failed) = counts(endings);
    let (word, colour) = match verified.checks.iter().all(|c| c.ok) {
        true => ("✓ as it should be", style::GREEN),
        false => ("✗ not as it should be", style::RED),
    };
    let green = verified.main.iter().filter(|l| l.green).count();
    let text = format!(
        "{} requests, {landed} landed, {failed} failed · {} gate runs · {:.1} s · main green {green} of {}",
        endings.len(),
        figures.runs,
        figures.seconds,
        verified.main.len(),
    );
    let line = Line::styled(colour.bold(), word);
    if line.width() + 3 + text.chars().count() <= width {
        return vec![line.text(" · ").text(text)];
    }
    std::iter::once(line).chain(wrap(&text, width).into_iter().map(Line::plain)).collect()
}

fn counts(endings: &Endings) -> (usize, usize) {
    let last = || endings.values().filter_map(|e| e.last());
    let landed = last().filter(|e| matches!(e.body, EventBody::MergeComplete { .. })).count();
    let failed = last().filter(|e| matches!(e.body, EventBody::MergeFailed(_))).count();
    (landed, failed)
}

/// The same for programs.
pub(super) fn object(verified: &Verified, endings: &Endings, figures: Figures) -> Value {
    let (landed, failed) = counts(endings);
    let events: Vec<&Event> = endings.values().flatten().collect();
    json!({
        "ok": verified.checks.iter().all(|c| c.ok),
        "requests": endings.len(),
        "landed": landed,
        "failed": failed,
        "gate_runs": figures.runs,
        "seconds": figures.seconds,
        "checks": verified.checks,
        "main": verified.main,
        "endings": events,
    })
}
