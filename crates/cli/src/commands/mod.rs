pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod freeze;
pub(crate) mod healthcheck;
pub(crate) mod logs;
pub(crate) mod pause;
pub(crate) mod promote;
pub(crate) mod queue;
pub(crate) mod rehearse;
pub(crate) mod serve;
pub(crate) mod should_parallelize;
pub(crate) mod status;
pub(crate) mod submit;
pub(crate) mod wait;
pub(crate) mod withdraw;
pub(crate) mod work;

use crate::args::Command;
use crate::error::CliError;
use crate::exit::Exit;
use crate::screen::Out;
use crate::signals::interruptible;

/// Commands other than `serve` have no log unless YARDMASTER_LOG asks for one.
const QUIET: &str = "off";

/// Does what one command line says.
pub(crate) async fn run(command: Command, out: Out) -> Result<Exit, CliError> {
    if !matches!(command, Command::Serve(_) | Command::Work(_)) {
        yardmaster_daemon::start_logging(QUIET);
    }
    match command {
        Command::Serve(args) => Box::pin(serve::run(args)).await,
        Command::Work(args) => Box::pin(work::run(args)).await,
        Command::Demo(args) => Box::pin(demo::run(args, out)).await,
        Command::Submit(args) => interruptible(Box::pin(submit::run(args, out))).await,
        Command::Wait(args) => interruptible(Box::pin(wait::run(args, out))).await,
        Command::Status(args) => interruptible(Box::pin(status::run(args, out))).await,
        Command::Explain(args) => interruptible(Box::pin(explain::run(args, out))).await,
        Command::Check(args) => interruptible(Box::pin(check::run(args, out))).await,
        Command::ShouldParallelize(args) => interruptible(Box::pin(should_parallelize::run(args, out))).await,
        Command::Queue(args) => interruptible(Box::pin(queue::run(args, out))).await,
        Command::Rehearse(args) => interruptible(Box::pin(rehearse::run(args, out))).await,
        Command::Withdraw(args) => interruptible(Box::pin(withdraw::run(args, out))).await,
        Command::Freeze(args) => interruptible(Box::pin(freeze::run(args, true, out))).await,
        Command::Pause(args) => interruptible(Box::pin(pause::pause(args, out))).await,
        Command::Resume(args) => interruptible(Box::pin(pause::resume(args, out))).await,
        Command::Promote(args) => interruptible(Box::pin(promote::run(args, out))).await,
        Command::Unfreeze(args) => interruptible(Box::pin(freeze::run(args, false, out))).await,
        Command::Logs(args) => interruptible(Box::pin(logs::run(args, out))).await,
        Command::Healthcheck(args) => interruptible(Box::pin(healthcheck::run(args, out))).await,
        Command::Completions(args) => completions::run(&args, out),
        // Answered before there were threads.
        Command::ReadDefinitions => Ok(Exit::DONE),
    }
}
