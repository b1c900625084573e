use tree_sitter::Node;

use crate::class::Roles;

/// The place in which a leaf uses a name, if it is one; `parent` and `field` say where it hangs.
pub(crate) fn role(
    leaf: Node<'_>,
    parent: Option<Node<'_>>,
    field: Option<&str>,
    source: &[u8],
) -> Option<Roles> {
    match leaf.kind() {
        "type_identifier" => Some(Roles::TYPE),
        "field_identifier" | "property_identifier" | "private_property_identifier" => Some(Roles::MEMBER),
        "shorthand_field_identifier"
        | "shorthand_property_identifier"
        | "shorthand_property_identifier_pattern" => Some(Roles::BARE.and(Roles::MEMBER)),
        "identifier" => identifier(leaf, parent.map_or("", |p| p.kind()), field.unwrap_or_default(), source),
        _ => None,
    }
}

fn identifier(leaf: Node<'_>, parent: &str, field: &str, source: &[u8]) -> Option<Roles> {
    Some(match (parent, field) {
        ("call_expression" | "call" | "generic_function", "function")
        | ("new_expression", "constructor")
        | ("macro_invocation", "macro")
        | ("tuple_struct_pattern", "type")
        | ("jsx_opening_element" | "jsx_self_closing_element", "name")
        // Rust's attributes, and decorators.
        | ("attribute", "")
        | ("decorator", _) => Roles::CALL,
        ("attribute", "attribute") => Roles::MEMBER,
        ("scoped_identifier" | "scoped_type_identifier", "name")
        | ("use_declaration" | "use_list", _)
        | ("use_as_clause" | "scoped_use_list", "path")
        | ("import_specifier" | "export_specifier", "name")
        | ("dotted_name" | "import_clause", _) => Roles::PATH,
        ("extends_clause", _) => Roles::TYPE.and(Roles::BARE),
        ("keyword_argument", "name") | ("use_as_clause" | "import_specifier" | "aliased_import", "alias") => {
            return None;
        }
        ("token_tree", _) => in_tokens(leaf, source),
        _ => Roles::BARE,
    })
}

/// What a macro is given is not parsed: the characters beside the name must do.
fn in_tokens(leaf: Node<'_>, source: &[u8]) -> Roles {
    let before = source.get(..leaf.start_byte()).and_then(|s| s.iter().rfind(|b| !b.is_ascii_whitespace()));
    let after = source.get(leaf.end_byte()..).and_then(|s| s.iter().find(|b| !b.is_ascii_whitespace()));
    match (before, after) {
        (Some(b'.'), _) => Roles::MEMBER,
        (Some(b':'), _) => Roles::PATH.and(Roles::TYPE).and(Roles::BARE),
        (_, Some(b'(' | b'!')) => Roles::CALL,
        (_, Some(b'{' | b'<')) => Roles::TYPE.and(Roles::BARE),
        _ => Roles::BARE,
    }
}
