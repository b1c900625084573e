use std::fmt::Write as _;

use anstyle::Style;
use unicode_width::UnicodeWidthChar as _;

use super::style::{self, PLAIN};

/// A piece of text in one style; never holds a control character, so that nobody's branch name or log
/// can steer the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    text: String,
    style: Style,
}

/// One line of the screen, measured in columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Line {
    spans: Vec<Span>,
}

impl Line {
    pub(crate) fn new() -> Line {
        Line::default()
    }

    pub(crate) fn plain(text: impl AsRef<str>) -> Line {
        Line::new().add(PLAIN, text)
    }

    pub(crate) fn styled(style: Style, text: impl AsRef<str>) -> Line {
        Line::new().add(style, text)
    }

    pub(crate) fn add(mut self, style: Style, text: impl AsRef<str>) -> Line {
        let text = clean(text.as_ref());
        if !text.is_empty() {
            self.spans.push(Span { text, style });
        }
        self
    }

    pub(crate) fn text(self, text: impl AsRef<str>) -> Line {
        self.add(PLAIN, text)
    }

    pub(crate) fn join(mut self, other: Line) -> Line {
        self.spans.extend(other.spans);
        self
    }

    pub(crate) fn indented(self, columns: usize) -> Line {
        Line::plain(" ".repeat(columns)).join(self)
    }

    pub(crate) fn width(&self) -> usize {
        self.spans.iter().map(|s| width(&s.text)).sum()
    }

    /// At most `columns` wide, with `…` where something was cut off.
    pub(crate) fn cut(self, columns: usize) -> Line {
        if self.width() <= columns {
            return self;
        }
        let mut left = columns.saturating_sub(1);
        let mut cut = Line::new();
        for span in self.spans {
            let mut text = String::new();
            for c in span.text.chars() {
                let wide = c.width().unwrap_or(0);
                if wide > left {
                    text.push('…');
                    cut.spans.push(Span { text, style: span.style });
                    return cut;
                }
                left -= wide;
                text.push(c);
            }
            cut.spans.push(Span { text, style: span.style });
        }
        cut
    }

    pub(crate) fn padded(self, columns: usize) -> Line {
        let missing = columns.saturating_sub(self.width());
        if missing == 0 { self } else { self.text(" ".repeat(missing)) }
    }

    pub(crate) fn padded_left(self, columns: usize) -> Line {
        let missing = columns.saturating_sub(self.width());
        Line::plain(" ".repeat(missing)).join(self)
    }

    /// With escape sequences; the stream that it is written to takes them out where they do not belong.
    pub(crate) fn ansi(&self) -> String {
        let mut text = String::new();
        for span in &self.spans {
            let style = span.style;
            let _ = write!(text, "{style}{}{style:#}", span.text);
        }
        text
    }
}

/// The columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

fn clean(text: &str) -> String {
    let harmless = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() || is_bidi_control(c) => '\u{fffd}',
        c => c,
    };
    text.chars().map(harmless).collect()
}

fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Breaks a text at spaces into lines of at most `columns`; a word that is longer is broken too.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(8);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ').filter(|w| !w.is_empty()) {
            if !line.is_empty() && width(&line) + 1 + width(word) > columns {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            for c in word.chars() {
                if width(&line) + c.width().unwrap_or(0) > columns {
                    lines.push(std::mem::take(&mut line));
                }
                line.push(c);
            }
        }
        lines.push(line);
    }
    lines
}

/// A text over several lines, the first one led by something else than the rest.
pub(crate) fn led(
    text: &str,
    colour: Style,
    first: &str,
    rest: &str,
    indent: usize,
    room: usize,
) -> Vec<Line> {
    let parts = wrap(text, room).into_iter().enumerate();
    let line = |(i, part): (usize, String)| {
        let lead = if i == 0 { first } else { rest };
        Line::styled(style::DIM, lead).add(colour, part).indented(indent)
    };
    parts.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_and_pads_by_what_is_seen() {
        assert_eq!(Line::plain("日本語テスト").cut(7).width(), 7);
        assert_eq!(Line::plain("abcdef").cut(4), Line::plain("abc…"));
        assert_eq!(Line::plain("ab").padded(4).width(), 4);
        assert_eq!(Line::plain("abcd").cut(4), Line::plain("abcd"));
        assert!(Line::plain("日本").cut(2).width() <= 2);
    }

    #[test]
    fn nobody_steers_the_terminal_with_a_name() {
        let line = Line::plain("roy/\u{1b}[2Jx\r\n\u{202e}y");
        assert!(!line.ansi().contains(['\u{1b}', '\r', '\n', '\u{202e}']), "{:?}", line.ansi());
    }

    #[test]
    fn wraps_at_spaces_and_inside_words_that_are_too_long() {
        assert_eq!(wrap("one two three four", 9), ["one two", "three", "four"]);
        assert_eq!(wrap("abcdefghijkl", 8), ["abcdefgh", "ijkl"]);
        assert_eq!(wrap("a\n\nb", 9), ["a", "", "b"]);
    }
}
