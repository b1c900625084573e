use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tree_sitter::Parser;

use crate::class::{Class, Reach, Roles, directory};
use crate::language::Language;
use crate::outline::{Definition, Outline, print_of, read};
use crate::{MAX_ALTERED, MAX_CHANGE_MS, MAX_FILE_BYTES, MAX_FILES, MAX_SKIPPED_NAMED, MAX_USES};

/// One file of a change.
#[derive(Debug, Clone, Copy)]
pub struct FileChange<'a> {
    /// Where it is, with slashes.
    pub path: &'a str,
    /// What it was; none when it is new.
    pub old: Option<&'a [u8]>,
    /// What it is; none when it is removed.
    pub new: Option<&'a [u8]>,
}

/// What a change does to definitions, and what it newly counts on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiChange {
    /// Sorted by language, scope and name.
    pub altered: Vec<Altered>,
    /// Files that newly use something.
    pub files: Vec<UsingFile>,
    /// Names that are newly used, with the places.
    pub used: BTreeMap<String, Vec<Use>>,
    /// Files in a language that is read, but too large, too many, no text, or not read in time.
    pub skipped: u32,
    /// The first of these.
    pub skipped_paths: Vec<String>,
    /// The time was up before all of them were looked at: with more time it may be fewer.
    pub late: bool,
}

/// A definition that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Altered {
    /// Of the file.
    pub language: Language,
    /// Within which the name is one: the file; in Go the directory, in C nothing unless it is static.
    pub scope: String,
    /// With what it stands in: `Mirror::open`.
    pub name: String,
    /// As it is called where it is used.
    pub called: String,
    /// The type whose member it is.
    pub within: Option<String>,
    /// A file in which it is, or was.
    pub path: String,
    /// What kind it is.
    pub class: Class,
    /// From where it can be used.
    pub reach: Reach,
    /// What became of it.
    pub how: How,
    /// Of what it is now: two that did the same have the same.
    pub print: u64,
}

/// What became of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It is new.
    Added,
    /// It is gone from here.
    Removed,
    /// What its users see of it differs.
    Signature,
    /// Only its inside differs.
    Body,
}

/// A file that newly uses something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsingFile {
    /// Of the file.
    pub language: Language,
    /// Where it is.
    pub path: String,
    /// Sums of all names in it, sorted: a member is used only where its type is spoken of.
    pub names: Vec<u64>,
}

/// One place in which a name is newly used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// Its index in [`ApiChange::files`].
    pub file: u32,
    /// How it stands there.
    pub roles: Roles,
}

/// Reads both sides of each file. Bounded in files, bytes and time; what is left out is counted.
pub fn change<'a>(files: impl IntoIterator<Item = FileChange<'a>>) -> ApiChange {
    change_within(files, Duration::from_millis(MAX_CHANGE_MS))
}

/// [`change`] with less time.
pub fn change_within<'a>(files: impl IntoIterator<Item = FileChange<'a>>, limit: Duration) -> ApiChange {
    let until = Instant::now() + limit;
    let mut parser = Parser::new();
    let mut found = ApiChange::default();
    let mut read = Vec::new();
    for file in files {
        let Some(language) = Language::of(file.path) else { continue };
        match compare(&mut parser, language, file, until).filter(|_| read.len() < MAX_FILES) {
            Some(compared) => read.push(compared),
            None => {
                found.skip(file.path);
                found.late |= Instant::now() >= until;
            }
        }
    }
    let gone: BTreeSet<(u64, u64)> = read.iter().flat_map(|file| file.gone()).collect();
    found.altered = altered(&read);
    for file in &read {
        found.add_uses(file, &gone);
    }
    found
}

/// Both sides of a definition: sums over all that have its name in its scope, in any order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sides {
    old: Option<(u64, u64)>,
    new: Option<(u64, u64)>,
}

struct Compared<'a> {
    language: Language,
    path: &'a str,
    /// Those that differ, and whether they are the new ones.
    differing: Vec<(Definition<'a>, bool)>,
    names: Vec<u64>,
}

impl Compared<'_> {
    /// Sums of what stood here and stands here no more.
    fn gone(&self) -> impl Iterator<Item = (u64, u64)> {
        self.differing.iter().filter(|(_, new)| !new).map(|(d, _)| (d.signature.0, d.body.0))
    }
}

fn compare<'a>(
    parser: &mut Parser,
    language: Language,
    file: FileChange<'a>,
    until: Instant,
) -> Option<Compared<'a>> {
    let mut side = |bytes: Option<&'a [u8]>| -> Option<Option<Outline<'a>>> {
        let Some(bytes) = bytes else { return Some(None) };
        let source = std::str::from_utf8(bytes).ok().filter(|s| s.len() <= MAX_FILE_BYTES)?;
        Some(Some(read(parser, language, file.path, source, until)?))
    };
    let (old, new) = if file.old == file.new { (None, None) } else { (side(file.old)?, side(file.new)?) };
    let names = new.as_ref().map(Outline::names).unwrap_or_default();
    let mut names: Vec<u64> = names.into_iter().map(print_of).collect();
    names.sort_unstable();
    let sides = sides(&old, &new);
    let differs = |d: &Definition<'_>| sides.get(&d.name).is_some_and(|s| s.old != s.new);
    let list = |outline: Option<Outline<'a>>, new: bool| {
        let all = outline.map(|o| o.definitions).unwrap_or_default();
        all.into_iter().filter(differs).map(move |d| (d, new)).collect::<Vec<_>>()
    };
    let mut differing = list(old, false);
    differing.extend(list(new, true));
    Some(Compared { language, path: file.path, differing, names })
}

