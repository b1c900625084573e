use yardmaster_git::{Mirror, PinAsk};
use yardmaster_protocol::{Assembled, Assembly, ChangelogEdit, CommitId, MergedBy, Millis, RequestId};

use crate::remote::{World, branch, git, lines, main, replaced, spec};

/// Branches of one change each, pinned, and the tip.
fn pinned(world: &World, mirror: &Mirror, branches: &[&str]) -> CommitId {
    let tip = mirror.look(&main(), None, &[]).expect("a sighting").tip;
    let asks: Vec<PinAsk> = (1..)
        .zip(branches)
        .map(|(i, name)| PinAsk { request: RequestId(i), branch: branch(name), commit: None })
        .collect();
    mirror.pin(&asks, tip).expect("the remote answers");
    let _ = world;
    tip
}

fn show(mirror: &Mirror, commit: CommitId, path: &str) -> String {
    git(mirror.path(), &["show", &format!("{commit}:{path}")]) + "\n"
}

fn clean(assembled: &Assembled) -> (CommitId, MergedBy) {
    match &assembled.assembly {
        Assembly::Clean { commit, by, .. } => (*commit, *by),
        _ => panic!("{assembled:?}"),
    }
}

/// One merge of a branch into a main that went on: what was made of it.
fn merge_of(ours: impl FnOnce(&World), theirs: impl FnOnce(&World)) -> (Mirror, Assembled, World) {
    let world = World::new();
    let head = world.branch("roy/1", theirs);
    ours(&world);
    world.commit("ours");
    world.push("main");
    let mirror = world.mirror();
    let tip = pinned(&world, &mirror, &["roy/1"]);
    let stack = mirror.assemble(tip, &[spec(1, head)]).expect("assembled");
    assert_eq!((stack.len(), mirror.disagreements()), (1, 0));
    (mirror, stack.into_iter().next().expect("one"), world)
}

