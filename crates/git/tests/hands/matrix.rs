use std::collections::BTreeMap;

use git2::{Oid, Repository};
use yardmaster_git::{CrossCheck, GitOptions, Matrix, Mirror, Verdict};
use yardmaster_protocol::{CommitId, RequestId};

use crate::random_merges::{Files, Random, by_git, change, commit, tree_of_files};
use crate::remote::{World, lines};

const HOUSES: usize = 20;
const REQUESTS: usize = 12;

fn id(oid: Oid) -> CommitId {
    oid.to_string().parse().expect("an id")
}

/// A target with some history, and branches that left it here and there: some stacked on others, some with
/// the target merged in, some with a history of their own.
struct House {
    mainline: Vec<(Oid, Files)>,
    heads: Vec<Oid>,
}

impl House {
    fn random(repo: &Repository, random: &mut Random) -> House {
        let mut files = tree_of_files(random);
        let mut mainline = vec![(commit(repo, &files, &[]), files.clone())];
        for _ in 0..random.below(6) {
            (0..1 + random.below(3)).for_each(|_| change(random, &mut files));
            let parent = mainline.last().expect("a first one").0;
            mainline.push((commit(repo, &files, &[parent]), files.clone()));
        }
        let mut branches: Vec<(Oid, Files)> = Vec::new();
        for _ in 0..REQUESTS {
            let from = match random.below(10) {
                0 | 1 if !branches.is_empty() => &branches[random.below(branches.len())],
                _ => &mainline[random.below(mainline.len())],
            };
            let (mut parent, mut files) = (from.0, from.1.clone());
            for _ in 0..1 + random.below(2) {
                (0..1 + random.below(3)).for_each(|_| change(random, &mut files));
                let mut parents = vec![parent];
                match random.below(20) {
                    0 => parents.push(mainline[random.below(mainline.len())].0),
                    1 if !branches.is_empty() => parents.push(branches[random.below(branches.len())].0),
                    2 if random.chance(20) => parents.clear(),
                    _ => {}
                }
                parents.dedup();
                parent = commit(repo, &files, &parents);
            }
            branches.push((parent, files));
        }
        House { mainline, heads: branches.into_iter().map(|(head, _)| head).collect() }
    }
}

fn is_related(repo: &Repository, a: Oid, b: Oid) -> bool {
    repo.merge_base(a, b).is_ok()
}

/// What git says of all these pairs: whether they merge.
fn clean_by_git(repo: &Repository, mirror: &Mirror, pairs: &[(Oid, Oid)]) -> BTreeMap<(Oid, Oid), bool> {
    let related: Vec<(Oid, Oid)> = pairs.iter().copied().filter(|(a, b)| is_related(repo, *a, *b)).collect();
    let mut clean: BTreeMap<(Oid, Oid), bool> = pairs.iter().map(|pair| (*pair, false)).collect();
    for (pair, tree) in related.iter().zip(by_git(mirror, &related)) {
        clean.insert(*pair, tree.is_some());
    }
    clean
}

