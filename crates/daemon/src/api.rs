use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use yardmaster_git::{Contents, FileContents, GitError, Mirror};
use yardmaster_protocol::{CommitId, DefinitionMeeting, MeetingKind, NotRead, RequestId, Unread, UnreadWhy};
use yardmaster_symbols::{ApiChange, Clash, FileChange, Kind, Language, ReadError, Reader, Side, meet};

/// For one request: a large one shall not take the turn of all others.
const BUDGET_OF_ONE: Duration = Duration::from_millis(300);
const SHORTEST: Duration = Duration::from_millis(10);
/// Definitions and uses that are kept of all requests together, about 100 bytes each.
const MOST_KEPT: usize = 300_000;
/// Meetings that are told of one pair.
const TOLD_OF_PAIR: usize = 3;
/// Meetings that are told at once: a fact has to fit into a record.
const TOLD: usize = 300;
/// Longer names and paths are not told, in bytes.
const MAX_TEXT: usize = 300;

/// Files that were left out of one request and are named.
const PATHS_TOLD: usize = 3;
/// Heads that could not be read and are remembered.
const UNREADABLE_KEPT: usize = 1_000;

/// What pending requests of one target do to definitions, as far as it was worked out.
#[derive(Debug, Default)]
pub(crate) struct Apis {
    known: BTreeMap<RequestId, Known>,
    /// What nobody tries again, the oldest first.
    unreadable: VecDeque<CommitId>,
}

/// What one head does.
#[derive(Debug)]
struct Known {
    head: CommitId,
    api: ApiChange,
    /// What is missing in it.
    not_read: Option<NotRead>,
}

/// What is to be worked out.
pub(crate) struct Wanted<'a> {
    pub(crate) requests: &'a [RequestId],
    /// All that they are held against, themselves among them.
    pub(crate) heads: &'a [(RequestId, CommitId)],
    /// One is read and one is compared even if that takes longer, as does a child that is killed.
    pub(crate) budget: Duration,
}

/// What was worked out.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// Those that were held against all others, as far as they can be read.
    pub(crate) requests: Vec<RequestId>,
    /// Where they meet others.
    pub(crate) meetings: Vec<DefinitionMeeting>,
    /// What of them could not be read.
    pub(crate) unread: Vec<Unread>,
}

impl Round {
    /// Nobody of these was read, and nobody shall wait for it.
    pub(crate) fn given_up(requests: &[RequestId], why: UnreadWhy) -> Round {
        let unread = |request: &RequestId| Unread { request: *request, what: nothing_read(why) };
        Round {
            requests: requests.to_vec(),
            meetings: Vec::new(),
            unread: requests.iter().map(unread).collect(),
        }
    }
}

