use serde::{Deserialize, Serialize};

/// What kind of definition it is: where its name can stand when it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A function or macro that belongs to no type.
    Function,
    /// A function that belongs to a type.
    Method,
    /// A field, a variant or another member that is no function.
    Field,
    /// A type, trait, interface or class.
    Type,
    /// A constant, a static or a top-level variable.
    Value,
    /// A module, or a block that gives a type further members: nobody uses it by name.
    Group,
    /// An implementation of a trait, and what is in it: used through the trait alone.
    Implementation,
}

/// From where a definition can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Its own file.
    File,
    /// Its file and those of the modules below it.
    Module,
    /// The files of its directory.
    Directory,
    /// Anywhere.
    Anywhere,
}

impl Reach {
    /// Whether a definition in the file `from` can be used in the file `to`.
    pub(crate) fn covers(self, from: &str, to: &str) -> bool {
        match self {
            Reach::Anywhere => true,
            Reach::File => from == to,
            Reach::Directory => directory(from) == directory(to),
            Reach::Module => from == to || to.strip_prefix(module(from)).is_some_and(|r| r.starts_with('/')),
        }
    }
}

/// The directory of a path, without the slash; empty at the root.
pub(crate) fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// Where the modules below a Rust file are.
fn module(path: &str) -> &str {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    match name {
        "lib.rs" | "main.rs" | "mod.rs" => directory(path),
        _ => path.strip_suffix(".rs").unwrap_or(path),
    }
}

/// Places in which a name was seen, as a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Roles(u8);

impl Roles {
    /// A plain name in an expression.
    pub(crate) const BARE: Roles = Roles(1);
    /// A plain name that is called.
    pub(crate) const CALL: Roles = Roles(2);
    /// After a dot or an arrow.
    pub(crate) const MEMBER: Roles = Roles(4);
    /// In an import, or after `::`.
    pub(crate) const PATH: Roles = Roles(8);
    /// Where a type is expected.
    pub(crate) const TYPE: Roles = Roles(16);
    const NONE: Roles = Roles(0);

    pub(crate) const fn and(self, other: Roles) -> Roles {
        Roles(self.0 | other.0)
    }

    pub(crate) fn meets(self, other: Roles) -> bool {
        self.0 & other.0 != 0
    }

    /// Where a use of such a definition can stand. In C and Rust nothing but a member follows a dot; elsewhere
    /// it may be a module's function.
    pub(crate) fn of(class: Class, modules_have_dots: bool) -> Roles {
        let dotted = if modules_have_dots { Roles::MEMBER } else { Roles::NONE };
        match class {
            Class::Function => Roles::CALL.and(Roles::PATH).and(dotted),
            Class::Method | Class::Field => Roles::MEMBER.and(Roles::PATH),
            Class::Type => Roles::TYPE.and(Roles::PATH).and(Roles::CALL).and(Roles::BARE).and(dotted),
            Class::Value => Roles::BARE.and(Roles::PATH).and(Roles::CALL).and(dotted),
            Class::Group | Class::Implementation => Roles::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_private_is_seen_below_its_module_only() {
        for (from, to, seen) in [
            ("src/a.rs", "src/a.rs", true),
            ("src/a.rs", "src/a/b.rs", true),
            ("src/a.rs", "src/ab.rs", false),
            ("src/a.rs", "src/b.rs", false),
            ("src/lib.rs", "src/a/b.rs", true),
            ("src/a/mod.rs", "src/a/b.rs", true),
            ("src/a/mod.rs", "src/b.rs", false),
        ] {
            assert_eq!(Reach::Module.covers(from, to), seen, "{from} {to}");
        }
        assert!(Reach::Directory.covers("server/a.go", "server/b.go"));
        assert!(!Reach::Directory.covers("server/a.go", "server/x/b.go"));
    }
}
