use std::path::PathBuf;

use yardmaster_daemon::{Rehearse, RehearseError};
use yardmaster_protocol::{
    BranchName, DefinitionsPolicy, Rehearsal, Rehearsed, RehearsedOutcome as Outcome, RehearsedPair,
};

use crate::error::CliError;
use crate::exit::Exit;
use crate::screen::{self, Column, Line, Out, Table, led, style};

/// Pairs that merge though they meet are counted; those in conflict are listed, so many of them.
const CONFLICTS_SHOWN: usize = 30;
const PATHS_SHOWN: usize = 3;
const MEETINGS_SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Local branches or globs such as 'roy/*', in the order in which they would be announced.
    #[arg(value_name = "BRANCH", required_unless_present = "all")]
    branches: Vec<String>,
    /// Every local branch.
    #[arg(long, conflicts_with = "branches")]
    all: bool,
    /// Where the repository is.
    #[arg(long, value_name = "PATH", default_value = ".")]
    repo: PathBuf,
    /// Where the branches would land.
    #[arg(long, value_name = "BRANCH", default_value = "main")]
    target: BranchName,
}

/// Ends with 0 when all of them would land, 5 when one conflicts, else 7.
pub(crate) async fn run(args: Args, out: Out) -> Result<Exit, CliError> {
    let ask = Rehearse { repository: args.repo, target: args.target, branches: args.branches };
    let rehearsed = tokio::task::spawn_blocking(move || {
        let scratch = tempfile::tempdir().map_err(|why| CliError::Unexpected(why.to_string()))?;
        yardmaster_daemon::rehearse(&ask, scratch.path()).map_err(|why| {
            let message = why.to_string();
            match why {
                RehearseError::NoBranch(_) | RehearseError::NoTarget(_) => CliError::not_found(message),
                RehearseError::Git(_) | RehearseError::BadGlob(_) | RehearseError::TooMany { .. } => {
                    CliError::Usage(message)
                }
            }
        })
    });
    let rehearsal = rehearsed.await.map_err(|why| CliError::Unexpected(why.to_string()))??;
    if out.json {
        out.object(&rehearsal)?;
    } else {
        out.lines(told(&rehearsal, screen::width()))?;
    }
    Ok(ended(&rehearsal))
}

fn ended(rehearsal: &Rehearsal) -> Exit {
    let lands = |one: &Rehearsed| matches!(one.outcome, Outcome::Lands | Outcome::Contained);
    let left: Vec<&Rehearsed> = rehearsal.branches.iter().filter(|one| !lands(one)).collect();
    match left[..] {
        [] => Exit::DONE,
        _ if left.iter().any(|one| !one.paths.is_empty()) => Exit::CONFLICT,
        _ => Exit::REFUSED,
    }
}

/// What lands and what does not, then who conflicts with whom.
pub(crate) fn told(rehearsal: &Rehearsal, width: usize) -> Vec<Line> {
    let count = |outcome| rehearsal.branches.iter().filter(|one| one.outcome == outcome).count();
    let (lands, all) = (count(Outcome::Lands), rehearsal.branches.len());
    let tip: String = rehearsal.tip.to_string().chars().take(10).collect();
    let mut lines = vec![
        Line::styled(style::BOLD, format!("{lands} of {all} would land"))
            .text(format!(" on {} ", rehearsal.target))
            .add(style::DIM, format!("at {tip} · merges only, no gate is run")),
        Line::new(),
    ];
    let mut table = Table::new(&[
        Column::right("#"),
        Column::elastic("BRANCH", 12),
        Column::fixed("OUTCOME"),
        Column::elastic("WHY", 16),
    ]);
    for one in &rehearsal.branches {
        let (word, colour) = outcome(one.outcome);
        table.row([
            Line::plain(one.place.map(|place| place.to_string()).unwrap_or_default()),
            Line::plain(one.branch.as_str()),
            Line::styled(colour, word),
            Line::styled(style::DIM, why(one)),
        ]);
    }
    lines.extend(table.lines(width));
    lines.extend(pairs(&rehearsal.pairs, width));
    lines.extend(definitions(rehearsal, width));
    lines
}

fn outcome(outcome: Outcome) -> (&'static str, anstyle::Style) {
    match outcome {
        Outcome::Lands => ("lands", style::GREEN),
        Outcome::Contained => ("landed before", style::DIM),
        Outcome::Fails => ("does not land", style::RED),
        Outcome::Waits => ("waits", style::YELLOW),
    }
}

