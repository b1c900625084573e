use tree_sitter::Node;

use crate::MAX_NAME_BYTES;
use crate::class::{Class, Reach};
use crate::language::Language;

/// What a definition is called.
#[derive(Debug)]
pub(crate) struct Named<'s> {
    /// In words, without what it stands in.
    pub(crate) text: String,
    /// As it is called where it is used.
    pub(crate) called: &'s str,
    /// Where the name stands, in bytes: it is no use of itself.
    pub(crate) at: usize,
    /// The type whose member it is, when it does not stand in it.
    pub(crate) within: Option<&'s str>,
}

/// How deep a name may be wrapped.
const MAX_DEPTH: usize = 8;

/// None when it has no plain name: then it is part of what it stands in.
pub(crate) fn name<'s>(language: Language, node: Node<'_>, source: &'s str) -> Option<Named<'s>> {
    let plain = |at: Node<'_>| {
        let called = text(at, source)?;
        Some(Named { text: called.to_owned(), called, at: at.start_byte(), within: None })
    };
    match (language, node.kind()) {
        (Language::Rust, "impl_item") => implementation(node, source),
        (Language::Go, "method_declaration") => {
            let named = plain(node.child_by_field_name("name")?)?;
            let receiver = first(node.child_by_field_name("receiver")?, "type_identifier")?;
            Some(Named { within: text(receiver, source), ..named })
        }
        (Language::Python, "assignment") => {
            plain(node.child_by_field_name("left").filter(|left| left.kind() == "identifier")?)
        }
        (Language::C, "function_definition" | "declaration" | "type_definition" | "field_declaration") => {
            plain(declared(node)?)
        }
        _ => plain(node.child_by_field_name("name").or_else(|| node.named_child(0))?),
    }
}

fn implementation<'s>(node: Node<'_>, source: &'s str) -> Option<Named<'s>> {
    let base = |field: &str| {
        let wrapped = node.child_by_field_name(field)?;
        let at = first(wrapped, "type_identifier").unwrap_or(wrapped);
        Some((text(at, source)?, at.start_byte()))
    };
    let (of, _) = base("type")?;
    let text = base("trait").map_or_else(|| of.to_owned(), |(which, _)| format!("<{of} as {which}>"));
    // The type is used here, not defined.
    Some(Named { text, called: of, at: usize::MAX, within: None })
}

/// The name inside of C's declarators.
fn declared(node: Node<'_>) -> Option<Node<'_>> {
    let mut at = node.child_by_field_name("declarator")?;
    for _ in 0..MAX_DEPTH {
        if at.kind().ends_with("identifier") {
            return Some(at);
        }
        at = at.child_by_field_name("declarator").or_else(|| at.named_child(0))?;
    }
    None
}

/// The first node of a kind, near the start.
fn first<'t>(node: Node<'t>, kind: &str) -> Option<Node<'t>> {
    let mut level = vec![node];
    for _ in 0..MAX_DEPTH {
        if let Some(found) = level.iter().find(|n| n.kind() == kind) {
            return Some(*found);
        }
        level = level
            .iter()
            .flat_map(|n| {
                (0..n.named_child_count().min(MAX_DEPTH))
                    .filter_map(|i| n.named_child(u32::try_from(i).ok()?))
            })
            .take(MAX_DEPTH * MAX_DEPTH)
            .collect();
    }
    None
}

fn text<'s>(node: Node<'_>, source: &'s str) -> Option<&'s str> {
    let text = source.get(node.byte_range())?;
    let plain = !text.is_empty() && text.len() <= MAX_NAME_BYTES && !text.contains(char::is_whitespace);
    plain.then_some(text)
}

/// From where a definition can be used; `around` is the reach of the type or trait that it stands in.
pub(crate) fn reach(
    language: Language,
    path: &str,
    node: Node<'_>,
    called: &str,
    around: Option<(&str, Reach)>,
    source: &str,
) -> Reach {
    match language {
        Language::Go if called.starts_with(char::is_uppercase) => Reach::Anywhere,
        Language::Go => Reach::Directory,
        Language::C => {
            let mut cursor = node.walk();
            let is_static = node.children(&mut cursor).take(MAX_DEPTH).any(|n| {
                n.kind() == "storage_class_specifier" && source.get(n.byte_range()) == Some("static")
            });
            if is_static && !path.ends_with(".h") { Reach::File } else { Reach::Anywhere }
        }
        Language::Rust => rust_reach(node, around),
        Language::JavaScript | Language::Python => Reach::Anywhere,
    }
}

fn rust_reach(node: Node<'_>, around: Option<(&str, Reach)>) -> Reach {
    let mut cursor = node.walk();
    if node.children(&mut cursor).take(MAX_DEPTH).any(|n| n.kind() == "visibility_modifier") {
        return Reach::Anywhere;
    }
    match (node.kind(), around) {
        ("macro_definition" | "impl_item" | "mod_item", _) => Reach::Anywhere,
        (_, Some(("enum_item" | "trait_item", reach))) => reach,
        _ => Reach::Module,
    }
}

/// A constructor is called by the name of its class.
pub(crate) fn is_constructor(language: Language, class: Class, called: &str) -> bool {
    class == Class::Method
        && match language {
            Language::Python => called == "__init__" || called == "__new__",
            Language::JavaScript => called == "constructor",
            _ => false,
        }
}
