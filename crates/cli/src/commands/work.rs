use std::path::PathBuf;
use std::time::Duration;

use yardmaster_daemon::{HostLimits, Stop, WorkOptions, Working};
use yardmaster_protocol::{Label, RunnerName, parse_bytes, parse_duration_ms};

use crate::connection::Connection;
use crate::error::CliError;
use crate::exit::Exit;
use crate::signals::Signals;

const LOG: &str = "info,async_nats=warn";
/// Containers start in any order.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A remote that has the target, to fetch most of a candidate from; without it everything comes from the
    /// daemon.
    #[arg(long, value_name = "URL-OR-PATH")]
    remote: Option<String>,
    /// How many gates run at the same time.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    slots: u32,
    /// What this machine has, such as `os=linux` or `gpu`; may be given again.
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<Label>,
    /// How people see it; the machine's name by default.
    #[arg(long, value_name = "NAME")]
    name: Option<RunnerName>,
    /// The queue to work for, as in `serve --name`.
    #[arg(long, value_name = "NAME", default_value = "default")]
    queue: String,
    /// Processors that steps which declare `cpu` may take together; all of the machine's by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    cpu: Option<u32>,
    /// Memory that steps which declare `mem` may take together, such as `8GiB`; all of the machine's by default.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    mem: Option<u64>,
    /// A directory for build caches that gates of all lanes get as `YARDMASTER_CACHE`; made if it is missing.
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// The most that checkouts and caches may take of the disk, such as `100GiB`, above which the least recently
    /// used are removed; half of the disk by default.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    disk: Option<u64>,
    /// Where its mirror, its worktrees and its logs are.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// A variable of the environment that gates get too; may be given again.
    #[arg(long = "pass-env", value_name = "NAME")]
    pass_env: Vec<String>,
    /// How long what runs may go on after SIGTERM, before it is given back.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    grace: Duration,
    #[command(flatten)]
    connection: Connection,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration_ms(text).map(Duration::from_millis)
}

fn size(text: &str) -> Result<u64, String> {
    match parse_bytes(text)? {
        0 => Err("0 bytes are too few".to_owned()),
        bytes => Ok(bytes),
    }
}

pub(crate) async fn run(args: Args) -> Result<Exit, CliError> {
    yardmaster_daemon::start_logging(LOG);
    let mut signals = Signals::listen()?;
    let name = args.name.map_or_else(machine, Ok)?;
    let machine_has = HostLimits::of_machine();
    let options = WorkOptions {
        name: name.clone(),
        remote: args.remote,
        ssh_command: std::env::var("YARDMASTER__REPO__SSH_COMMAND").ok().filter(|c| !c.is_empty()),
        slots: args.slots,
        labels: args.labels.into_iter().collect(),
        host: HostLimits {
            cpu: args.cpu.unwrap_or(machine_has.cpu),
            mem_bytes: args.mem.unwrap_or(machine_has.mem_bytes),
        },
        cache_dir: args.cache_dir,
        disk_bytes: args.disk,
        state_dir: args.state_dir,
        pass_env: args.pass_env,
        grace: args.grace,
    };
    let bus = tokio::select! {
        bus = args.connection.open_for(&args.queue, PATIENCE) => bus?,
        () = signals.next() => return Err(CliError::Interrupted),
    };
    let stop = Stop::default();
    let tell = |state: &Working| eprintln!("{}", told(state, &name));
    let working = yardmaster_daemon::work(bus, options, stop.clone(), tell);
    tokio::pin!(working);
    loop {
        tokio::select! {
            done = &mut working => return Ok(done.map(|()| Exit::DONE)?),
            () = signals.next() => {}
        }
        if stop.drain.is_asked() { stop.now.ask() } else { stop.drain.ask() }
    }
}

/// The machine's name, as a name of ours.
fn machine() -> Result<RunnerName, CliError> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let fits = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = host.trim().chars().take(64).map(fits).collect();
    RunnerName::new(if name.is_empty() { "runner".to_owned() } else { name })
        .map_err(|why| CliError::Usage(format!("{why}: give one with --name")))
}

fn told(state: &Working, name: &RunnerName) -> String {
    match state {
        Working::Waiting(why) => format!("waiting for the daemon: {why}"),
        Working::Ready => format!("ready runner={name}"),
        Working::Draining(0) => "leaving".to_owned(),
        Working::Draining(runs) => {
            format!("draining: {runs} run(s) go on; a second signal gives them back at once")
        }
    }
}