fn why(one: &Rehearsed) -> String {
    let paths = some(&one.paths);
    match (&one.why, paths.is_empty()) {
        (Some(why), _) if one.outcome == Outcome::Waits => why.clone(),
        (_, false) if one.conflicts_with_target => {
            format!("conflicts with the target as it is, in {paths}")
        }
        (_, false) => format!("conflicts with what lands before it, in {paths}"),
        (Some(why), true) => why.lines().next().unwrap_or_default().to_owned(),
        (None, true) => String::new(),
    }
}

fn some(paths: &[String]) -> String {
    let more = paths.len().saturating_sub(PATHS_SHOWN);
    let shown = paths.iter().take(PATHS_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

fn pairs(pairs: &[RehearsedPair], width: usize) -> Vec<Line> {
    let (conflicts, overlaps): (Vec<&RehearsedPair>, Vec<&RehearsedPair>) =
        pairs.iter().partition(|met| met.conflict);
    let mut lines = Vec::new();
    if !conflicts.is_empty() {
        lines.extend([Line::new(), Line::styled(style::BOLD, "  Do not merge with each other")]);
        let mut table = Table::new(&[
            Column::elastic("BRANCH", 12),
            Column::elastic("AND", 12),
            Column::elastic("IN", 12),
        ]);
        for met in conflicts.iter().take(CONFLICTS_SHOWN) {
            table.row([
                Line::plain(met.one.as_str()),
                Line::plain(met.other.as_str()),
                Line::styled(style::DIM, some(&met.paths)),
            ]);
        }
        lines.extend(table.lines(width));
    }
    let more = conflicts.len().saturating_sub(CONFLICTS_SHOWN);
    if more > 0 {
        lines.push(Line::styled(style::DIM, format!("  and {more} more pairs (--json has them all)")));
    }
    if !overlaps.is_empty() {
        let text = format!("  {} more pairs change the same files and merge", overlaps.len());
        lines.extend([Line::new(), Line::styled(style::DIM, text)]);
    }
    lines
}

/// Who may break whom though they merge, and what of it is not known.
fn definitions(rehearsal: &Rehearsal, width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let room = width.saturating_sub(6);
    let dim = |text: &str| led(text, style::DIM, "· ", "  ", 4, room);
    if !rehearsal.definitions.is_empty() {
        let enforced = rehearsal.definitions_policy == DefinitionsPolicy::Enforce;
        let rule = if enforced { ": the later one waits for the earlier one" } else { "" };
        let title = format!("  May break together, though they merge{rule}");
        lines.extend([Line::new(), Line::styled(style::BOLD, title)]);
        let met = rehearsal.definitions.iter().take(MEETINGS_SHOWN);
        lines.extend(met.flat_map(|m| led(&m.sentence, style::PLAIN, "· ", "  ", 4, room)));
        let more = rehearsal.definitions.len().saturating_sub(MEETINGS_SHOWN);
        if more > 0 {
            lines.extend(dim(&format!("and {more} more (--json has them)")));
        }
    }
    let told = |one: &Rehearsed| Some(format!("{}: {}", one.branch, one.not_read.as_ref()?.sentence));
    let not_read: Vec<String> = rehearsal.branches.iter().filter_map(told).collect();
    let late = &rehearsal.definitions_unread;
    if !late.is_empty() || !not_read.is_empty() {
        lines.extend([Line::new(), Line::styled(style::BOLD, "  Definitions that are not known")]);
    }
    if !late.is_empty() {
        let names: Vec<String> = late.iter().map(ToString::to_string).collect();
        let (names, ask) = (some(&names), "try fewer at once, or --json for all of them");
        lines.extend(dim(&format!("not held against the others in time: {names} ({ask})")));
    }
    let more = not_read.len().saturating_sub(MEETINGS_SHOWN);
    lines.extend(not_read.iter().take(MEETINGS_SHOWN).flat_map(|text| dim(text)));
    if more > 0 {
        lines.extend(dim(&format!("and {more} more (--json has them)")));
    }
    if let Some(why) = &rehearsal.settings_unread {
        let title = "  `queue.definitions` cannot be read, so definitions count as advice";
        lines.extend([Line::new(), Line::styled(style::BOLD, title)]);
        lines.extend(dim(why));
    }
    lines
}
