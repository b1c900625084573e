use yardmaster_protocol::{Action, Counterfactual, DefinitionMeeting, ExplainRequest, Explanation, Link};

use crate::connection::Connection;
use crate::error::CliError;
use crate::exit::Exit;
use crate::screen::{self, Line, Out, led, style};
use crate::words;

/// How deep the chain is drawn inwards.
const DEEPEST: usize = 6;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to explain: r12, or its branch or requirement.
    #[arg(value_name = "REQUEST|BRANCH")]
    what: String,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(args: Args, out: Out) -> Result<Exit, CliError> {
    let client = args.connection.open().await?.client();
    let told_so = client.explain(&ExplainRequest { what: args.what }).await?;
    if out.json {
        out.object(&told_so)?;
    } else {
        out.lines(told(&told_so, screen::width()))?;
    }
    Ok(Exit::DONE)
}

/// Why, what would bring it forward, what to do, and when.
pub(crate) fn told(explanation: &Explanation, width: usize) -> Vec<Line> {
    let mut lines = vec![headline(explanation).cut(width), Line::new()];
    for (depth, link) in explanation.chain.iter().enumerate() {
        lines.extend(reason(link, depth, depth + 1 == explanation.chain.len(), width));
    }
    if !explanation.definitions.is_empty() {
        lines.extend([Line::new(), Line::styled(style::BOLD, "  May break together, though it merges")]);
        let room = width.saturating_sub(6);
        let met = |m: &DefinitionMeeting| led(&m.to_string(), style::PLAIN, "· ", "  ", 4, room);
        lines.extend(explanation.definitions.iter().flat_map(met));
    }
    if let Some(unread) = &explanation.not_read {
        lines.extend([Line::new(), Line::styled(style::BOLD, "  Definitions that are not known")]);
        lines.extend(led(&unread.sentence, style::PLAIN, "· ", "  ", 4, width.saturating_sub(6)));
    }
    if !explanation.counterfactuals.is_empty() {
        lines.extend([Line::new(), Line::styled(style::BOLD, "  Sooner")]);
        lines.extend(explanation.counterfactuals.iter().flat_map(|c| sooner(c, width)));
    }
    // What is told already is not told twice.
    let told = |a: &&Action| explanation.counterfactuals.iter().all(|c| c.command != a.command);
    let actions: Vec<&Action> = explanation.actions.iter().filter(told).collect();
    if !actions.is_empty() {
        lines.extend([Line::new(), Line::styled(style::BOLD, "  What to do")]);
        lines.extend(actions.into_iter().enumerate().flat_map(|(i, a)| action(i + 1, a, width)));
    }
    lines.extend(estimate(explanation, width));
    lines
}

fn headline(explanation: &Explanation) -> Line {
    let row = &explanation.row;
    let (symbol, colour) = style::of_state(&row.state);
    let position = row.position.map(|p| format!(" · at {p}")).unwrap_or_default();
    let promoted = row.promoted.as_ref().map(|by| format!(" · promoted by {}", by.who)).unwrap_or_default();
    Line::styled(colour, format!("{symbol} "))
        .add(style::BOLD, row.request.to_string())
        .add(colour, format!(" {}", row.state))
        .text(format!("{position} · {} to {}{promoted}", row.branch, explanation.target))
        .add(style::DIM, format!(" · {}", words::duration(row.waited_ms)))
}

/// Each reason stands below and further in than what it is the reason for.
fn reason(link: &Link, depth: usize, is_last: bool, width: usize) -> Vec<Line> {
    let indent = 2 + 2 * depth.min(DEEPEST);
    let (lead, rest) = if depth == 0 { ("", "") } else { ("└ ", "  ") };
    let room = width.saturating_sub(indent + lead.chars().count());
    let colour = if depth == 0 { style::BOLD } else { style::PLAIN };
    let mut lines = led(&link.sentence, colour, lead, rest, indent, room);
    if let Some(until) = link.until.as_ref().filter(|_| is_last) {
        lines.extend(led(&format!("until {until}"), style::DIM, rest, rest, indent, room));
    }
    lines
}

fn sooner(counterfactual: &Counterfactual, width: usize) -> Vec<Line> {
    let colour = if counterfactual.lands_next { style::GREEN } else { style::PLAIN };
    let room = width.saturating_sub(6);
    let mut lines = led(&counterfactual.sentence, colour, "· ", "  ", 4, room);
    lines.extend(led(&counterfactual.command, style::CYAN, "  ", "  ", 4, room));
    lines
}

fn action(number: usize, action: &Action, width: usize) -> Vec<Line> {
    let (first, rest) = (format!("{number}. "), "   ");
    let room = width.saturating_sub(7);
    let (text, colour) = match action.command.strip_prefix("# ") {
        Some(remark) => (remark, style::PLAIN),
        None => (action.command.as_str(), style::CYAN),
    };
    let mut lines = led(text, colour, &first, rest, 4, room);
    lines.extend(led(&action.why, style::DIM, rest, rest, 4, room));
    lines
}

fn estimate(explanation: &Explanation, width: usize) -> Vec<Line> {
    let Some(estimate) = &explanation.estimate else { return Vec::new() };
    let [low, likely, high] = [estimate.low_ms, estimate.likely_ms, estimate.high_ms].map(words::duration);
    let when = format!("decided in about {likely}, {low} to {high}");
    let mut lines = vec![Line::new()];
    lines.extend(led(&when, style::PLAIN, "", "", 2, width.saturating_sub(2)));
    lines.extend(led(&estimate.basis, style::DIM, "", "", 2, width.saturating_sub(2)));
    lines
}
