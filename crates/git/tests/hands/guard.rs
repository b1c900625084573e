use yardmaster_git::{GitOptions, Mirror, PinAsk};
use yardmaster_protocol::{Assembly, CandidateSpec, CommitId, LandOutcome, Landing, RequestId, TreeId};

use crate::remote::{World, branch, lines, main, replaced, spec};

/// `main` with a landing of bob's in two files, as the queue makes it, and one of eve's after it.
fn landed() -> (World, CommitId) {
    let world = World::new();
    let old = world.head();
    world.write("api/a.txt", &replaced("a", 20, 3, "bob was here"));
    world.write("web/new.txt", "bob brought this\n");
    world.commit("Merge REQ-1 from bob\n\nRequest-Id: r7\nRequirement: REQ-1\nAgent: bob");
    world.write("api/b.txt", &replaced("b", 20, 3, "eve was here"));
    world.commit("Merge REQ-2 from eve\n\nRequest-Id: r8\nRequirement: REQ-2\nAgent: eve");
    world.push("main");
    (world, old)
}

fn by(agent: &str, head: CommitId) -> CandidateSpec {
    CandidateSpec { author: agent.to_owned(), ..spec(9, head) }
}

fn pinned(mirror: &Mirror) -> CommitId {
    let tip = mirror.look(&main(), None, &[]).expect("a sighting").tip;
    let ask = PinAsk { request: RequestId(9), branch: branch("roy/9"), commit: None };
    mirror.pin(&[ask], tip).expect("the remote answers");
    tip
}

fn outcome(world: &World, spec: CandidateSpec) -> Assembly {
    let mirror = world.mirror();
    let tip = pinned(&mirror);
    let mut stack = mirror.assemble(tip, &[spec]).expect("assembled");
    stack.remove(0).assembly
}

/// An old tree with a change of its own, committed on the new tip with this message.
fn stale(world: &World, old: CommitId, message: &str) -> CommitId {
    world.git(&["checkout", "-q", "-B", "roy/9", "main"]);
    world.git(&["rm", "-q", "-r", "."]);
    world.git(&["checkout", "-q", &old.to_string(), "--", "."]);
    world.write("web/c.txt", &replaced("c", 20, 9, "roy's own"));
    let head = world.commit(message);
    world.push("roy/9");
    world.git(&["checkout", "-q", "main"]);
    head
}

#[test]
fn an_old_tree_on_a_new_base_is_refused_with_what_it_takes_back() {
    let (world, old) = landed();
    let head = stale(&world, old, "my feature, squashed");
    let refused = outcome(&world, by("roy", head));
    let Assembly::TakesBack { of, label, paths, hunk } = refused else { panic!("{refused:?}") };
    assert_eq!((of, label.as_str()), (world.head(), "r8 (Merge REQ-2 from eve by eve)"));
    assert!(paths.contains(&"api/b.txt".to_owned()), "{paths:?}");
    assert!(hunk.contains("-eve was here\n+b 3\n"), "{hunk}");
}

#[test]
fn an_old_tree_is_found_where_its_own_change_is_in_the_same_file() {
    let (world, old) = landed();
    world.git(&["checkout", "-q", "-B", "roy/9", "main"]);
    world.git(&["checkout", "-q", &old.to_string(), "--", "."]);
    world.git(&["rm", "-q", "web/new.txt"]);
    world.write("api/b.txt", &replaced("b", 20, 15, "roy's own"));
    let head = world.commit("squashed");
    world.push("roy/9");
    let refused = outcome(&world, by("roy", head));
    assert!(matches!(&refused, Assembly::TakesBack { hunk, .. } if !hunk.contains("roy")), "{refused:?}");
}

