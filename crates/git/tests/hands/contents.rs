use yardmaster_git::FileContents;

use crate::remote::World;

fn file(path: &str, old: Option<&str>, new: Option<&str>) -> FileContents {
    let bytes = |text: &str| text.as_bytes().to_vec();
    FileContents { path: path.to_owned(), old: old.map(bytes), new: new.map(bytes) }
}

#[test]
fn the_text_of_changed_files_is_given_and_no_more_than_that() {
    let world = World::new();
    for (path, text) in [("a.rs", "old\n"), ("gone.rs", "gone\n"), ("same.rs", "same\n"), ("a.txt", "x\n")] {
        world.write(path, text);
    }
    let before = world.commit("before");
    world.write("a.rs", "new\n");
    world.write("a.txt", "y\n");
    world.write("dir/added.rs", "added\n");
    world.write("large.rs", &"x".repeat(512 * 1024 + 1));
    world.git(&["rm", "-q", "gone.rs"]);
    std::os::unix::fs::symlink("a.rs", world.author.join("link.rs")).expect("a link");
    let after = world.commit("after");
    world.push("main");
    let mirror = world.mirror();
    mirror.look(&crate::remote::main(), None, &[]).expect("a sighting");
    let found = mirror.changed_files(before, after, |path| path.ends_with(".rs")).expect("contents");
    let expected = [
        file("a.rs", Some("old\n"), Some("new\n")),
        file("dir/added.rs", None, Some("added\n")),
        file("gone.rs", Some("gone\n"), None),
    ];
    assert_eq!(found.files, expected);
    assert_eq!(found.skipped, 1);
    assert!(mirror.changed_files(after, after, |_| true).expect("contents").files.is_empty());
}
