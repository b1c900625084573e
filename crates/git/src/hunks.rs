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

/// For each hunk of one edit the bytes of the base between which it can lie, at whole lines, united and in
/// order; or why only git can merge it with another.
pub(crate) fn reach(base: &[u8], text: &[u8]) -> Result<Vec<Range<u32>>, &'static str> {
    if base.len() > MAX_BLOB || text.len() > MAX_BLOB {
        return Err("a large file changed on both sides");
    }
    if base.contains(&0) || text.contains(&0) {
        return Err("a binary file changed on both sides");
    }
    Ok(united(&near(base, text, NEAR).unwrap_or_else(|| Side::of(base, text).reach_in_bytes(0))))
}

/// Lines around a change in which its hunks are looked for first.
const NEAR: usize = 60;

/// The reach of all hunks, with only those lines read that are not the same at both ends and some around them:
/// the diff leaves equal ends out anyway. None where a hunk may slide further than these.
fn near(base: &[u8], text: &[u8], around: usize) -> Option<Vec<Range<u32>>> {
    let start = common_start(base, text);
    let start = base[..start].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let same = common_end(&base[start..], &text[start..]);
    let is_line = |text: &[u8], at: usize| at == start || text[at - 1] == b'\n';
    let end = base.len() - same;
    let end = if is_line(base, end) && is_line(text, text.len() - same) {
        end
    } else {
        base[end..].iter().position(|b| *b == b'\n').map_or(base.len(), |at| end + at + 1)
    };
    let first = base[..start].iter().rposition({
        let mut lines = 0;
        move |b| {
            lines += usize::from(*b == b'\n');
            lines > around
        }
    });
    let last = base[end..].iter().enumerate().filter(|(_, b)| **b == b'\n').nth(around);
    let first = first.map_or(0, |at| at + 1);
    let last = last.map_or(base.len(), |(at, _)| end + at + 1);
    let side = Side::of(&base[first..last], &text[first..text.len() - (base.len() - last)]);
    let (above, below) = (first > 0, last < base.len());
    let is_far = |hunk: &Hunk| {
        [(&side.input.before, &hunk.before), (&side.input.after, &hunk.after)].iter().any(|(lines, range)| {
            above && slide_up(lines, range) >= range.start
                || below && slide_down(lines, range) as usize >= lines.len() - range.end as usize
        })
    };
    if side.hunks.iter().any(is_far) {
        return None;
    }
    Some(side.reach_in_bytes(first))
}

/// Compared at once.
const CHUNK: usize = 64;

fn common_start(a: &[u8], b: &[u8]) -> usize {
    let whole = a.as_chunks::<CHUNK>().0.iter().zip(b.as_chunks::<CHUNK>().0);
    let whole = whole.take_while(|(a, b)| a == b).count() * CHUNK;
    whole + a[whole..].iter().zip(&b[whole..]).take_while(|(a, b)| a == b).count()
}

fn common_end(a: &[u8], b: &[u8]) -> usize {
    let whole = a.as_rchunks::<CHUNK>().1.iter().rev().zip(b.as_rchunks::<CHUNK>().1.iter().rev());
    let whole = whole.take_while(|(a, b)| a == b).count() * CHUNK;
    let (a, b) = (&a[..a.len() - whole], &b[..b.len() - whole]);
    whole + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
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

    /// The same as bytes; so many come before the first line.
    fn reach_in_bytes(&self, first: usize) -> Vec<Range<u32>> {
        let lines = &self.input.before;
        let mut starts = Vec::with_capacity(lines.len() + 1);
        starts.push(u32::try_from(first).unwrap_or(u32::MAX));
        let mut start = first;
        for line in lines {
            start += self.input.interner[*line].len();
            starts.push(u32::try_from(start).unwrap_or(u32::MAX));
        }
        let at = |line: u32| starts.get(line as usize).copied().unwrap_or(u32::MAX);
        self.reach().iter().map(|range| at(range.start)..at(range.end)).collect()
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

    fn whole(base: &[u8], text: &[u8]) -> Vec<Range<u32>> {
        Side::of(base, text).reach_in_bytes(0)
    }

    #[test]
    fn a_hunk_that_slides_out_of_sight_is_looked_for_in_the_whole_text() {
        let base = "x\n".repeat(NEAR * 3);
        let text = format!("{base}x\n");
        assert_eq!(near(base.as_bytes(), text.as_bytes(), NEAR), None);
        let reached = reach(base.as_bytes(), text.as_bytes()).expect("text");
        let all = 0..u32::try_from(base.len()).expect("small");
        assert_eq!((reached.len(), reached.first()), (1, Some(&all)));
    }

    #[test]
    fn far_from_the_change_nothing_is_read() {
        let lines: Vec<String> = (0..1_000).map(|i| format!("{i}\n")).collect();
        let (base, mut changed) = (lines.concat(), lines.clone());
        changed[500] = "other\n".into();
        let at = u32::try_from(lines[..500].concat().len()).expect("small");
        let found = near(base.as_bytes(), changed.concat().as_bytes(), 1);
        let found = found.expect("it slides nowhere");
        assert_eq!((found.len(), found.first()), (1, Some(&(at..at + 4))));
        changed.truncate(900);
        assert!(reach(base.as_bytes(), changed.concat().as_bytes()).is_ok_and(|found| found.len() == 2));
    }

    proptest::proptest! {
        /// What is seen near a change is what is seen in the whole text, or nothing is said.
        #[test]
        fn near_and_whole_are_the_same(
            lines in proptest::collection::vec("[ab]{0,1}", 0..40),
            edits in proptest::collection::vec((0_usize..40, 0_usize..4, proptest::collection::vec("[ab]{0,1}", 0..4)), 1..4),
            ends in proptest::prelude::any::<(bool, bool)>(),
            around in 0_usize..6,
        ) {
            let mut changed = lines.clone();
            for (at, gone, new) in edits {
                let at = at.min(changed.len());
                let end = (at + gone).min(changed.len());
                changed.splice(at..end, new);
            }
            let text = |lines: &[String], ended: bool| {
                let text = lines.join("\n");
                if ended && !lines.is_empty() { text + "\n" } else { text }
            };
            let (base, changed) = (text(&lines, ends.0), text(&changed, ends.1));
            let (base, changed) = (base.as_bytes(), changed.as_bytes());
            if let Some(found) = near(base, changed, around) {
                assert_eq!(found, whole(base, changed));
            }
            assert_eq!(near(base, changed, 100), Some(whole(base, changed)));
        }
    }
}
