use yardmaster_failpoint::{Point, hit};
use yardmaster_protocol::{BranchName, CommitId, LandOutcome, Sighting};

use crate::git::cut;
use crate::objects::{contains, find_commit, oid, tree_id};
use crate::process::Finished;
use crate::{GitError, Mirror};

/// The most of the remote's words about a refusal that are told, in bytes.
const MAX_WHY: usize = 2_000;

/// What the push itself said; the look at the remote afterwards decides.
enum Pushed {
    /// The remote took it, or says that it has it.
    Taken,
    /// The branch was not where the lease said.
    Stale,
    /// The remote's own rules said no.
    Declined(String),
    /// Neither; the push may or may not have arrived.
    Unclear(String),
}

impl Mirror {
    /// Moves `target` on the remote from exactly `from` to `to`, never by force, and then looks at
    /// what the remote has: that, and not the push, says how it went.
    pub fn land(&self, target: &BranchName, from: CommitId, to: CommitId, asked: &[CommitId]) -> LandOutcome {
        hit(Point::BeforePush);
        let pushed = match self.is_forward(from, to) {
            Ok(true) => self.push(target, from, to).unwrap_or_else(|e| Pushed::Unclear(e.to_string())),
            Ok(false) => Pushed::Declined(format!("{to} does not descend from {from}, so it was not pushed")),
            Err(error) => Pushed::Unclear(error.to_string()),
        };
        hit(Point::AfterPush);
        let read_back = self.look_for(target, from, to, asked);
        hit(Point::AfterReadBack);
        match read_back {
            Err(error) => {
                let said = match pushed {
                    Pushed::Unclear(why) => format!("{why}; then "),
                    Pushed::Taken | Pushed::Stale | Pushed::Declined(_) => String::new(),
                };
                LandOutcome::Unknown { why: format!("{said}{error}") }
            }
            Ok((seen, true)) => LandOutcome::Landed { seen },
            Ok((seen, false)) if seen.tip != from && !matches!(pushed, Pushed::Taken) => {
                LandOutcome::Moved { seen }
            }
            Ok((seen, false)) => match pushed {
                Pushed::Declined(why) => LandOutcome::Declined { why, seen },
                Pushed::Stale => LandOutcome::Moved { seen },
                Pushed::Taken => LandOutcome::Altered { why: taken_and_gone(target, to, &seen), seen },
                Pushed::Unclear(why) => LandOutcome::Unknown { why },
            },
        }
    }

    /// The lease alone would also allow a step back; with this it never is one.
    fn is_forward(&self, from: CommitId, to: CommitId) -> Result<bool, GitError> {
        self.with_repository(|repo| {
            find_commit(repo, to)?;
            contains(repo, oid(to), oid(from))
        })
    }

    fn push(&self, target: &BranchName, from: CommitId, to: CommitId) -> Result<Pushed, GitError> {
        let lease = format!("--force-with-lease=refs/heads/{target}:{from}");
        let refspec = format!("{to}:refs/heads/{target}");
        let args = [
            "push",
            "--porcelain",
            "--atomic",
            "--no-verify",
            "--no-recurse-submodules",
            &lease,
            "--end-of-options",
            "origin",
            &refspec,
        ];
        let done = self.git.remote(&args)?;
        Ok(read_push(&done, &self.git.why(&done)))
    }

    /// What the remote has, and whether that includes `to` with the tree that was tested.
    fn look_for(
        &self,
        target: &BranchName,
        from: CommitId,
        to: CommitId,
        asked: &[CommitId],
    ) -> Result<(Sighting, bool), GitError> {
        let mut all = asked.to_vec();
        if !asked.contains(&to) {
            all.push(to);
        }
        let mut seen = self.look_expecting(target, to, from, &all)?;
        let landed = seen.contains.contains(&to);
        seen.contains.retain(|commit| asked.contains(commit));
        if seen.tip == to {
            let tree = self.with_repository(|repo| Ok(tree_id(find_commit(repo, to)?.tree_id())))?;
            if tree != seen.tree {
                return Err(GitError::Damaged(format!("{to} has another tree than the one that was pushed")));
            }
        }
        Ok((seen, landed))
    }
}

fn taken_and_gone(target: &BranchName, to: CommitId, seen: &Sighting) -> String {
    format!(
        "the remote took the push of {to}, but has `{target}` at {} now, which does not contain it: look for a \
         hook, a bot or a person that rewrites `{target}`",
        seen.tip
    )
}

