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
fn a_pin_that_is_gone_is_made_again_from_what_is_here() {
    let world = World::new();
    let head = world.branch("roy/1", |w| w.write("one.txt", "x\n"));
    let mirror = world.mirror();
    let tip = mirror.look(&main(), None, &[]).expect("a sighting").tip;
    let asks = [ask(1, "roy/1", Some(head)), ask(2, "roy/2", Some(head)), ask(3, "roy/1", Some(head))];
    mirror.pin(&asks[..1], tip).expect("the remote answers");
    git(mirror.path(), &["update-ref", "-d", "refs/yardmaster/requests/r1"]);
    git(&world.remote, &["update-ref", "-d", "refs/heads/roy/1"]);
    git(&world.remote, &["gc", "-q", "--prune=now"]);
    assert_eq!(mirror.restore(&asks[..2]).expect("the remote answers"), []);
    assert_eq!(mirror.pinned().expect("refs"), [RequestId(1), RequestId(2)]);

    mirror.unpin(&[RequestId(1), RequestId(2)]).expect("unpinned");
    let tree = git(mirror.path(), &["rev-parse", &format!("{head}^{{tree}}")]);
    let (dir, name) = tree.trim().split_at(2);
    std::fs::remove_file(mirror.path().join("objects").join(dir).join(name)).expect("a loose object");
    assert_eq!(mirror.restore(&asks[2..]).expect("the remote answers"), [RequestId(3)]);
}

#[test]
fn what_a_power_cut_tore_is_taken_away_and_fetched_again() {
    let world = World::new();
    // Does not compress well, so that it fills some blocks.
    let noise = |n: u64| format!("{:x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29));
    let text: String = (1..2_000).map(noise).collect();
    let head = world.branch("roy/1", |w| w.write("noise.txt", &text));
    let mirror = world.mirror();
    let tip = mirror.look(&main(), None, &[]).expect("a sighting").tip;
    let asks = [ask(1, "roy/1", Some(head))];
    let first = mirror.pin(&asks, tip).expect("the remote answers");
    let path = mirror.path().to_owned();
    let blob = git(&path, &["rev-parse", &format!("{head}:noise.txt")]);
    drop(mirror);
    for (id, left) in [(head.to_string(), 0), (blob.trim().to_owned(), 0), (blob.trim().to_owned(), 4_096)] {
        let object = path.join("objects").join(&id[..2]).join(&id[2..]);
        let content = std::fs::read(&object).expect("a loose object");
        assert!(content.len() > left);
        std::fs::remove_file(&object).expect("removed");
        std::fs::write(&object, &content[..left]).expect("written");
        std::fs::write(path.join("refs/yardmaster/requests/r1"), "").expect("written");
        std::fs::write(path.join("refs/yardmaster/targets/main"), "").expect("written");
        std::fs::write(path.join("HEAD"), "").expect("written");
        let mirror = world.mirror();
        assert_eq!(mirror.pinned().expect("refs"), []);
        mirror.look(&main(), Some(tip), &[]).expect("a sighting");
        assert_eq!(mirror.pin(&asks, tip).expect("the remote answers"), first);
        git(&path, &["fsck", "--strict"]);
    }
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

/// By its size it stands behind smaller ones of its class, and is no small one because nobody counted.
#[test]
fn a_change_of_too_many_files_to_be_counted_is_not_small() {
    use std::fmt::Write as _;
    let world = World::new();
    let mut text =
        "commit refs/heads/roy/1\ncommitter Roy <roy@example.com> 1767225600 +0000\ndata 0\n".to_owned();
    writeln!(text, "from {}", world.head()).expect("a string");
    for n in 0..20_001 {
        writeln!(text, "M 100644 inline wide/{n}\ndata 2\nx").expect("a string");
    }
    let stream = world.dir.path().join("stream");
    std::fs::write(&stream, text).expect("a file");
    let import = format!("!git fast-import --quiet < '{}'", stream.display());
    world.git(&["-c", &format!("alias.take={import}"), "take"]);
    world.git(&["push", "-q", "origin", "roy/1"]);
    let mirror = world.mirror();
    let tip = mirror.look(&main(), None, &[]).expect("a sighting").tip;
    let answers = mirror.pin(&[ask(1, "roy/1", None)], tip).expect("the remote answers");
    let Inspection::Pinned { size, .. } = &answers[0].1 else { panic!("{answers:?}") };
    assert_eq!((size.lines, size.files), (20_001, 20_001));
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
