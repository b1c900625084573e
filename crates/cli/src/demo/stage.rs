use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use yardmaster_protocol::{Event, EventBody, QueueReply, RequestId, RequestRow};

use super::cast::{CAST, role_of};
use super::verify::Endings;
use crate::screen::{Column, Line, Live, Out, Table, style};
use crate::words;

const BAR: usize = 8;
const EVENTS_SHOWN: usize = 6;
/// How long the sample project's tests take, for the bars.
const USUAL_RUN: Duration = Duration::from_millis(1_150);

/// What has been seen so far, and how it is shown: in place on a terminal, otherwise a line for each event.
pub(super) struct Stage {
    out: Out,
    live: Option<Live>,
    started: Instant,
    rows: BTreeMap<RequestId, RequestRow>,
    testing: BTreeMap<RequestId, (Instant, Vec<RequestId>)>,
    /// In the order in which they ended.
    ended: Vec<RequestId>,
    lately: VecDeque<Line>,
    pub(super) runs: usize,
    pub(super) endings: Endings,
}

impl Stage {
    pub(super) fn open(out: Out) -> Stage {
        // A log that somebody asked for would be drawn over.
        let is_live = out.is_live() && std::env::var_os("YARDMASTER_LOG").is_none();
        Stage {
            out,
            live: is_live.then(Live::stdout),
            started: Instant::now(),
            rows: BTreeMap::new(),
            testing: BTreeMap::new(),
            ended: Vec::new(),
            lately: VecDeque::new(),
            runs: 0,
            endings: Endings::new(),
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.live.is_some()
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn is_over(&self) -> bool {
        self.endings.len() == CAST.len()
    }

    /// A step of the set-up.
    pub(super) fn say(&mut self, line: Line) {
        if self.out.json {
            return;
        }
        match &mut self.live {
            Some(live) => live.above(&[line]),
            // The end of the reader is noticed at the finale.
            None => drop(self.out.line(line)),
        }
    }

    pub(super) fn happened(&mut self, event: &Event) {
        let line = Line::styled(style::DIM, format!("  {:>5.2} s  ", self.elapsed().as_secs_f64()));
        let line = line.join(words::event(event));
        if self.live.is_none() {
            self.say(line.clone());
        }
        self.lately.push_back(line);
        if self.lately.len() > EVENTS_SHOWN {
            self.lately.pop_front();
        }
        let Some(about) = &event.about else { return };
        if let EventBody::MergeTesting { behind, .. } = &event.body {
            self.runs += 1;
            self.testing.insert(about.request, (Instant::now(), behind.clone()));
        }
        if event.body.is_terminal() {
            self.ended.push(about.request);
            self.endings.entry(about.agent.to_string()).or_default().push(event.clone());
        }
    }

    pub(super) fn update(&mut self, queue: QueueReply) {
        for row in queue.requests.into_iter().chain(queue.ended) {
            self.rows.insert(row.request, row);
        }
    }

    pub(super) fn draw(&mut self) {
        let lines = self.picture(crate::screen::width());
        if let Some(live) = &mut self.live {
            live.draw(lines);
        }
    }

    /// Gives the screen back.
    pub(super) fn close(&mut self) {
        if let Some(mut live) = self.live.take() {
            live.draw(Vec::new());
        }
    }

    fn picture(&self, width: usize) -> Vec<Line> {
        let mut lines = vec![Line::new(), self.headline()];
        lines.extend(self.table().lines(width));
        lines.push(Line::new());
        lines.extend(self.lately.iter().cloned());
        lines
    }

    fn headline(&self) -> Line {
        let count = |state: &str| self.rows.values().filter(|row| row.state == state).count();
        Line::styled(style::BOLD, format!("  {:.1} s", self.elapsed().as_secs_f64()))
            .add(style::GREEN, format!("  ✓ {} landed", count("landed")))
            .add(style::RED, format!("  ✗ {} failed", count("failed")))
            .add(style::BLUE, format!("  ● {} testing", count("testing")))
            .add(style::DIM, format!("  {} gate runs so far", self.runs))
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&[
            Column::right("#"),
            Column::fixed("REQUEST"),
            Column::elastic("BRANCH", 20),
            Column::fixed("SYSTEM"),
            Column::fixed("STATE"),
            Column::fixed("TESTED"),
            Column::elastic("NOTE", 8),
        ]);
        for row in self.in_order() {
            let system = role_of(row.agent.as_str()).map_or("", |role| role.system);
            table.row([
                Line::plain(row.position.map(|p| p.to_string()).unwrap_or_default()),
                Line::styled(style::BOLD, row.request.to_string()),
                Line::plain(row.branch.as_str()),
                Line::styled(colour_of(system), if system == "infrastructure" { "infra" } else { system }),
                // The widest that is seen for long, so that the columns stand still.
                words::state(&row.state).padded(10),
                self.bar(row),
                Line::styled(style::DIM, self.note(row)),
            ]);
        }
        table
    }

    /// Landed ones as they landed, then the queue, then what failed.
    fn in_order(&self) -> Vec<&RequestRow> {
        let mut rows: Vec<&RequestRow> = self.rows.values().collect();
        rows.sort_by_key(|row| {
            let ended = self.ended.iter().position(|id| *id == row.request).unwrap_or(usize::MAX);
            match row.state.as_str() {
                "landed" => (0, ended),
                "failed" => (2, ended),
                _ => (1, row.position.map_or(usize::MAX, |p| p as usize)),
            }
        });
        rows
    }

    fn bar(&self, row: &RequestRow) -> Line {
        let full = match row.state.as_str() {
            "testing" => {
                let since = self.testing.get(&row.request).map_or(Duration::ZERO, |(at, _)| at.elapsed());
                let part = since.as_secs_f64() / USUAL_RUN.as_secs_f64();
                ((part * BAR as f64) as usize).min(BAR - 1)
            }
            "green" | "landing" | "landed" => BAR,
            _ => return Line::styled(style::DIM, "·".repeat(BAR)),
        };
        let (_, colour) = style::of_state(&row.state);
        Line::styled(colour, "█".repeat(full)).add(style::DIM, "░".repeat(BAR - full))
    }

    fn note(&self, row: &RequestRow) -> String {
        match (row.state.as_str(), self.testing.get(&row.request)) {
            ("testing", Some((_, behind))) if !behind.is_empty() => {
                format!("on top of {}", words::requests(behind))
            }
            ("testing", _) => "on main".to_owned(),
            _ => row.note.clone(),
        }
    }
}

/// One colour for each system.
pub(super) fn colour_of(system: &str) -> anstyle::Style {
    match system {
        "infrastructure" => style::MAGENTA,
        "backend" => style::CYAN,
        _ => style::YELLOW,
    }
}