/// Reads `<flag> TAB <from>:<to> TAB <summary> (<reason>)`.
fn read_push(done: &Finished, why: &str) -> Pushed {
    let stdout = String::from_utf8_lossy(&done.stdout);
    for line in stdout.lines() {
        let mut fields = line.splitn(3, '\t');
        let (Some(flag), Some(_), Some(summary)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        return match flag {
            " " | "+" | "*" | "=" => Pushed::Taken,
            _ if summary.starts_with("[rejected]") => Pushed::Stale,
            _ => {
                let told = told(summary, done);
                let declined = summary.starts_with("[remote rejected]") && !is_about_locks(&told);
                if declined { Pushed::Declined(told) } else { Pushed::Unclear(told) }
            }
        };
    }
    Pushed::Unclear(why.to_owned())
}

/// Two writers at once, or a lock that a killed one left: nothing that a rule said. A transaction that
/// failed as a whole is about a lock, too, unless a hook says that it aborted it.
fn is_about_locks(told: &str) -> bool {
    ["cannot lock ref", "failed to update ref", "failed to lock", "fetch first", "incorrect old value"]
        .iter()
        .any(|words| told.contains(words))
        || (told.contains("atomic transaction failed") && !told.contains("aborted by hook"))
}

/// What hooks said comes on standard error behind `remote:`.
fn told(summary: &str, done: &Finished) -> String {
    let stderr = String::from_utf8_lossy(&done.stderr);
    let remote = stderr.lines().filter_map(|l| l.strip_prefix("remote:")).map(str::trim);
    let words: Vec<&str> = std::iter::once(summary.trim()).chain(remote).filter(|l| !l.is_empty()).collect();
    cut(&words.join("\n"), MAX_WHY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stdout: &str, stderr: &str) -> Pushed {
        let done = Finished { status: None, stdout: stdout.into(), stderr: stderr.into(), cut: false };
        read_push(&done, "cut off")
    }

    proptest::proptest! {
        /// Words of a remote may be anything: only a line that says so is taken for a landing or a refusal.
        #[test]
        fn no_words_of_a_remote_panic_or_pass_for_a_landing(
            lines in proptest::collection::vec("[ +*=!-]?\\t?[^\\n]{0,30}\\t?(\\[(remote )?rejected\\])?[^\\n]{0,20}", 0..6),
            stderr in "\\PC{0,50}\nremote:[^\\n]{0,3000}",
        ) {
            match read(&lines.join("\n"), &stderr) {
                Pushed::Taken => {
                    let taken = |l: &String| l.starts_with([' ', '+', '*', '=']) && l.matches('\t').count() >= 2;
                    assert!(lines.iter().any(taken), "{lines:?}");
                }
                Pushed::Declined(why) | Pushed::Unclear(why) => assert!(why.len() <= MAX_WHY + 8),
                Pushed::Stale => assert!(lines.iter().any(|l| l.contains("[rejected]")), "{lines:?}"),
            }
        }
    }

    #[test]
    fn porcelain_lines_are_told_apart() {
        let line = |flag: &str, summary: &str| format!("To x\n{flag}\ta:refs/heads/b\t{summary}\nDone\n");
        assert!(matches!(read(&line(" ", "1..2"), ""), Pushed::Taken));
        assert!(matches!(read(&line("=", "[up to date]"), ""), Pushed::Taken));
        assert!(matches!(read(&line("!", "[rejected] (stale info)"), ""), Pushed::Stale));
        let declined = read(&line("!", "[remote rejected] (pre-receive hook declined)"), "remote: no!  \n");
        assert!(matches!(declined, Pushed::Declined(why) if why.ends_with("declined)\nno!")));
        let locked = "[remote rejected] (cannot lock ref 'refs/heads/b': is at 1 but expected 2)";
        assert!(matches!(read(&line("!", locked), ""), Pushed::Unclear(_)));
        let failed = line("!", "[remote rejected] (atomic transaction failed)");
        assert!(matches!(read(&failed, "error: Unable to create 'main.lock'"), Pushed::Unclear(_)));
        let aborted = "remote: error: ref updates aborted by hook\n";
        assert!(matches!(read(&failed, aborted), Pushed::Declined(_)));
        assert!(matches!(read("", "fatal: no route"), Pushed::Unclear(why) if why == "cut off"));
    }
}
