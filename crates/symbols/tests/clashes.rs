//! Changes are read and held against one another, in each language.

use yardmaster_symbols::{ApiChange, Clash, FileChange, How, Kind, Side, change, meet};

/// A change of one file.
fn edit(path: &str, old: &str, new: &str) -> ApiChange {
    let found = change([FileChange { path, old: Some(old.as_bytes()), new: Some(new.as_bytes()) }]);
    assert_eq!(found.skipped, 0);
    found
}

fn told(clashes: &[Clash]) -> Vec<(Kind, &str, Side)> {
    clashes.iter().map(|c| (c.kind, c.symbol.as_str(), c.altered_by)).collect()
}

fn how(change: &ApiChange) -> Vec<(&str, How)> {
    change.altered.iter().map(|a| (a.name.as_str(), a.how)).collect()
}

/// For each language: a definition, a rename of it, and a file that does not use it and one that does.
const RENAMES: [(&str, &str, &str, &str, &str, &str, &str); 13] = [
    ("a.rs", "pub fn timed() {}", "pub fn clocked() {}", "b.rs", "fn f() {}", "#[timed]\nfn f() {}", "timed"),
    (
        "a.rs",
        "pub fn open(p: u8) {}",
        "pub fn start(p: u8) {}",
        "b.rs",
        "fn f() {}",
        "fn f() { crate::a::open(1) }",
        "open",
    ),
    (
        "a.rs",
        "impl Mirror { pub fn open(&self) {} }",
        "impl Mirror { pub fn start(&self) {} }",
        "b.rs",
        "fn f(m: &Mirror) {}",
        "fn f(m: &Mirror) { assert_eq!(m.open(), 1) }",
        "Mirror::open",
    ),
    (
        "a.rs",
        "pub struct Old { pub a: u8 }",
        "pub struct New { pub a: u8 }",
        "b.rs",
        "fn f() {}",
        "fn f(x: Old) {}",
        "Old",
    ),
    (
        "a.rs",
        "pub struct S { pub a: u8 }",
        "pub struct S { pub b: u8 }",
        "b.rs",
        "fn f(s: S) {}",
        "fn f(s: S) { s.a; }",
        "S::a",
    ),
    (
        "a.py",
        "def load(x):\n    pass\n",
        "def read(x):\n    pass\n",
        "b.py",
        "import a\n",
        "import a\na.load(1)\n",
        "load",
    ),
    (
        "a.py",
        "class Store:\n    def load(self):\n        pass\n",
        "class Store:\n    def read(self):\n        pass\n",
        "b.py",
        "from a import Store\n",
        "from a import Store\nStore().load()\n",
        "Store.load",
    ),
    (
        "a.ts",
        "export function load() {}",
        "export function read() {}",
        "b.tsx",
        "let a = 1",
        "import { load } from './a'",
        "load",
    ),
    (
        "a.ts",
        "export const load = (x: number) => x",
        "export const read = (x: number) => x",
        "b.js",
        "let a = 1",
        "let a = load(1)",
        "load",
    ),
    (
        "a.ts",
        "export class Store { load() {} }",
        "export class Store { read() {} }",
        "b.ts",
        "function f(s: Store) {}",
        "function f(s: Store) { s.load() }",
        "Store.load",
    ),
    (
        "p/a.go",
        "package p\nfunc load(x int) {}\n",
        "package p\nfunc read(x int) {}\n",
        "p/b.go",
        "package p\nfunc f() {}\n",
        "package p\nfunc f() { load(1) }\n",
        "load",
    ),
    (
        "p/a.go",
        "package p\nfunc (s *Store) Load() {}\n",
        "package p\nfunc (s *Store) Read() {}\n",
        "q/b.go",
        "package q\nfunc f(s *p.Store) {}\n",
        "package q\nfunc f(s *p.Store) { s.Load() }\n",
        "Store.Load",
    ),
    (
        "a.c",
        "int load(int x) { return x; }",
        "int read_it(int x) { return x; }",
        "b.c",
        "int f(void) { return 0; }",
        "int f(void) { return load(1); }",
        "load",
    ),
];

