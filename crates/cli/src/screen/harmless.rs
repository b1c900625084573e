/// Text from outside with its lines, tabs and colours; every other control sequence is taken out, so
/// that a log cannot move the cursor, name the window or answer in the user's stead.
pub(crate) fn harmless(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) {
        kept.push_str(&rest[..at]);
        rest = &rest[at..];
        match colour(rest) {
            Some(length) => {
                kept.push_str(&rest[..length]);
                rest = &rest[length..];
            }
            None => {
                let skipped = rest.chars().next().map_or(1, char::len_utf8);
                if !rest.starts_with('\r') {
                    kept.push('\u{fffd}');
                }
                rest = &rest[skipped..];
            }
        }
    }
    kept.push_str(rest);
    kept
}

/// The length of `ESC [ digits ; … m` at the start.
fn colour(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("\u{1b}[")?;
    let end = inner.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    inner[end..].starts_with('m').then_some(2 + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_stay_and_everything_else_is_shown() {
        assert_eq!(harmless("a\u{1b}[1;31mred\u{1b}[0m\n\tb"), "a\u{1b}[1;31mred\u{1b}[0m\n\tb");
        let steered = harmless("\u{1b}]0;title\u{7}x\u{1b}[2Jy\u{9b}31m\r\nz\u{1b}");
        assert!(!steered.contains(['\u{1b}', '\u{7}', '\u{9b}', '\r']), "{steered:?}");
    }
}
