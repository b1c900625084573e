use yardmaster_protocol::{BranchName, FreezeRequest};

use crate::connection::Connection;
use crate::error::CliError;
use crate::exit::Exit;
use crate::screen::{Line, Out, style};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which target; the default one if none is given.
    #[arg(value_name = "TARGET")]
    target: Option<BranchName>,
    /// A reason, for those who wait.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Who does it.
    #[arg(long, value_name = "NAME", env = "YARDMASTER_AGENT", default_value = "operator")]
    by: String,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(args: Args, freeze: bool, out: Out) -> Result<Exit, CliError> {
    let client = args.connection.open().await?.client();
    let asked = FreezeRequest { target: args.target, who: args.by, why: args.why };
    let reply = if freeze { client.freeze(&asked).await? } else { client.unfreeze(&asked).await? };
    if out.json {
        out.object(&reply)?;
    } else {
        let state = if reply.frozen { " frozen: nothing lands on it" } else { " not frozen: it goes on" };
        let line = Line::styled(style::BOLD, reply.target.to_string()).text(state);
        out.line(if reply.changed { line } else { line.add(style::DIM, " · it was so already") })?;
    }
    Ok(Exit::DONE)
}
