use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use yardmaster_git::{FileContents, GitError, Mirror};
use yardmaster_protocol::{CommitId, DefinitionMeeting, MeetingKind, RequestId};
use yardmaster_symbols::{ApiChange, Clash, FileChange, Kind, Language, ReadError, Reader, Side, meet};

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
    /// Has those of `heads` read that are new, within its budget, and says where they meet others.
    pub(crate) fn meetings(
        &mut self,
        heads: &[(RequestId, CommitId)],
        mut read: impl FnMut(CommitId, Duration) -> Result<Read, GitError>,
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
            match read(head, left.min(BUDGET_OF_ONE))? {
                Read::All(api) => drop(self.0.insert(request, (head, api))),
                // It is not tried again; the turn of the others comes with the next comparison.
                Read::Nothing => drop(self.0.insert(request, (head, ApiChange::default()))),
                Read::NoReader => break,
            }
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

/// What came of reading one change.
pub(crate) enum Read {
    All(ApiChange),
    /// It cannot be read: a parser broke on it, or did not come back.
    Nothing,
    /// There is nobody to read it.
    NoReader,
}

/// Reads what `head` does, seen from where it left the history of `tip`.
pub(crate) fn read(
    mirror: &Mirror,
    reader: &mut Reader,
    tip: CommitId,
    head: CommitId,
    limit: Duration,
) -> Result<Read, GitError> {
    let Some(base) = mirror.fork_point(tip, head)? else { return Ok(Read::Nothing) };
    let contents = mirror.changed_files(base, head, |path| Language::of(path).is_some())?;
    let files: Vec<FileChange<'_>> = contents.files.iter().map(as_change).collect();
    if files.is_empty() {
        return Ok(Read::Nothing);
    }
    Ok(match reader.change(&files, limit) {
        Ok(api) => Read::All(api),
        Err(why @ ReadError::NotStarted(_)) => {
            tracing::warn!(%why, "definitions that waiting branches alter are not compared");
            Read::NoReader
        }
        Err(why) => {
            tracing::warn!(%why, head = %head, "definitions that a branch alters are left out");
            Read::Nothing
        }
    })
}

fn as_change(file: &FileContents) -> FileChange<'_> {
    FileChange { path: &file.path, old: file.old.as_deref(), new: file.new.as_deref() }
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
    use yardmaster_symbols::change;

    use super::*;

    const RENAMES: u8 = 1;
    const USES: u8 = 2;
    const OTHER: u8 = 3;
    const POISON: u8 = 4;

    fn head(n: u8) -> CommitId {
        format!("{n:040x}").parse().expect("a commit")
    }

    fn source(head_of: CommitId, reads: &mut Vec<CommitId>) -> Read {
        reads.push(head_of);
        let file = |path, old: &'static str, new: &'static str| {
            let (old, new) = (Some(old.as_bytes()), Some(new.as_bytes()));
            Read::All(change([FileChange { path, old, new }]))
        };
        match head_of {
            h if h == head(RENAMES) => file("a.rs", "pub fn open() {}", "pub fn start() {}"),
            h if h == head(USES) => file("b.rs", "fn f() {}", "fn f() { open() }"),
            h if h == head(POISON) => Read::Nothing,
            _ => file("c.rs", "", "fn g() {}"),
        }
    }

    fn told(apis: &mut Apis, heads: &[(u64, u8)], reads: &mut Vec<CommitId>) -> Vec<String> {
        let heads: Vec<_> = heads.iter().map(|(id, n)| (RequestId(*id), head(*n))).collect();
        let met = apis.meetings(&heads, |head, _| Ok(source(head, reads))).expect("meetings");
        met.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_rename_and_a_new_use_are_told_once() {
        let (mut apis, mut reads) = (Apis::default(), Vec::new());
        let all = [(1, USES), (2, OTHER), (3, RENAMES)];
        let sentence = "r3 removes `open` from a.rs, and r1 newly uses it in b.rs";
        assert_eq!(told(&mut apis, &all, &mut reads), [sentence]);
        assert_eq!(told(&mut apis, &all, &mut reads), [""; 0]);
        assert_eq!(reads.len(), 3, "each is read once");

        // Who comes again with another head is read again; who has gone is not met.
        assert_eq!(told(&mut apis, &all[..2], &mut reads), [""; 0]);
        assert_eq!(told(&mut apis, &[(1, USES), (4, RENAMES)], &mut reads).len(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_not_tried_again_and_keeps_nobody_from_being_read() {
        let (mut apis, mut reads) = (Apis::default(), Vec::new());
        let all = [(1, POISON), (2, USES), (3, RENAMES)];
        assert_eq!(told(&mut apis, &all, &mut reads).len(), 1);
        assert_eq!(told(&mut apis, &all, &mut reads), [""; 0]);
        assert_eq!(reads.len(), 3);
    }
}
