use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::MAX_CLASHES;
use crate::change::{Altered, ApiChange, How, Use, UsingFile};
use crate::class::{Class, Roles};
use crate::language::Language;
use crate::outline::print_of;

/// Where two changes meet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Clash {
    /// What it is about.
    pub kind: Kind,
    /// The definition: `Mirror::open`.
    pub symbol: String,
    /// A file in which it is, or was.
    pub path: String,
    /// The side that altered it.
    pub altered_by: Side,
    /// The first file in which the other side newly uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_in: Option<String>,
}

/// How two changes meet at a definition, the most telling first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One removes or renames what the other newly uses.
    RemovedAndUsed,
    /// Both add it, differently.
    BothAdded,
    /// One changes what users see of it, the other newly uses it.
    ChangedAndUsed,
    /// Both change it, differently; one of them may remove it.
    BothChanged,
}

/// Which of two changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The first.
    First,
    /// The second.
    Second,
    /// Each of them.
    Both,
}

/// Where two changes meet, the most telling first, at most [`MAX_CLASHES`]. What both did alike is no clash,
/// so a branch that stands on another does not clash with it.
pub fn meet(first: &ApiChange, second: &ApiChange) -> Vec<Clash> {
    let mut clashes = BTreeSet::new();
    for altered in &first.altered {
        match second.find(altered) {
            Some(other) => clashes.extend(both(altered, other)),
            None => clashes.extend(used(altered, second, Side::First)),
        }
    }
    for altered in &second.altered {
        if first.find(altered).is_none() {
            clashes.extend(used(altered, first, Side::Second));
        }
    }
    clashes.into_iter().take(MAX_CLASHES).collect()
}

fn both(first: &Altered, second: &Altered) -> Option<Clash> {
    if first.print == second.print && (first.how == How::Removed) == (second.how == How::Removed) {
        return None;
    }
    let kind = match (first.how, second.how) {
        (How::Added, How::Added) if may_stand_often(first) => return None,
        (How::Added, How::Added) => Kind::BothAdded,
        _ => Kind::BothChanged,
    };
    Some(clash(first, kind, Side::Both, None))
}

/// Names that a scope may define many times.
fn may_stand_often(altered: &Altered) -> bool {
    match altered.language {
        Language::Go => matches!(altered.name.as_str(), "init" | "main" | "_"),
        Language::C => matches!(altered.name.as_str(), "main"),
        _ => altered.name == "_",
    }
}

fn used(altered: &Altered, by: &ApiChange, side: Side) -> Option<Clash> {
    let kind = match altered.how {
        How::Removed => Kind::RemovedAndUsed,
        How::Signature => Kind::ChangedAndUsed,
        How::Added | How::Body => return None,
    };
    let uses = by.used.get(&altered.called)?;
    let file = uses.iter().find_map(|place| {
        let file = by.files.get(usize::try_from(place.file).ok()?)?;
        can_mean(altered, *place, file).then_some(file)
    })?;
    Some(clash(altered, kind, side, Some(file.path.clone())))
}

fn can_mean(altered: &Altered, place: Use, file: &UsingFile) -> bool {
    let dots = !matches!(altered.language, Language::C | Language::Rust);
    let speaks_of = |name: &String| file.names.binary_search(&print_of(name)).is_ok();
    file.language == altered.language
        && place.roles.meets(Roles::of(altered.class, dots))
        && altered.reach.covers(&altered.path, &file.path)
        && match altered.class {
            Class::Method | Class::Field if !is_telling(&altered.called) => {
                altered.within.as_ref().is_none_or(speaks_of)
            }
            _ => true,
        }
}

/// Whether a member's name says which one is meant, even where its type is not spoken of, as in a chain of
/// calls. `len` and `is_file` are members of many types.
fn is_telling(name: &str) -> bool {
    let humps = name.char_indices().skip(1).filter(|(_, c)| c.is_uppercase()).count();
    let words = name.split('_').filter(|word| !word.is_empty()).count() + humps;
    let first = name.split(|c: char| c == '_' || c.is_uppercase()).next().unwrap_or_default();
    words > 2 || words == 2 && !matches!(first, "as" | "get" | "into" | "is" | "set" | "to")
}

fn clash(altered: &Altered, kind: Kind, altered_by: Side, used_in: Option<String>) -> Clash {
    Clash { kind, symbol: altered.name.clone(), path: altered.path.clone(), altered_by, used_in }
}

impl ApiChange {
    fn find(&self, like: &Altered) -> Option<&Altered> {
        let at = self.altered.binary_search_by(|a| {
            (a.language, &a.scope, &a.name).cmp(&(like.language, &like.scope, &like.name))
        });
        self.altered.get(at.ok()?)
    }
}
