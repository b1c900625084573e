use yardmaster_git::Together;

use crate::remote::{World, main};

#[test]
fn what_changed_in_the_same_commits_is_counted_and_mass_changes_are_not() {
    let world = World::new();
    let commit = |n: usize, paths: &[&str]| {
        paths.iter().for_each(|path| world.write(path, &format!("{n}\n")));
        world.commit(&format!("number {n}"));
    };
    for n in 0..3 {
        commit(n, &["co/a", "co/b"]);
    }
    commit(3, &["co/a", "co/c"]);
    commit(4, &["co/b"]);
    let many: Vec<String> = (0..200).map(|n| format!("many/{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).chain(["co/a", "co/c"]).collect();
    commit(5, &many);
    world.push("main");
    let mirror = world.mirror();
    let tip = mirror.look(&main(), None, &[]).expect("a sighting").tip;
    let history = mirror.cochange(tip, 2_000).expect("read");
    let pick = |name: &str| history.select(|path| path == name);
    let expected =
        Together { both: 3, first: 4, second: 4, example: Some(("co/a".to_owned(), "co/b".to_owned(), 3)) };
    assert_eq!(history.together(&pick("co/a"), &pick("co/b")), expected);
    assert_eq!(history.together(&pick("co/b"), &pick("co/c")).both, 0);
    assert_eq!(history.together(&pick("co/a"), &pick("co/c")).both, 1);
    let latest = mirror.cochange(tip, 3).expect("read");
    assert_eq!(latest.commits(), 3);
    assert_eq!(
        latest.select(|path| path.starts_with("co/")).len(),
        3,
        "{:?}",
        latest.paths().collect::<Vec<_>>()
    );
}
