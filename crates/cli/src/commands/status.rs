use yardmaster_protocol::{DiskUse, Label, RunId, RunnerView, StatusReply, TargetView, TipHealth};

use crate::connection::Connection;
use crate::error::CliError;
use crate::exit::Exit;
use crate::screen::{self, Column, Line, Out, Table, style, wrap};
use crate::{story, words};

/// Flaky steps that are named.
const FLAKY: usize = 5;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One request: r12, or its branch or requirement; without it, the daemon.
    #[arg(value_name = "REQUEST|BRANCH")]
    what: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(args: Args, out: Out) -> Result<Exit, CliError> {
    let client = args.connection.open().await?.client();
    match &args.what {
        Some(what) => {
            let view = client.request_status(what).await?;
            if out.json { out.object(&view)? } else { out.lines(story::request(&view, screen::width()))? }
        }
        None => {
            let status = client.status().await?;
            if out.json { out.object(&status)? } else { out.lines(told(&status, screen::width()))? }
        }
    }
    Ok(Exit::DONE)
}

pub(crate) fn told(status: &StatusReply, width: usize) -> Vec<Line> {
    let up = words::duration(status.uptime_s.saturating_mul(1_000));
    let head = Line::styled(style::BOLD, format!("yardmaster {}", status.version))
        .text(format!(" lands on {}", status.remote))
        .add(style::DIM, format!(" · up {up} · {}", slots(status)));
    let mut lines = vec![head.cut(width)];
    lines.extend(targets(&status.targets, width));
    lines.extend(runners(&status.runners, width));
    let elsewhere =
        status.runners.iter().filter_map(|r| Some((format!("of {}", r.runner), r.disk.as_ref()?)));
    let here = status.disk.iter().map(|disk| ("here".to_owned(), disk));
    lines.extend(here.chain(elsewhere).filter_map(|(who, disk)| evicted(&who, disk, width)));
    let counts =
        format!("  {} landed, {} failed · journal at {}", status.landed, status.failed, status.journal);
    let mut counts = Line::styled(style::DIM, counts);
    if status.merge_disagreements > 0 {
        let text = format!(" · {} merges seen differently by git", status.merge_disagreements);
        counts = counts.add(style::YELLOW, text);
    }
    lines.push(counts.cut(width));
    lines
}

/// A line where checkouts or caches had to go to make room.
fn evicted(who: &str, disk: &DiskUse, width: usize) -> Option<Line> {
    let last = disk.last.as_ref()?;
    let [bytes, most] = [disk.bytes, disk.most_bytes].map(|bytes| bytes >> 20);
    let text = format!(
        "  disk {who}: {bytes} of {most} MiB · {} evicted to have room, the last one {last}",
        disk.evicted
    );
    Some(Line::styled(style::DIM, text).cut(width))
}

fn slots(status: &StatusReply) -> String {
    match status.runner_slots {
        0 => format!("{} slots", status.slots),
        elsewhere => format!("{} slots here, {elsewhere} elsewhere", status.slots),
    }
}

/// A line for each runner elsewhere; nothing where there is none.
pub(crate) fn runners(runners: &[RunnerView], width: usize) -> Vec<Line> {
    if runners.is_empty() {
        return Vec::new();
    }
    let mut table = Table::new(&[
        Column::elastic("RUNNER", 8),
        Column::fixed("STATE"),
        Column::right("BUSY"),
        Column::right("SEEN"),
        Column::fixed("VERSION"),
        Column::elastic("LABELS", 8),
        Column::elastic("RUNS", 8),
    ]);
    for runner in runners {
        let state = match (runner.lost, runner.draining) {
            (true, _) => Line::styled(style::RED, "✗ lost"),
            (false, true) => Line::styled(style::YELLOW, "⏸ draining"),
            (false, false) => Line::styled(style::GREEN, "✓ there"),
        };
        let labels: Vec<&str> = runner.labels.iter().map(Label::as_str).collect();
        let runs: Vec<&str> = runner.running.iter().map(RunId::as_str).collect();
        table.row([
            Line::styled(style::BOLD, runner.runner.as_str()),
            state,
            Line::plain(format!("{}/{}", runs.len(), runner.slots)),
            Line::styled(style::DIM, words::duration(runner.seen_ms)),
            Line::styled(style::DIM, &runner.version),
            Line::styled(style::DIM, labels.join(" ")),
            Line::styled(style::DIM, runs.join(" ")),
        ]);
    }
    let mut lines = vec![Line::new()];
    lines.extend(table.lines(width));
    lines
}

/// A line for each target, and below them why any of them is on hold.
pub(crate) fn targets(targets: &[TargetView], width: usize) -> Vec<Line> {
    let mut table = Table::new(&[
        Column::elastic("TARGET", 8),
        Column::fixed("TIP"),
        Column::right("PENDING"),
        Column::right("TESTING"),
        Column::right("WINDOW"),
        Column::fixed("STATE"),
    ]);
    for target in targets {
        let state = match &target.hold {
            None if target.tip_health == TipHealth::Red => Line::styled(style::RED, "✗ red"),
            None => Line::styled(style::GREEN, "✓ open"),
            Some(_) => Line::styled(style::YELLOW, "⏸ on hold"),
        };
        table.row([
            Line::styled(style::BOLD, target.target.as_str()),
            Line::plain(target.tip.map_or_else(|| "unknown".to_owned(), |tip| tip.short())),
            Line::plain(target.pending.to_string()),
            Line::plain(target.testing.to_string()),
            Line::plain(target.window.to_string()),
            state,
        ]);
    }
    let mut lines = table.lines(width);
    for (name, why) in targets.iter().filter_map(|t| Some((&t.target, t.hold.as_ref()?))) {
        let parts = wrap(&format!("{name}: {why}"), width.saturating_sub(4));
        lines.extend(parts.into_iter().map(|part| Line::styled(style::YELLOW, part).indented(4)));
    }
    for note in targets.iter().flat_map(|t| [&t.tip_note, &t.runner_note]).flatten() {
        let parts = wrap(note, width.saturating_sub(4));
        lines.extend(parts.into_iter().map(|part| Line::styled(style::YELLOW, part).indented(4)));
    }
    for (target, flaky) in targets.iter().flat_map(|t| t.flaky.iter().take(FLAKY).map(|f| (&t.target, f))) {
        let said = flaky.said.lines().last().unwrap_or_default();
        let told = format!(
            "{target}: step `{}` does not always say the same: {} times red and then green on one tree, last at {}: {said}",
            flaky.step, flaky.times, flaky.last
        );
        let parts = wrap(&told, width.saturating_sub(4));
        lines.extend(parts.into_iter().map(|part| Line::styled(style::YELLOW, part).indented(4)));
    }
    lines
}
