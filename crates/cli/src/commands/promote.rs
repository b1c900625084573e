use yardmaster_protocol::{PromoteRequest, PromotedRow};

use crate::connection::Connection;
use crate::error::CliError;
use crate::exit::Exit;
use crate::screen::{Line, Out, style};
use crate::words;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Request ids, branches or requirements, in the order in which they are to land.
    #[arg(value_name = "REQUEST", required = true)]
    requests: Vec<String>,
    /// A reason, for those who wait longer for it.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Who does it.
    #[arg(long, value_name = "NAME", env = "YARDMASTER_AGENT", default_value = "operator")]
    by: String,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(args: Args, out: Out) -> Result<Exit, CliError> {
    let asked = PromoteRequest { what: args.requests, who: args.by, why: args.why };
    let reply = args.connection.open().await?.client().promote(&asked).await?;
    if out.json {
        out.object(&reply)?;
        return Ok(Exit::DONE);
    }
    for moved in &reply.requests {
        out.line(line(moved))?;
    }
    if !reply.changed {
        out.line(Line::styled(style::DIM, "it was so already: nothing is tested again"))?;
    }
    Ok(Exit::DONE)
}

/// `r3    at 1  ● testing  roy/x · r4 depends on it`
fn line(moved: &PromotedRow) -> Line {
    let (row, for_whom) = (&moved.row, moved.needed_by);
    let place = row.position.map(|n| format!("at {n}")).unwrap_or_default();
    let mut notes: Vec<String> = for_whom.map(|id| format!("{id} depends on it")).into_iter().collect();
    notes.extend(Some(row.note.clone()).filter(|note| !note.is_empty()));
    let line = Line::styled(style::BOLD, format!("{:<5} ", row.request.to_string()))
        .text(format!("{place:<6} "))
        .join(words::state(&row.state))
        .text(format!("  {}", row.branch));
    if notes.is_empty() { line } else { line.add(style::DIM, format!(" · {}", notes.join("; "))) }
}
