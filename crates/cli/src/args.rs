use clap::{Parser, Subcommand};

use crate::commands::{
    check, completions, demo, explain, freeze, healthcheck, logs, pause, promote, queue, rehearse, serve,
    should_parallelize, status, submit, wait, withdraw, work,
};

const AFTER: &str = "\
Start here:
  yardmaster demo                                       everything at once, on this machine
  yardmaster serve --remote URL-OR-PATH                 the daemon, with a NATS server of its own
  yardmaster submit BRANCH --agent NAME --requirement R --wait

Exit codes:
  0 done, landed   1 unexpected   2 usage, configuration   3 not found   4 not authorised
  5 conflict   6 gate red   7 refused, cannot land   8 superseded, withdrawn
  9 NATS or the daemon cannot be reached   124 not ended in time";

/// A merge queue for teams of coding agents, on NATS JetStream and any git remote.
#[derive(Debug, Parser)]
#[command(name = "yardmaster", version, after_help = AFTER)]
pub(crate) struct Cli {
    /// One JSON object on stdout (one a line with --follow and --watch), errors too.
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,
    /// No colours, whatever the terminal can do; NO_COLOR does the same.
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) no_color: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon.
    Serve(serve::Args),
    /// Run gates on this machine for a daemon elsewhere.
    Work(work::Args),
    /// Show everything at work: agents, NATS, git and tests, all real and all temporary.
    Demo(demo::Args),
    /// Offer a branch.
    Submit(submit::Args),
    /// Wait until a request has landed or failed.
    Wait(wait::Args),
    /// How the daemon is, or how a request is.
    Status(status::Args),
    /// Why a request has not landed, what helps, and when it is likely to.
    Explain(explain::Args),
    /// What would become of a branch if it were announced now: conflicts, place, rules. Changes nothing.
    Check(check::Args),
    /// Which requirements can be worked on side by side, and which in turn.
    ShouldParallelize(should_parallelize::Args),
    /// What lands next, and what has ended.
    Queue(queue::Args),
    /// What would land, in which order, and what conflicts, on a plain repository: no daemon, no NATS.
    Rehearse(rehearse::Args),
    /// Take a request back.
    Withdraw(withdraw::Args),
    /// Have a target stand still: nothing lands on it, nothing is failed. For operators.
    Freeze(freeze::Args),
    /// Give nobody a new place on a target, but for urgent ones; what is under test goes on.
    Pause(pause::Args),
    /// Let a paused target go on.
    Resume(pause::ResumeArgs),
    /// Move requests to the front, in this order, with what they depend on. For operators.
    Promote(promote::Args),
    /// Let a frozen target go on. For operators.
    Unfreeze(freeze::Args),
    /// What a gate has printed.
    Logs(logs::Args),
    /// Whether the daemon answers and can land: for containers and supervisors.
    Healthcheck(healthcheck::Args),
    /// A completion script for a shell.
    Completions(completions::Args),
    /// What the daemon starts to have source code read.
    #[command(hide = true)]
    ReadDefinitions,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_holds() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lines_that_people_write_are_understood() {
        for line in [
            "yardmaster serve --remote r.git --gate none --slots 2 --state-dir s --name a --target main",
            "yardmaster work --nats-url nats://h:1 --remote r.git --slots 2 --label gpu --label os=linux --name a --grace 5m",
            "yardmaster demo --keep d --slots 3 --json",
            "yardmaster submit roy/x --agent roy --requirement R --priority 1 --depends-on r1 --depends-on r2",
            "yardmaster submit roy/x --agent roy --requirement R --files a,b --systems backend --wait --timeout 10m",
            "yardmaster submit --from-file -",
            "yardmaster --json wait r12 --timeout 90s",
            "yardmaster wait roy/x --nats-url nats://h:1 --token t",
            "yardmaster status",
            "yardmaster explain roy/x --json",
            "yardmaster check roy/x --agent roy --depends-on r1 --priority 1 --json",
            "yardmaster should-parallelize --target main",
            "yardmaster should-parallelize plan.json",
            "yardmaster queue --watch --no-color",
            "yardmaster rehearse a/1 'b/*' --repo r --target trunk --json",
            "yardmaster rehearse --all",
            "yardmaster withdraw r12 --by roy",
            "yardmaster freeze --why release --by roy",
            "yardmaster unfreeze main --by roy",
            "yardmaster promote r12 roy/x --by olga --why urgent",
            "yardmaster logs r12 --follow",
            "yardmaster healthcheck --json",
            "yardmaster completions fish",
        ] {
            parse(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    #[test]
    fn lines_that_make_no_sense_are_refused() {
        for line in [
            "yardmaster",
            "yardmaster serv",
            "yardmaster submit",
            "yardmaster submit roy/x --agent roy --requirement R --priority 4",
            "yardmaster submit a..b --agent roy --requirement R",
            "yardmaster submit roy/x --agent r.o.y --requirement R",
            "yardmaster submit roy/x --agent roy --requirement R --commit abc",
            "yardmaster submit roy/x --agent roy --requirement R --timeout 5m",
            "yardmaster wait",
            "yardmaster wait r1 --timeout soon",
            "yardmaster wait r1 --user roy",
            "yardmaster rehearse",
            "yardmaster rehearse a --all",
            "yardmaster withdraw r1",
            "yardmaster promote",
            "yardmaster serve --slots many",
            "yardmaster work --slots 0",
            "yardmaster work --label a,b",
            "yardmaster work --name a.b",
            "yardmaster completions basic",
        ] {
            let error = parse(line).map(|cli| format!("{cli:?}")).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
