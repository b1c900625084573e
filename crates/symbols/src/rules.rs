use tree_sitter::Node;

use crate::class::Class;
use crate::language::Language;

/// What stands inside a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Nothing that is told by itself.
    Nothing,
    /// Members of a type.
    Members,
    /// Definitions that merely stand here.
    Items,
}

/// How a node of the grammar defines something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) class: Class,
    pub(crate) holds: Holds,
    /// The field that is no part of the signature.
    pub(crate) body: &'static str,
}

const NO_BODY: &str = "";
/// Pointers to pointers end somewhere.
const MAX_DECLARATORS: usize = 8;

const fn rule(class: Class, holds: Holds, body: &'static str) -> Option<Rule> {
    Some(Rule { class, holds, body })
}

/// What a node defines, standing directly in something that holds `around`.
pub(crate) fn definition(language: Language, node: Node<'_>, around: Holds) -> Option<Rule> {
    let found = match language {
        Language::C => c(node, around),
        Language::Go => go(node),
        Language::JavaScript => javascript(node, around),
        Language::Python => python(node),
        Language::Rust => rust(node),
    }?;
    let class = match (found.class, around) {
        (class, _) if language == Language::C => class,
        (Class::Function, Holds::Members) => Class::Method,
        (Class::Value, Holds::Members) => Class::Field,
        (class, _) => class,
    };
    Some(Rule { class, ..found })
}

fn rust(node: Node<'_>) -> Option<Rule> {
    match node.kind() {
        "function_item" | "function_signature_item" => rule(Class::Function, Holds::Nothing, "body"),
        "macro_definition" => rule(Class::Function, Holds::Nothing, "right"),
        "struct_item" | "union_item" | "enum_item" | "trait_item" => {
            rule(Class::Type, Holds::Members, NO_BODY)
        }
        "type_item" | "associated_type" => rule(Class::Type, Holds::Nothing, NO_BODY),
        "const_item" | "static_item" => rule(Class::Value, Holds::Nothing, "value"),
        "field_declaration" | "enum_variant" => rule(Class::Field, Holds::Nothing, "value"),
        "impl_item" if has(node, "trait") => rule(Class::Implementation, Holds::Members, NO_BODY),
        "impl_item" => rule(Class::Group, Holds::Members, NO_BODY),
        "mod_item" if has(node, "body") => rule(Class::Group, Holds::Items, NO_BODY),
        _ => None,
    }
}

fn python(node: Node<'_>) -> Option<Rule> {
    match node.kind() {
        "function_definition" => rule(Class::Function, Holds::Nothing, "body"),
        "class_definition" => rule(Class::Type, Holds::Members, NO_BODY),
        "assignment" => rule(Class::Value, Holds::Nothing, "right"),
        _ => None,
    }
}

fn javascript(node: Node<'_>, around: Holds) -> Option<Rule> {
    match node.kind() {
        "function_declaration" | "generator_function_declaration" | "function_signature" => {
            rule(Class::Function, Holds::Nothing, "body")
        }
        "class_declaration" | "abstract_class_declaration" | "interface_declaration" => {
            rule(Class::Type, Holds::Members, NO_BODY)
        }
        "type_alias_declaration" | "enum_declaration" => rule(Class::Type, Holds::Nothing, NO_BODY),
        "internal_module" | "module" => rule(Class::Group, Holds::Items, NO_BODY),
        "variable_declarator" => {
            let value = node.child_by_field_name("value").map_or("", |v| v.kind());
            match value {
                "arrow_function" | "function_expression" => rule(Class::Function, Holds::Nothing, "body"),
                _ => rule(Class::Value, Holds::Nothing, "value"),
            }
        }
        "method_definition" | "method_signature" | "abstract_method_signature"
            if around == Holds::Members =>
        {
            rule(Class::Method, Holds::Nothing, "body")
        }
        "public_field_definition" | "property_signature" if around == Holds::Members => {
            rule(Class::Field, Holds::Nothing, "value")
        }
        _ => None,
    }
}

fn go(node: Node<'_>) -> Option<Rule> {
    match node.kind() {
        "function_declaration" => rule(Class::Function, Holds::Nothing, "body"),
        "method_declaration" => rule(Class::Method, Holds::Nothing, "body"),
        "type_spec" => rule(Class::Type, Holds::Members, NO_BODY),
        "type_alias" => rule(Class::Type, Holds::Nothing, NO_BODY),
        "method_elem" => rule(Class::Method, Holds::Nothing, NO_BODY),
        "field_declaration" => rule(Class::Field, Holds::Nothing, "tag"),
        "const_spec" | "var_spec" => rule(Class::Value, Holds::Nothing, "value"),
        _ => None,
    }
}

fn c(node: Node<'_>, around: Holds) -> Option<Rule> {
    match node.kind() {
        "function_definition" => rule(Class::Function, Holds::Nothing, "body"),
        "preproc_function_def" => rule(Class::Function, Holds::Nothing, "value"),
        "preproc_def" => rule(Class::Value, Holds::Nothing, "value"),
        "struct_specifier" | "union_specifier" if has(node, "body") => {
            rule(Class::Type, Holds::Members, NO_BODY)
        }
        "enum_specifier" if has(node, "body") => rule(Class::Type, Holds::Items, NO_BODY),
        "enumerator" => rule(Class::Value, Holds::Nothing, "value"),
        "type_definition" => rule(Class::Type, Holds::Members, NO_BODY),
        "field_declaration" if around == Holds::Members => rule(Class::Field, Holds::Nothing, NO_BODY),
        // `struct s { … } s;` is told as the struct.
        "declaration" if node.child_by_field_name("type").is_some_and(|t| has(t, "body")) => None,
        "declaration" if is_prototype(node) => rule(Class::Function, Holds::Nothing, NO_BODY),
        "declaration" => rule(Class::Value, Holds::Nothing, "value"),
        _ => None,
    }
}

fn is_prototype(node: Node<'_>) -> bool {
    std::iter::successors(Some(node), |n| n.child_by_field_name("declarator"))
        .take(MAX_DECLARATORS)
        .any(|n| n.kind() == "function_declarator")
}

fn has(node: Node<'_>, field: &str) -> bool {
    node.child_by_field_name(field).is_some()
}
