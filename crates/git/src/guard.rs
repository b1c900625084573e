use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use git2::{Delta, DiffFindOptions, Oid, Repository};
use yardmaster_protocol::{Assembly, CommitId, MergedBy, TreeId};

use crate::changes::listed;
use crate::git::cut;
use crate::inverse::{MAX_SHOWN, Step, Steps, steps, undone};
use crate::objects::{commit_id, contains, find_commit, merge_bases, oid};
use crate::{GitError, Mirror};

/// So many landings of the target are looked at, newest first.
const LOOKED_AT: usize = 200;
/// So many earlier states of the target are held against a branch's tree.
const STATES: usize = 50;
/// A single landing counts as taken back from so many files on: to change one file back is everyday work.
const SEVERAL: usize = 2;
/// Landings that touch more paths are not looked at: nobody takes back a move of the whole tree unseen.
const MAX_PATHS: usize = 1_000;
/// Landings that are remembered.
const REMEMBERED: usize = 2_000;
/// So many commits of a branch are read for a word about what it reverts.
const MAX_COMMITS: usize = 1_000;
/// The most paths that are named.
const MAX_NAMED: usize = 50;
const MAX_NAMED_BYTES: usize = 16 * 1_024;
/// The fewest characters by which a commit can be named.
const SHORTEST_ID: usize = 7;

/// A landing that a merge takes back without saying so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenBack {
    /// Its commit on the target.
    pub of: CommitId,
    /// Who and what it was: its request, subject and agent as far as they are known.
    pub label: String,
    /// Where it is undone.
    pub paths: Vec<String>,
    /// What undoes it at the first of them, cut at a limit.
    pub hunk: String,
}

/// One commit on the first-parent history of a target.
#[derive(Debug)]
struct Landing {
    parent: Oid,
    subject: String,
    agent: Option<String>,
    request: Option<String>,
    steps: Steps,
    /// It touches more paths than are looked at.
    too_wide: bool,
}

/// Landings that were read before.
#[derive(Debug, Default)]
pub(crate) struct Landings(Mutex<HashMap<Oid, Option<Arc<Landing>>>>);

impl Landings {
    fn get(&self, repo: &Repository, id: Oid) -> Result<Option<Arc<Landing>>, GitError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = known.get(&id) {
            return Ok(landing.clone());
        }
        if known.len() >= REMEMBERED {
            known.clear();
        }
        let landing = read(repo, id)?.map(Arc::new);
        known.insert(id, landing.clone());
        Ok(landing)
    }
}

/// None for a commit without a parent.
fn read(repo: &Repository, id: Oid) -> Result<Option<Landing>, GitError> {
    let commit = repo.find_commit(id)?;
    let Ok(parent) = commit.parent(0) else { return Ok(None) };
    let mut steps = steps(repo, parent.tree_id(), commit.tree_id())?;
    let too_wide = steps.len() > MAX_PATHS;
    if too_wide {
        steps.clear();
    }
    let message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
    let trailer =
        |key: &str| message.lines().rev().find_map(|l| Some(l.strip_prefix(key)?.trim().to_owned()));
    Ok(Some(Landing {
        parent: parent.id(),
        subject: message.lines().next().unwrap_or_default().chars().take(100).collect(),
        agent: trailer("Agent: "),
        request: trailer("Request-Id: "),
        steps,
        too_wide,
    }))
}

impl Mirror {
    /// What `tree`, made for `head` by `author` on top of `base`, takes back of others' landed work without a word.
    ///
    /// # Errors
    /// When the object database cannot be used.
    pub fn takes_back(
        &self,
        base: CommitId,
        head: CommitId,
        tree: TreeId,
        author: &str,
    ) -> Result<Option<TakenBack>, GitError> {
        self.with_repository(|repo| {
            let from = find_commit(repo, base)?;
            let made = steps(repo, from.tree_id(), Oid::from_bytes(&tree.0.0)?)?;
            let forks = merge_bases(repo, from.id(), oid(head))?;
            let merge = Made { steps: &made, base: from.id(), head: oid(head), forks: &forks, author };
            self.taken_back(repo, &merge)
        })
    }

