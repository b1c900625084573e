use std::io::Write;

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use crossterm::cursor::{Hide, MoveToColumn, MoveUp, Show};
use crossterm::queue;
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};

use super::line::Line;

/// A block of lines that is drawn again in place. Dropped, it leaves the cursor as it was, also when a
/// panic drops it.
pub(crate) struct Live {
    terminal: Box<dyn Write + Send>,
    coloured: bool,
    height: u16,
}

impl Live {
    pub(crate) fn stdout() -> Live {
        let coloured = AutoStream::choice(&std::io::stdout()) != ColorChoice::Never;
        Live::new(Box::new(std::io::stdout()), coloured)
    }

    pub(crate) fn stderr() -> Live {
        let coloured = AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
        Live::new(Box::new(std::io::stderr()), coloured)
    }

    fn new(mut terminal: Box<dyn Write + Send>, coloured: bool) -> Live {
        // A terminal that is gone is noticed by whoever writes the result.
        let _ = queue!(terminal, Hide).and_then(|()| terminal.flush());
        Live { terminal, coloured, height: 0 }
    }

    /// Replaces what was drawn last. Lines that would wrap would break the next redraw, so they are cut;
    /// so is what is higher than the terminal.
    pub(crate) fn draw(&mut self, lines: Vec<Line>) {
        let (width, height) = super::size();
        let lines = lines.into_iter().take(height.saturating_sub(1)).map(|line| line.cut(width));
        let _ = self.replace(&lines.collect::<Vec<_>>());
    }

    /// Lines that stay above the block.
    pub(crate) fn above(&mut self, lines: &[Line]) {
        let _ = self.replace(lines);
        self.height = 0;
    }

    fn replace(&mut self, lines: &[Line]) -> std::io::Result<()> {
        let mut frame = Vec::new();
        queue!(frame, BeginSynchronizedUpdate)?;
        if self.height > 0 {
            queue!(frame, MoveUp(self.height))?;
        }
        queue!(frame, MoveToColumn(0), Clear(ClearType::FromCursorDown))?;
        for line in lines {
            let text = line.ansi();
            let text = if self.coloured { text } else { strip_str(&text).to_string() };
            writeln!(frame, "{text}")?;
        }
        queue!(frame, EndSynchronizedUpdate)?;
        self.height = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        self.terminal.write_all(&frame)?;
        self.terminal.flush()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = queue!(self.terminal, Show);
        let _ = self.terminal.flush();
    }
}
