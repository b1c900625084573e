use anstyle::{AnsiColor, Style};

pub(crate) const PLAIN: Style = Style::new();
pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
pub(crate) const RED: Style = AnsiColor::Red.on_default();
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();
pub(crate) const BLUE: Style = AnsiColor::Blue.on_default();
pub(crate) const CYAN: Style = AnsiColor::Cyan.on_default();
pub(crate) const MAGENTA: Style = AnsiColor::Magenta.on_default();

/// The symbol of a state and how it is drawn; the word stands beside it always.
pub(crate) fn of_state(state: &str) -> (&'static str, Style) {
    match state {
        "landed" => ("✓", GREEN),
        "failed" => ("✗", RED),
        "testing" => ("●", BLUE),
        "green" | "landing" => ("●", GREEN),
        "blocked" => ("⏸", YELLOW),
        "withdrawn" | "superseded" => ("✗", DIM),
        _ => ("◌", DIM),
    }
}
