use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use yardmaster_git::{GitOptions, Mirror};
use yardmaster_protocol::{BranchName, CandidateSpec, CommitId, Millis, RequestId};

/// A bare remote, an author's clone of it, and room for a mirror.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) remote: PathBuf,
    pub(crate) author: PathBuf,
}

impl World {
    /// With no commit at all.
    pub(crate) fn empty() -> World {
        let dir = tempfile::tempdir().expect("a directory");
        let (remote, author) = (dir.path().join("remote.git"), dir.path().join("author"));
        git(dir.path(), &["init", "-q", "--bare", "-b", "main", "remote.git"]);
        git(dir.path(), &["init", "-q", "-b", "main", "author"]);
        git(&author, &["remote", "add", "origin", "../remote.git"]);
        World { dir, remote, author }
    }

    /// With a few files on `main`.
    pub(crate) fn new() -> World {
        let world = World::empty();
        world.write("api/a.txt", &lines("a", 20));
        world.write("api/b.txt", &lines("b", 20));
        world.write("web/c.txt", &lines("c", 20));
        world.write(".gitignore", "cache/\n");
        world.commit("first");
        world.push("main");
        world
    }

    pub(crate) fn mirror(&self) -> Mirror {
        self.mirror_of(self.remote.to_str().expect("a plain path"))
    }

    pub(crate) fn mirror_of(&self, remote: &str) -> Mirror {
        Mirror::open(&self.dir.path().join("mirror"), remote, GitOptions::default()).expect("a mirror")
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.author.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        git(&self.author, args)
    }

    pub(crate) fn commit(&self, message: &str) -> CommitId {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.head()
    }

    pub(crate) fn head(&self) -> CommitId {
        self.git(&["rev-parse", "HEAD"]).parse().expect("an id")
    }

    pub(crate) fn push(&self, branch: &str) {
        self.git(&["push", "-q", "--force", "origin", &format!("HEAD:refs/heads/{branch}")]);
    }

    /// A branch off `main` with the changes that `change` makes, pushed.
    pub(crate) fn branch(&self, name: &str, change: impl FnOnce(&World)) -> CommitId {
        self.git(&["checkout", "-q", "-B", name, "main"]);
        change(self);
        let head = self.commit(name);
        self.push(name);
        self.git(&["checkout", "-q", "main"]);
        head
    }

    /// An executable hook of the remote.
    pub(crate) fn hook(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.remote.join("hooks").join(name);
        std::fs::create_dir_all(self.remote.join("hooks")).expect("a directory");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a hook");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    }

    pub(crate) fn remote_tip(&self, branch: &str) -> CommitId {
        git(&self.remote, &["rev-parse", &format!("refs/heads/{branch}")]).parse().expect("an id")
    }
}

pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let done = Command::new("git")
        .current_dir(dir)
        .args([
            "-c",
            "user.name=Author",
            "-c",
            "user.email=author@example.com",
            "-c",
            "protocol.file.allow=always",
        ])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git runs");
    assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

pub(crate) fn main() -> BranchName {
    branch("main")
}

pub(crate) fn branch(name: &str) -> BranchName {
    BranchName::new(name).expect("a branch name")
}

pub(crate) fn lines(word: &str, count: usize) -> String {
    (0..count).map(|i| format!("{word} {i}\n")).collect()
}

pub(crate) fn replaced(word: &str, count: usize, line: usize, by: &str) -> String {
    lines(word, count).replace(&format!("{word} {line}\n"), &format!("{by}\n"))
}

pub(crate) fn spec(request: u64, head: CommitId) -> CandidateSpec {
    CandidateSpec {
        request: RequestId(request),
        head,
        message: format!("Merge r{request}\n\nRequest-Id: r{request}\n"),
        author: "roy".to_owned(),
        at: Millis(1_767_225_600_000),
        changelog: None,
        needs_gate: false,
    }
}
