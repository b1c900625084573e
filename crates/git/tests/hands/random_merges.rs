//! Random edit scripts merged by our walk and by `git merge-tree`: no tree may differ, and nothing
//! that git calls a conflict may come out clean.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use git2::{FileMode, Oid, Repository, Signature, Time};
use yardmaster_git::{CrossCheck, GitOptions, Mirror};
use yardmaster_protocol::{Assembly, CommitId, MergedBy};

use crate::remote::spec;

const CASES: usize = 1_200;

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % limit as u64).expect("small")
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

pub(crate) type Files = BTreeMap<String, (Vec<u8>, bool)>;

const DIRS: [&str; 6] = ["", "api/", "api/v1/", "web/", "web/ui/", "docs/"];

/// Few different lines, so that many repeat.
fn line(random: &mut Random, ending: &str) -> Vec<u8> {
    let words = ["}", "", "  return;", "{", "end", "use x", "a", "b"];
    let text = match random.below(3) {
        0 => format!("line {}", random.below(400)),
        1 => format!("fn f{}() {{", random.below(40)),
        _ => words[random.below(words.len())].to_owned(),
    };
    format!("{text}{ending}").into_bytes()
}

fn text(random: &mut Random) -> Vec<u8> {
    let ending = if random.chance(10) { "\r\n" } else { "\n" };
    let count = random.below(40);
    let mut text: Vec<u8> = (0..count).flat_map(|_| line(random, ending)).collect();
    if random.chance(20) && text.ends_with(b"\n") {
        text.pop();
    }
    text
}

fn path(random: &mut Random) -> String {
    format!("{}f{}.txt", DIRS[random.below(DIRS.len())], random.below(6))
}

pub(crate) fn tree_of_files(random: &mut Random) -> Files {
    (0..4 + random.below(14)).map(|_| (path(random), (text(random), random.chance(5)))).collect()
}

fn some_path(random: &mut Random, files: &Files) -> Option<String> {
    if files.is_empty() { None } else { files.keys().nth(random.below(files.len())).cloned() }
}

fn edit_lines(random: &mut Random, text: &mut Vec<u8>) {
    let mut lines: Vec<Vec<u8>> = text.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    for _ in 0..1 + random.below(2) {
        let at = random.below(lines.len() + 1);
        let last = (at + random.below(4)).min(lines.len());
        match random.below(6) {
            0 => drop(lines.drain(at..last)),
            1 => {
                let block = lines[at..last].to_vec();
                lines.splice(at..at, block);
            }
            2 => lines.push(line(random, "\n")),
            3 if !lines.is_empty() => {
                let last = lines.last_mut().expect("a line");
                if last.pop() != Some(b'\n') {
                    last.push(b'x');
                }
            }
            4 => drop(lines.splice(at..last, [line(random, "\n"), line(random, "\n")])),
            _ => lines.insert(at, line(random, "\n")),
        }
    }
    *text = lines.concat();
}

fn rename_directory(random: &mut Random, files: &mut Files) {
    let (from, to) = (DIRS[1 + random.below(5)], DIRS[random.below(6)]);
    let to = if random.chance(50) { to.to_owned() } else { format!("new{}/", random.below(2)) };
    let moved: Vec<String> = files.keys().filter(|p| p.starts_with(from)).cloned().collect();
    for path in moved {
        if let Some(file) = files.remove(&path) {
            files.insert(format!("{to}{}", &path[from.len()..]), file);
        }
    }
}

pub(crate) fn change(random: &mut Random, files: &mut Files) {
    let Some(path_there) = some_path(random, files) else { return };
    match random.below(20) {
        0 => drop(files.remove(&path_there)),
        1 | 2 => {
            let new = (text(random), false);
            files.insert(path(random), new);
        }
        3 | 4 => {
            if let Some(file) = files.remove(&path_there) {
                files.insert(path(random), file);
            }
        }
        5 => rename_directory(random, files),
        6 => files.entry(path_there).and_modify(|f| f.1 = !f.1).or_default().0.extend(b""),
        7 => files.entry(path_there).or_default().0.push(0),
        _ => edit_lines(random, &mut files.entry(path_there).or_default().0),
    }
}

