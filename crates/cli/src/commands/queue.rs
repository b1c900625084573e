use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use yardmaster_bus::{Client, EventStart};
use yardmaster_protocol::{Pressure, QueueReply, RequestRow};

use crate::commands::status;
use crate::connection::Connection;
use crate::error::CliError;
use crate::exit::Exit;
use crate::follow::{BACK, NOBODY, Silence};
use crate::screen::{self, Column, Line, Live, Out, Table, style};
use crate::words;

const REDRAW: Duration = Duration::from_secs(1);
/// In pictures: who takes over from another daemon needs a moment.
const PATIENCE: u32 = 6;
const ENDED_SHOWN: usize = 5;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on showing it: in place on a terminal, otherwise a line for each thing that happens.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(args: Args, out: Out) -> Result<Exit, CliError> {
    let client = args.connection.open().await?.client();
    if args.watch {
        return watch(&client, out).await;
    }
    let queue = client.queue().await?;
    if out.json {
        out.object(&queue)?;
    } else {
        out.lines(told(&queue, screen::width()))?;
    }
    Ok(Exit::DONE)
}

async fn watch(client: &Client, out: Out) -> Result<Exit, CliError> {
    let mut last = client.queue().await?;
    let mut events = client.events(EventStart::New).await?;
    let mut live = out.is_live().then(Live::stdout);
    match &mut live {
        Some(live) => live.draw(told(&last, screen::width())),
        None if out.json => out.object(&last)?,
        None => out.lines(told(&last, screen::width()))?,
    }
    let mut silence = Silence::after(PATIENCE);
    let mut tick = interval(REDRAW);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.next() => {
                let event = event?;
                if let (None, false, Some(event)) = (&live, out.json, &event.event) {
                    out.line(words::event(event))?;
                }
            }
            _ = tick.tick() => {}
        }
        // The daemon may be away for a moment: the last picture stays.
        let answer = client.queue().await;
        let is_news = silence.heard(answer.is_ok());
        if is_news && live.is_none() && !out.json {
            let back = Line::styled(style::DIM, BACK);
            out.line(if silence.is_long() { gone() } else { back })?;
        }
        let Ok(queue) = answer else {
            if let Some(live) = live.as_mut().filter(|_| is_news) {
                let mut lines = told(&last, screen::width());
                lines.extend([Line::new(), gone()]);
                live.draw(lines);
            }
            continue;
        };
        if let Some(live) = &mut live {
            live.draw(told(&queue, screen::width()));
        } else if out.json && without_times(queue.clone()) != without_times(last) {
            out.object(&queue)?;
        }
        last = queue;
    }
}

fn gone() -> Line {
    let text = format!("  {NOBODY}: what is above is from before, and all of it is kept");
    Line::styled(style::YELLOW, text)
}

fn without_times(mut queue: QueueReply) -> QueueReply {
    queue.requests.iter_mut().chain(&mut queue.ended).for_each(|row| row.waited_ms = 0);
    queue.runners.iter_mut().for_each(|runner| runner.seen_ms = 0);
    queue
}

/// Targets, what waits, what ended lately.
pub(crate) fn told(queue: &QueueReply, width: usize) -> Vec<Line> {
    let mut lines = status::targets(&queue.targets, width);
    lines.push(Line::new());
    // One table, so that the columns of both parts stand below each other.
    let mut rows = rows(queue.requests.iter().chain(queue.ended.iter().take(ENDED_SHOWN)), width);
    let ended = rows.split_off((queue.requests.len() + 1).min(rows.len()));
    if queue.requests.is_empty() {
        lines.push(Line::styled(style::DIM, "  nothing is waiting"));
    } else {
        lines.extend(rows);
    }
    if !ended.is_empty() {
        lines.push(Line::new());
        lines.push(Line::styled(style::DIM, "  ended lately"));
        lines.extend(ended);
    }
    lines.extend(status::runners(&queue.runners, width));
    match queue.pressure {
        Pressure::Steady => {}
        Pressure::Slow => {
            lines.push(advice("the queue is long: finish what is started before starting more"));
        }
        Pressure::Stop => lines.push(advice("the queue is very long: start nothing new for now")),
    }
    lines
}

fn advice(text: &str) -> Line {
    Line::styled(style::YELLOW, format!("  ⏸ {text}"))
}

fn rows<'a>(rows: impl Iterator<Item = &'a RequestRow>, width: usize) -> Vec<Line> {
    let mut table = Table::new(&[
        Column::right("#"),
        Column::fixed("REQUEST"),
        Column::fixed("STATE"),
        Column::elastic("AGENT", 6),
        Column::elastic("BRANCH", 12),
        Column::right("WAITED"),
        Column::elastic("NOTE", 8),
    ]);
    for row in rows {
        table.row([
            Line::plain(row.position.map(|p| p.to_string()).unwrap_or_default()),
            Line::styled(style::BOLD, row.request.to_string()),
            words::state(&row.state),
            Line::plain(row.agent.as_str()),
            Line::plain(row.branch.as_str()),
            Line::styled(style::DIM, words::duration(row.waited_ms)),
            Line::styled(style::DIM, words::note(row)),
        ]);
    }
    table.lines(width)
}