    /// Why a merge must not be tested, if it must not.
    pub(crate) fn guarded(
        &self,
        repo: &Repository,
        made: &Made<'_>,
        by: MergedBy,
    ) -> Result<Option<Assembly>, GitError> {
        let strays = strays(repo, made, by)?;
        if !strays.is_empty() {
            tracing::warn!(base = %made.base, head = %made.head, paths = ?strays, "a merge went astray");
            let detail =
                "the merge would change what the branch does not change: rebase the branch onto the \
                          target, and report it"
                    .to_owned();
            return Ok(Some(Assembly::Conflict { paths: strays, detail, hunk: None }));
        }
        if !self.options.guard {
            return Ok(None);
        }
        let found = self.taken_back(repo, made)?;
        Ok(found.map(|TakenBack { of, label, paths, hunk }| Assembly::TakesBack { of, label, paths, hunk }))
    }

    pub(crate) fn taken_back(
        &self,
        repo: &Repository,
        made: &Made<'_>,
    ) -> Result<Option<TakenBack>, GitError> {
        let mut said = Said { repo, made, words: None };
        match self.old_tree(repo, made, &mut said)? {
            Some(found) => Ok(Some(found)),
            None => self.undone_landing(repo, made, &mut said),
        }
    }

    /// The branch holds the tree of an earlier state of the target with its own change on top: all that
    /// landed between that state and the fork is undone.
    fn old_tree(
        &self,
        repo: &Repository,
        made: &Made<'_>,
        said: &mut Said<'_>,
    ) -> Result<Option<TakenBack>, GitError> {
        let [fork] = made.forks[..] else { return Ok(None) };
        let mut since = Steps::new();
        let mut landed: Vec<(Oid, Arc<Landing>)> = Vec::new();
        let mut next = fork;
        while landed.len() < STATES {
            let Some(landing) = self.landings.get(repo, next)? else { return Ok(None) };
            if landing.too_wide {
                return Ok(None);
            }
            let id = std::mem::replace(&mut next, landing.parent);
            for (path, step) in &landing.steps {
                since.entry(path.clone()).or_insert(*step).old = step.old;
            }
            landed.push((id, landing));
            let changed = || since.iter().filter(|(_, step)| step.old != step.new);
            if changed().any(|(path, _)| !made.steps.contains_key(path)) {
                return Ok(None);
            }
            let Some((paths, hunk)) = inverted(repo, changed(), made.steps)? else { continue };
            for (id, landing) in &landed {
                if !landing.steps.is_empty() && !said.allows(*id, landing)? {
                    return Ok(Some(told(*id, landing, paths, hunk)));
                }
            }
        }
        Ok(None)
    }

    /// One landing is undone wherever it changed anything, which is several files.
    fn undone_landing(
        &self,
        repo: &Repository,
        made: &Made<'_>,
        said: &mut Said<'_>,
    ) -> Result<Option<TakenBack>, GitError> {
        let mut next = made.base;
        for _ in 0..LOOKED_AT {
            let Some(landing) = self.landings.get(repo, next)? else { return Ok(None) };
            let id = std::mem::replace(&mut next, landing.parent);
            let touched = landing.steps.keys().all(|path| made.steps.contains_key(path));
            if landing.too_wide || landing.steps.len() < SEVERAL || !touched {
                continue;
            }
            let Some((paths, hunk)) = inverted(repo, landing.steps.iter(), made.steps)? else { continue };
            if !said.allows(id, &landing)? {
                return Ok(Some(told(id, &landing, paths, hunk)));
            }
        }
        Ok(None)
    }
}

/// A merge that was worked out.
pub(crate) struct Made<'a> {
    /// What it changes.
    pub(crate) steps: &'a Steps,
    /// On top of which commit.
    pub(crate) base: Oid,
    /// For which head.
    pub(crate) head: Oid,
    /// Where the two left each other.
    pub(crate) forks: &'a [Oid],
    /// Whose work it is.
    pub(crate) author: &'a str,
}

