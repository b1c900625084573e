use serde::{Deserialize, Serialize};
use tree_sitter_language::LanguageFn;

/// A language that can be read. JavaScript and TypeScript are one: they call each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// C, headers included.
    C,
    /// Go.
    Go,
    /// JavaScript and TypeScript, with JSX.
    JavaScript,
    /// Python and its stubs.
    Python,
    /// Rust.
    Rust,
}

impl Language {
    /// By the end of the path; none when this is no file that can be read.
    pub fn of(path: &str) -> Option<Language> {
        let (stem, extension) = path.rsplit_once('.')?;
        if stem.is_empty() || stem.ends_with('/') {
            return None;
        }
        Some(match extension {
            "c" | "h" => Language::C,
            "go" => Language::Go,
            "js" | "jsx" | "mjs" | "cjs" | "ts" | "tsx" | "mts" | "cts" => Language::JavaScript,
            "py" | "pyi" => Language::Python,
            "rs" => Language::Rust,
            _ => return None,
        })
    }

    /// What parses this file. The grammar for TSX reads plain JavaScript too; it does not read `<T>value`,
    /// which only files of plain TypeScript may say.
    pub(crate) fn grammar(self, path: &str) -> LanguageFn {
        let typescript = [".ts", ".mts", ".cts"].iter().any(|end| path.ends_with(end));
        match self {
            Language::C => tree_sitter_c::LANGUAGE,
            Language::Go => tree_sitter_go::LANGUAGE,
            Language::JavaScript if typescript => tree_sitter_typescript::LANGUAGE_TYPESCRIPT,
            Language::JavaScript => tree_sitter_typescript::LANGUAGE_TSX,
            Language::Python => tree_sitter_python::LANGUAGE,
            Language::Rust => tree_sitter_rust::LANGUAGE,
        }
    }

    /// What stands between a container's name and a member's.
    pub(crate) fn separator(self) -> &'static str {
        if self == Language::Rust { "::" } else { "." }
    }
}