/// A file may not stand where a directory is.
pub(crate) fn commit(repo: &Repository, files: &Files, parents: &[Oid]) -> Oid {
    let empty = repo.treebuilder(None).and_then(|b| b.write()).expect("a tree");
    let mut update = git2::build::TreeUpdateBuilder::new();
    for (path, (text, executable)) in files {
        let mode = if *executable { FileMode::BlobExecutable } else { FileMode::Blob };
        update.upsert(path.as_str(), repo.blob(text).expect("a blob"), mode);
    }
    let tree = update.create_updated(repo, &repo.find_tree(empty).expect("a tree")).expect("a tree");
    let who = Signature::new("a", "a@example.com", &Time::new(1_700_000_000, 0)).expect("a signature");
    let parents: Vec<_> = parents.iter().map(|p| repo.find_commit(*p).expect("a commit")).collect();
    let tree = repo.find_tree(tree).expect("a tree");
    repo.commit(None, &who, &who, "x", &tree, &parents.iter().collect::<Vec<_>>()).expect("a commit")
}

fn three_commits(repo: &Repository, random: &mut Random) -> (Oid, Oid) {
    let base = tree_of_files(random);
    let mut shared = base.clone();
    // Some changes were picked to both sides.
    if random.chance(25) {
        (0..1 + random.below(3)).for_each(|_| change(random, &mut shared));
    }
    let (mut ours, mut theirs) = (shared.clone(), shared);
    for side in [&mut ours, &mut theirs] {
        for _ in 0..1 + random.below(4) {
            change(random, side);
        }
    }
    let base = commit(repo, &base, &[]);
    (commit(repo, &ours, &[base]), commit(repo, &theirs, &[base]))
}

/// Git's answer for every pair: the tree, or none for a conflict.
pub(crate) fn by_git(mirror: &Mirror, pairs: &[(Oid, Oid)]) -> Vec<Option<String>> {
    let mut git = Command::new("git")
        .args(["merge-tree", "--write-tree", "--stdin", "-z", "--no-messages", "--name-only"])
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .current_dir(mirror.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git runs");
    let input: String = pairs.iter().map(|(a, b)| format!("{a} {b}\n")).collect();
    let mut stdin = git.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = git.wait_with_output().expect("git ends");
    writer.join().expect("joined").expect("written");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut fields = text.split('\0');
    let mut answers = Vec::new();
    for _ in pairs {
        let (clean, tree) = (fields.next().expect("a status"), fields.next().expect("a tree"));
        answers.push((clean == "1").then(|| tree.to_owned()));
        fields.by_ref().take_while(|f| !f.is_empty()).for_each(drop);
    }
    answers
}

#[test]
fn no_merge_differs_from_gits() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = GitOptions { cross_check: CrossCheck::Off, guard: false, ..GitOptions::default() };
    let mirror = Mirror::open(&dir.path().join("mirror"), "/nowhere", options).expect("a mirror");
    let repo = Repository::open_bare(mirror.path()).expect("a repository");
    let seed = std::env::var("YARDMASTER_MERGE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_260_101);
    let mut random = Random(seed);
    let pairs: Vec<(Oid, Oid)> = (0..CASES).map(|_| three_commits(&repo, &mut random)).collect();
    let expected = by_git(&mirror, &pairs);
    let id = |oid: Oid| oid.to_string().parse::<CommitId>().expect("an id");
    let (mut in_memory, mut conflicts) = (0, 0);
    for (case, ((ours, theirs), git)) in pairs.into_iter().zip(expected).enumerate() {
        let stack = mirror.assemble(id(ours), &[spec(1, id(theirs))]).expect("assembled");
        let tree = match &stack[0].assembly {
            // One side may have ended where it began; then its commit is still merged.
            Assembly::Clean { tree, by, .. } => {
                in_memory += usize::from(*by == MergedBy::Memory);
                Some(tree.to_string())
            }
            _ => None,
        };
        conflicts += usize::from(git.is_none());
        assert_eq!(tree, git, "seed {seed}, case {case}: {ours} {theirs} {:?}", stack[0]);
    }
    assert!(in_memory * 4 > CASES, "only {in_memory} of {CASES} in memory: the walk gives up too early");
    assert!(conflicts * 20 > CASES, "only {conflicts} conflicts: the scripts are too tame");
    println!("{CASES} merges: {in_memory} in memory, {conflicts} conflicts, 0 differing");
}
