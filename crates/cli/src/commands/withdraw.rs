use yardmaster_protocol::WithdrawRequest;

use crate::connection::Connection;
use crate::error::CliError;
use crate::exit::Exit;
use crate::screen::{Line, Out, style};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to take back: r12, or its branch or requirement.
    #[arg(value_name = "REQUEST|BRANCH")]
    what: String,
    /// Who takes it back.
    #[arg(long, value_name = "NAME", env = "YARDMASTER_AGENT")]
    by: String,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(args: Args, out: Out) -> Result<Exit, CliError> {
    let client = args.connection.open().await?.client();
    let Args { what, by, .. } = args;
    let reply = client.withdraw(&WithdrawRequest { what: what.clone(), by }).await?;
    if out.json {
        out.object(&reply)?;
    } else {
        let mut line = Line::styled(style::BOLD, reply.request.to_string()).text(" withdrawn");
        if what != reply.request.to_string() {
            line = line.add(style::DIM, format!(" · {what}"));
        }
        out.line(line)?;
    }
    Ok(Exit::DONE)
}