fn sides(old: &Option<Outline<'_>>, new: &Option<Outline<'_>>) -> BTreeMap<String, Sides> {
    let mut sides: BTreeMap<String, Sides> = BTreeMap::new();
    for (outline, is_new) in [(old, false), (new, true)] {
        for definition in outline.iter().flat_map(|o| &o.definitions) {
            sides.entry(definition.name.clone()).or_default().add(definition, is_new);
        }
    }
    sides
}

impl Sides {
    fn add(&mut self, definition: &Definition<'_>, is_new: bool) {
        let side = if is_new { &mut self.new } else { &mut self.old };
        let (signature, body) = side.unwrap_or_default();
        *side = Some((signature.wrapping_add(definition.signature.0), body.wrapping_add(definition.body.0)));
    }

    fn how(self) -> Option<How> {
        match (self.old, self.new) {
            (None, Some(_)) => Some(How::Added),
            (Some(_), None) => Some(How::Removed),
            (Some(old), Some(new)) if old.0 != new.0 => Some(How::Signature),
            (Some(old), Some(new)) if old.1 != new.1 => Some(How::Body),
            _ => None,
        }
    }
}

/// Within which a name is one.
fn scope(language: Language, path: &str, reach: Reach) -> &str {
    match (language, reach) {
        (Language::Go, _) => directory(path),
        (Language::C, Reach::Anywhere) => "",
        _ => path,
    }
}

fn altered(files: &[Compared<'_>]) -> Vec<Altered> {
    let mut found: BTreeMap<(Language, &str, &str), (Sides, &Compared<'_>, &Definition<'_>)> =
        BTreeMap::new();
    for file in files {
        for (definition, is_new) in file.differing.iter().filter(|(d, _)| d.class != Class::Group) {
            let key =
                (file.language, scope(file.language, file.path, definition.reach), definition.name.as_str());
            let (sides, _, _) = found.entry(key).or_insert((Sides::default(), file, definition));
            sides.add(definition, *is_new);
        }
    }
    let altered = found.into_iter().filter_map(|((language, scope, name), (sides, file, definition))| {
        Some(Altered {
            language,
            scope: scope.to_owned(),
            name: name.to_owned(),
            called: definition.called.clone(),
            within: definition.within.clone(),
            path: file.path.to_owned(),
            class: definition.class,
            reach: definition.reach,
            how: sides.how()?,
            print: sides.new.map_or(0, |(signature, body)| signature.rotate_left(1) ^ body),
        })
    });
    altered.take(MAX_ALTERED).collect()
}

impl ApiChange {
    /// Leaves a file out.
    pub(crate) fn skip(&mut self, path: &str) {
        self.skipped = self.skipped.saturating_add(1);
        if self.skipped_paths.len() < MAX_SKIPPED_NAMED {
            self.skipped_paths.push(path.to_owned());
        }
    }

    /// Names that stand more often in a definition than they did. What was merely moved is not new.
    fn add_uses(&mut self, file: &Compared<'_>, gone: &BTreeSet<(u64, u64)>) {
        let mut counts: BTreeMap<&str, BTreeMap<&str, (i64, Roles)>> = BTreeMap::new();
        for (definition, is_new) in &file.differing {
            if *is_new && gone.contains(&(definition.signature.0, definition.body.0)) {
                continue;
            }
            let counts = counts.entry(&definition.name).or_default();
            for (name, role) in &definition.uses {
                let (count, roles) = counts.entry(name).or_default();
                *count += if *is_new { 1 } else { -1 };
                *roles = if *is_new { roles.and(*role) } else { *roles };
            }
        }
        let mut uses: BTreeMap<&str, Roles> = BTreeMap::new();
        for (name, (count, roles)) in counts.into_values().flatten() {
            if count > 0 {
                let all = uses.entry(name).or_default();
                *all = all.and(roles);
            }
        }
        let kept: usize = self.files.iter().map(|f| f.names.len()).sum();
        if uses.is_empty() || kept + file.names.len() > MAX_USES {
            if !uses.is_empty() {
                self.skip(file.path);
            }
            return;
        }
        let index = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.push(UsingFile {
            language: file.language,
            path: file.path.to_owned(),
            names: file.names.clone(),
        });
        for (name, roles) in uses {
            self.used.entry(name.to_owned()).or_default().push(Use { file: index, roles });
        }
    }
}