impl Apis {
    /// Has those read that were not, others before the wanted ones, and says where the wanted ones meet others, as
    /// far as the time goes. Who is not answered is to be asked for again.
    pub(crate) fn round(
        &mut self,
        wanted: &Wanted<'_>,
        mut read: impl FnMut(CommitId, Duration) -> Read,
    ) -> Round {
        let until = Instant::now() + wanted.budget;
        let heads: BTreeMap<RequestId, CommitId> = wanted.heads.iter().copied().collect();
        self.known.retain(|request, known| heads.get(request) == Some(&known.head));
        let asked: BTreeSet<RequestId> = wanted.requests.iter().copied().collect();
        let (new, others): (Vec<_>, Vec<_>) = heads
            .iter()
            .map(|(id, head)| (*id, *head))
            .filter(|(id, _)| !self.known.contains_key(id))
            .partition(|(id, _)| asked.contains(id));
        let others_missing = others.len();
        let mut reads = 0;
        for (request, head) in others.into_iter().chain(new) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() && reads > 0 {
                break;
            }
            match self.read(head, left.clamp(SHORTEST, BUDGET_OF_ONE), &mut read) {
                Ok(known) => drop(self.known.insert(request, known)),
                Err(Stop::NoReader) => return Round::given_up(wanted.requests, UnreadWhy::NoReader),
                Err(Stop::Hurried) => break,
            }
            reads += 1;
        }
        if reads < others_missing {
            return Round::default();
        }
        self.meetings(&asked, until)
    }

    fn read(
        &mut self,
        head: CommitId,
        limit: Duration,
        read: &mut impl FnMut(CommitId, Duration) -> Read,
    ) -> Result<Known, Stop> {
        let without = |why| {
            let (api, not_read) = (ApiChange::default(), Some(nothing_read(why)));
            Ok(Known { head, api, not_read })
        };
        if self.unreadable.contains(&head) {
            return without(UnreadWhy::Broke);
        }
        if self.kept() > MOST_KEPT {
            return without(UnreadWhy::NoRoom);
        }
        match read(head, limit) {
            Read::Done(api, _) if api.late && limit < BUDGET_OF_ONE => Err(Stop::Hurried),
            Read::Done(api, not_read) => Ok(Known { head, api, not_read }),
            Read::NoReader => Err(Stop::NoReader),
            Read::Unreadable => {
                self.unreadable.push_back(head);
                if self.unreadable.len() > UNREADABLE_KEPT {
                    self.unreadable.pop_front();
                }
                without(UnreadWhy::Broke)
            }
        }
    }

    fn kept(&self) -> usize {
        let names = |api: &ApiChange| api.files.iter().map(|f| f.names.len() / 8).sum::<usize>();
        self.known.values().map(|k| k.api.altered.len() + k.api.used.len() + names(&k.api)).sum()
    }

    /// Each pair once. A request is told with all its meetings, as many as are kept, or not at all.
    fn meetings(&self, asked: &BTreeSet<RequestId>, until: Instant) -> Round {
        let mut round = Round::default();
        for one in asked {
            let Some(first) = self.known.get(one) else { continue };
            let is_first = round.requests.is_empty();
            if Instant::now() >= until && !is_first {
                break;
            }
            let mut met = Vec::new();
            let told: BTreeSet<RequestId> = round.requests.iter().copied().collect();
            for (other, second) in self.known.iter().filter(|(id, _)| *id != one && !told.contains(id)) {
                let clashes = meet(&first.api, &second.api).into_iter();
                let clashes = clashes.map(|clash| meeting(*one, *other, clash));
                met.extend(clashes.filter(is_short).take(TOLD_OF_PAIR));
            }
            met.truncate(TOLD);
            if !is_first && round.meetings.len() + met.len() > TOLD {
                break;
            }
            round.meetings.extend(met);
            round.requests.push(*one);
            let what = first.not_read.clone();
            round.unread.extend(what.map(|what| Unread { request: *one, what }));
        }
        round
    }
}

/// Why a round reads no further.
enum Stop {
    /// Nobody can read, so nobody shall wait for it.
    NoReader,
    /// What was left of the round was too short for it: it gets its whole time another time.
    Hurried,
}

/// What came of reading one change.
pub(crate) enum Read {
    /// With what is missing in it.
    Done(ApiChange, Option<NotRead>),
    /// A parser broke on it, or did not come back.
    Unreadable,
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
) -> Read {
    let contents = match contents(mirror, tip, head) {
        Ok(contents) => contents,
        Err(why) => {
            tracing::warn!(%why, head = %head, "definitions that a branch alters are left out");
            return Read::Unreadable;
        }
    };
    let files: Vec<FileChange<'_>> = contents.files.iter().map(as_change).collect();
    let mut api = ApiChange::default();
    if !files.is_empty() {
        api = match reader.change(&files, limit) {
            Ok(api) => api,
            Err(why @ ReadError::NotStarted(_)) => {
                tracing::warn!(%why, "definitions that waiting branches alter are not compared");
                return Read::NoReader;
            }
            Err(why) => {
                tracing::warn!(%why, head = %head, "definitions that a branch alters are left out");
                return Read::Unreadable;
            }
        };
    }
    let not_read = left_out(&contents, &api);
    Read::Done(api, not_read)
}

