use yardmaster_protocol::{BranchName, PauseRequest, Priority};

use crate::connection::Connection;
use crate::error::CliError;
use crate::exit::Exit;
use crate::screen::{Line, Out, style};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which target; the default one if none is given.
    #[arg(value_name = "TARGET")]
    target: Option<BranchName>,
    /// Requests of this priority, and more urgent ones, still get a place (1 is the most urgent).
    #[arg(long, value_name = "PRIORITY", value_parser = clap::value_parser!(u8).range(1..=9))]
    except: Option<u8>,
    /// A reason, for those who wait.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Who does it.
    #[arg(long, value_name = "NAME", env = "YARDMASTER_AGENT", default_value = "operator")]
    by: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ResumeArgs {
    /// Which target; the default one if none is given.
    #[arg(value_name = "TARGET")]
    target: Option<BranchName>,
    /// A reason, for those who waited.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Who does it.
    #[arg(long, value_name = "NAME", env = "YARDMASTER_AGENT", default_value = "operator")]
    by: String,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn pause(args: Args, out: Out) -> Result<Exit, CliError> {
    let except = args.except.map(Priority);
    let asked = PauseRequest { target: args.target, who: args.by, why: args.why, except };
    run(args.connection, &asked, true, out).await
}

pub(crate) async fn resume(args: ResumeArgs, out: Out) -> Result<Exit, CliError> {
    let asked = PauseRequest { target: args.target, who: args.by, why: args.why, except: None };
    run(args.connection, &asked, false, out).await
}

async fn run(connection: Connection, asked: &PauseRequest, pause: bool, out: Out) -> Result<Exit, CliError> {
    let client = connection.open().await?.client();
    let reply = if pause { client.pause(asked).await? } else { client.resume(asked).await? };
    if out.json {
        out.object(&reply)?;
        return Ok(Exit::DONE);
    }
    let state = match (reply.paused, asked.except) {
        (true, Some(Priority(least))) => {
            format!(" paused: only priority {least} and more urgent ones start; what is under test goes on")
        }
        (true, None) => " paused: nothing new starts; what is under test goes on".to_owned(),
        (false, _) => " not paused: it goes on".to_owned(),
    };
    let line = Line::styled(style::BOLD, reply.target.to_string()).text(state);
    out.line(if reply.changed { line } else { line.add(style::DIM, " · it was so already") })?;
    Ok(Exit::DONE)
}
