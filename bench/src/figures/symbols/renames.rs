use std::collections::{BTreeMap, BTreeSet};

use git2::{ObjectType, Oid, TreeWalkMode, TreeWalkResult};
use yardmaster_symbols::{Altered, ApiChange, Class, FileChange, Kind, Reach, change, meet};

use super::branches::{Branch, Branches, is_read};
use crate::Trouble;

pub(super) fn heading() -> String {
    "\n### Advice about definitions: renames that were made up\n\nFor each branch of the window: functions and methods with a name of two words or more that stands once in the tree and is not private, in a file that the branch does not touch, and that it newly calls as the plain text has it (`name(` more often than before). Each is renamed in its file, as another branch might do. Found: told for the branch that calls it. False: told for branches of the window in whose text the word is not new.\n\n| repository | renames | found | functions found | methods found | other pairs | false |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n".to_owned()
}

/// A tree's files, and what stands once in it.
struct Known {
    files: BTreeMap<String, String>,
    once: BTreeMap<String, Altered>,
}

#[derive(Default)]
struct Count {
    functions: [usize; 2],
    methods: [usize; 2],
    others: usize,
    wrong: usize,
}

pub(super) fn row(branches: &Branches) -> Result<String, Trouble> {
    let Some(oldest) = branches.list.last() else { return Ok(String::new()) };
    let known = known(branches, oldest.base)?;
    let texts: Vec<Texts> = branches.list.iter().map(|b| Texts::of(branches, b)).collect::<Result<_, _>>()?;
    let mut count = Count::default();
    for (branch, text) in branches.list.iter().zip(&texts) {
        for definition in text.calls.iter().filter_map(|name| known.once.get(name)) {
            if !text.paths.contains(&definition.path) {
                try_rename(branches, &texts, &known, branch, definition, &mut count);
            }
        }
    }
    let [functions, methods] = [count.functions, count.methods];
    let (found, of) = (functions[1] + methods[1], functions[0] + methods[0]);
    let share = |[of, found]: [usize; 2]| format!("{found} of {of}");
    Ok(format!(
        "| {} | {of} | {found} ({:.0} %) | {} | {} | {} | {} ({:.3} %) |\n",
        branches.repository.display(),
        100.0 * found as f64 / of.max(1) as f64,
        share(functions),
        share(methods),
        count.others,
        count.wrong,
        100.0 * count.wrong as f64 / count.others.max(1) as f64,
    ))
}

fn try_rename(
    branches: &Branches,
    texts: &[Texts],
    known: &Known,
    branch: &Branch,
    definition: &Altered,
    count: &mut Count,
) {
    let Some(old) = known.files.get(&definition.path) else { return };
    let rename = renamed(&definition.path, old, &definition.called);
    let told = |api: &ApiChange| {
        meet(&rename, api).iter().any(|c| c.kind == Kind::RemovedAndUsed && c.symbol == definition.name)
    };
    let found = told(&branch.api);
    let of = if definition.class == Class::Method { &mut count.methods } else { &mut count.functions };
    of[0] += 1;
    of[1] += usize::from(found);
    if !found {
        eprintln!("  missed: {} of {} in {:.10}", definition.name, definition.path, branch.head.to_string());
    }
    for (other, text) in branches.list.iter().zip(texts) {
        if !text.words.contains(&definition.called) {
            count.others += 1;
            count.wrong += usize::from(told(&other.api));
        }
    }
}

fn renamed(path: &str, old: &str, name: &str) -> ApiChange {
    let mut new = String::with_capacity(old.len());
    let mut rest = 0;
    for (at, word) in words(old).filter(|(_, word)| *word == name) {
        new.push_str(&old[rest..at]);
        new.push_str("renamed_");
        new.push_str(word);
        rest = at + word.len();
    }
    new.push_str(&old[rest..]);
    change([FileChange { path, old: Some(old.as_bytes()), new: Some(new.as_bytes()) }])
}

fn known(branches: &Branches, commit: Oid) -> Result<Known, Trouble> {
    let repo = &branches.repo;
    let mut blobs = Vec::new();
    repo.find_commit(commit)?.tree()?.walk(TreeWalkMode::PreOrder, |dir, entry| {
        if let (Some(ObjectType::Blob), Ok(name)) = (entry.kind(), entry.name())
            && is_read(name)
        {
            blobs.push((format!("{dir}{name}"), entry.id()));
        }
        TreeWalkResult::Ok
    })?;
    let mut files = BTreeMap::new();
    let mut all: BTreeMap<String, Option<Altered>> = BTreeMap::new();
    for (path, id) in blobs {
        let Ok(blob) = repo.find_blob(id) else { continue };
        let Ok(text) = std::str::from_utf8(blob.content()) else { continue };
        for found in change([FileChange { path: &path, old: None, new: Some(text.as_bytes()) }]).altered {
            all.entry(found.called.clone()).and_modify(|a| *a = None).or_insert(Some(found));
        }
        files.insert(path, text.to_owned());
    }
    let is_called = |a: &Altered| {
        matches!(a.class, Class::Function | Class::Method)
            && a.reach == Reach::Anywhere
            && has_words(&a.called)
    };
    let once = all.into_iter().filter_map(|(name, a)| Some((name, a.filter(is_called)?))).collect();
    Ok(Known { files, once })
}

/// Whether a name is of two words or more: a single one in plain text is mostly something else.
fn has_words(name: &str) -> bool {
    let middle = name.trim_matches('_').get(1..).unwrap_or_default();
    middle.contains(|c: char| c == '_' || c.is_uppercase())
}

/// What the plain text of a branch newly says.
struct Texts {
    paths: BTreeSet<String>,
    words: BTreeSet<String>,
    calls: BTreeSet<String>,
}

impl Texts {
    fn of(branches: &Branches, branch: &Branch) -> Result<Texts, Trouble> {
        let id = |oid: Oid| super::super::merge::commit_id(oid);
        let contents = branches.mirror.changed_files(id(branch.base)?, id(branch.head)?, is_read)?;
        let mut paths = BTreeSet::new();
        let mut words_of: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        for file in contents.files {
            paths.insert(file.path);
            for (bytes, sign) in [(file.old, -1), (file.new, 1)] {
                let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
                for (at, word) in words(&text) {
                    let (seen, called) = words_of.entry(word.to_owned()).or_default();
                    *seen += sign;
                    let is_definition = ["fn ", "def ", "func "].iter().any(|d| text[..at].ends_with(d));
                    *called += sign * i64::from(text[at + word.len()..].starts_with('(') && !is_definition);
                }
            }
        }
        let some = |pick: fn(&(i64, i64)) -> i64| {
            words_of.iter().filter(|(_, c)| pick(c) > 0).map(|(w, _)| w.clone()).collect()
        };
        Ok(Texts { paths, words: some(|c| c.0), calls: some(|c| c.1) })
    }
}

/// Identifiers, with where they start.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(move |c| !is_word(c)).filter(|w| !w.is_empty()).map(|word| {
        let at = word.as_ptr() as usize - text.as_ptr() as usize;
        (at, word)
    })
}