#[test]
fn every_verdict_is_gits_whatever_comes_and_goes() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = GitOptions { cross_check: CrossCheck::Off, ..GitOptions::default() };
    let mirror = Mirror::open(&dir.path().join("mirror"), "/nowhere", options).expect("a mirror");
    let repo = Repository::open_bare(mirror.path()).expect("a repository");
    let seed = std::env::var("YARDMASTER_MERGE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_121);
    let mut random = Random(seed);
    let houses: Vec<House> = (0..HOUSES).map(|_| House::random(&repo, &mut random)).collect();
    let mut pairs = Vec::new();
    for house in &houses {
        for (i, a) in house.heads.iter().enumerate() {
            pairs.extend(house.heads[..i].iter().map(|b| (*a, *b)));
            pairs.extend(house.mainline.iter().map(|(tip, _)| (*a, *tip)));
        }
    }
    let clean = clean_by_git(&repo, &mirror, &pairs);
    let (mut asked, mut weighed, mut conflicts) = (0, 0, 0);
    for (n, house) in houses.iter().enumerate() {
        let mut matrix = Matrix::new(id(house.mainline[0].0));
        for (step, (tip, _)) in house.mainline.iter().enumerate() {
            matrix.follow(&mirror, id(*tip)).expect("followed");
            let heads: Vec<(RequestId, CommitId)> =
                (0..).map(RequestId).zip(house.heads.iter().map(|head| id(*head))).collect();
            if n % 2 == 0 && step == 0 {
                matrix.add_all(&mirror, &heads).expect("added");
            } else {
                // One leaves and comes again each time, so that all orders are met.
                for (id, head) in heads
                    .iter()
                    .filter(|(id, head)| !matrix.has(*id, *head) || random.chance(10))
                    .copied()
                    .collect::<Vec<_>>()
                {
                    matrix.remove(id);
                    matrix.add(&mirror, id, head).expect("added");
                }
            }
            for (i, a) in house.heads.iter().enumerate() {
                let at = |i: usize| RequestId(i as u64);
                for (j, b) in house.heads[..i].iter().enumerate() {
                    let standing = matrix.pair(at(i), at(j)).expect("both are there");
                    let is_clean = clean[&(*a, *b)];
                    conflicts += usize::from(!is_clean);
                    assert_eq!(
                        standing.verdict != Verdict::Conflict,
                        is_clean,
                        "seed {seed}, house {n}: {a} {b} {standing:?}"
                    );
                    assert_ne!(standing.verdict, Verdict::Unsettled);
                }
                let verdict = matrix.against_target(at(i)).map(|s| s.verdict);
                assert_eq!(
                    verdict != Some(Verdict::Conflict),
                    clean[&(*a, *tip)],
                    "seed {seed}, house {n}: {a} against {tip}"
                );
            }
        }
        considering_is_coming_and_leaving(&mirror, &mut matrix, house);
        asked += matrix.counters().asked;
        weighed += matrix.counters().weighed;
    }
    assert!(conflicts > 200, "only {conflicts} conflicts: the scripts are too tame");
    assert!(asked * 3 < weighed * 2, "{asked} of {weighed} left to git: the matrix gives up too early");
    println!("{weighed} weighed, {asked} asked of git, {conflicts} conflicts, 0 differing");
    let rooms = std::fs::read_dir(mirror.path().join("yardmaster/weighed")).map_or(0, Iterator::count);
    assert_eq!(rooms, 0, "objects were left behind");
}

/// What is only considered meets the others as if it had come, and leaves nothing behind.
fn considering_is_coming_and_leaving(mirror: &Mirror, matrix: &mut Matrix, house: &House) {
    for (at, head) in house.heads.iter().enumerate() {
        let (request, head) = (RequestId(at as u64), id(*head));
        matrix.remove(request);
        let before: Vec<_> = matrix.requests().map(|other| (other, matrix.meetings(other))).collect();
        let considered = matrix.consider(mirror, head).expect("considered");
        let after: Vec<_> = matrix.requests().map(|other| (other, matrix.meetings(other))).collect();
        assert_eq!(before, after);
        let mut met = matrix.add(mirror, request, head).expect("added");
        assert_eq!(considered.target.as_ref(), matrix.against_target(request));
        // Those that stand on each other overlap, and are not told.
        met.retain(|m| m.verdict != Verdict::Overlap || considered.meetings.contains(m));
        assert_eq!(considered.meetings, met);
    }
}

#[test]
fn meetings_are_told_with_their_paths_and_go_with_their_request() {
    let world = World::new();
    let first = world.branch("one", |w| w.write("api/a.txt", &lines("a", 20).replace("a 3", "one")));
    let second = world.branch("two", |w| w.write("api/a.txt", &lines("a", 20).replace("a 3", "two")));
    let third = world.branch("three", |w| w.write("api/a.txt", &lines("a", 20).replace("a 17", "three")));
    let fourth = world.branch("four", |w| w.write("web/c.txt", "four\n"));
    let mirror = world.mirror();
    let tip = world.head();
    fetch_all(&world, &mirror);
    let mut matrix = Matrix::new(tip);
    let [r1, r2, r3, r4] = [1, 2, 3, 4].map(RequestId);
    assert_eq!(matrix.add(&mirror, r1, first).expect("added"), []);
    let met = matrix.add(&mirror, r2, second).expect("added");
    assert_eq!((met.len(), met[0].with, met[0].verdict), (1, r1, Verdict::Conflict));
    assert_eq!(met[0].paths, ["api/a.txt"]);
    let met = matrix.add(&mirror, r3, third).expect("added");
    let told: Vec<_> = met.iter().map(|m| (m.with, m.verdict)).collect();
    assert_eq!(told, [(r1, Verdict::Overlap), (r2, Verdict::Overlap)]);
    assert_eq!(met[0].paths, ["api/a.txt"]);
    assert_eq!(matrix.add(&mirror, r4, fourth).expect("added"), []);
    matrix.remove(r1);
    assert!(matrix.meetings(r2).iter().all(|m| m.with == r3));
    assert_eq!(matrix.pair(r1, r2), None);

    let moved = matrix.follow(&mirror, first).expect("followed");
    assert_eq!(moved, [r2, r3]);
    assert_eq!(matrix.against_target(r2).map(|s| s.verdict), Some(Verdict::Conflict));
    assert_eq!(matrix.against_target(r3).map(|s| s.verdict), Some(Verdict::Overlap));
    assert_eq!(matrix.against_target(r4).map(|s| s.verdict), Some(Verdict::Apart));
}

