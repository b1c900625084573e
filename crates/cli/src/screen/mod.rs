//! What people see: lines measured by their columns, tables, boxes and a block that is drawn in place.

mod harmless;
mod line;
mod live;
mod out;
mod panel;
pub(crate) mod style;
mod table;

use std::io::IsTerminal;

pub(crate) use harmless::harmless;
pub(crate) use line::{Line, led, wrap};
pub(crate) use live::Live;
pub(crate) use out::Out;
pub(crate) use panel::panel;
pub(crate) use table::{Column, Table};

const WIDTH_WITHOUT_TERMINAL: usize = 80;
const WIDEST: usize = 160;

/// Columns and rows of the terminal, 80 × 24 without one.
pub(crate) fn size() -> (usize, usize) {
    if !std::io::stdout().is_terminal() && !std::io::stderr().is_terminal() {
        return (WIDTH_WITHOUT_TERMINAL, 24);
    }
    match crossterm::terminal::size() {
        Ok((columns, rows)) if columns > 0 && rows > 0 => {
            (usize::from(columns).min(WIDEST), usize::from(rows))
        }
        _ => (WIDTH_WITHOUT_TERMINAL, 24),
    }
}

/// Columns for tables and text.
pub(crate) fn width() -> usize {
    if std::io::stdout().is_terminal() { size().0 } else { WIDTH_WITHOUT_TERMINAL }
}
