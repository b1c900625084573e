use git2::{Oid, Repository};

use crate::git::cut;

/// The most of the conflicting hunks that is told, in bytes.
const MAX_HUNKS: usize = 2_048;
/// Larger files are not looked into.
const MAX_FILE: usize = 1024 * 1024;
/// Files that are looked into.
const MAX_FILES: usize = 5;

/// The hunks in conflict as git marks them in the tree that it makes of a failed merge, each under its path
/// and line; none where there is no text.
pub(crate) fn marked_hunks(repo: &Repository, tree: Oid, paths: &[String]) -> Option<String> {
    let tree = repo.find_tree(tree).ok()?;
    let mut told = String::new();
    for path in paths.iter().take(MAX_FILES) {
        let Ok(entry) = tree.get_path(std::path::Path::new(path)) else { continue };
        let Ok(blob) = repo.find_blob(entry.id()) else { continue };
        if blob.is_binary() || blob.size() > MAX_FILE {
            continue;
        }
        hunks(path, &String::from_utf8_lossy(blob.content()), &mut told);
        if told.len() > MAX_HUNKS {
            break;
        }
    }
    let told = told.trim_end();
    (!told.is_empty()).then(|| cut(told, MAX_HUNKS))
}

fn hunks(path: &str, text: &str, told: &mut String) {
    let mut open = false;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("<<<<<<< ") {
            open = true;
            told.push_str(&format!("{path}:{}\n", number + 1));
        }
        if open {
            told.push_str(line);
            told.push('\n');
        }
        if line.starts_with(">>>>>>> ") {
            open = false;
        }
        if told.len() > MAX_HUNKS {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_conflict_is_told_under_its_place() {
        let text = "a\n<<<<<<< 1\nours\n=======\ntheirs\n>>>>>>> 2\nb\nc\n<<<<<<< 1\nx\n=======\n>>>>>>> 2\n";
        let mut told = String::new();
        hunks("api.rs", text, &mut told);
        let first = "api.rs:2\n<<<<<<< 1\nours\n=======\ntheirs\n>>>>>>> 2\n";
        assert_eq!(told, format!("{first}api.rs:9\n<<<<<<< 1\nx\n=======\n>>>>>>> 2\n"));
        hunks("api.rs", &text.repeat(1_000), &mut told);
        assert!(told.len() < 2 * MAX_HUNKS);
    }
}