/// A file added to a directory that another branch renamed: no path in common, and a conflict for git.
#[test]
fn a_renamed_directory_meets_what_is_added_to_it() {
    let world = World::new();
    let renamed = world.branch("renamed", |w| drop(w.git(&["mv", "api", "service"])));
    let added = world.branch("added", |w| w.write("api/new.txt", "new\n"));
    let mirror = world.mirror();
    fetch_all(&world, &mirror);
    let mut matrix = Matrix::new(world.head());
    matrix.add(&mirror, RequestId(1), renamed).expect("added");
    let met = matrix.add(&mirror, RequestId(2), added).expect("added");
    assert_eq!(met.iter().map(|m| m.verdict).collect::<Vec<_>>(), [Verdict::Conflict]);
    assert_eq!(met[0].paths, ["service/new.txt"]);
}

#[test]
fn histories_with_nothing_in_common_conflict_and_an_unknown_head_is_refused() {
    let world = World::new();
    let strange = world.branch("strange", |w| {
        w.git(&["checkout", "-q", "--orphan", "alone"]);
        w.write("api/z.txt", "z\n");
    });
    let plain = world.branch("plain", |w| w.write("new.txt", "new\n"));
    let mirror = world.mirror();
    fetch_all(&world, &mirror);
    let mut matrix = Matrix::new(world.head());
    matrix.add(&mirror, RequestId(1), strange).expect("added");
    let met = matrix.add(&mirror, RequestId(2), plain).expect("added");
    assert_eq!(met.iter().map(|m| m.verdict).collect::<Vec<_>>(), [Verdict::Conflict]);
    assert_eq!(matrix.against_target(RequestId(1)).map(|s| s.verdict), Some(Verdict::Conflict));
    let nowhere = "0123456789abcdef0123456789abcdef01234567".parse().expect("an id");
    assert!(matrix.add(&mirror, RequestId(3), nowhere).is_err());
    assert_eq!(matrix.requests().count(), 2);
}

fn fetch_all(world: &World, mirror: &Mirror) {
    let repo = Repository::open_bare(mirror.path()).expect("a repository");
    let remote = world.remote.to_str().expect("a plain path");
    repo.remote_anonymous(remote)
        .expect("a remote")
        .fetch(&["+refs/heads/*:refs/all/*"], None, None)
        .expect("fetched");
}

/// What a killed process left in memory goes when the mirror is opened again; what others left stays.
#[cfg(target_os = "linux")]
#[test]
fn rooms_of_killed_processes_are_swept() {
    use std::os::unix::fs::MetadataExt as _;

    let world = World::new();
    let mirror = world.mirror();
    let meta = std::fs::metadata(mirror.path()).expect("a mirror");
    let memory = std::path::Path::new("/dev/shm");
    let left = memory.join(format!("yardmaster-{:x}-{:x}-1-1", meta.dev(), meta.ino()));
    let others = memory.join(format!("yardmaster-{:x}-{:x}0-1-1", meta.dev(), meta.ino()));
    for dir in [&left, &others] {
        std::fs::create_dir_all(dir.join("ab")).expect("a directory in memory");
    }
    drop(mirror);
    let _mirror = world.mirror();
    let (is_left, others_are) = (left.exists(), others.exists());
    std::fs::remove_dir_all(&others).expect("removed");
    assert!(!is_left && others_are, "left: {is_left}, others': {others_are}");
}
