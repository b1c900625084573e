use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use yardmaster_daemon::{ServeError, Shutdown};

use crate::demo::Demo;
use crate::error::CliError;
use crate::exit::Exit;
use crate::screen::Out;
use crate::signals::{Signals, interruptible};

/// A daemon answers within ten seconds by its own promise.
const LAST_WORDS: Duration = Duration::from_secs(12);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keep everything in this new directory, to look around in afterwards.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// How many gates run at the same time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    slots: u32,
}

type Serving = JoinHandle<Result<(), ServeError>>;

pub(crate) async fn run(args: Args, out: Out) -> Result<Exit, CliError> {
    let mut demo = interruptible(Demo::prepare(args.keep, out)).await?;
    let settings = demo.settings(args.slots)?;
    let mut signals = Signals::listen()?;
    let shutdown = Shutdown::new();
    let (tell, ready) = oneshot::channel();
    let mut serving: Serving = tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            let mut tell = Some(tell);
            let tell = move |stage: &yardmaster_daemon::Stage| {
                if let (yardmaster_daemon::Stage::Ready(ready), Some(tell)) = (stage, tell.take()) {
                    drop(tell.send(ready.nats_url.clone()));
                }
            };
            Box::pin(yardmaster_daemon::serve(settings, shutdown, yardmaster_daemon::Reload::new(), tell))
                .await
        }
    });
    let played = async {
        match ready.await {
            Ok(nats_url) => demo.play(&nats_url).await,
            // It said nothing because it ends; what it ends with is told instead.
            Err(_) => std::future::pending().await,
        }
    };
    let outcome = tokio::select! {
        outcome = played => outcome,
        served = &mut serving => return Err(ended_early(served)),
        () = signals.next() => Err(CliError::Interrupted),
    };
    shutdown.ask();
    tokio::select! {
        _ = tokio::time::timeout(LAST_WORDS, &mut serving) => {}
        () = signals.next() => {}
    }
    serving.abort();
    outcome
}

fn ended_early(served: Result<Result<(), ServeError>, tokio::task::JoinError>) -> CliError {
    match served {
        Ok(Ok(())) => CliError::Demo("the daemon stopped by itself".to_owned()),
        Ok(Err(error)) => error.into(),
        Err(error) => CliError::Unexpected(error.to_string()),
    }
}