/// What a branch says of itself.
struct Said<'a> {
    repo: &'a Repository,
    made: &'a Made<'a>,
    words: Option<Vec<String>>,
}

impl Said<'_> {
    /// Authors may take back their own; others' too, when the branch says so.
    fn allows(&mut self, id: Oid, landing: &Landing) -> Result<bool, GitError> {
        if landing.agent.as_deref() == Some(self.made.author) {
            return Ok(true);
        }
        if self.words.is_none() {
            self.words = Some(announced_reverts(self.repo, self.made.head, self.made.base)?);
        }
        Ok(self.words.iter().flatten().any(|word| is_meant(self.repo, word, id, landing)))
    }
}

fn told(id: Oid, landing: &Landing, paths: Vec<String>, hunk: String) -> TakenBack {
    TakenBack {
        of: commit_id(id),
        label: label(landing),
        paths: listed(paths, MAX_NAMED, MAX_NAMED_BYTES),
        hunk,
    }
}

fn label(landing: &Landing) -> String {
    match (&landing.request, &landing.agent) {
        (Some(request), Some(agent)) => format!("{request} ({} by {agent})", landing.subject),
        _ => landing.subject.clone(),
    }
}

/// The paths and the first text that shows it, if every one of `steps` is undone.
fn inverted<'a>(
    repo: &Repository,
    earlier: impl Iterator<Item = (&'a Vec<u8>, &'a Step)>,
    made: &Steps,
) -> Result<Option<(Vec<String>, String)>, GitError> {
    let (mut paths, mut first) = (Vec::new(), None);
    for (path, earlier) in earlier {
        let Some(later) = made.get(path) else { return Ok(None) };
        let Some(hunk) = undone(repo, *earlier, *later)? else { return Ok(None) };
        let path = String::from_utf8_lossy(path).into_owned();
        first.get_or_insert_with(|| cut(&format!("{path}\n{hunk}"), MAX_SHOWN));
        paths.push(path);
    }
    Ok(first.map(|hunk| (paths, hunk)))
}

/// Paths that a merge changes though the branch did not, or otherwise than the branch did.
///
/// A merge that git made may move a change along with a renamed file; ours never does.
fn strays(repo: &Repository, made: &Made<'_>, by: MergedBy) -> Result<Vec<String>, GitError> {
    let tree = |commit: Oid| Ok::<_, GitError>(repo.find_commit(commit)?.tree_id());
    let mut own = Vec::with_capacity(made.forks.len());
    for fork in made.forks {
        own.push(steps(repo, tree(*fork)?, tree(made.head)?)?);
    }
    let is_own = |path: &Vec<u8>, step: &Step| {
        own.iter().any(|own| match own.get(path) {
            // Where the target has not changed it since, the branch's version is taken as it is.
            Some(theirs) if theirs.old == step.old => theirs.new == step.new || made.forks.len() > 1,
            found => found.is_some(),
        })
    };
    let astray: Vec<&Vec<u8>> =
        made.steps.iter().filter(|(path, step)| !is_own(path, step)).map(|(path, _)| path).collect();
    if astray.is_empty() || (by == MergedBy::Git && renames(repo, made)?) {
        return Ok(Vec::new());
    }
    let names = astray.into_iter().map(|path| String::from_utf8_lossy(path).into_owned());
    Ok(listed(names, MAX_NAMED, MAX_NAMED_BYTES))
}

