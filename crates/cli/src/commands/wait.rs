use std::time::Duration;

use serde::Serialize;
use yardmaster_bus::Client;
use yardmaster_protocol::{RequestView, parse_duration_ms};

use crate::connection::Connection;
use crate::error::{CliError, Told};
use crate::exit::Exit;
use crate::follow;
use crate::screen::{self, Line, Out};
use crate::{story, words};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to wait for: r12, or its branch or requirement.
    #[arg(value_name = "REQUEST|BRANCH")]
    what: String,
    /// Give up after so long, as 90s or 10m; the request goes on.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    connection: Connection,
}

/// Reads what people write as a duration.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration_ms(text).map(Duration::from_millis)
}

pub(crate) async fn run(args: Args, out: Out) -> Result<Exit, CliError> {
    let client = args.connection.open().await?.client();
    until_ended(&client, &args.what, args.timeout, out).await
}

/// Waits, tells what became of it, and ends with its exit code.
pub(crate) async fn until_ended(
    client: &Client,
    what: &str,
    longest: Option<Duration>,
    out: Out,
) -> Result<Exit, CliError> {
    let view = follow::to_the_end(client, what, longest, out).await?;
    let exit = Exit::of_request(&view).unwrap_or(Exit::UNEXPECTED);
    if out.json {
        out.object(&object(&view))?;
    } else {
        out.lines(told(&view, screen::width()))?;
    }
    Ok(exit)
}

/// What became of it.
pub(crate) fn told(view: &RequestView, width: usize) -> Vec<Line> {
    let mut lines = vec![story::headline(view).cut(width)];
    if let Some(failure) = &view.failure {
        lines.extend(story::failure(failure, width.saturating_sub(2)).into_iter().map(|l| l.indented(2)));
    }
    lines
}

/// The request as `status` gives it, and the error that it ended with, as one value.
pub(crate) fn object(view: &RequestView) -> impl Serialize + '_ {
    Waited { ok: view.row.state == "landed", error: error(view), view }
}

#[derive(Serialize)]
struct Waited<'a> {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Told>,
    #[serde(flatten)]
    view: &'a RequestView,
}

fn error(view: &RequestView) -> Option<Told> {
    let row = &view.row;
    if let Some(failure) = &view.failure {
        return Some(Told {
            code: words::cause(failure.cause).to_owned(),
            message: format!("{}: {}", row.request, failure.evidence.message),
            retryable: matches!(failure.blame, yardmaster_protocol::Blame::Infra),
            next: failure.next.clone(),
        });
    }
    let newer = row.note.strip_prefix("by ").map(|by| format!("yardmaster wait {by}"));
    (row.state != "landed").then(|| Told {
        code: row.state.clone(),
        message: format!("{} was {} {}", row.request, row.state, row.note).trim_end().to_owned(),
        retryable: false,
        next: newer.filter(|_| row.state == "superseded").into_iter().collect(),
    })
}
