use std::collections::VecDeque;

/// Raw bytes kept for each byte of text: escape sequences and broken characters shrink on the way.
const RAW_PER_TEXT: usize = 4;
const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;

/// The last bytes of something endless.
#[derive(Debug)]
pub(crate) struct Ring {
    bytes: VecDeque<u8>,
    keep: usize,
}

impl Ring {
    pub(crate) fn new(keep: usize) -> Self {
        Self { bytes: VecDeque::new(), keep }
    }

    /// Takes `bytes` in and says how many older ones went out.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        let kept = &bytes[bytes.len().saturating_sub(self.keep)..];
        let overflow = (self.bytes.len() + kept.len()).saturating_sub(self.keep);
        self.bytes.drain(..overflow);
        self.bytes.extend(kept);
        overflow + bytes.len() - kept.len()
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes).into()
    }
}

/// The end of a step's output, as reports carry it.
#[derive(Debug)]
pub(crate) struct Tail {
    raw: Ring,
    text_bytes: usize,
}

impl Tail {
    pub(crate) fn new(text_bytes: usize) -> Self {
        Self { raw: Ring::new(text_bytes.saturating_mul(RAW_PER_TEXT)), text_bytes }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.raw.push(bytes);
    }

    /// At most the agreed number of bytes, with `note` as the last line where there is one.
    pub(crate) fn into_text(mut self, note: Option<&str>) -> String {
        let mut text = String::from_utf8_lossy(&without_escapes(&self.raw.take())).into_owned();
        if let Some(note) = note {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(note);
        }
        let mut start = text.len().saturating_sub(self.text_bytes);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        text.split_off(start)
    }
}

/// Takes out NUL and the escape sequences of terminals (ECMA-48); a sequence that does not end is
/// taken out up to the end of its line.
fn without_escapes(bytes: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            0 => {}
            ESCAPE => rest = &after[sequence_len(after)..],
            _ => kept.push(byte),
        }
    }
    kept
}

/// How much of `after`, which follows an escape character, belongs to its sequence.
fn sequence_len(after: &[u8]) -> usize {
    let span = |from: usize, ends: &dyn Fn(u8) -> bool| {
        after[from..].iter().position(|&b| ends(b)).map_or(after.len(), |n| from + n)
    };
    let through = |at: usize, last: &dyn Fn(u8) -> bool| match after.get(at) {
        Some(&byte) if last(byte) => at + 1,
        _ => at,
    };
    match after.first() {
        None => 0,
        Some(b'[') => {
            let end = span(1, &|b| !(0x20..=0x3f).contains(&b));
            through(end, &|b| (0x40..=0x7e).contains(&b))
        }
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let end = span(1, &|b| b == BELL || b == ESCAPE || b == b'\n');
            match after.get(end..) {
                Some([ESCAPE, b'\\', ..]) => end + 2,
                _ => through(end, &|b| b == BELL),
            }
        }
        Some(_) => {
            let end = span(0, &|b| !(0x20..=0x2f).contains(&b));
            through(end, &|b| (0x30..=0x7e).contains(&b))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], max: usize) -> String {
        let mut tail = Tail::new(max);
        for piece in bytes.chunks(7) {
            tail.push(piece);
        }
        tail.into_text(None)
    }

    #[test]
    fn escape_sequences_and_nul_go_and_other_control_characters_stay() {
        let shown = [
            (&b"\x1b[31mred\x1b[0m\tx\r\n\x07"[..], "red\tx\r\n\x07"),
            (b"a\0b\x1b]0;title\x07c\x1b]8;;u\x1b\\d", "abcd"),
            (b"\x1b(Bx\x1b7y\x1b", "xy"),
            (b"\x1b[12\nnext \x1b]0;open\nlast", "\nnext \nlast"),
            (b"\xff\xc3\xa9", "\u{fffd}\u{e9}"),
        ];
        for (raw, expected) in shown {
            assert_eq!(text(raw, 4096), expected, "{raw:?}");
        }
    }

    #[test]
    fn the_text_never_passes_its_limit_and_is_the_end() {
        assert_eq!(text(b"0123456789", 4), "6789");
        assert_eq!(text("ééé".as_bytes(), 3), "é");
        assert!(text(&[0xff; 9000], 4096).len() <= 4096);
        assert_eq!(text(b"x", 0), "");
    }

    #[test]
    fn a_note_is_the_last_line() {
        let mut tail = Tail::new(12);
        tail.push(b"0123456789");
        assert_eq!(tail.into_text(Some("note")), "3456789\nnote");
    }

    #[test]
    fn a_ring_counts_what_it_forgets() {
        let mut ring = Ring::new(4);
        assert_eq!((ring.push(b"abc"), ring.push(b"de"), ring.push(b"0123456")), (0, 1, 7));
        assert_eq!(ring.take(), b"3456");
    }
}