/// Whether either side renamed anything since the two left each other.
fn renames(repo: &Repository, made: &Made<'_>) -> Result<bool, GitError> {
    for fork in made.forks {
        let old = repo.find_commit(*fork)?.tree()?;
        for side in [made.base, made.head] {
            let new = repo.find_commit(side)?.tree()?;
            let mut diff = repo.diff_tree_to_tree(Some(&old), Some(&new), None)?;
            diff.find_similar(Some(DiffFindOptions::new().renames(true)))?;
            if diff.deltas().any(|delta| delta.status() == Delta::Renamed) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// What the branch's own commits say that they revert.
fn announced_reverts(repo: &Repository, head: Oid, base: Oid) -> Result<Vec<String>, GitError> {
    let mut walk = repo.revwalk()?;
    walk.push(head)?;
    walk.hide(base)?;
    let mut words = Vec::new();
    for id in walk.take(MAX_COMMITS) {
        let commit = repo.find_commit(id?)?;
        let message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
        // A long line may be wrapped.
        let flat = message.split_whitespace().collect::<Vec<_>>().join(" ");
        for (at, said) in flat.match_indices("This reverts commit ") {
            words.extend(flat[at + said.len()..].split_whitespace().next().map(str::to_owned));
        }
        for line in message.lines() {
            let named = line.strip_prefix("Reverts:").map(|rest| rest.split([',', ' ']));
            words.extend(named.into_iter().flatten().filter(|w| !w.is_empty()).map(str::to_owned));
        }
    }
    Ok(words)
}

/// Whether `word` names the landing: its request, its commit, or a commit that it brought.
fn is_meant(repo: &Repository, word: &str, id: Oid, landing: &Landing) -> bool {
    if landing.request.as_deref() == Some(word) {
        return true;
    }
    let hex: String = word.chars().take_while(char::is_ascii_hexdigit).collect();
    if hex.len() < SHORTEST_ID {
        return false;
    }
    let Ok(named) = repo.find_commit_by_prefix(&hex) else { return false };
    let brought = contains(repo, id, named.id()).unwrap_or(false)
        && !contains(repo, landing.parent, named.id()).unwrap_or(true);
    named.id() == id || brought
}

#[cfg(test)]
mod tests {
    use git2::Signature;

    use super::*;
    use crate::walk::{Stop, merge_trees};

    fn commit(repo: &Repository, parents: &[Oid], files: &[(&str, &str)]) -> Oid {
        let mut tree = repo.treebuilder(None).expect("a tree");
        for (name, text) in files {
            let blob = repo.blob(text.as_bytes()).expect("a blob");
            tree.insert(name, blob, 0o100_644).expect("an entry");
        }
        let tree = repo.find_tree(tree.write().expect("written")).expect("found");
        let who = Signature::new("a", "a@example.invalid", &git2::Time::new(0, 0)).expect("a name");
        let parents: Vec<_> = parents.iter().map(|p| repo.find_commit(*p).expect("a parent")).collect();
        let parents: Vec<_> = parents.iter().collect();
        repo.commit(None, &who, &who, "work", &tree, &parents).expect("a commit")
    }

    /// A merge queue once built squashes on the wrong merge base, and 2,092 pull requests landed with trees
    /// that took back earlier work. Whatever base a merge was made from, its outcome is held to the right one.
    #[test]
    fn a_merge_on_the_wrong_base_goes_astray() {
        let dir = tempfile::tempdir().expect("a directory");
        let repo = Repository::init_bare(dir.path()).expect("a repository");
        let fork = commit(&repo, &[], &[("a", "1\n"), ("b", "1\n")]);
        let landed = commit(&repo, &[fork], &[("a", "2\n"), ("b", "1\n"), ("c", "landed\n")]);
        let head = commit(&repo, &[fork], &[("a", "1\n"), ("b", "own\n")]);
        let tree = |id: Oid| repo.find_commit(id).expect("a commit").tree_id();
        let odb = repo.odb().expect("objects");
        let forks = merge_bases(&repo, landed, head).expect("bases");
        let astray = |base: Oid, by: MergedBy| {
            let merged = match merge_trees(&odb, tree(base), tree(landed), tree(head), &mut Vec::new()) {
                Ok(merged) => merged,
                Err(Stop::Escalate(why)) => panic!("{why}"),
                Err(Stop::Failed(why)) => panic!("{why}"),
            };
            let made = steps(&repo, tree(landed), merged).expect("steps");
            let made = Made { steps: &made, base: landed, head, forks: &forks, author: "roy" };
            strays(&repo, &made, by).expect("an answer")
        };
        assert_eq!(forks, [fork]);
        for by in [MergedBy::Memory, MergedBy::Git] {
            assert!(astray(fork, by).is_empty(), "the right base");
            assert_eq!(astray(landed, by), ["a", "c"], "as if the branch had started from main");
        }
    }
}
