use std::fmt::Write as _;

use super::grid::Cell;
use super::published::{P50, PER_HOUR, WORKERS};

const PANEL: f64 = 190.0;
const GAP: f64 = 16.0;
const LEFT: f64 = 56.0;
const TOP: f64 = 86.0;
const HEIGHT: f64 = 230.0;
/// Not so dark and not so bright that they vanish on a white or on a black page.
const COLOURS: [&str; 4] = ["#8a8a8a", "#d9822b", "#2f7ed8", "#2ca25f"];

/// Median turnaround over the Oracle's by workers, a panel for each rate, as SVG.
pub fn plot(shown: &[Vec<Cell>]) -> String {
    let most = shown.iter().flatten().map(|c| c.mean(|r| r.p50)).map(|m| m.value + m.half);
    let most = most.fold(3.2, f64::max).ceil();
    let width = LEFT + (PANEL + GAP) * PER_HOUR.len() as f64;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {}\" font-family=\"system-ui, sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"16\" font-weight=\"600\" fill=\"#222\">Median turnaround over the Oracle's, \
         in a simulation calibrated to the published tables</text>\n",
        TOP + HEIGHT + 58.0
    );
    legend(&mut text, shown);
    for (row, rate) in PER_HOUR.iter().enumerate() {
        panel(&mut text, row, *rate, most);
        let published: Vec<(f64, f64)> = P50[row].iter().map(|value| (*value, 0.0)).collect();
        line(&mut text, row, 0, most, &published);
        for (n, cells) in shown.iter().enumerate() {
            let cells = cells.iter().skip(row * WORKERS.len()).take(WORKERS.len());
            let values: Vec<(f64, f64)> =
                cells.map(|c| c.mean(|r| r.p50)).map(|m| (m.value, m.half)).collect();
            line(&mut text, row, n + 1, most, &values);
        }
    }
    text.push_str("</svg>\n");
    text
}

fn legend(text: &mut String, shown: &[Vec<Cell>]) {
    let names = shown.iter().filter_map(|c| Some(format!("{} (here)", c.first()?.planner.name())));
    let names = std::iter::once("SubmitQueue, published".to_owned()).chain(names);
    let mut x = LEFT;
    for (n, name) in names.enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let _ = writeln!(text, "<circle cx=\"{}\" cy=\"46\" r=\"4.5\" fill=\"{colour}\"/>", x + 5.0);
        let _ = writeln!(text, "<text x=\"{}\" y=\"50\" fill=\"#333\">{name}</text>", x + 15.0);
        x += 34.0 + name.chars().count() as f64 * 6.6;
    }
}

fn left(row: usize) -> f64 {
    LEFT + (PANEL + GAP) * row as f64
}

fn x(row: usize, column: usize) -> f64 {
    left(row) + 16.0 + (PANEL - 32.0) / (WORKERS.len() - 1) as f64 * column as f64
}

fn y(value: f64, most: f64) -> f64 {
    TOP + HEIGHT * (1.0 - value / most)
}

fn panel(text: &mut String, row: usize, rate: u32, most: f64) {
    let (from, to) = (left(row), left(row) + PANEL);
    let _ = writeln!(
        text,
        "<text x=\"{from}\" y=\"{}\" font-weight=\"600\" fill=\"#333\">{rate} changes an hour</text>",
        TOP - 10.0
    );
    for tick in (0..).take_while(|tick| f64::from(*tick) <= most) {
        let at = y(f64::from(tick), most);
        let (colour, wide) = if tick == 1 { ("#777", 1.2) } else { ("#e2e2e2", 1.0) };
        let _ =
            writeln!(text, "<path d=\"M{from} {at:.1}H{to}\" stroke=\"{colour}\" stroke-width=\"{wide}\"/>");
        if row == 0 {
            let _ = writeln!(
                text,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{tick}</text>",
                from - 8.0,
                at + 4.0
            );
        }
    }
    for (column, workers) in WORKERS.iter().enumerate() {
        let (at, below) = (x(row, column), TOP + HEIGHT + 18.0);
        let _ = writeln!(
            text,
            "<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\" fill=\"#555\">{workers}</text>"
        );
    }
    let (middle, below) = (from + PANEL / 2.0, TOP + HEIGHT + 38.0);
    let _ = writeln!(
        text,
        "<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\" fill=\"#555\">workers</text>"
    );
}

fn line(text: &mut String, row: usize, n: usize, most: f64, values: &[(f64, f64)]) {
    let colour = COLOURS[n % COLOURS.len()];
    let dash = if n == 0 { " stroke-dasharray=\"5 4\"" } else { "" };
    let points: Vec<String> =
        values.iter().enumerate().map(|(i, (v, _))| format!("{:.1},{:.1}", x(row, i), y(*v, most))).collect();
    let points = points.join(" ");
    let _ = writeln!(
        text,
        "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>"
    );
    for (i, (value, half)) in values.iter().enumerate() {
        let at = x(row, i);
        let (low, high) = (y(value - half, most), y(value + half, most));
        let _ = writeln!(
            text,
            "<path d=\"M{at:.1} {low:.1}V{high:.1}\" stroke=\"{colour}\" stroke-width=\"1.5\" opacity=\"0.6\"/>"
        );
        let _ = writeln!(
            text,
            "<circle cx=\"{at:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{colour}\"/>",
            y(*value, most)
        );
    }
}
