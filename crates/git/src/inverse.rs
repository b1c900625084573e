use std::collections::BTreeMap;
use std::ops::Range;

use git2::{DiffOptions, Oid, Repository};
use imara_diff::{Algorithm, Diff, Hunk, InternedInput};

use crate::GitError;
use crate::hunks::MAX_BLOB;

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
    let mut steps = Steps::new();
    if from == to {
        return Ok(steps);
    }
    let (from, to) = (repo.find_tree(from)?, repo.find_tree(to)?);
    let mut options = DiffOptions::new();
    options.context_lines(0).skip_binary_check(true);
    let diff = repo.diff_tree_to_tree(Some(&from), Some(&to), Some(&mut options))?;
    for delta in diff.deltas() {
        let id = |file: git2::DiffFile<'_>| Some(file.id()).filter(|id| !id.is_zero());
        let (old, new) = (delta.old_file(), delta.new_file());
        let Some(path) = new.path_bytes().or_else(|| old.path_bytes()) else { continue };
        // A file that became a directory or a link comes as two.
        let step = steps.entry(path.to_vec()).or_insert(Step { old: None, new: None });
        step.old = step.old.or(id(old));
        step.new = step.new.or(id(new));
    }
    Ok(steps)
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
