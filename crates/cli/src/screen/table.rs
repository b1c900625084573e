use super::line::Line;
use super::style::DIM;

const GAP: usize = 2;
const INDENT: usize = 2;

/// How one column is drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    right: bool,
    /// It may be cut down to so many columns where the screen is narrow.
    least: usize,
}

impl Column {
    /// Never cut.
    pub(crate) fn fixed(title: &'static str) -> Column {
        Column { title, right: false, least: usize::MAX }
    }

    /// Never cut, numbers.
    pub(crate) fn right(title: &'static str) -> Column {
        Column { right: true, ..Column::fixed(title) }
    }

    /// Cut where there is no room.
    pub(crate) fn elastic(title: &'static str, least: usize) -> Column {
        Column { title, right: false, least }
    }
}

/// Rows under titles, aligned by what is seen.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Line>>,
}

impl Table {
    pub(crate) fn new(columns: &[Column]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Line>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Titles and rows, none wider than `width` as far as the columns that may be cut allow it.
    pub(crate) fn lines(self, width: usize) -> Vec<Line> {
        let widths = self.widths(width);
        let titles = self.columns.iter().map(|c| Line::styled(DIM, c.title)).collect();
        let Table { columns, rows } = self;
        let draw = |cells: Vec<Line>| {
            let mut drawn = Line::plain(" ".repeat(INDENT));
            let last = columns.len().saturating_sub(1);
            for (i, ((cell, column), width)) in cells.into_iter().zip(&columns).zip(&widths).enumerate() {
                let cell = cell.cut(*width);
                drawn = drawn.join(match (column.right, i == last) {
                    (true, _) => cell.padded_left(*width),
                    (false, true) => cell,
                    (false, false) => cell.padded(*width),
                });
                if i < last {
                    drawn = drawn.text(" ".repeat(GAP));
                }
            }
            drawn.cut(width)
        };
        std::iter::once(titles).chain(rows).map(draw).collect()
    }

    /// Where there is no room, the widest of those that may be cut gives first.
    fn widths(&self, width: usize) -> Vec<usize> {
        let natural = |(i, column): (usize, &Column)| {
            let cells = self.rows.iter().filter_map(|row| row.get(i)).map(Line::width);
            cells.max().unwrap_or(0).max(super::line::width(column.title))
        };
        let mut widths: Vec<usize> = self.columns.iter().enumerate().map(natural).collect();
        let taken = widths.iter().sum::<usize>() + INDENT + GAP * widths.len().saturating_sub(1);
        let mut over = taken.saturating_sub(width);
        while over > 0 {
            let elastic =
                widths.iter_mut().zip(&self.columns).filter(|(width, column)| **width > column.least);
            let Some((widest, _)) = elastic.max_by_key(|(width, _)| **width) else { break };
            *widest -= 1;
            over -= 1;
        }
        widths
    }
}
