use std::io::IsTerminal as _;
use std::time::Duration;

use serde_json::json;
use yardmaster_bus::Client;
use yardmaster_protocol::{LogReply, LogRequest, ServiceErrorCode};

use crate::connection::Connection;
use crate::error::CliError;
use crate::exit::Exit;
use crate::follow::{NOBODY, Silence};
use crate::screen::{Line, Out, harmless, style};

/// Between two looks at a log that grows; the log itself is no event.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// Between two questions whether there is a run, or a daemon.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Who takes over from another daemon needs a moment.
const PATIENCE: u32 = 6;
/// A log is cut by the runner long before.
const MOST_BYTES: usize = 64 << 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A run, or a request or branch for its latest run.
    #[arg(value_name = "RUN|REQUEST|BRANCH")]
    what: String,
    /// Go on until the run has ended.
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(args: Args, out: Out) -> Result<Exit, CliError> {
    let client = args.connection.open().await?.client();
    if args.follow {
        let first = first_piece(&client, &args.what, out).await?;
        follow(&client, first, out).await?;
    } else {
        let first = piece(&client, &args.what, 0).await?;
        all(&client, first, out).await?;
    }
    Ok(Exit::DONE)
}

async fn piece(client: &Client, what: &str, offset: u64) -> Result<LogReply, CliError> {
    Ok(client.logs(&LogRequest { what: what.to_owned(), offset }).await?)
}

/// Waits for the first run of a request that has had none.
async fn first_piece(client: &Client, what: &str, out: Out) -> Result<LogReply, CliError> {
    let mut told = false;
    loop {
        let missing = match piece(client, what, 0).await {
            Err(CliError::Service(why)) if why.code == ServiceErrorCode::NotFound => why,
            answer => return answer,
        };
        let Ok(view) = client.request_status(what).await else { return Err(missing.into()) };
        if Exit::of_request(&view).is_some() {
            return Err(missing.into());
        }
        if !told {
            let text =
                format!("{} is {}: its log begins with its first run", view.row.request, view.row.state);
            out.progress(&Line::styled(style::DIM, text));
            told = true;
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// The next piece, as soon as a daemon answers.
async fn next_piece(client: &Client, last: &LogReply, out: Out) -> Result<LogReply, CliError> {
    let mut silence = Silence::after(PATIENCE);
    loop {
        let answer = piece(client, last.run.as_str(), last.next).await;
        let silent =
            matches!(&answer, Err(CliError::Service(why)) if why.code == ServiceErrorCode::Unreachable);
        if silence.heard(!silent) && silent {
            let text = format!("{NOBODY}; the log goes on when one serves again");
            out.progress(&Line::styled(style::YELLOW, text));
        }
        if !silent {
            return answer;
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// What is there now.
async fn all(client: &Client, mut next: LogReply, out: Out) -> Result<(), CliError> {
    let (run, mut text) = (next.run.clone(), String::new());
    loop {
        let ended = next.done || next.text.is_empty();
        if out.json {
            text.push_str(&next.text);
        } else {
            print(out, &next.text)?;
        }
        if ended || text.len() > MOST_BYTES {
            break;
        }
        next = piece(client, run.as_str(), next.next).await?;
    }
    if out.json {
        out.object(&json!({"run": run, "text": text, "done": next.done}))?;
    }
    Ok(())
}

/// What is there and what comes; always the same run.
async fn follow(client: &Client, mut next: LogReply, out: Out) -> Result<(), CliError> {
    loop {
        let is_new = !next.text.is_empty();
        if out.json && (is_new || next.done) {
            out.object(&next)?;
        } else if is_new {
            print(out, &next.text)?;
        }
        if next.done {
            return Ok(());
        }
        if !is_new {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        next = next_piece(client, &next, out).await?;
    }
}

/// As it is into a file or a pipe; on a terminal nothing but colours may steer it.
fn print(out: Out, text: &str) -> Result<(), CliError> {
    if std::io::stdout().is_terminal() {
        out.raw(harmless(text).as_bytes())
    } else {
        out.raw(text.as_bytes())
    }
}
