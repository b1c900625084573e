use std::path::Path;

use git2::build::TreeUpdateBuilder;
use git2::{ErrorCode, FileMode, ObjectType, Oid, Repository};
use yardmaster_protocol::ChangelogEdit;

use crate::GitError;

const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A tree with the entry put into its changelog, or why that cannot be.
pub(crate) fn edit(
    repo: &Repository,
    tree: Oid,
    edit: &ChangelogEdit,
) -> Result<Result<Oid, String>, GitError> {
    let baseline = repo.find_tree(tree)?;
    let odb = repo.odb()?;
    let (old, mode) = match baseline.get_path(Path::new(&edit.path)) {
        Ok(entry) if matches!(entry.filemode(), 0o100_644 | 0o100_755) => {
            (odb.read(entry.id())?.data().to_vec(), entry.filemode())
        }
        Ok(_) => return Ok(Err(format!("the changelog `{}` is not a plain file", edit.path))),
        Err(e) if e.code() == ErrorCode::NotFound => (Vec::new(), 0o100_644),
        Err(e) => {
            return Ok(Err(format!("the changelog cannot be kept at `{}`: {}", edit.path, e.message())));
        }
    };
    if old.len() > MAX_BYTES {
        return Ok(Err(format!("the changelog `{}` is larger than 4 MiB", edit.path)));
    }
    let blob = odb.write(ObjectType::Blob, &insert(&old, &edit.entry))?;
    let mode = if mode == 0o100_755 { FileMode::BlobExecutable } else { FileMode::Blob };
    let mut update = TreeUpdateBuilder::new();
    update.upsert(edit.path.as_str(), blob, mode);
    Ok(update
        .create_updated(repo, &baseline)
        .map_err(|e| format!("the changelog cannot be kept at `{}`: {}", edit.path, e.message())))
}

/// The text with the entry at the top of the newest list.
fn insert(old: &[u8], entry: &str) -> Vec<u8> {
    let crlf = old.windows(2).any(|w| w == b"\r\n");
    let entry = entry.trim_end_matches(['\n', '\r']);
    let entry = entry.replace("\r\n", "\n");
    let entry = if crlf { entry.replace('\n', "\r\n") } else { entry };
    let newline = if crlf { "\r\n" } else { "\n" };
    if old.is_empty() {
        return format!("# Changelog\n\n{entry}\n").into_bytes();
    }
    let lines: Vec<&[u8]> = old.split_inclusive(|b| *b == b'\n').collect();
    let heading =
        lines.iter().position(|l| is_unreleased(l)).or_else(|| lines.iter().position(|l| is_heading(l)));
    let top = heading.map_or(0, |at| {
        let blanks = lines[at + 1..].iter().take_while(|l| l.trim_ascii().is_empty()).count();
        at + 1 + blanks
    });
    let mut text: Vec<u8> = lines[..top].concat();
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.extend_from_slice(newline.as_bytes());
    }
    if top > 0 && lines[top - 1].trim_ascii().starts_with(b"#") {
        text.extend_from_slice(newline.as_bytes());
    }
    text.extend_from_slice(entry.as_bytes());
    text.extend_from_slice(newline.as_bytes());
    let rest = &lines[top..];
    if rest.first().is_some_and(|l| is_heading(l)) {
        text.extend_from_slice(newline.as_bytes());
    }
    text.extend(rest.concat());
    text
}

fn is_heading(line: &[u8]) -> bool {
    let marks = line.iter().take_while(|b| **b == b'#').count();
    (1..=6).contains(&marks) && line.get(marks) == Some(&b' ')
}

fn is_unreleased(line: &[u8]) -> bool {
    let title = line.trim_ascii().to_ascii_lowercase();
    line.starts_with(b"## ") && (title == b"## unreleased" || title.starts_with(b"## [unreleased]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(old: &str) -> String {
        String::from_utf8(insert(old.as_bytes(), "- new\n")).expect("text")
    }

    #[test]
    fn the_entry_goes_to_the_top_of_the_newest_list() {
        for (old, new) in [
            ("", "# Changelog\n\n- new\n"),
            ("# Changelog\n\n- old\n", "# Changelog\n\n- new\n- old\n"),
            ("# Changelog", "# Changelog\n\n- new\n"),
            ("# Changelog\n## 1.0\n", "# Changelog\n\n- new\n\n## 1.0\n"),
            (
                "# Changelog\n\nAll of it.\n\n## [Unreleased]\n\n- old\n\n## 1.0\n- first\n",
                "# Changelog\n\nAll of it.\n\n## [Unreleased]\n\n- new\n- old\n\n## 1.0\n- first\n",
            ),
            ("# C\n\n## Unreleased\n\n## 1.0\n", "# C\n\n## Unreleased\n\n- new\n\n## 1.0\n"),
            ("- old", "- new\n- old"),
            ("# C\r\n\r\n- old\r\n", "# C\r\n\r\n- new\r\n- old\r\n"),
        ] {
            assert_eq!(text(old), new, "{old:?}");
        }
    }
}
