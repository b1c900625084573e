use std::time::Duration;

use serde_json::json;
use yardmaster_protocol::{ErrorBody, ServiceErrorCode, StatusReply};

use crate::connection::Connection;
use crate::error::CliError;
use crate::exit::Exit;
use crate::screen::{Line, Out, style};

const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(args: Args, out: Out) -> Result<Exit, CliError> {
    let client = args.connection.open().await?.client();
    let answer = client.call("status", &json!({}), PATIENCE).await?;
    let status: StatusReply = serde_json::from_value(answer)
        .map_err(|e| CliError::Unexpected(format!("cannot read the status: {e}")))?;
    if let Some((target, why)) = status.targets.iter().find_map(|t| Some((&t.target, t.hold.as_ref()?))) {
        return Err(held(&format!("nothing lands on `{target}`: {why}")).into());
    }
    if out.json {
        out.object(&json!({"ok": true, "version": status.version, "uptime_s": status.uptime_s}))?;
    } else {
        let pending: u32 = status.targets.iter().map(|t| t.pending).sum();
        let told = format!(" · yardmaster {} lands on {} · {pending} pending", status.version, status.remote);
        out.line(Line::styled(style::GREEN, "✓ healthy").text(told))?;
    }
    Ok(Exit::DONE)
}

fn held(message: &str) -> ErrorBody {
    ErrorBody {
        code: ServiceErrorCode::Unreachable,
        message: message.to_owned(),
        retryable: true,
        next: vec!["yardmaster status".to_owned()],
    }
}