/// Files that were left out, by whoever reads their text or by the parser.
fn left_out(contents: &Contents, api: &ApiChange) -> Option<NotRead> {
    let files = contents.skipped.saturating_add(api.skipped);
    let paths = contents.skipped_paths.iter().chain(&api.skipped_paths);
    let paths = paths.filter(|path| path.len() <= MAX_TEXT).take(PATHS_TOLD).cloned().collect();
    (files > 0).then_some(NotRead { why: UnreadWhy::LeftOut, files: Some(files), paths })
}

fn nothing_read(why: UnreadWhy) -> NotRead {
    NotRead { why, files: None, paths: Vec::new() }
}

fn contents(mirror: &Mirror, tip: CommitId, head: CommitId) -> Result<Contents, GitError> {
    let Some(base) = mirror.fork_point(tip, head)? else { return Ok(Contents::default()) };
    mirror.changed_files(base, head, |path| Language::of(path).is_some())
}

fn as_change(file: &FileContents) -> FileChange<'_> {
    FileChange { path: &file.path, old: file.old.as_deref(), new: file.new.as_deref() }
}

fn meeting(first: RequestId, second: RequestId, clash: Clash) -> DefinitionMeeting {
    let (one, other) = match clash.altered_by {
        Side::First => (first, second),
        // In one way, whoever was asked for: told again it is the same.
        Side::Both => (first.min(second), first.max(second)),
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

    fn source(of: CommitId) -> Read {
        let file = |path, old: &'static str, new: &'static str| {
            let (old, new) = (Some(old.as_bytes()), Some(new.as_bytes()));
            Read::Done(change([FileChange { path, old, new }]), None)
        };
        match of {
            h if h == head(RENAMES) => file("a.rs", "pub fn open() {}", "pub fn start() {}"),
            h if h == head(USES) => file("b.rs", "fn f() {}", "fn f() { open() }"),
            h if h == head(POISON) => Read::Unreadable,
            _ => file("c.rs", "", "fn g() {}"),
        }
    }

    /// All of it takes its time: with less it is read in part.
    fn long(limit: Duration) -> Read {
        Read::Done(ApiChange { late: limit < BUDGET_OF_ONE, ..ApiChange::default() }, None)
    }

    struct Asked {
        apis: Apis,
        reads: Vec<CommitId>,
        budget: Duration,
    }

    fn asked() -> Asked {
        Asked { apis: Apis::default(), reads: Vec::new(), budget: Duration::from_secs(60) }
    }

    impl Asked {
        fn round(&mut self, requests: &[u64], heads: &[(u64, u8)]) -> (Vec<u64>, Vec<String>) {
            let heads: Vec<_> = heads.iter().map(|(id, n)| (RequestId(*id), head(*n))).collect();
            let requests: Vec<_> = requests.iter().copied().map(RequestId).collect();
            let wanted = Wanted { requests: &requests, heads: &heads, budget: self.budget };
            let reads = &mut self.reads;
            let round = self.apis.round(&wanted, |head, _| {
                reads.push(head);
                source(head)
            });
            let told = round.meetings.iter().map(ToString::to_string).collect();
            (round.requests.iter().map(|id| id.0).collect(), told)
        }
    }

    #[test]
    fn a_rename_and_a_new_use_are_told_once() {
        let mut asked = asked();
        let all = [(1, USES), (2, OTHER), (3, RENAMES)];
        let sentence = "r3 removes `open` from a.rs, and r1 newly uses it in b.rs".to_owned();
        assert_eq!(asked.round(&[1, 2, 3], &all), (vec![1, 2, 3], vec![sentence]));
        assert_eq!(asked.round(&[2], &all), (vec![2], vec![]));
        assert_eq!(asked.reads.len(), 3, "each is read once");

        // Who comes again with another head is read again; who has gone is not met.
        assert_eq!(asked.round(&[1], &all[..2]), (vec![1], vec![]));
        assert_eq!(asked.round(&[4], &[(1, USES), (4, RENAMES)]).1.len(), 1);
        assert_eq!(asked.reads.len(), 4);
    }

    #[test]
    fn who_does_not_get_a_turn_is_not_answered_and_gets_one_later() {
        let mut asked = Asked { budget: Duration::ZERO, ..asked() };
        let all = [(1, USES), (2, OTHER), (3, RENAMES)];
        let mut rounds: Vec<(Vec<u64>, usize)> = Vec::new();
        for _ in 0..3 {
            let (answered, told) = asked.round(&[3], &all);
            rounds.push((answered, told.len()));
        }
        assert_eq!(rounds, [(vec![], 0), (vec![], 0), (vec![3], 1)], "others first, each once");
    }

    #[test]
    fn what_cannot_be_read_is_not_tried_again_and_keeps_nobody_from_being_read() {
        let mut asked = asked();
        let all = [(1, POISON), (2, USES), (3, RENAMES)];
        let wanted: Vec<_> = [1, 2, 3].map(RequestId).into();
        let heads: Vec<_> = all.map(|(id, n)| (RequestId(id), head(n))).into();
        let round = asked.apis.round(
            &Wanted { requests: &wanted, heads: &heads, budget: asked.budget },
            |head, _| {
                asked.reads.push(head);
                source(head)
            },
        );
        let unread = Unread { request: RequestId(1), what: nothing_read(UnreadWhy::Broke) };
        assert_eq!((round.requests, round.unread), (wanted, vec![unread]), "it is said who is left out");
        assert_eq!(asked.reads.len(), 3);
        // The same head under another request.
        assert_eq!(asked.round(&[4], &[(4, POISON), (2, USES)]).0, [4]);
        assert_eq!(asked.reads.len(), 3);
    }

    #[test]
    fn what_is_left_of_a_round_is_not_taken_for_the_whole_time_of_a_change() {
        let (mut apis, heads) = (Apis::default(), [(RequestId(1), head(1))]);
        let wanted = |budget| Wanted { requests: &[RequestId(1)], heads: &heads, budget };
        let short = apis.round(&wanted(Duration::from_millis(100)), |_, limit| long(limit));
        assert_eq!(short.requests, [], "it is not given up");
        let whole = apis.round(&wanted(Duration::from_secs(60)), |_, limit| long(limit));
        assert_eq!((whole.requests, whole.unread), (vec![RequestId(1)], vec![]));
    }

    #[test]
    fn what_no_time_would_help_is_told_at_once() {
        let (mut apis, heads) = (Apis::default(), [(RequestId(1), head(1)), (RequestId(2), head(USES))]);
        let requests = [RequestId(1), RequestId(2)];
        let wanted = Wanted { requests: &requests, heads: &heads, budget: Duration::from_millis(100) };
        let what = NotRead { why: UnreadWhy::LeftOut, files: Some(1), paths: vec!["large.rs".to_owned()] };
        let round = apis.round(&wanted, |of, _| {
            let large = Read::Done(ApiChange { skipped: 1, ..ApiChange::default() }, Some(what.clone()));
            if of == head(1) { large } else { source(of) }
        });
        assert_eq!(round.requests, requests);
        assert_eq!(round.unread, [Unread { request: RequestId(1), what }]);
    }

    #[test]
    fn where_nobody_can_read_nobody_waits() {
        let mut apis = Apis::default();
        let heads = [(RequestId(1), head(1)), (RequestId(2), head(2))];
        let wanted = Wanted { requests: &[RequestId(2)], heads: &heads, budget: Duration::from_secs(60) };
        let round = apis.round(&wanted, |_, _| Read::NoReader);
        assert_eq!(round.requests, [RequestId(2)]);
        assert_eq!(round.unread.first().map(|u| u.what.why), Some(UnreadWhy::NoReader));
        assert!(apis.known.is_empty(), "it is read once somebody can");
    }
}
