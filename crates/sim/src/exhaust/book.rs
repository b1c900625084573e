use std::collections::{BTreeMap, BTreeSet, HashMap};

use yardmaster_protocol::{CommitId, Entry, Fact, RequestId, RunId, RunOutcome, TreeId};

use super::scenario::Setting;
use super::state::{BookId, EntryId, State};
use crate::gate::change_region;
use crate::violation::Violation;

/// What the records of a journal have promised, read apart from the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Book {
    /// Which change a request is about, as its place among the changes.
    about: BTreeMap<RequestId, u8>,
    runs: BTreeMap<RunId, TreeId>,
    green: BTreeSet<TreeId>,
    /// Commits that were to be pushed.
    decided: BTreeSet<CommitId>,
    ended: BTreeSet<RequestId>,
    /// Changes that are said to be on the target, and those said to have ended otherwise.
    landed: u8,
    other: u8,
}

/// What a first-parent history has, one bit each.
#[derive(Debug, Clone, Copy, Default)]
struct There {
    changes: u8,
    foreign: u8,
}

/// Every account that was ever met.
#[derive(Default)]
pub(super) struct Books {
    books: Vec<Book>,
    numbers: HashMap<Book, BookId>,
    written: HashMap<(BookId, EntryId), BookId>,
    on_target: HashMap<CommitId, There>,
}

impl Books {
    pub(super) fn new() -> Books {
        let mut books = Books::default();
        books.intern(Book::default());
        books
    }

    fn intern(&mut self, book: Book) -> BookId {
        if let Some(known) = self.numbers.get(&book) {
            return *known;
        }
        let id = u32::try_from(self.books.len()).unwrap_or(u32::MAX);
        self.books.push(book.clone());
        self.numbers.insert(book, id);
        id
    }

    fn book(&self, id: BookId) -> &Book {
        &self.books[id as usize]
    }

    /// The account after one more record.
    pub(super) fn write(
        &mut self,
        book: BookId,
        (id, entry): (EntryId, &Entry),
        setting: &Setting,
    ) -> Result<BookId, Violation> {
        if let Some(known) = self.written.get(&(book, id)) {
            return Ok(*known);
        }
        let mut next = self.book(book).clone();
        entry.facts.iter().try_for_each(|fact| next.add(fact, setting))?;
        let next = self.intern(next);
        self.written.insert((book, id), next);
        Ok(next)
    }

    /// Everything that ended has an end that its change may have.
    pub(super) fn is_over(&self, state: &State, changes: usize) -> bool {
        let book = self.book(state.book);
        (book.landed | book.other).count_ones() as usize == changes
    }

    /// What was promised is so on the remote, and nothing else is; what others pushed stays.
    pub(super) fn agrees(&mut self, state: &State, foreign: u8, setting: &Setting) -> Result<(), Violation> {
        let there = self.on_target(state.tip, setting)?;
        let kept = there.foreign.count_ones() == u32::from(foreign);
        Violation::unless(kept, "what others pushed stays", || format!("{foreign} pushes"))?;
        let there = there.changes;
        let book = self.book(state.book);
        let told = |what: &str, mask: u8| format!("{} {what}", names(mask, setting));
        Violation::unless(book.landed & !there == 0, "what is said to have landed is on the target", || {
            told("is not", book.landed & !there)
        })?;
        Violation::unless(book.other & there == 0, "what ended otherwise is not on the target", || {
            told("is there", book.other & there)
        })
    }

    /// A push of ours moved the target.
    pub(super) fn may_push(&self, state: &State, to: CommitId, setting: &Setting) -> Result<(), Violation> {
        let git = &setting.git;
        let name = |commit| git.name(commit);
        let forward = git.contains(to, state.tip);
        Violation::unless(forward, "the target moves only forward", || name(to))?;
        let book = self.book(state.book);
        for commit in git.first_parents(to, Some(state.tip)) {
            let decided = book.decided.contains(&commit);
            Violation::unless(decided, "every push is in the journal first", || name(commit))?;
            let green = book.green.contains(&git.tree(commit));
            Violation::unless(green, "every pushed commit is green in the journal", || name(commit))?;
            let green = setting.rules.is_green(&git.files(commit), &setting.gate);
            Violation::unless(green, "every pushed commit is green", || name(commit))?;
        }
        Ok(())
    }

