use std::ops::Range;

use imara_diff::{Algorithm, Diff, Hunk, InternedInput, Token};

/// Larger files are left to git.
pub(crate) const MAX_BLOB: usize = 1024 * 1024;

/// Merges two edits of one text, or says why that is not certain.
///
/// Exact or nothing: a result is given only when no two hunks of the two sides overlap or touch,
/// wherever an ambiguous hunk is placed. Git's own algorithm then has nothing to decide either.
pub(crate) fn merge_lines(base: &[u8], ours: &[u8], theirs: &[u8]) -> Result<Vec<u8>, &'static str> {
    if [base, ours, theirs].iter().any(|text| text.len() > MAX_BLOB) {
        return Err("a large file changed on both sides");
    }
    if [base, ours, theirs].iter().any(|text| text.contains(&0)) {
        return Err("a binary file changed on both sides");
    }
    let ours = Side::of(base, ours);
    let theirs = Side::of(base, theirs);
    // Reaches of one side may overlap each other, so both lists are taken as unions first.
    if touching(&united(&ours.reach()), &united(&theirs.reach())) {
        return Err("both sides changed the same or neighbouring lines");
    }
    Ok(interleave(base, &ours, &theirs))
}

/// For each hunk of one edit the lines of the base between which it can lie, united and in order; or why
/// only git can merge it with another.
pub(crate) fn reach(base: &[u8], text: &[u8]) -> Result<Vec<Range<u32>>, &'static str> {
    if base.len() > MAX_BLOB || text.len() > MAX_BLOB {
        return Err("a large file changed on both sides");
    }
    if base.contains(&0) || text.contains(&0) {
        return Err("a binary file changed on both sides");
    }
    Ok(united(&Side::of(base, text).reach()))
}

struct Side<'a> {
    input: InternedInput<&'a [u8]>,
    hunks: Vec<Hunk>,
}

impl<'a> Side<'a> {
    fn of(base: &'a [u8], text: &'a [u8]) -> Self {
        let input = InternedInput::new(base, text);
        let hunks = Diff::compute(Algorithm::Histogram, &input).hunks().collect();
        Side { input, hunks }
    }

    /// For each hunk the lines of the base between which it can lie.
    ///
    /// A hunk slides over a repeated line: inserting the second of two equal blocks is the same edit
    /// as inserting the first. Git picks one place; all of them are counted here.
    fn reach(&self) -> Vec<Range<u32>> {
        let (before, after) = (&self.input.before, &self.input.after);
        let lines = u32::try_from(before.len()).unwrap_or(u32::MAX);
        let reach = |hunk: &Hunk| {
            let up = slide_up(before, &hunk.before).max(slide_up(after, &hunk.after));
            let down = slide_down(before, &hunk.before).max(slide_down(after, &hunk.after));
            hunk.before.start.saturating_sub(up)..hunk.before.end.saturating_add(down).min(lines)
        };
        self.hunks.iter().map(reach).collect()
    }
}

fn slide_up(lines: &[Token], hunk: &Range<u32>) -> u32 {
    let (start, end) = (hunk.start as usize, hunk.end as usize);
    if start == end {
        return 0;
    }
    let pairs = lines[..start].iter().rev().zip(lines[..end].iter().rev());
    u32::try_from(pairs.take_while(|(above, last)| above == last).count()).unwrap_or(u32::MAX)
}

fn slide_down(lines: &[Token], hunk: &Range<u32>) -> u32 {
    let (start, end) = (hunk.start as usize, hunk.end as usize);
    if start == end {
        return 0;
    }
    let pairs = lines[end..].iter().zip(&lines[start..]);
    u32::try_from(pairs.take_while(|(below, first)| below == first).count()).unwrap_or(u32::MAX)
}

/// Whether two united lists meet. Touching counts: git takes changes of neighbouring lines for a conflict.
pub(crate) fn touching(ours: &[Range<u32>], theirs: &[Range<u32>]) -> bool {
    let (mut i, mut j) = (0, 0);
    while let (Some(a), Some(b)) = (ours.get(i), theirs.get(j)) {
        if a.start <= b.end && b.start <= a.end {
            return true;
        }
        if a.end < b.start {
            i += 1;
        } else {
            j += 1;
        }
    }
    false
}

fn united(ranges: &[Range<u32>]) -> Vec<Range<u32>> {
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(|r| r.start);
    let mut united: Vec<Range<u32>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match united.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => united.push(range),
        }
    }
    united
}

/// The base with the hunks of both sides put in; they are known not to touch.
fn interleave(base: &[u8], ours: &Side<'_>, theirs: &Side<'_>) -> Vec<u8> {
    let mut edits: Vec<(&Side<'_>, &Hunk)> = ours.hunks.iter().map(|h| (ours, h)).collect();
    edits.extend(theirs.hunks.iter().map(|h| (theirs, h)));
    edits.sort_by_key(|(_, hunk)| hunk.before.start);
    let mut merged = Vec::with_capacity(base.len() + 256);
    let mut next = 0;
    let copy = |into: &mut Vec<u8>, side: &Side<'_>, lines: &[Token]| {
        for line in lines {
            into.extend_from_slice(side.input.interner[*line]);
        }
    };
    for (side, hunk) in edits {
        let (start, end) = (hunk.before.start as usize, hunk.before.end as usize);
        copy(&mut merged, ours, &ours.input.before[next..start]);
        copy(&mut merged, side, &side.input.after[hunk.after.start as usize..hunk.after.end as usize]);
        next = end;
    }
    copy(&mut merged, ours, &ours.input.before[next..]);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(base: &str, ours: &str, theirs: &str) -> Option<String> {
        merge_lines(base.as_bytes(), ours.as_bytes(), theirs.as_bytes())
            .ok()
            .map(|text| String::from_utf8(text).expect("text"))
    }

    #[test]
    fn edits_that_are_apart_are_both_taken() {
        assert_eq!(
            merged("1\n2\n3\n4\n5\n", "A\n2\n3\n4\n5\n", "1\n2\n3\n4\nE\n").as_deref(),
            Some("A\n2\n3\n4\nE\n")
        );
        assert_eq!(merged("1\n2\n3", "0\n1\n2\n3", "1\n2\n3\n4").as_deref(), Some("0\n1\n2\n3\n4"));
        assert_eq!(
            merged("1\r\n2\r\n3\r\n", "1\r\n2\r\nC\r\n", "1\n2\r\n3\r\n").as_deref(),
            Some("1\n2\r\nC\r\n")
        );
    }

    #[test]
    fn edits_that_touch_are_left_to_git() {
        assert_eq!(merged("1\n2\n3\n", "A\n2\n3\n", "1\nB\n3\n"), None);
        assert_eq!(merged("1\n2\n", "1\nx\n2\n", "1\ny\n2\n"), None);
        assert_eq!(merged("", "x\n", "y\n"), None);
    }

    #[test]
    fn a_hunk_counts_everywhere_it_can_slide_to() {
        let base = "a\n}\n\nb\n}\n\nc\n}\n";
        let ours = "a\n}\n\nn\n}\n\nb\n}\n\nc\n}\n";
        assert_eq!(merged(base, ours, "a\n]\n\nb\n}\n\nc\n}\n"), None, "slides up to the other's line");
        assert!(merged(base, ours, "a\n}\n\nb\n}\n\nc\n]\n").is_some());
    }

    #[test]
    fn binary_and_large_files_are_left_to_git() {
        assert!(merge_lines(b"a\0\n", b"b\0\n", b"a\0\nc\n").is_err());
        assert!(merge_lines(&vec![b'a'; MAX_BLOB + 1], b"", b"b").is_err());
    }
}
