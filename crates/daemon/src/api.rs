use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use yardmaster_git::{GitError, Mirror};
use yardmaster_protocol::{CommitId, DefinitionMeeting, MeetingKind, RequestId};
use yardmaster_symbols::{ApiChange, Clash, FileChange, Kind, Language, Side, change_within, meet};

/// For reading source code during one comparison; whoever does not get a turn gets one at the next.
const BUDGET: Duration = Duration::from_secs(1);
/// For one request of it: a large one shall not take the turn of all others.
const BUDGET_OF_ONE: Duration = Duration::from_millis(300);
/// Definitions and uses that are kept of all requests together, about 100 bytes each.
const MOST_KEPT: usize = 300_000;
/// Meetings that are told of one pair.
const TOLD_OF_PAIR: usize = 3;
/// Meetings that are told at once: a fact has to fit into a record.
const TOLD: usize = 300;
/// Longer names and paths are not told, in bytes.
const MAX_TEXT: usize = 300;

/// What pending requests of one target do to definitions, as far as it was worked out.
#[derive(Debug, Default)]
pub(crate) struct Apis(BTreeMap<RequestId, (CommitId, ApiChange)>);

impl Apis {
    /// Reads those of `heads` that are new, within its budget, and says where they meet others. `tip` is where
    /// they are to land.
    pub(crate) fn meetings(
        &mut self,
        mirror: &Mirror,
        tip: CommitId,
        heads: &[(RequestId, CommitId)],
    ) -> Result<Vec<DefinitionMeeting>, GitError> {
        let wanted: BTreeMap<RequestId, CommitId> = heads.iter().copied().collect();
        self.0.retain(|request, (head, _)| wanted.get(request) == Some(head));
        let until = Instant::now() + BUDGET;
        let mut fresh = BTreeSet::new();
        for (request, head) in wanted {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.kept() > MOST_KEPT {
                break;
            }
            if self.0.contains_key(&request) {
                continue;
            }
            let api = read(mirror, tip, head, left.min(BUDGET_OF_ONE))?;
            self.0.insert(request, (head, api));
            fresh.insert(request);
        }
        Ok(self.among(&fresh))
    }

    fn kept(&self) -> usize {
        let names = |api: &ApiChange| api.files.iter().map(|f| f.names.len() / 8).sum::<usize>();
        self.0.values().map(|(_, api)| api.altered.len() + api.used.len() + names(api)).sum()
    }

    /// Each pair once, with one of `fresh` in it.
    fn among(&self, fresh: &BTreeSet<RequestId>) -> Vec<DefinitionMeeting> {
        let mut told = Vec::new();
        for one in fresh {
            let Some((_, first)) = self.0.get(one) else { continue };
            for (other, (_, second)) in self.0.iter().filter(|(id, _)| !fresh.contains(id) || *id > one) {
                let clashes = meet(first, second).into_iter().map(|clash| meeting(*one, *other, clash));
                told.extend(clashes.filter(is_short).take(TOLD_OF_PAIR));
                if told.len() >= TOLD {
                    told.truncate(TOLD);
                    return told;
                }
            }
        }
        told
    }
}

fn read(mirror: &Mirror, tip: CommitId, head: CommitId, limit: Duration) -> Result<ApiChange, GitError> {
    let Some(base) = mirror.fork_point(tip, head)? else { return Ok(ApiChange::default()) };
    let contents = mirror.changed_files(base, head, |path| Language::of(path).is_some())?;
    let files = contents.files.iter();
    let files = files.map(|f| FileChange { path: &f.path, old: f.old.as_deref(), new: f.new.as_deref() });
    Ok(change_within(files, limit))
}

fn meeting(first: RequestId, second: RequestId, clash: Clash) -> DefinitionMeeting {
    let (one, other) = match clash.altered_by {
        Side::First | Side::Both => (first, second),
        Side::Second => (second, first),
    };
    let meeting = match clash.kind {
        Kind::RemovedAndUsed => MeetingKind::RemovedAndUsed,
        Kind::BothAdded => MeetingKind::BothAdded,
        Kind::ChangedAndUsed => MeetingKind::ChangedAndUsed,
        Kind::BothChanged => MeetingKind::BothChanged,
    };
    let Clash { symbol, path, used_in, .. } = clash;
    DefinitionMeeting { one, other, meeting, symbol, path, used_in }
}

fn is_short(meeting: &DefinitionMeeting) -> bool {
    let texts = [Some(&meeting.symbol), Some(&meeting.path), meeting.used_in.as_ref()];
    texts.into_iter().flatten().all(|text| text.len() <= MAX_TEXT)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use yardmaster_git::GitOptions;
    use yardmaster_protocol::BranchName;

    use super::*;

    fn git(dir: &Path, args: &[&str]) -> String {
        let mut command = Command::new("git");
        for (name, value) in [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_AUTHOR_NAME", "a"),
            ("GIT_AUTHOR_EMAIL", "a@example.invalid"),
            ("GIT_COMMITTER_NAME", "a"),
            ("GIT_COMMITTER_EMAIL", "a@example.invalid"),
        ] {
            command.env(name, value);
        }
        let done = command.arg("-C").arg(dir).args(args).output().expect("git runs");
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    fn branch(dir: &Path, name: &str, path: &str, text: &str) -> CommitId {
        git(dir, &["checkout", "-q", "-B", name, "main"]);
        commit(dir, path, text)
    }

    fn commit(dir: &Path, path: &str, text: &str) -> CommitId {
        std::fs::write(dir.join(path), text).expect("a file");
        git(dir, &["add", "-A"]);
        git(dir, &["commit", "-q", "-m", path]);
        git(dir, &["rev-parse", "HEAD"]).parse().expect("a commit")
    }

    #[test]
    fn a_rename_and_a_new_use_are_told_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let work = dir.path().join("work");
        std::fs::create_dir(&work).expect("a directory");
        git(&work, &["init", "-q", "-b", "main"]);
        commit(&work, "b.rs", "fn f() {}\n");
        commit(&work, "a.rs", "pub fn open() {}\n");
        let renames = branch(&work, "renames", "a.rs", "pub fn start() {}\n");
        let uses = branch(&work, "uses", "b.rs", "fn f() { open() }\n");
        let other = branch(&work, "other", "c.rs", "fn g() {}\n");
        git(&work, &["checkout", "-q", "main"]);
        let tip = commit(&work, "README", "later\n");
        let mirror =
            Mirror::open(&dir.path().join("mirror"), &work.display().to_string(), GitOptions::default())
                .expect("a mirror");
        for name in ["main", "renames", "uses", "other"] {
            mirror.look(&BranchName::new(name).expect("a name"), None, &[]).expect("a sighting");
        }
        let heads = [(RequestId(1), uses), (RequestId(2), other), (RequestId(3), renames)];
        let mut apis = Apis::default();
        let met = apis.meetings(&mirror, tip, &heads).expect("meetings");
        let told: Vec<String> = met.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["r3 removes `open` from a.rs, and r1 newly uses it in b.rs"]);
        assert_eq!(apis.meetings(&mirror, tip, &heads).expect("meetings"), []);

        // Who comes again with another head is read again; who has gone is not met.
        assert_eq!(apis.meetings(&mirror, tip, &heads[..2]).expect("meetings"), []);
        let heads = [(RequestId(1), uses), (RequestId(4), renames)];
        assert_eq!(apis.meetings(&mirror, tip, &heads).expect("meetings").len(), 1);
    }
}