#[test]
fn a_stack_goes_on_above_a_conflict_in_its_middle() {
    let world = World::new();
    let one = world.branch("roy/1", |w| w.write("api/a.txt", &replaced("a", 20, 2, "one")));
    let two = world.branch("roy/2", |w| w.write("api/a.txt", &replaced("a", 20, 2, "two")));
    let three = world.branch("roy/3", |w| w.write("api/a.txt", &replaced("a", 20, 15, "three")));
    let mirror = world.mirror();
    let tip = pinned(&world, &mirror, &["roy/1", "roy/2", "roy/3"]);
    let specs = [spec(1, one), spec(2, two), spec(3, three)];
    let stack = mirror.assemble(tip, &specs).expect("assembled");
    let (first, by) = clean(&stack[0]);
    assert_eq!((stack[0].base, by), (tip, MergedBy::Memory));
    let Assembly::Conflict { paths, detail, hunk } = &stack[1].assembly else { panic!("{stack:?}") };
    assert_eq!((stack[1].base, paths.as_slice()), (first, &["api/a.txt".to_owned()][..]));
    assert!(detail.contains("Merge conflict in api/a.txt"), "{detail}");
    let hunk = hunk.as_deref().expect("git marks it");
    assert!(hunk.starts_with("api/a.txt:3\n<<<<<<< "), "{hunk}");
    assert!(hunk.contains("\none\n=======\ntwo\n>>>>>>> "), "{hunk}");
    let (third, _) = clean(&stack[2]);
    assert_eq!(stack[2].base, first);
    assert_eq!(show(&mirror, third, "api/a.txt"), replaced("a", 20, 2, "one").replace("a 15\n", "three\n"));
    assert_eq!(mirror.assemble(tip, &specs).expect("assembled"), stack, "same inputs, same ids");
    let merges = mirror.merges();
    assert_eq!((merges.in_memory, merges.checked, merges.escalated, merges.disagreed), (2, 2, 2, 0));
    git(mirror.path(), &["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn the_commit_is_made_of_nothing_but_its_inputs() {
    let world = World::new();
    let head = world.branch("roy/1", |w| w.write("x", "1\n"));
    let mirror = world.mirror();
    let tip = pinned(&world, &mirror, &["roy/1"]);
    let mut asked = spec(1, head);
    asked.author = "roy <the> \"first\"\n".to_owned();
    asked.at = Millis(4_102_444_800_999);
    let (commit, _) = clean(&mirror.assemble(tip, &[asked.clone()]).expect("assembled")[0]);
    let text = git(mirror.path(), &["cat-file", "commit", &commit.to_string()]);
    assert!(text.contains(&format!("parent {tip}\nparent {head}\n")), "{text}");
    assert!(
        text.contains("author roy the \"first <roythefirst@yardmaster.invalid> 4102444800 +0000\n"),
        "{text}"
    );
    assert!(
        text.contains("committer Yardmaster <yardmaster@yardmaster.invalid> 4102444800 +0000\n"),
        "{text}"
    );
    assert!(text.ends_with("Merge r1\n\nRequest-Id: r1"), "{text}");
    asked.at = Millis(0);
    let (early, _) = clean(&mirror.assemble(tip, &[asked]).expect("assembled")[0]);
    let seconds =
        |rev: &str| git(mirror.path(), &["log", "-1", "--format=%ct", rev]).parse::<i64>().expect("a number");
    assert_eq!(seconds(&early.to_string()), seconds(&tip.to_string()).max(seconds(&head.to_string())) + 1);
}

#[test]
fn nothing_to_merge_is_the_base_itself() {
    let world = World::new();
    let mirror = world.mirror();
    let tip = pinned(&world, &mirror, &[]);
    assert_eq!(clean(&mirror.assemble(tip, &[spec(1, tip)]).expect("assembled")[0]).0, tip);
}

#[test]
fn a_rename_follows_a_change_of_the_other_side() {
    let (mirror, assembled, _world) = merge_of(
        |w| {
            w.git(&["mv", "api/a.txt", "api/moved.txt"]);
        },
        |w| w.write("api/a.txt", &replaced("a", 20, 4, "changed")),
    );
    let (commit, by) = clean(&assembled);
    assert_eq!(by, MergedBy::Git);
    assert_eq!(show(&mirror, commit, "api/moved.txt"), replaced("a", 20, 4, "changed"));
}

/// What git merged is remembered once it is on the disk: not when the rest of the stack cannot be made.
#[test]
fn a_stack_that_cannot_be_made_leaves_nothing_remembered() {
    let world = World::new();
    let head = world.branch("roy/1", |w| w.write("api/a.txt", &replaced("a", 20, 4, "changed")));
    world.git(&["mv", "api/a.txt", "api/moved.txt"]);
    world.commit("ours");
    world.push("main");
    let mirror = world.mirror();
    let tip = pinned(&world, &mirror, &["roy/1"]);
    let nowhere: CommitId = "1234567890123456789012345678901234567890".parse().expect("an id");
    assert!(mirror.assemble(tip, &[spec(1, head), spec(2, nowhere)]).is_err());
    let made = |mirror: &Mirror| clean(&mirror.assemble(tip, &[spec(1, head)]).expect("assembled")[0]);
    let (commit, by) = made(&mirror);
    assert_eq!(by, MergedBy::Git);
    assert_eq!(made(&mirror), (commit, MergedBy::Memory), "now it is");
}

#[test]
fn a_renamed_directory_and_a_new_file_in_the_old_one_is_what_git_says_it_is() {
    let (_, assembled, _world) = merge_of(
        |w| {
            w.git(&["mv", "api", "server"]);
        },
        |w| w.write("api/new.txt", "new\n"),
    );
    assert!(matches!(assembled.assembly, Assembly::Conflict { .. }), "{assembled:?}");
}

#[test]
fn a_rename_beside_a_deletion_is_what_git_says_it_is() {
    let (_, assembled, _world) = merge_of(
        |w| {
            w.git(&["mv", "api/a.txt", "web/a.txt"]);
        },
        |w| {
            w.git(&["rm", "-q", "api/a.txt"]);
        },
    );
    let Assembly::Conflict { detail, .. } = &assembled.assembly else { panic!("{assembled:?}") };
    assert!(detail.contains("rename/delete"), "{detail}");
}

#[test]
fn a_rename_that_nobody_else_touches_stays_in_memory() {
    let (mirror, assembled, _world) = merge_of(
        |w| w.write("api/b.txt", &replaced("b", 20, 4, "changed")),
        |w| {
            w.git(&["mv", "api/a.txt", "web/a.txt"]);
        },
    );
    let (commit, by) = clean(&assembled);
    assert_eq!(by, MergedBy::Memory);
    assert_eq!(show(&mirror, commit, "web/a.txt"), lines("a", 20));
}

#[test]
fn a_mode_change_beside_a_change_of_content_gives_both() {
    let (mirror, assembled, _world) = merge_of(
        |w| w.write("api/a.txt", &replaced("a", 20, 4, "changed")),
        |w| {
            w.git(&["update-index", "--chmod=+x", "api/a.txt"]);
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(w.author.join("api/a.txt"), PermissionsExt::from_mode(0o755))
                .expect("mode");
        },
    );
    let (commit, by) = clean(&assembled);
    assert_eq!(by, MergedBy::Git);
    let entry = git(mirror.path(), &["ls-tree", &commit.to_string(), "api/a.txt"]);
    assert!(entry.starts_with("100755"), "{entry}");
    assert_eq!(show(&mirror, commit, "api/a.txt"), replaced("a", 20, 4, "changed"));
}

#[test]
fn two_requests_never_conflict_over_the_changelog() {
    let world = World::new();
    world.write("CHANGELOG.md", "# Changelog\n\n- old\n");
    world.commit("changelog");
    world.push("main");
    let one = world.branch("roy/1", |w| w.write("x", "1\n"));
    let two = world.branch("roy/2", |w| w.write("y", "2\n"));
    let mirror = world.mirror();
    let tip = pinned(&world, &mirror, &["roy/1", "roy/2"]);
    let with = |request: u64, head, path: &str| {
        let edit = ChangelogEdit { path: path.to_owned(), entry: format!("- r{request}\n") };
        yardmaster_protocol::CandidateSpec { changelog: Some(edit), ..spec(request, head) }
    };
    let stack = mirror.assemble(tip, &[with(1, one, "CHANGELOG.md"), with(2, two, "CHANGELOG.md")]);
    let (commit, by) = clean(&stack.expect("assembled")[1]);
    assert_eq!(by, MergedBy::Memory);
    assert_eq!(show(&mirror, commit, "CHANGELOG.md"), "# Changelog\n\n- r2\n- r1\n- old\n");
    assert_eq!(mirror.disagreements(), 0);
    let stack =
        mirror.assemble(tip, &[with(1, one, "docs/NEWS.md"), with(2, two, "api")]).expect("assembled");
    assert_eq!(show(&mirror, clean(&stack[0]).0, "docs/NEWS.md"), "# Changelog\n\n- r1\n");
    assert!(matches!(&stack[1].assembly, Assembly::Conflict { paths, .. } if paths == &["api"]));
    for path in ["", "../x", "/x", "api/a.txt/x", ".git/x"] {
        let stack = mirror.assemble(tip, &[with(1, one, path)]).expect("assembled");
        assert!(matches!(stack[0].assembly, Assembly::Conflict { .. }), "{path}: {stack:?}");
    }
}

#[test]
fn several_merge_bases_are_left_to_git() {
    let world = World::new();
    let theirs = world.branch("roy/1", |w| w.write("x", "1\n"));
    world.write("y", "2\n");
    let ours = world.commit("ours");
    world.git(&["merge", "-q", "--no-edit", &theirs.to_string()]);
    world.push("main");
    world.git(&["checkout", "-q", "roy/1"]);
    world.git(&["merge", "-q", "--no-edit", &ours.to_string()]);
    world.write("z", "3\n");
    let head = world.commit("more");
    world.push("roy/1");
    let mirror = world.mirror();
    let tip = pinned(&world, &mirror, &["roy/1"]);
    let (commit, by) = clean(&mirror.assemble(tip, &[spec(1, head)]).expect("assembled")[0]);
    assert_eq!((by, show(&mirror, commit, "z").as_str()), (MergedBy::Git, "3\n"));
}

/// Attributes in the mirror itself, which only git reads, make the two see a merge differently.
#[test]
fn a_merge_that_git_sees_differently_counts_as_a_conflict() {
    let world = World::new();
    let one = world.branch("roy/1", |w| w.write("api/a.txt", &replaced("a", 20, 2, "one")));
    let two = world.branch("roy/2", |w| w.write("web/c.txt", &replaced("c", 20, 2, "two")));
    world.write("api/a.txt", &replaced("a", 20, 18, "ours"));
    world.commit("ours");
    world.push("main");
    let mirror = world.mirror();
    let tip = pinned(&world, &mirror, &["roy/1", "roy/2"]);
    std::fs::create_dir_all(mirror.path().join("info")).expect("made");
    std::fs::write(mirror.path().join("info/attributes"), "api/a.txt -merge\n").expect("written");
    let stack = mirror.assemble(tip, &[spec(1, one), spec(2, two)]).expect("assembled");
    let Assembly::Conflict { detail, .. } = &stack[0].assembly else { panic!("{stack:?}") };
    assert!(detail.contains("disagree"), "{detail}");
    assert_eq!(stack[1].base, tip, "what stood on it is assembled again");
    clean(&stack[1]);
    assert_eq!(mirror.disagreements(), 1);
}

#[test]
fn candidates_survive_tidying_and_any_collection_of_garbage() {
    let world = World::new();
    let heads: Vec<CommitId> =
        (1..4).map(|i| world.branch(&format!("roy/{i}"), |w| w.write(&format!("{i}"), "1\n"))).collect();
    let mirror = world.mirror();
    let tip = pinned(&world, &mirror, &["roy/1", "roy/2", "roy/3"]);
    let specs: Vec<_> = (1..).zip(&heads).map(|(i, head)| spec(i, *head)).collect();
    let before = mirror.assemble(tip, &specs).expect("assembled");
    mirror.tidy().expect("tidied");
    git(mirror.path(), &["gc", "-q"]);
    mirror.tidy().expect("tidied twice");
    let loose = git(mirror.path(), &["count-objects"]);
    assert!(loose.starts_with("0 objects"), "{loose}");
    for step in &before {
        git(mirror.path(), &["cat-file", "-e", &clean(step).0.to_string()]);
    }
    assert_eq!(mirror.assemble(tip, &specs).expect("assembled"), before);
}

#[test]
fn unrelated_history_is_a_conflict() {
    let world = World::new();
    let mirror = world.mirror();
    let tip = pinned(&world, &mirror, &[]);
    let tree = git(mirror.path(), &["rev-parse", &format!("{tip}^{{tree}}")]);
    let alone = git(mirror.path(), &["commit-tree", "-m", "alone", &tree]).parse().expect("an id");
    let stack = mirror.assemble(tip, &[spec(1, alone)]).expect("assembled");
    assert!(matches!(&stack[0].assembly, Assembly::Conflict { detail, .. } if detail.contains("in common")));
}
