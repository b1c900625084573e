use super::line::Line;
use anstyle::Style;

/// A box of `width` columns around `lines`, which are cut where they are too long.
pub(crate) fn panel(style: Style, title: Line, lines: Vec<Line>, width: usize) -> Vec<Line> {
    let inner = width.saturating_sub(4);
    let title = title.cut(inner.saturating_sub(2));
    let rule = "─".repeat(inner.saturating_sub(title.width() + 1));
    let top = Line::styled(style, "╭─ ").join(title).add(style, format!(" {rule}╮"));
    let body = lines
        .into_iter()
        .map(|line| Line::styled(style, "│ ").join(line.cut(inner).padded(inner)).add(style, " │"));
    let bottom = Line::styled(style, format!("╰{}╯", "─".repeat(width.saturating_sub(2))));
    std::iter::once(top).chain(body).chain([bottom]).collect()
}