#[test]
fn a_rename_meets_a_new_use_in_every_language() {
    for (path, old, renamed, other, unused, used, symbol) in RENAMES {
        let (renames, uses) = (edit(path, old, renamed), edit(other, unused, used));
        let clashes = meet(&renames, &uses);
        assert_eq!(
            told(&clashes),
            [(Kind::RemovedAndUsed, symbol, Side::First)],
            "{path}: {renames:#?} {uses:#?}"
        );
        assert_eq!(clashes[0].used_in.as_deref(), Some(other));
        assert_eq!(told(&meet(&uses, &renames)), [(Kind::RemovedAndUsed, symbol, Side::Second)]);
        // The use was there before: no news, and the one who renames has seen it.
        assert_eq!(meet(&renames, &edit(other, used, &format!("{used}\n"))), []);
        // Both stand on the rename.
        assert_eq!(meet(&renames, &renames), []);
    }
}

#[test]
fn what_does_not_meet_is_not_told() {
    let renames = edit("a.rs", "pub fn open(p: u8) {}", "pub fn start(p: u8) {}");
    for (path, old, new) in [
        ("b.rs", "fn f() {}", "fn f() { shut() }"),
        // A variable and a member have nothing to do with a function.
        ("b.rs", "fn f() {}", "fn f() { let open = 1; open + 1; }"),
        ("b.rs", "fn f() {}", "fn f(d: Door) { d.open() }"),
        // Nor has another language, a comment or a string.
        ("b.py", "a = 1\n", "a = open(1)\n"),
        ("b.rs", "fn f() {}", "fn f() {} // open(1)"),
        ("b.rs", "fn f() {}", "fn f() { g(\"open(1)\") }"),
        ("README.md", "a", "open(1)"),
    ] {
        assert_eq!(meet(&renames, &edit(path, old, new)), [], "{new}");
    }
    // `len` is a member of many types; `with_status` says enough, though its type is not spoken of.
    let member = |name: &str| {
        let method = |name: &str| format!("impl Runs {{ pub fn {name}(&self) {{}} }}");
        let gone = edit("a.rs", &method(name), &method("other"));
        meet(&gone, &edit("b.rs", "fn f() {}", &format!("fn f() {{ runs().{name}() }}"))).len()
    };
    assert_eq!(["len", "is_file", "with_status", "isFile", "withStatus"].map(member), [0, 0, 1, 0, 1]);
    let private = edit("x/a.rs", "fn open(p: u8) {}", "fn start(p: u8) {}");
    assert_eq!(meet(&private, &edit("y/b.rs", "fn f() {}", "fn f() { open(1) }")), []);
    assert_eq!(meet(&private, &edit("x/a/b.rs", "fn f() {}", "fn f() { open(1) }")).len(), 1);
    let in_package = edit("p/a.go", "package p\nfunc load() {}\n", "package p\n");
    let elsewhere = edit("q/a.go", "package q\nfunc f() {}\n", "package q\nfunc f() { load() }\n");
    assert_eq!(meet(&in_package, &elsewhere), []);
}

#[test]
fn formatting_comments_and_order_are_no_change() {
    for (path, old, new) in [
        (
            "a.rs",
            "fn f(a: u8, b: u8) { g(a) }",
            "/// New words.\nfn f(\n    a: u8,\n    b: u8,\n) {\n    // why\n    g(a)\n}\n",
        ),
        ("a.rs", "fn f() {}\nfn g() {}", "fn g() {}\n\nfn f() {}"),
        ("a.py", "def f(a, b):\n    return a\n", "def f(\n    a,\n    b,  # why\n):\n\n    return a\n"),
        ("a.ts", "class A { f() { return 1 } }", "class A {\n  // why\n  f() {\n    return 1\n  }\n}"),
        (
            "a.go",
            "package p\nfunc f(a int) int { return a }\n",
            "package p\n\nfunc f(\n\ta int,\n) int {\n\treturn a\n}\n",
        ),
    ] {
        assert_eq!(how(&edit(path, old, new)), [], "{path}");
    }
    // In Python, where a line stands is what it means.
    let moved = edit(
        "a.py",
        "def f(a):\n    if a:\n        g()\n        h()\n",
        "def f(a):\n    if a:\n        g()\n    h()\n",
    );
    assert_eq!(how(&moved), [("f", How::Body)]);
    assert_eq!(how(&edit("a.rs", "fn f() { g(\"a b\") }", "fn f() { g(\"a  b\") }")), [("f", How::Body)]);
}

