use std::collections::BTreeSet;
use std::hash::{Hash as _, Hasher};
use std::ops::ControlFlow;
use std::time::Instant;

use tree_sitter::{Node, ParseOptions, ParseState, Parser, Tree, TreeCursor};

use crate::MAX_NAME_BYTES;
use crate::class::{Class, Reach, Roles};
use crate::language::Language;
use crate::naming::{is_constructor, name, reach};
use crate::roles::role;
use crate::rules::{Holds, definition};

/// So many nodes are visited between two looks at the clock.
const NODES_A_LOOK: u32 = 4_096;

/// Something that a file defines; the first of a file is what stands outside of all others.
#[derive(Debug)]
pub(crate) struct Definition<'s> {
    /// With what it stands in: `Mirror::open`. Empty for the file itself.
    pub(crate) name: String,
    /// As it is called where it is used.
    pub(crate) called: String,
    /// The type whose member it is.
    pub(crate) within: Option<String>,
    pub(crate) class: Class,
    pub(crate) reach: Reach,
    /// Of the tokens, without comments, spaces and nested definitions.
    pub(crate) signature: Print,
    pub(crate) body: Print,
    /// Names that it uses, in order.
    pub(crate) uses: Vec<(&'s str, Roles)>,
}

/// What a file defines and uses.
#[derive(Debug)]
pub(crate) struct Outline<'s> {
    pub(crate) definitions: Vec<Definition<'s>>,
}

impl<'s> Outline<'s> {
    /// Every name in the file.
    pub(crate) fn names(&self) -> BTreeSet<&'s str> {
        self.definitions.iter().flat_map(|d| d.uses.iter().map(|(name, _)| *name)).collect()
    }
}

/// A sum over tokens in their order (FNV-1a, 64 bits): the same in every process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Print(pub(crate) u64);

