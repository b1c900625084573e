use std::path::PathBuf;

use serde_json::{Value, json};
use yardmaster_protocol::{BranchName, ParallelReply, ParallelRequest, Requirement, TieKind};

use crate::commands::submit::read_json;
use crate::connection::Connection;
use crate::error::CliError;
use crate::exit::Exit;
use crate::screen::{self, Line, Out, style, wrap};

const AFTER: &str = "\
The question is a list: [{\"requirement\": \"REQ-1\", \"files\": [\"api/**\"], \"systems\": [\"backend\"]}, …]";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Args {
    /// The requirements with their likely files and systems, as JSON; `-` for stdin.
    #[arg(value_name = "FILE|-", default_value = "-")]
    file: PathBuf,
    /// Where the work is to land, if not on the daemon's own target.
    #[arg(long, value_name = "BRANCH")]
    target: Option<BranchName>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(args: Args, out: Out) -> Result<Exit, CliError> {
    let asked = question(&args)?;
    let client = args.connection.open().await?.client();
    let reply = client.should_parallelize(&asked).await?;
    if out.json {
        out.object(&reply)?;
    } else {
        out.lines(told(&reply, screen::width()))?;
    }
    Ok(Exit::DONE)
}

fn question(args: &Args) -> Result<ParallelRequest, CliError> {
    let wrong = |why: String| CliError::File { path: args.file.clone(), why };
    let given: Value = read_json(&args.file)?;
    let whole = if given.is_array() { json!({ "requirements": given }) } else { given };
    let mut asked: ParallelRequest =
        serde_json::from_value(whole).map_err(|e| wrong(format!("it is no list of requirements: {e}")))?;
    asked.target = args.target.clone().or(asked.target);
    Ok(asked)
}

/// Yes or no, the rounds, and why.
pub(crate) fn told(reply: &ParallelReply, width: usize) -> Vec<Line> {
    let names = |list: &[Requirement], by: &str| -> String {
        list.iter().map(Requirement::as_str).collect::<Vec<_>>().join(by)
    };
    let mut lines = vec![match reply.parallel {
        true => Line::styled(style::GREEN, "✓ yes").text(": no file and no system is named twice"),
        false => Line::styled(style::YELLOW, "✗ no").text(": not all of them at the same time"),
    }];
    lines.push(Line::new());
    for (n, round) in reply.rounds.iter().enumerate() {
        let text = Line::styled(style::BOLD, format!("  round {}  ", n + 1));
        lines.push(text.text(names(round, ", ")).cut(width));
    }
    for sequence in reply.sequences.iter().filter(|s| s.len() > 1) {
        lines.push(Line::styled(style::DIM, format!("  in turn  {}", names(sequence, " → "))).cut(width));
    }
    let mut note = |colour, text: &str| {
        let parts = wrap(text, width.saturating_sub(2));
        lines.extend(parts.into_iter().map(|part| Line::styled(colour, part).indented(2)));
    };
    for tie in &reply.ties {
        let colour = if tie.kind == TieKind::History { style::DIM } else { style::YELLOW };
        note(colour, &format!("· {}", tie.reason));
    }
    for ahead in &reply.pending {
        let who = format!("{} ({} by {})", ahead.request, ahead.branch, ahead.agent);
        note(style::DIM, &format!("· {who} is pending and changes {}", ahead.paths.join(", ")));
    }
    lines
}