#[test]
fn signature_and_body_are_told_apart() {
    let old = "pub fn f(a: u8) -> u8 { a }";
    let body = edit("a.rs", old, "pub fn f(a: u8) -> u8 { a + 1 }");
    let signature = edit("a.rs", old, "pub fn f(a: u16) -> u8 { a }");
    assert_eq!(how(&body), [("f", How::Body)]);
    assert_eq!(how(&signature), [("f", How::Signature)]);
    let uses = edit("b.rs", "fn g() {}", "fn g() { f(1) }");
    assert_eq!(meet(&body, &uses), []);
    assert_eq!(told(&meet(&signature, &uses)), [(Kind::ChangedAndUsed, "f", Side::First)]);
    assert_eq!(told(&meet(&body, &signature)), [(Kind::BothChanged, "f", Side::Both)]);
    // A new member does not make its type another one.
    let field = edit("a.rs", "pub struct S { a: u8 }", "pub struct S { a: u8, b: u8 }");
    assert_eq!(how(&field), [("S::b", How::Added)]);
    let constructor = edit(
        "a.py",
        "class A:\n    def __init__(self): pass\n",
        "class A:\n    def __init__(self, b): pass\n",
    );
    let call = edit("b.py", "x = 1\n", "x = 1\ny = A()\n");
    assert_eq!(told(&meet(&constructor, &call)), [(Kind::ChangedAndUsed, "A.__init__", Side::First)]);
}

#[test]
fn the_same_definition_twice_is_told() {
    let first = edit("p/a.go", "package p\n", "package p\nfunc load() { a() }\n");
    let second = edit("p/b.go", "package p\n", "package p\nfunc load() { b() }\n");
    assert_eq!(told(&meet(&first, &second)), [(Kind::BothAdded, "load", Side::Both)]);
    let other = edit("q/b.go", "package q\n", "package q\nfunc load() { b() }\n");
    assert_eq!(meet(&first, &other), []);
    let start = |n: u8| edit("p/a.go", "package p\n", &format!("package p\nfunc init() {{ a({n}) }}\n"));
    assert_eq!(meet(&start(1), &start(2)), []);
    let twice = |n: u8| {
        edit("a.rs", "struct A;", &format!("struct A; impl Drop for A {{ fn drop(&mut self) {{ f({n}) }} }}"))
    };
    assert_eq!(told(&meet(&twice(1), &twice(2))), [(Kind::BothAdded, "<A as Drop>::drop", Side::Both)]);
}

#[test]
fn what_is_moved_is_not_newly_used() {
    let old = "fn a() { load() }\nfn b() {}";
    let moved = change([
        FileChange { path: "a.rs", old: Some(old.as_bytes()), new: Some(b"fn b() {}") },
        FileChange { path: "c.rs", old: None, new: Some(b"fn a() { load() }") },
    ]);
    assert_eq!(moved.used.get("load"), None, "{moved:?}");
    // In Go another file of the same package is no other place.
    let moved = change([
        FileChange { path: "p/a.go", old: Some(b"package p\nfunc a() {}\n"), new: Some(b"package p\n") },
        FileChange { path: "p/b.go", old: Some(b"package p\n"), new: Some(b"package p\nfunc a() {}\n") },
    ]);
    assert_eq!(how(&moved), []);
}

#[test]
fn what_cannot_be_read_is_counted() {
    let large = vec![b'a'; yardmaster_symbols::MAX_FILE_BYTES + 1];
    let found = change([
        FileChange { path: "a.rs", old: None, new: Some(&large) },
        FileChange { path: "b.rs", old: None, new: Some(&[0xff, 0xfe]) },
        FileChange { path: "c.bin", old: None, new: Some(&[0xff, 0xfe]) },
        FileChange { path: "d.rs", old: None, new: Some(b"fn ok() {}") },
    ]);
    assert_eq!((found.skipped, how(&found)), (2, vec![("ok", How::Added)]));
    let again: ApiChange =
        serde_json::from_str(&serde_json::to_string(&found).expect("JSON")).expect("the same");
    assert_eq!(again, found);
}

#[test]
fn nesting_without_end_ends() {
    for (path, open) in [
        ("a.rs", "fn f() { ((("),
        ("a.py", "x = [[["),
        ("a.ts", "f(() => {"),
        ("a.go", "func f() { if a {"),
        ("a.c", "int a(){{{"),
    ] {
        let text = open.repeat(20_000);
        let found = change([FileChange { path, old: None, new: Some(text.as_bytes()) }]);
        assert!(found.altered.len() <= yardmaster_symbols::MAX_ALTERED);
    }
}
