use std::collections::BTreeMap;
use std::ops::Range;

use git2::{Oid, Repository};
use imara_diff::{Algorithm, Diff, Hunk, InternedInput};

use crate::GitError;
use crate::hunks::MAX_BLOB;
use crate::objects::{Entry, read_lines};

/// The most of a hunk that is shown, in bytes.
pub(crate) const MAX_SHOWN: usize = 2_048;

/// What a path was and what it became; none: it was not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) old: Option<Oid>,
    pub(crate) new: Option<Oid>,
}

/// Every path that differs between two trees.
pub(crate) type Steps = BTreeMap<Vec<u8>, Step>;

pub(crate) fn steps(repo: &Repository, from: Oid, to: Oid) -> Result<Steps, GitError> {
    let odb = repo.odb()?;
    let mut steps = Steps::new();
    let mut open = vec![(Vec::new(), Some(from), Some(to))];
    while let Some((dir, from, to)) = open.pop() {
        if from == to {
            continue;
        }
        let read = |tree: Option<Oid>| tree.map(|tree| odb.read(tree)).transpose();
        let (before, after) = (read(from)?, read(to)?);
        let (before, after) = (read_lines(before.as_ref())?, read_lines(after.as_ref())?);
        for (name, old, new) in side_by_side(&before, &after) {
            if old == new {
                continue;
            }
            let tree = |e: Option<&Entry<'_>>| e.filter(|e| e.is_tree()).map(|e| e.id);
            let (old_tree, new_tree) = (tree(old), tree(new));
            if old_tree.is_some() || new_tree.is_some() {
                open.push(([dir.as_slice(), name, b"/"].concat(), old_tree, new_tree));
            }
            let file = |e: Option<&Entry<'_>>| e.filter(|e| !e.is_tree()).map(|e| e.id);
            let step = Step { old: file(old), new: file(new) };
            if step.old.is_some() || step.new.is_some() {
                steps.insert([dir.as_slice(), name].concat(), step);
            }
        }
    }
    Ok(steps)
}

type Pair<'s, 'a> = (&'a [u8], Option<&'s Entry<'a>>, Option<&'s Entry<'a>>);

fn side_by_side<'s, 'a>(before: &'s [Entry<'a>], after: &'s [Entry<'a>]) -> Vec<Pair<'s, 'a>> {
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    let mut pairs = Vec::new();
    while let Some(name) = before.peek().into_iter().chain(after.peek()).map(|e| e.name).min() {
        let (old, new) = (before.next_if(|e| e.name == name), after.next_if(|e| e.name == name));
        pairs.push((name, old, new));
    }
    pairs
}

/// Whether `later` undoes at one path all that `earlier` did there; then the text that shows it.
pub(crate) fn undone(repo: &Repository, earlier: Step, later: Step) -> Result<Option<String>, GitError> {
    if earlier.old == earlier.new || later.old == later.new {
        return Ok(None);
    }
    let text = |id: Option<Oid>| -> Result<Option<Vec<u8>>, GitError> {
        let Some(id) = id else { return Ok(Some(Vec::new())) };
        let odb = repo.odb()?;
        let Ok((size, git2::ObjectType::Blob)) = odb.read_header(id) else { return Ok(None) };
        if size > MAX_BLOB {
            return Ok(None);
        }
        let content = odb.read(id)?.data().to_vec();
        Ok((!content.contains(&0)).then_some(content))
    };
    let whole = later.new == earlier.old;
    let (Some(now), Some(then)) = (text(later.old)?, text(later.new)?) else {
        return Ok(whole.then(|| "(no text)".to_owned()));
    };
    let after = Edits::of(&now, &then);
    if whole {
        return Ok(after.hunks.iter().any(|h| after.is_telling(h)).then(|| after.shown(|_| true)));
    }
    // A file that came or went as a whole was seen above; here both must have been edits.
    if earlier.old.is_none() || earlier.new.is_none() || later.old.is_none() || later.new.is_none() {
        return Ok(None);
    }
    let (Some(was), Some(became)) = (text(earlier.old)?, text(earlier.new)?) else { return Ok(None) };
    // Backwards, so that both are placed alike where a hunk could lie in several places.
    let back = Edits::of(&became, &was);
    let telling: Vec<&Hunk> = back.hunks.iter().filter(|h| back.is_telling(h)).collect();
    let same = |wanted: &&&Hunk, found: &Hunk| {
        back.removed(wanted) == after.removed(found) && back.added(wanted) == after.added(found)
    };
    let all = telling.iter().all(|wanted| after.hunks.iter().any(|found| same(&wanted, found)));
    if telling.is_empty() || !all {
        return Ok(None);
    }
    Ok(Some(after.shown(|found| telling.iter().any(|wanted| same(&wanted, found)))))
}

