use yardmaster_protocol::{
    AgentName, BranchName, CheckReply, CheckRequest, CheckVerdict, Met, NeededState, Pressure, Priority,
    Requirement, ServiceErrorCode,
};

use crate::connection::Connection;
use crate::error::CliError;
use crate::exit::Exit;
use crate::screen::{self, Line, Out, style, wrap};
use crate::words;

/// Others that are listed of each kind.
const SHOWN: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The branch, pushed to the remote already.
    branch: BranchName,
    /// Who would announce it; without it the first part of the branch's name.
    #[arg(long, value_name = "NAME", env = "YARDMASTER_AGENT")]
    agent: Option<AgentName>,
    /// What it would be for; without it the branch's name.
    #[arg(long, value_name = "TEXT")]
    requirement: Option<Requirement>,
    /// Where it is to land, if not on the daemon's own target.
    #[arg(long, value_name = "BRANCH")]
    target: Option<BranchName>,
    /// 1 infrastructure, 2 backend, 3 frontend; else by the systems, else 2.
    #[arg(long, value_name = "1|2|3", value_parser = clap::value_parser!(u8).range(1..=3))]
    priority: Option<u8>,
    /// A request, branch or requirement that must land first; as often as needed.
    #[arg(long, value_name = "WHAT")]
    depends_on: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(args: Args, out: Out) -> Result<Exit, CliError> {
    let client = args.connection.open().await?.client();
    let reply = client
        .check(&CheckRequest {
            branch: args.branch,
            agent: args.agent,
            requirement: args.requirement,
            target: args.target,
            priority: args.priority.map(Priority),
            depends_on: args.depends_on,
        })
        .await?;
    if out.json {
        out.object(&reply)?;
    } else {
        out.lines(told(&reply, screen::width()))?;
    }
    Ok(match reply.verdict {
        CheckVerdict::Clean => Exit::DONE,
        CheckVerdict::Conflict => Exit(ServiceErrorCode::Conflict.exit_code()),
        CheckVerdict::Policy => Exit(ServiceErrorCode::Refused.exit_code()),
    })
}

/// The verdict, whom it meets, and what it would wait for.
pub(crate) fn told(reply: &CheckReply, width: usize) -> Vec<Line> {
    let mut lines = vec![headline(reply).cut(width)];
    lines.extend(standing(reply).into_iter().map(|line| line.indented(2).cut(width)));
    let target = format!("does not merge with `{}` itself", reply.target);
    if !reply.target_conflict.is_empty() {
        let paths = reply.target_conflict.join(", ");
        lines.extend(note(style::RED, &format!("✗ {target}: {paths}"), width));
    }
    lines.extend(meetings(&reply.conflicts, "does not merge with", "✗", style::RED, width));
    lines.extend(meetings(&reply.overlaps, "merges cleanly with", "·", style::DIM, width));
    if reply.not_compared > 0 {
        let text = format!("{} pending requests behind these were not compared", reply.not_compared);
        lines.extend(note(style::DIM, &text, width));
    }
    for advice in &reply.advice {
        let text = format!("~ {} ({} by {})", advice.sentence, advice.branch, advice.agent);
        lines.extend(note(style::YELLOW, &text, width));
    }
    if let Some(unread) = &reply.not_read {
        lines.extend(note(style::DIM, &format!("~ {}", unread.sentence), width));
    }
    if reply.definitions_unread {
        let text = "not all definitions were read in time: there may be more of it; ask again";
        lines.extend(note(style::DIM, text, width));
    }
    let refusal = reply.refusal.iter().map(|r| r.message.clone());
    let failure = reply.failure.iter().map(|f| f.evidence.message.clone());
    for text in refusal.chain(failure) {
        lines.extend(note(style::RED, &format!("✗ {text}"), width));
    }
    for blocker in &reply.blockers {
        let text = format!("⏸ {} · until {}", blocker.reason, blocker.until);
        lines.extend(note(style::YELLOW, &text, width));
    }
    if let Some(hold) = &reply.hold {
        lines.extend(note(style::YELLOW, &format!("⏸ {hold}"), width));
    }
    lines
}

fn headline(reply: &CheckReply) -> Line {
    let (symbol, colour, word) = match reply.verdict {
        CheckVerdict::Clean => ("✓", style::GREEN, "clean"),
        CheckVerdict::Conflict => ("✗", style::RED, "conflict"),
        CheckVerdict::Policy => ("⏸", style::YELLOW, "kept out by a rule"),
    };
    Line::styled(colour, format!("{symbol} "))
        .add(style::BOLD, reply.branch.to_string())
        .add(colour, format!(" {word}"))
        .text(format!(" · at {} on `{}` at {}", reply.head.short(), reply.target, reply.tip.short()))
        .add(style::DIM, format!(" · {}", words::size(&reply.size)))
}

fn standing(reply: &CheckReply) -> Vec<Line> {
    let mut lines = Vec::new();
    let place = match (reply.repeats, reply.contained, reply.position) {
        (Some(id), _, _) => format!("it is {id} already"),
        _ if reply.failure.is_some() => "would fail at once".to_owned(),
        (None, true, _) => "the target has all of it: nothing to merge".to_owned(),
        (None, false, Some(position)) => format!("would be at {position} in the queue"),
        (None, false, None) => "would not be queued".to_owned(),
    };
    let gate = if reply.gate.is_empty() { "no gate".to_owned() } else { reply.gate.join(", ") };
    let advice = match reply.pressure {
        Pressure::Steady => "",
        Pressure::Slow => " · the queue is long",
        Pressure::Stop => " · the queue is very long: skip a turn",
    };
    lines.push(Line::plain(place).add(style::DIM, format!(" · gate: {gate}")).add(style::YELLOW, advice));
    if !reply.supersedes.is_empty() {
        let older: Vec<String> = reply.supersedes.iter().map(ToString::to_string).collect();
        lines.push(Line::plain(format!("would take the place of {}", older.join(", "))));
    }
    for needed in &reply.dependencies {
        let requests: Vec<String> = needed.requests.iter().map(ToString::to_string).collect();
        let (colour, state) = match needed.state {
            NeededState::Landed => (style::GREEN, "has landed".to_owned()),
            NeededState::Pending => (style::YELLOW, format!("is pending as {}", requests.join(", "))),
            NeededState::Unknown => (style::YELLOW, "has not been announced by anybody".to_owned()),
        };
        lines.push(Line::plain(format!("needs {}, which ", needed.name)).add(colour, state));
    }
    lines
}

fn meetings(met: &[Met], says: &str, symbol: &str, colour: anstyle::Style, width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for one in met.iter().take(SHOWN) {
        let place = if one.ahead { "ahead of it" } else { "behind it" };
        let text = format!(
            "{symbol} {says} {} ({} by {}), {place}: {}",
            one.request,
            one.branch,
            one.agent,
            one.paths.join(", ")
        );
        lines.extend(note(colour, &text, width));
    }
    if met.len() > SHOWN {
        lines.extend(note(colour, &format!("  and with {} more", met.len() - SHOWN), width));
    }
    lines
}

fn note(colour: anstyle::Style, text: &str, width: usize) -> Vec<Line> {
    let parts = wrap(text, width.saturating_sub(2));
    parts.into_iter().map(|part| Line::styled(colour, part).indented(2)).collect()
}