    fn on_target(&mut self, tip: CommitId, setting: &Setting) -> Result<There, Violation> {
        if let Some(known) = self.on_target.get(&tip) {
            return Ok(*known);
        }
        let there = there(tip, setting)?;
        self.on_target.insert(tip, there);
        Ok(there)
    }
}

fn there(tip: CommitId, setting: &Setting) -> Result<There, Violation> {
    let git = &setting.git;
    let files = git.files(tip);
    let mut there = There::default();
    for commit in git.first_parents(tip, None) {
        let name = git.name(commit);
        let has_content = commit == setting.root || files.contains_key(&change_region(&name));
        Violation::unless(has_content, "what is on the target keeps its content", || name.clone())?;
        match setting.changes.iter().position(|c| *c == name) {
            Some(at) => {
                let first = there.changes & 1 << at == 0;
                Violation::unless(first, "a request lands at most once", || name)?;
                there.changes |= 1 << at;
            }
            None if commit == setting.root => {}
            None => there.foreign = there.foreign << 1 | 1,
        }
    }
    Ok(there)
}

fn names(mask: u8, setting: &Setting) -> String {
    let there = setting.changes.iter().enumerate().filter(|(i, _)| mask & 1 << i != 0);
    there.map(|(_, name)| *name).collect::<Vec<_>>().join(" and ")
}

impl Book {
    fn add(&mut self, fact: &Fact, setting: &Setting) -> Result<(), Violation> {
        match fact {
            Fact::Announced { request, announcement, .. } => {
                let at = setting.heads.iter().position(|(branch, _)| *branch == announcement.branch);
                if let Some(at) = at.and_then(|at| u8::try_from(at).ok()) {
                    self.about.insert(*request, at);
                }
            }
            Fact::Testing { run, tree, .. } => drop(self.runs.insert(run.clone(), *tree)),
            Fact::RunEnded { run, outcome: RunOutcome::Green, .. } => {
                self.green.extend(self.runs.get(run).copied());
            }
            Fact::LandingStarted { landing, .. } => {
                self.decided.extend(landing.requests.iter().map(|(_, commit)| *commit));
            }
            Fact::Landed { request, .. } => {
                let may = self.end(*request, setting)?.may_land;
                self.landed |= self.bit(*request);
                Violation::unless(may, "only what may land lands", || request.to_string())?;
            }
            Fact::Failed { request, failure } => {
                let may = self.end(*request, setting)?.may_fail;
                self.other |= self.bit(*request);
                Violation::unless(may, "the innocent stay", || format!("{request} failed: {failure:?}"))?;
            }
            Fact::Withdrawn { request, .. } => {
                let may = self.end(*request, setting)?.may_be_withdrawn;
                self.other |= self.bit(*request);
                Violation::unless(may, "nobody is withdrawn unasked", || request.to_string())?;
            }
            Fact::Superseded { request, .. } => {
                Err(Violation::new("nobody is superseded unasked", request.to_string()))?;
            }
            Fact::Frozen { why, .. } => {
                Err(Violation::new("nothing is frozen that only moves forward", why.clone()))?;
            }
            Fact::FellOff { requests, .. } => {
                Err(Violation::new("nothing falls off what only moves forward", format!("{requests:?}")))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn bit(&self, request: RequestId) -> u8 {
        self.about.get(&request).map_or(0, |at| 1 << at)
    }

    /// A request ends once; how its change may end.
    fn end(&mut self, request: RequestId, setting: &Setting) -> Result<super::scenario::Fate, Violation> {
        let first = self.ended.insert(request);
        Violation::unless(first, "a request ends once", || request.to_string())?;
        let at = self.about.get(&request).map(|at| usize::from(*at));
        let fate = at.and_then(|at| setting.fates.get(at).copied());
        fate.ok_or_else(|| Violation::new("only what was announced ends", request.to_string()))
    }
}