impl Default for Print {
    fn default() -> Self {
        Print(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Print {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The sum of one name.
pub(crate) fn print_of(name: &str) -> u64 {
    let mut print = Print::default();
    print.write(name.as_bytes());
    print.finish()
}

/// What the file defines; none when it cannot be read in time.
pub(crate) fn read<'s>(
    parser: &mut Parser,
    language: Language,
    path: &str,
    source: &'s str,
    until: Instant,
) -> Option<Outline<'s>> {
    parser.set_language(&language.grammar(path).into()).ok()?;
    let tree = parse(parser, source, until)?;
    let mut reading = Reading { language, path, source, definitions: vec![whole_file()], last: 0 };
    reading.walk(&tree, until)?;
    Some(Outline { definitions: reading.definitions })
}

fn parse(parser: &mut Parser, source: &str, until: Instant) -> Option<Tree> {
    let mut in_time = |_: &ParseState| {
        if Instant::now() < until { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let options = ParseOptions::new().progress_callback(&mut in_time);
    let bytes = source.as_bytes();
    let tree =
        parser.parse_with_options(&mut |at, _| bytes.get(at..).unwrap_or_default(), None, Some(options));
    if tree.is_none() {
        // Otherwise the next file would be taken for the rest of this one.
        parser.reset();
    }
    tree
}

fn whole_file<'s>() -> Definition<'s> {
    Definition {
        name: String::new(),
        called: String::new(),
        within: None,
        class: Class::Group,
        reach: Reach::File,
        signature: Print::default(),
        body: Print::default(),
        uses: Vec::new(),
    }
}

/// Where the walk is.
#[derive(Debug, Clone, Copy)]
struct Place<'t> {
    node: Node<'t>,
    /// The definition that its tokens belong to, and its node and name.
    definition: usize,
    kind: &'t str,
    name_at: usize,
    holds: Holds,
    body: &'static str,
    in_body: bool,
    /// In nodes, below the definition.
    depth: u32,
}

struct Reading<'a, 's> {
    language: Language,
    path: &'a str,
    source: &'s str,
    definitions: Vec<Definition<'s>>,
    /// Up to here the text has been taken in.
    last: usize,
}

impl Reading<'_, '_> {
    /// Without recursion: a file may be nested as deep as it likes.
    fn walk(&mut self, tree: &Tree, until: Instant) -> Option<()> {
        let mut cursor = tree.walk();
        let root = cursor.node();
        let whole = Place {
            node: root,
            definition: 0,
            kind: root.kind(),
            name_at: usize::MAX,
            holds: Holds::Items,
            body: "",
            in_body: false,
            depth: 0,
        };
        let mut above = vec![whole];
        let mut visited = 0_u32;
        if !cursor.goto_first_child() {
            return Some(());
        }
        loop {
            visited = visited.wrapping_add(1);
            if visited.is_multiple_of(NODES_A_LOOK) && Instant::now() >= until {
                return None;
            }
            let parent = *above.last()?;
            let place = self.visit(&cursor, parent);
            if place.is_some() && cursor.goto_first_child() {
                above.extend(place);
                continue;
            }
            while !cursor.goto_next_sibling() {
                above.pop();
                if !cursor.goto_parent() || above.is_empty() {
                    return Some(());
                }
            }
        }
    }

    /// Takes a node in; gives its place when its children are to be visited.
    fn visit<'t>(&mut self, cursor: &TreeCursor<'t>, parent: Place<'t>) -> Option<Place<'t>> {
        let (node, field) = (cursor.node(), cursor.field_name());
        if node.is_extra() {
            self.take(parent, node.start_byte());
            self.last = self.last.max(node.end_byte());
            return None;
        }
        let mut place = Place { node, depth: parent.depth.saturating_add(1), ..parent };
        place.in_body |= !parent.body.is_empty() && field == Some(parent.body);
        if let Some(defined) = self.define(node, parent) {
            self.take(parent, node.start_byte());
            place = defined;
        }
        if node.child_count() > 0 {
            return Some(place);
        }
        self.take_leaf(place, node);
        if node.start_byte() != place.name_at
            && let Some(role) = role(node, Some(parent.node), field, self.source.as_bytes())
            && let Some(name) = self.source.get(node.byte_range()).filter(|n| n.len() <= MAX_NAME_BYTES)
            && let Some(definition) = self.definitions.get_mut(place.definition)
        {
            definition.uses.push((name, role));
        }
        None
    }

    /// Adds what lies between nodes, such as the plain part of a string with escapes.
    fn take(&mut self, place: Place<'_>, to: usize) {
        let text = self.source.get(self.last..to).unwrap_or_default().trim();
        self.last = self.last.max(to);
        self.add(place, text);
    }

    fn take_leaf(&mut self, place: Place<'_>, leaf: Node<'_>) {
        self.take(place, leaf.start_byte());
        self.last = self.last.max(leaf.end_byte());
        self.add(place, self.source.get(leaf.byte_range()).unwrap_or_default());
    }

    fn add(&mut self, place: Place<'_>, token: &str) {
        // A trailing comma and an empty line are how it is formatted.
        if token == "," || token.trim().is_empty() {
            return;
        }
        let Some(definition) = self.definitions.get_mut(place.definition) else { return };
        let print = if place.in_body { &mut definition.body } else { &mut definition.signature };
        token.hash(print);
        // Where a block ends is not written there.
        if self.language == Language::Python {
            place.depth.hash(print);
        }
    }

    fn define<'t>(&mut self, node: Node<'t>, parent: Place<'t>) -> Option<Place<'t>> {
        if parent.holds == Holds::Nothing {
            return None;
        }
        let rule = definition(self.language, node, parent.holds)?;
        let named = name(self.language, node, self.source)?;
        let around = self.definitions.get(parent.definition)?;
        let inside = (!around.name.is_empty()).then_some((parent.kind, around.reach));
        let reach = reach(self.language, self.path, node, named.called, inside, self.source);
        let class = if around.class == Class::Implementation { Class::Implementation } else { rule.class };
        let is_member = parent.holds == Holds::Members && matches!(rule.class, Class::Method | Class::Field);
        let within = named.within.map(str::to_owned).or_else(|| is_member.then(|| around.called.clone()));
        let front = named.within.unwrap_or(&around.name);
        let separator = if front.is_empty() { "" } else { self.language.separator() };
        let mut found = Definition {
            name: format!("{front}{separator}{}", named.text),
            called: named.called.to_owned(),
            within,
            class,
            reach,
            ..whole_file()
        };
        if is_constructor(self.language, class, named.called)
            && let Some(class) = found.within.take()
        {
            (found.called, found.class) = (class, Class::Type);
        }
        let place = Place {
            node,
            definition: self.definitions.len(),
            kind: node.kind(),
            name_at: named.at,
            holds: rule.holds,
            body: rule.body,
            in_body: false,
            depth: 0,
        };
        self.definitions.push(found);
        Some(place)
    }
}
