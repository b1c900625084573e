use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A commit that is on `main`, or that a batch brought there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnMain {
    /// Its id.
    pub id: String,
    /// Its tree.
    pub tree: String,
    /// The request that its message names.
    pub request: Option<String>,
    /// The commit of the first-parent history that it is beneath; none: it is one itself.
    pub rollup: Option<String>,
}

/// A bare repository that the queue lands in and agents push to.
#[derive(Debug, Clone)]
pub struct Remote {
    path: PathBuf,
}

/// A commit to make: on `branch`, on top of `from`, with these files written (None: deleted).
#[derive(Debug, Clone)]
pub struct Change<'a> {
    /// Without `refs/heads/`.
    pub branch: &'a str,
    /// A branch or commit; none: a first commit.
    pub from: Option<&'a str>,
    /// Path and content; a path that ends in `.sh` is executable.
    pub files: &'a [(&'a str, Option<&'a str>)],
}

impl Remote {
    /// Makes an empty bare repository.
    pub fn create(path: &Path) -> Remote {
        let remote = Remote { path: path.to_owned() };
        let made = Command::new("git").args(["init", "-q", "--bare", "-b", "main"]).arg(path).status();
        assert!(made.is_ok_and(|s| s.success()), "git init failed at {}", path.display());
        remote
    }

    /// A repository that is there already.
    pub fn at(path: &Path) -> Remote {
        Remote { path: path.to_owned() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is, as an argument.
    pub fn url(&self) -> &str {
        self.path.to_str().expect("temporary paths are UTF-8")
    }

    /// Runs git in it and returns what it prints, trimmed.
    ///
    /// # Panics
    /// When git fails.
    pub fn git(&self, args: &[&str]) -> String {
        let out = Command::new("git").arg("-C").arg(&self.path).args(args).output().expect("git runs");
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// Whether git succeeds with these arguments.
    pub fn holds(&self, args: &[&str]) -> bool {
        let out = Command::new("git").arg("-C").arg(&self.path).args(args).output().expect("git runs");
        out.status.success()
    }

    /// Makes one commit without any checkout and returns its id.
    pub fn commit(&self, change: &Change<'_>) -> String {
        self.commits(std::slice::from_ref(change));
        self.head(change.branch)
    }

    /// Makes many commits in one process.
    pub fn commits(&self, changes: &[Change<'_>]) {
        let mut stream = String::new();
        for change in changes {
            let message = format!("work on {}", change.branch);
            let _ = write!(
                stream,
                "commit refs/heads/{}\nauthor Agent <agent@example.invalid> 1767225600 +0000\ncommitter Agent <agent@example.invalid> 1767225600 +0000\ndata {}\n{message}\n",
                change.branch,
                message.len()
            );
            if let Some(from) = change.from {
                let from = if self.holds(&["rev-parse", "-q", "--verify", &format!("{from}^{{commit}}")]) {
                    self.git(&["rev-parse", &format!("{from}^{{commit}}")])
                } else {
                    format!("refs/heads/{from}")
                };
                let _ = writeln!(stream, "from {from}");
            }
            for (path, content) in change.files {
                let mode = if path.ends_with(".sh") { "100755" } else { "100644" };
                let _ = match content {
                    Some(text) => write!(stream, "M {mode} inline {path}\ndata {}\n{text}\n", text.len()),
                    None => writeln!(stream, "D {path}"),
                };
            }
        }
        let mut child = Command::new("git")
            .arg("-C")
            .arg(&self.path)
            .args(["fast-import", "--quiet", "--force"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("git runs");
        child.stdin.take().expect("piped").write_all(stream.as_bytes()).expect("git reads");
        assert!(child.wait().expect("git ends").success(), "fast-import failed on:\n{stream}");
    }

    /// What is on `main`, oldest first: each commit of its first-parent history, and before one that brought a batch
    /// the members' own.
    pub fn on_main(&self) -> Vec<OnMain> {
        let mut found = Vec::new();
        for (id, tree, mut requests) in self.merges("main") {
            if requests.len() < 2 {
                found.push(OnMain { id, tree, request: requests.pop(), rollup: None });
                continue;
            }
            for (member, tree, mut own) in self.merges(&format!("{id}^1..{id}^2")) {
                assert!(own.len() == 1, "{member} beneath {id} is one request's");
                found.push(OnMain { id: member, tree, request: own.pop(), rollup: Some(id.clone()) });
            }
            let members: Vec<_> = found.iter().filter(|m| m.rollup.as_ref() == Some(&id)).collect();
            let named: Vec<_> = members.iter().filter_map(|m| m.request.clone()).collect();
            assert_eq!(named, requests, "{id} has those beneath it that it names");
            assert_eq!(members.last().map(|m| &m.tree), Some(&tree), "{id} is what its topmost member is");
            found.push(OnMain { id, tree, request: None, rollup: None });
        }
        found
    }

    fn merges(&self, range: &str) -> Vec<(String, String, Vec<String>)> {
        let format = "--format=%H %T %(trailers:key=Request-Id,valueonly,separator=%x2C)";
        let log = self.git(&["log", "--first-parent", "--reverse", format, range]);
        let parse = |line: &str| {
            let mut fields = line.split(' ').map(str::to_owned);
            let (id, tree) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
            let requests = fields.next().unwrap_or_default();
            let requests = requests.split(',').filter(|r| !r.is_empty()).map(str::to_owned).collect();
            (id, tree, requests)
        };
        log.lines().map(parse).collect()
    }

    /// The tip of a branch.
    pub fn head(&self, branch: &str) -> String {
        self.git(&["rev-parse", &format!("refs/heads/{branch}")])
    }

    /// The first-parent history of `main`, oldest first, by subject.
    pub fn history(&self) -> Vec<String> {
        let log = self.git(&["log", "--first-parent", "--reverse", "--format=%s", "main"]);
        log.lines().map(str::to_owned).collect()
    }

    /// The first-parent history of `main`, oldest first, by id.
    pub fn first_parents(&self) -> Vec<String> {
        self.git(&["rev-list", "--first-parent", "--reverse", "main"]).lines().map(str::to_owned).collect()
    }

    /// Gives it a hook: what the server runs at a push.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn hook(&self, name: &str, script: &str) {
        let path = self.path().join("hooks").join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        let may_run = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, may_run).expect("executable");
    }

    /// The content of a file at a commit or branch; none when it is not there.
    pub fn file(&self, at: &str, path: &str) -> Option<String> {
        let spec = format!("{at}:{path}");
        self.holds(&["cat-file", "-e", &spec]).then(|| self.git(&["cat-file", "blob", &spec]))
    }
}
