use std::collections::BTreeSet;

use git2::Oid;

use crate::GitError;
use crate::changes::listed;
use crate::git::{Git, cut};

/// The most paths of a conflict that are told.
const MAX_PATHS: usize = 100;
/// The most that they may take, in bytes as JSON: they are told in several places of one fact.
const MAX_PATH_BYTES: usize = 8 * 1024;
/// The most of git's words about a conflict that are told, in bytes.
const MAX_DETAIL: usize = 2_000;

/// What `git merge-tree` made of two commits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MergeTree {
    Clean(Oid),
    Conflict {
        paths: Vec<String>,
        detail: String,
        /// With git's marks in the files.
        tree: Option<Oid>,
    },
}

/// Asks git, the authority, how two commits merge; with `attributes` from the tree of `ours`.
pub(crate) fn merge_tree(git: &Git, ours: Oid, theirs: Oid, attributes: bool) -> Result<MergeTree, GitError> {
    let source = format!("--attr-source={ours}");
    let (ours, theirs) = (ours.to_string(), theirs.to_string());
    let args = ["merge-tree", "--write-tree", "-z", "--messages", &ours, &theirs];
    let done = if attributes {
        git.local(&[&[source.as_str()], &args[..]].concat(), None)?
    } else {
        git.local(&args, None)?
    };
    let fields: Vec<&[u8]> = done.stdout.split(|b| *b == 0).collect();
    match done.status.and_then(|s| s.code()) {
        Some(0) => Ok(MergeTree::Clean(parse_oid(fields.first().copied().unwrap_or_default())?)),
        Some(1) => Ok(conflict(&fields)),
        _ => Err(git.failed(&args, &done)),
    }
}

/// Tree, conflicting entries, an empty field, then messages: a count of paths, the paths, a type, a text.
fn conflict(fields: &[&[u8]]) -> MergeTree {
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let mut rest = fields.iter().skip(1);
    let mut paths = BTreeSet::new();
    for entry in rest.by_ref().take_while(|f| !f.is_empty()) {
        let path = entry.splitn(2, |b| *b == b'\t').nth(1).unwrap_or_default();
        paths.insert(text(path));
    }
    let mut detail = String::new();
    while let Some(count) = rest.next() {
        let Some(count) = text(count).parse::<usize>().ok() else { break };
        let about: Vec<String> = rest.by_ref().take(count).map(|f| text(f)).collect();
        let kind = rest.next().map(|f| text(f)).unwrap_or_default();
        let message = rest.next().map(|f| text(f)).unwrap_or_default();
        if kind.starts_with("CONFLICT") {
            paths.extend(about);
            detail.push_str(message.trim_end());
            detail.push('\n');
        }
    }
    let paths = listed(paths.into_iter().filter(|p| !p.is_empty()), MAX_PATHS, MAX_PATH_BYTES);
    let tree = fields.first().and_then(|tree| parse_oid(tree).ok());
    MergeTree::Conflict { paths, detail: cut(detail.trim_end(), MAX_DETAIL), tree }
}

/// Has one git process merge all pairs; for each pair its tree, or none where git sees a conflict.
///
/// All input is written while output is read, and ends before the first answer is waited for:
/// older versions of git buffer their answers, and would wait for each other with an interactive caller.
pub(crate) fn merge_trees(git: &Git, pairs: &[(Oid, Oid)]) -> Result<Vec<Option<Oid>>, GitError> {
    let args = ["merge-tree", "--write-tree", "--stdin", "-z", "--no-messages", "--name-only"];
    let input: String = pairs.iter().map(|(ours, theirs)| format!("{ours} {theirs}\n")).collect();
    let done = git.local(&args, Some(input.into_bytes()))?;
    if !done.status.is_some_and(|s| s.success()) || done.cut {
        return Err(git.failed(&args, &done));
    }
    let mut fields = done.stdout.split(|b| *b == 0);
    let mut answers = Vec::with_capacity(pairs.len());
    for _ in pairs {
        let (Some(clean), Some(tree)) = (fields.next(), fields.next()) else {
            return Err(GitError::Command { command: args[0].into(), why: "it gave too few answers".into() });
        };
        answers.push(if clean == b"1" { Some(parse_oid(tree)?) } else { None });
        fields.by_ref().take_while(|f| !f.is_empty()).for_each(drop);
    }
    Ok(answers)
}

/// The library would fill up with zeros what was cut off.
pub(crate) fn parse_oid(text: &[u8]) -> Result<Oid, GitError> {
    if text.len() != 40 {
        return Err(GitError::Command { command: "git".into(), why: "it printed no whole object id".into() });
    }
    Ok(Oid::from_str(&String::from_utf8_lossy(text))?)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::any;

    use super::*;

    proptest::proptest! {
        /// Whatever git prints about a conflict, what is kept of it is bounded and never empty text.
        #[test]
        fn no_words_about_a_conflict_panic_or_grow(
            fields in vec(proptest::prop_oneof![
                vec(any::<u8>(), 0..40),
                proptest::strategy::Just(Vec::new()),
                proptest::strategy::Just(b"CONFLICT (contents)".to_vec()),
                proptest::strategy::Just(b"18446744073709551615".to_vec()),
                proptest::strategy::Just(b"2".to_vec()),
                proptest::strategy::Just(b"100644 0123 1\tdir/".repeat(300)),
            ], 0..200),
        ) {
            let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
            let MergeTree::Conflict { paths, detail, .. } = conflict(&fields) else { panic!("it is a conflict") };
            assert!(paths.len() <= MAX_PATHS && paths.iter().map(String::len).sum::<usize>() <= MAX_PATH_BYTES);
            assert!(paths.iter().all(|p| !p.is_empty()) && detail.len() <= MAX_DETAIL + 8);
        }

        #[test]
        fn only_ids_are_taken_for_ids(text in vec(any::<u8>(), 0..60)) {
            if let Ok(oid) = parse_oid(&text) {
                assert_eq!(oid.to_string().as_bytes(), text.to_ascii_lowercase());
            }
        }
    }

    #[test]
    fn an_id_that_is_cut_off_is_none() {
        assert!(parse_oid(b"0123456789abcdef0123456789abcdef01234567").is_ok());
        for cut in [&b""[..], b"0123", b"0123456789abcdef0123456789abcdef0123456"] {
            assert!(parse_oid(cut).is_err(), "{cut:?}");
        }
    }
}
