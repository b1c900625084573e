use std::path::PathBuf;

use yardmaster_daemon::{Flags, Reload, Settings, Shutdown, Stage};

use crate::error::CliError;
use crate::exit::Exit;
use crate::signals::{Hangups, Signals};

const LOG: &str = "info,async_nats=warn";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration; without it `yardmaster.toml` here, if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// `embedded` (the default) starts a server of its own.
    #[arg(long, value_name = "URL|embedded")]
    nats_url: Option<String>,
    /// The repository to land in: a URL or a path.
    #[arg(long, value_name = "URL-OR-PATH")]
    remote: Option<String>,
    /// The branch to land on; `main` by default.
    #[arg(long, value_name = "BRANCH")]
    target: Option<String>,
    /// What must be green, instead of `.yardmaster.toml` on the target; `none` lands without any test.
    #[arg(long, value_name = "COMMAND")]
    gate: Option<String>,
    /// How many gates run at the same time; 4 by default.
    #[arg(long, value_name = "N")]
    slots: Option<u32>,
    /// Where the mirror, the logs and an embedded server's store are.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The instance: part of the names of everything of its own.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

impl Args {
    fn flags(self) -> Flags {
        Flags {
            config: self.config,
            nats_url: self.nats_url,
            remote: self.remote,
            target: self.target,
            gate: self.gate,
            slots: self.slots,
            state_dir: self.state_dir,
            name: self.name,
        }
    }
}

pub(crate) async fn run(args: Args) -> Result<Exit, CliError> {
    let flags = args.flags();
    let settings = Settings::load(&flags)?;
    yardmaster_daemon::start_logging(LOG);
    let mut signals = Signals::listen()?;
    let mut hangups = Hangups::listen()?;
    let (shutdown, reload) = (Shutdown::new(), Reload::new());
    let tell = |stage: &Stage| eprintln!("{}", told(stage));
    let serving = yardmaster_daemon::serve(settings.clone(), shutdown.clone(), reload.clone(), tell);
    tokio::pin!(serving);
    loop {
        tokio::select! {
            served = &mut serving => return Ok(served.map(|()| Exit::DONE)?),
            () = signals.next() => break,
            () = hangups.next() => read_again(&flags, &settings, &reload),
        }
    }
    shutdown.ask();
    tokio::select! {
        served = &mut serving => Ok(served.map(|()| Exit::DONE)?),
        // What is dropped here ends its processes.
        () = signals.next() => Err(CliError::Interrupted),
    }
}

/// What cannot be used is refused as a whole, and the old one stays.
fn read_again(flags: &Flags, started: &Settings, reload: &Reload) {
    match Settings::load(flags) {
        Ok(settings) => {
            let kept = started.kept_until_restart(&settings);
            reload.replace(&settings);
            eprintln!("reloaded: gate, targets and limits count from now on");
            if !kept.is_empty() {
                eprintln!("changed too, but counts only after a restart: {}", kept.join(", "));
            }
        }
        Err(why) => eprintln!("not reloaded, everything stays as it was: {why}"),
    }
}

fn told(stage: &Stage) -> String {
    let ready = match stage {
        Stage::StandingBy(why) => return format!("standing by: {why}"),
        Stage::Ready(ready) => ready,
    };
    let targets: Vec<&str> = ready.targets.iter().map(|t| t.as_str()).collect();
    format!(
        "ready nats={} remote={} targets={} slots={}",
        ready.nats_url,
        ready.remote,
        targets.join(","),
        ready.slots
    )
}