struct Edits<'a> {
    input: InternedInput<&'a [u8]>,
    hunks: Vec<Hunk>,
}

impl<'a> Edits<'a> {
    fn of(before: &'a [u8], after: &'a [u8]) -> Self {
        let input = InternedInput::new(before, after);
        let hunks = Diff::compute(Algorithm::Histogram, &input).hunks().collect();
        Edits { input, hunks }
    }

    fn removed(&self, hunk: &Hunk) -> Vec<&'a [u8]> {
        self.lines(&self.input.before, &hunk.before)
    }

    fn added(&self, hunk: &Hunk) -> Vec<&'a [u8]> {
        self.lines(&self.input.after, &hunk.after)
    }

    fn lines(&self, of: &[imara_diff::Token], range: &Range<u32>) -> Vec<&'a [u8]> {
        let tokens = of.get(range.start as usize..range.end as usize).unwrap_or_default();
        tokens.iter().map(|token| self.input.interner[*token]).collect()
    }

    /// Blank lines and lone brackets come and go for many reasons.
    fn is_telling(&self, hunk: &Hunk) -> bool {
        let tells = |line: &&[u8]| line.iter().filter(|b| b.is_ascii_alphanumeric()).count() >= 3;
        self.removed(hunk).iter().any(tells) || self.added(hunk).iter().any(tells)
    }

    fn shown(&self, wanted: impl Fn(&Hunk) -> bool) -> String {
        let mut text = String::new();
        for hunk in self.hunks.iter().filter(|h| wanted(h)) {
            let at = |range: &Range<u32>| format!("{},{}", range.start + 1, range.len());
            text.push_str(&format!("@@ -{} +{} @@\n", at(&hunk.before), at(&hunk.after)));
            let removed = self.removed(hunk).into_iter().map(|line| ('-', line));
            for (sign, line) in removed.chain(self.added(hunk).into_iter().map(|line| ('+', line))) {
                text.push(sign);
                text.push_str(String::from_utf8_lossy(line).trim_end_matches(['\r', '\n']));
                text.push('\n');
                if text.len() > MAX_SHOWN {
                    return crate::git::cut(&text, MAX_SHOWN);
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use git2::build::TreeUpdateBuilder;
    use git2::{FileMode, Repository};
    use proptest::prelude::{Strategy, any, proptest};

    use super::*;

    /// Files of few names at few places, so that they meet, and that a directory takes a file's place.
    fn files() -> impl Strategy<Value = BTreeMap<String, (u8, bool)>> {
        let name =
            proptest::sample::select(vec!["a", "a.b", "a0", "a/b", "a/b/c", "b/a", "b", "c/d/e", "c/d"]);
        proptest::collection::btree_map(name.prop_map(str::to_owned), (0_u8..3, any::<bool>()), 0..7)
    }

    fn written(repo: &Repository, files: &BTreeMap<String, (u8, bool)>) -> Oid {
        let empty = repo.treebuilder(None).and_then(|b| b.write()).expect("a tree");
        let mut update = TreeUpdateBuilder::new();
        for (path, (text, runs)) in files {
            let is_dir = files.keys().any(|other| other.starts_with(&format!("{path}/")));
            if !is_dir {
                let blob = repo.blob(&[*text]).expect("a blob");
                let mode = if *runs { FileMode::BlobExecutable } else { FileMode::Blob };
                update.upsert(path.as_str(), blob, mode);
            }
        }
        update.create_updated(repo, &repo.find_tree(empty).expect("a tree")).expect("written")
    }

    fn of_libgit2(repo: &Repository, from: Oid, to: Oid) -> Steps {
        let tree = |id| repo.find_tree(id).expect("a tree");
        let diff = repo.diff_tree_to_tree(Some(&tree(from)), Some(&tree(to)), None).expect("a diff");
        let mut steps = Steps::new();
        for delta in diff.deltas() {
            let id = |file: git2::DiffFile<'_>| Some(file.id()).filter(|id| !id.is_zero());
            let (old, new) = (delta.old_file(), delta.new_file());
            let path = new.path_bytes().or_else(|| old.path_bytes()).expect("a path");
            let step = steps.entry(path.to_vec()).or_insert(Step { old: None, new: None });
            step.old = step.old.or(id(old));
            step.new = step.new.or(id(new));
        }
        steps
    }

    proptest! {
        #[test]
        fn what_differs_is_what_libgit2_sees(before in files(), after in files()) {
            let dir = tempfile::tempdir().expect("a directory");
            let repo = Repository::init_bare(dir.path()).expect("a repository");
            let (from, to) = (written(&repo, &before), written(&repo, &after));
            assert_eq!(steps(&repo, from, to).expect("read"), of_libgit2(&repo, from, to));
        }
    }
}