#[test]
fn one_landing_of_several_files_is_guarded_beneath_later_ones() {
    let (world, _) = landed();
    let head = world.branch("roy/9", |w| {
        w.write("api/a.txt", &lines("a", 20));
        w.git(&["rm", "-q", "web/new.txt"]);
        w.write("web/c.txt", &replaced("c", 20, 9, "roy's own"));
    });
    let refused = outcome(&world, by("roy", head));
    let Assembly::TakesBack { label, paths, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(label, "r7 (Merge REQ-1 from bob by bob)");
    assert_eq!(paths, ["api/a.txt", "web/new.txt"]);
}

#[test]
fn who_says_so_may_take_back_and_so_may_the_author() {
    let (world, old) = landed();
    let (eve, bob) = (world.git(&["rev-parse", "main"]), world.git(&["rev-parse", "main~1"]));
    let clean = |head| matches!(outcome(&world, by("roy", head)), Assembly::Clean { .. });
    for message in [
        format!("back\n\nThis reverts commit {eve}.\n\nThis reverts\ncommit {bob}."),
        format!("back\n\nReverts: {}\nReverts: {}", &eve[..10], &bob[..10]),
        "back\n\nReverts: r8, r7".to_owned(),
    ] {
        assert!(clean(stale(&world, old, &message)), "{message}");
    }
    for message in ["back\n\nReverts: r7".to_owned(), format!("back\n\nThis reverts commit {old}.")] {
        assert!(!clean(stale(&world, old, &message)), "{message}");
    }
    let head = world.branch("roy/9", |w| w.write("api/b.txt", &lines("b", 20)));
    assert!(!clean(head), "the newest landing");
    assert!(matches!(outcome(&world, by("eve", head)), Assembly::Clean { .. }), "her own");
    world.git(&["checkout", "-q", "-B", "roy/9", "main"]);
    world.git(&["revert", "--no-edit", &bob]);
    world.push("roy/9");
    assert!(clean(world.head()), "git's own words");
}

#[test]
fn everyday_work_is_not_refused() {
    let (world, _) = landed();
    let clean = |head| matches!(outcome(&world, by("roy", head)), Assembly::Clean { .. });
    let edit = |path: &str, text: String| world.branch("roy/9", |w| w.write(path, &text));
    assert!(clean(edit("api/b.txt", replaced("b", 20, 3, "eve was here\nand roy"))), "next to hers");
    assert!(clean(edit("api/b.txt", replaced("b", 20, 3, "roy was here"))), "in place of hers");
    assert!(clean(edit("api/a.txt", lines("a", 20))), "one file of an earlier landing of two");
    let removed = world.branch("roy/9", |w| drop(w.git(&["rm", "-q", "api/b.txt"])));
    assert!(clean(removed), "a file that goes for good");
}

#[test]
fn the_guard_can_be_turned_off() {
    let (world, old) = landed();
    let head = stale(&world, old, "squashed");
    let options = GitOptions { guard: false, ..GitOptions::default() };
    let remote = world.remote.to_str().expect("a plain path");
    let mirror = Mirror::open(&world.dir.path().join("mirror"), remote, options).expect("a mirror");
    let tip = pinned(&mirror);
    let stack = mirror.assemble(tip, &[by("roy", head)]).expect("assembled");
    assert!(matches!(stack[0].assembly, Assembly::Clean { .. }));
}

/// What is not what was tested is never pushed; what does not stay what was pushed is told.
#[test]
fn a_landing_is_audited_before_and_after_its_push() {
    let world = World::new();
    let head = world.branch("roy/9", |w| w.write("x", "1\n"));
    let mirror = world.mirror();
    let tip = pinned(&mirror);
    let stack = mirror.assemble(tip, &[spec(9, head)]).expect("assembled");
    let Assembly::Clean { commit, tree, .. } = stack[0].assembly else { panic!("{stack:?}") };
    let other: TreeId = world.git(&["rev-parse", "main^{tree}"]).parse().expect("an id");
    let landing = |from, to, tree| Landing {
        from,
        to,
        tree,
        requests: vec![(RequestId(9), to)],
        trees: vec![tree],
        rollup: None,
    };
    for (wrong, says) in [
        (landing(tip, commit, other), "was tested"),
        (landing(commit, head, tree), "does not stand on"),
        (Landing { requests: Vec::new(), trees: Vec::new(), ..landing(tip, commit, tree) }, "of no request"),
    ] {
        let LandOutcome::Altered { why, seen } = mirror.land_audited(&main(), &wrong) else {
            panic!("{says}")
        };
        assert!(why.contains(says) && why.contains("nothing was pushed"), "{why}");
        assert_eq!((seen.tip, world.remote_tip("main")), (tip, tip));
    }
    world.hook("post-receive", "while read -r old new ref; do git update-ref $ref $old; done");
    let gone = mirror.land_audited(&main(), &landing(tip, commit, tree));
    let LandOutcome::Altered { why, seen } = gone else { panic!("{gone:?}") };
    assert!(why.contains("the remote took the push") && seen.tip == tip, "{why}");
    std::fs::remove_file(world.remote.join("hooks/post-receive")).expect("removed");
    assert!(matches!(mirror.land_audited(&main(), &landing(tip, commit, tree)), LandOutcome::Landed { .. }));
}
