//! What parent and child say to each other: frames of a length (four bytes, the highest first) and so many
//! bytes. The child greets with one; a question is a header in JSON, then one for each text that it names; an
//! answer is one.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::change::FileChange;

/// Parent and child are the same program, unless it was replaced between their starts.
pub(crate) const GREETING: &str = concat!("yardmaster reads definitions ", env!("CARGO_PKG_VERSION"));
pub(crate) const MAX_GREETING: usize = 256;
/// The most bytes of one text or header.
pub(crate) const MAX_PART: usize = 4 * 1024 * 1024;
/// The most bytes of all texts of one question: a little more than what is read of one change.
pub(crate) const MAX_QUESTION: usize = 40 * 1024 * 1024;
/// The most bytes of an answer.
pub(crate) const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// What comes first in a question.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    /// For reading all of them.
    pub(crate) limit_ms: u64,
    pub(crate) files: Vec<Part>,
}

/// A file of which texts follow.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    path: String,
    old: bool,
    new: bool,
}

/// A file with its texts.
#[derive(Debug)]
pub(crate) struct Texts {
    path: String,
    old: Option<Vec<u8>>,
    new: Option<Vec<u8>>,
}

impl Texts {
    pub(crate) fn as_change(&self) -> FileChange<'_> {
        FileChange { path: &self.path, old: self.old.as_deref(), new: self.new.as_deref() }
    }
}

/// A question as bytes; none when it is too long to be asked.
pub(crate) fn question(files: &[FileChange<'_>], limit_ms: u64) -> Option<Vec<u8>> {
    let parts =
        files.iter().map(|f| Part { path: f.path.to_owned(), old: f.old.is_some(), new: f.new.is_some() });
    let header = serde_json::to_vec(&Header { limit_ms, files: parts.collect() }).ok()?;
    let mut bytes = Vec::new();
    let texts = files.iter().flat_map(|f| [f.old, f.new]).flatten();
    for part in std::iter::once(header.as_slice()).chain(texts) {
        if part.len() > MAX_PART || bytes.len() + part.len() > MAX_QUESTION {
            return None;
        }
        write(&mut bytes, part).ok()?;
    }
    Some(bytes)
}

/// The next question; none when there are no more.
pub(crate) fn next_question(from: &mut impl Read) -> io::Result<Option<(Header, Vec<Texts>)>> {
    let Some(header) = read(from, MAX_PART)? else { return Ok(None) };
    let header: Header = serde_json::from_slice(&header)?;
    let mut left = MAX_QUESTION;
    let mut text = |wanted: bool| -> io::Result<Option<Vec<u8>>> {
        if !wanted {
            return Ok(None);
        }
        let text = read(from, left.min(MAX_PART))?.ok_or(io::ErrorKind::UnexpectedEof)?;
        left -= text.len();
        Ok(Some(text))
    };
    let mut files = Vec::new();
    for part in &header.files {
        files.push(Texts { path: part.path.clone(), old: text(part.old)?, new: text(part.new)? });
    }
    Ok(Some((header, files)))
}

/// One frame; none when the other side has closed. Longer ones than `limit` are an error.
pub(crate) fn read(from: &mut impl Read, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0_u8; 4];
    let mut got = 0;
    while let Some(rest) = length.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) if got == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => got += n,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame that is too long"));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

/// Writes one frame.
pub(crate) fn write(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    to.write_all(&length.to_be_bytes())?;
    to.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_comes_as_it_was_asked() {
        let files = [
            FileChange { path: "a.rs", old: Some(b"fn a() {}"), new: None },
            FileChange { path: "b.rs", old: None, new: Some(b"\xff") },
        ];
        let mut bytes = question(&files, 7).expect("short enough");
        bytes.extend(question(&[], 8).expect("short enough"));
        let mut from = bytes.as_slice();
        let (header, texts) = next_question(&mut from).expect("a question").expect("a question");
        assert_eq!(header.limit_ms, 7);
        let told: Vec<_> =
            texts.iter().map(|t| (t.path.as_str(), t.old.as_deref(), t.new.as_deref())).collect();
        assert_eq!(told, [("a.rs", Some(&b"fn a() {}"[..]), None), ("b.rs", None, Some(&b"\xff"[..]))]);
        assert!(next_question(&mut from).expect("a question").is_some());
        assert!(next_question(&mut from).expect("the end").is_none());
    }

    #[test]
    fn what_is_cut_or_too_long_is_an_error() {
        let large = vec![b'a'; MAX_PART + 1];
        assert!(question(&[FileChange { path: "a.rs", old: Some(&large), new: None }], 1).is_none());
        let whole = question(&[FileChange { path: "a.rs", old: Some(b"fn"), new: None }], 1).expect("short");
        for cut in 1..whole.len() {
            assert!(next_question(&mut whole.get(..cut).expect("inside")).is_err(), "{cut}");
        }
        assert!(read(&mut [0, 0, 0, 9, 1].as_slice(), 8).is_err());
        assert!(read(&mut [0xff; 9].as_slice(), MAX_ANSWER).is_err());
    }
}
