use std::fmt::Write as _;

use super::accept::rms_log_error;
use super::grid::{Cell, grid};
use super::outcome::Mean;
use super::planner::{Knowledge, Planner, Run};
use super::published::{P50, P99, PER_HOUR, WORKERS};

/// Whom the tables show beside what was published: its planner as it is rebuilt here, and ours as it is in the product, told
/// of as many false edges as pairs share a file and the published predictor's word, and of a tenth and a better one's.
pub const SHOWN: [Planner; 3] = [
    Planner::SubmitQueue,
    Planner::Ours(Knowledge { false_edges: Some(0.17), accuracy: 0.97 }),
    Planner::Ours(Knowledge { false_edges: Some(0.1), accuracy: 0.99 }),
];

/// Those of `planners` in all 25 cells of the published tables, with the seeds from 0. Cells that are `known` are not gone through
/// again, nor those with more workers where not all were ever busy; each new one is handed to `keep`.
pub fn figures(
    planners: &[Planner],
    seeds: u64,
    jobs: usize,
    known: &[Cell],
    keep: &mut dyn FnMut(&Cell),
) -> Vec<Vec<Cell>> {
    let mut last: Option<Cell> = None;
    let mut cell = |planner: Planner, rate: u32, workers: usize| {
        let same = |c: &&Cell| (c.planner, c.per_hour, c.workers) == (planner, rate, workers);
        if let Some(cell) = known.iter().filter(|c| c.runs.len() as u64 == seeds).find(same) {
            last = Some(cell.clone());
            return vec![cell.clone()];
        }
        let fewer = last.take().filter(|c: &Cell| (c.planner, c.per_hour) == (planner, rate));
        let cell = fewer.and_then(|c| with_more(&c, workers));
        let cells = cell.map_or_else(|| grid(&[(planner, rate, workers)], seeds, jobs), |cell| vec![cell]);
        cells.iter().for_each(&mut *keep);
        last = cells.first().cloned();
        cells
    };
    let every = || PER_HOUR.iter().flat_map(|rate| WORKERS.iter().map(move |n| (*rate, *n)));
    planners.iter().map(|planner| every().flat_map(|(rate, n)| cell(*planner, rate, n)).collect()).collect()
}

/// A cell with more workers than one in which never all of them were busy.
fn with_more(cell: &Cell, workers: usize) -> Option<Cell> {
    let spare = |r: &Run| r.peak > 0 && r.peak < cell.workers;
    let runs = || (0..).zip(&cell.runs).map(|(seed, run)| run.with_more(seed, cell.per_hour, workers));
    cell.runs.iter().all(spare).then(|| Cell { workers, runs: runs().collect(), ..*cell })
}

/// The tables, as Markdown.
pub fn tables(shown: &[Vec<Cell>]) -> String {
    let mut text = String::new();
    table(&mut text, "P50 ÷ Oracle∞", shown, Some(P50), |r| r.p50);
    table(&mut text, "P99 ÷ Oracle∞", shown, Some(P99), |r| r.p99);
    table(&mut text, "P50 ÷ Oracle with the same workers", shown, None, |r| r.p50_same);
    table(&mut text, "Builds per change", shown, None, |r| r.builds);
    for cells in shown {
        let Some(first) = cells.first() else { continue };
        let runs = || cells.iter().flat_map(|c| &c.runs);
        let (worlds, broken) = (runs().count(), runs().map(|r| r.violations).sum::<usize>());
        let (again, left) =
            (runs().map(|r| r.repeated).sum::<usize>(), runs().map(|r| r.undecided).sum::<usize>());
        let name = first.planner.name();
        let _ = write!(
            text,
            "- {name}: {worlds} worlds; {broken} landings that broke the target, {again} builds that were "
        );
        let _ = writeln!(text, "stopped and started again on the same tree, {left} changes undecided.");
        if first.planner == Planner::SubmitQueue {
            let _ = writeln!(
                text,
                "  Against the published P50: root mean square logarithmic error {:.3}.",
                rms_log_error(cells)
            );
        }
    }
    text
}

fn table(
    text: &mut String,
    title: &str,
    shown: &[Vec<Cell>],
    published: Option<[[f64; 5]; 5]>,
    of: fn(&Run) -> f64,
) {
    let names: Vec<String> = shown.iter().filter_map(|c| Some(c.first()?.planner.name())).collect();
    let head = if published.is_some() { " published |" } else { "" };
    let line = if published.is_some() { " ---: |" } else { "" };
    let _ = writeln!(text, "\n**{title}**\n\n| changes/h | workers |{head} {} |", names.join(" | "));
    let _ = writeln!(text, "| ---: | ---: |{line}{}", " ---: |".repeat(names.len()));
    for (row, rate) in PER_HOUR.iter().enumerate() {
        for (column, workers) in WORKERS.iter().enumerate() {
            let _ = write!(text, "| {rate} | {workers} |");
            if let Some(published) = published {
                let _ = write!(text, " {:.2} |", published[row][column]);
            }
            for cells in shown {
                let mean = cells.get(row * WORKERS.len() + column).map_or(Mean::default(), |c| c.mean(of));
                let _ = write!(text, " {:.2} ± {:.2} |", mean.value, mean.half);
            }
            text.push('\n');
        }
    }
}
