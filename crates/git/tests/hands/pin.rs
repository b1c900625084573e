use yardmaster_git::PinAsk;
use yardmaster_protocol::{CommitId, Inspection, RequestId};

use crate::remote::{World, branch, git, main, replaced};

fn ask(request: u64, name: &str, commit: Option<CommitId>) -> PinAsk {
    PinAsk { request: RequestId(request), branch: branch(name), commit }
}

#[test]
fn one_missing_branch_does_not_fail_the_others() {
    let world = World::new();
    let heads: Vec<CommitId> = (0..5)
        .map(|i| world.branch(&format!("roy/{i}"), |w| w.write(&format!("new/{i}.txt"), "x\ny\n")))
        .collect();
    let mirror = world.mirror();
    let tip = mirror.look(&main(), None, &[]).expect("a sighting").tip;
    let mut asks: Vec<PinAsk> = (0..5).map(|i| ask(i, &format!("roy/{i}"), None)).collect();
    asks.insert(2, ask(9, "roy/never", None));
    let answers = mirror.pin(&asks, tip).expect("the remote answers");
    assert_eq!(answers.iter().map(|(r, _)| r.0).collect::<Vec<_>>(), [0, 1, 9, 2, 3, 4]);
    for (request, inspection) in answers {
        match inspection {
            Inspection::Pinned { head, merge_base, size, files, contained } => {
                let i = usize::try_from(request.0).expect("small");
                assert_eq!((head, merge_base, contained), (heads[i], tip, false));
                assert_eq!((size.lines, size.files), (2, 1));
                assert_eq!(files, [format!("new/{i}.txt")]);
            }
            other => assert_eq!((request, other), (RequestId(9), Inspection::BranchMissing)),
        }
    }
    let pinned = mirror.pinned().expect("refs");
    assert_eq!(pinned, [0, 1, 2, 3, 4].map(RequestId));
    mirror.unpin(&[RequestId(1), RequestId(77)]).expect("unpinned");
    assert_eq!(mirror.pinned().expect("refs"), [0, 2, 3, 4].map(RequestId));
}

#[test]
fn a_head_that_moved_is_told_and_not_pinned() {
    let world = World::new();
    let announced = world.branch("roy/1", |w| w.write("x", "1\n"));
    let moved = world.branch("roy/1", |w| w.write("x", "2\n"));
    let mirror = world.mirror();
    let tip = mirror.look(&main(), None, &[]).expect("a sighting").tip;
    let answer = mirror.pin(&[ask(1, "roy/1", Some(announced))], tip).expect("the remote answers");
    assert_eq!(answer, [(RequestId(1), Inspection::HeadMoved { found: moved })]);
    assert_eq!(mirror.pinned().expect("refs"), []);
}

#[test]
fn what_is_pinned_stays_when_its_branch_is_deleted() {
    let world = World::new();
    let head = world.branch("roy/1", |w| w.write("x", "1\n"));
    let mirror = world.mirror();
    let tip = mirror.look(&main(), None, &[]).expect("a sighting").tip;
    let asks = [ask(1, "roy/1", Some(head))];
    let first = mirror.pin(&asks, tip).expect("the remote answers");
    git(&world.remote, &["update-ref", "-d", "refs/heads/roy/1"]);
    git(&world.remote, &["gc", "-q", "--prune=now"]);
    drop(mirror);
    let mirror = world.mirror();
    assert_eq!(mirror.pin(&asks, tip).expect("the remote answers"), first);
    assert_eq!(mirror.pinned().expect("refs"), [RequestId(1)]);
    let later = mirror.pin(&[ask(2, "roy/1", None)], tip).expect("the remote answers");
    assert_eq!(later, [(RequestId(2), Inspection::BranchMissing)]);
}

#[test]
fn a_rename_lists_both_names_and_counts_as_git_counts() {
    let world = World::new();
    world.branch("roy/1", |w| {
        w.git(&["mv", "api/a.txt", "api/z.txt"]);
        w.write("api/z.txt", &replaced("a", 20, 3, "changed"));
    });
    let mirror = world.mirror();
    let tip = mirror.look(&main(), None, &[]).expect("a sighting").tip;
    let answers = mirror.pin(&[ask(1, "roy/1", None)], tip).expect("the remote answers");
    let Inspection::Pinned { size, files, .. } = &answers[0].1 else { panic!("{answers:?}") };
    assert_eq!(files, &["api/a.txt", "api/z.txt"]);
    assert_eq!((size.lines, size.files), (2, 2));
}

#[test]
fn unrelated_history_and_contained_heads_are_told() {
    let world = World::new();
    world.git(&["push", "-q", "origin", "main:refs/heads/same"]);
    world.git(&["checkout", "-q", "--orphan", "alone"]);
    world.commit("alone");
    world.push("alone");
    let mirror = world.mirror();
    let tip = mirror.look(&main(), None, &[]).expect("a sighting").tip;
    let answers = mirror.pin(&[ask(1, "alone", None), ask(2, "same", None)], tip).expect("answers");
    assert!(matches!(&answers[0].1, Inspection::Unusable { why } if why.contains("in common")));
    assert!(matches!(&answers[1].1, Inspection::Pinned { contained: true, files, .. } if files.is_empty()));
    assert_eq!(mirror.pinned().expect("refs"), [RequestId(2)]);
}

#[test]
fn more_branches_than_one_fetch_takes() {
    let world = World::new();
    for i in 0..130 {
        git(&world.remote, &["update-ref", &format!("refs/heads/many/{i}"), "main"]);
    }
    let mirror = world.mirror();
    let tip = mirror.look(&main(), None, &[]).expect("a sighting").tip;
    let asks: Vec<PinAsk> = (0..130).map(|i| ask(i, &format!("many/{i}"), Some(tip))).collect();
    assert_eq!(mirror.pin(&asks, tip).expect("answers").len(), 130);
    assert_eq!(mirror.pinned().expect("refs").len(), 130);
    std::fs::rename(&world.remote, world.dir.path().join("away")).expect("renamed");
    let fresh = mirror.pin(&[ask(500, "many/1", None)], tip);
    assert!(matches!(fresh, Err(yardmaster_git::GitError::Unreachable { .. })));
}
