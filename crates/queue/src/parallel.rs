use std::collections::{BTreeMap, BTreeSet};

use yardmaster_protocol::{
    Ahead, BranchName, Globs, ParallelReply, ParallelRequest, Planned, Requirement, Tie, TieKind,
};

use crate::policy::Policy;
use crate::state::Queue;

/// Fewer common commits are chance.
const LEAST_TOGETHER: u32 = 3;
const MAX_PLANNED: usize = 64;
const MAX_FILES: usize = 100;
const MAX_SYSTEMS: usize = 64;
const SHOWN: usize = 20;
/// Pending requests that are told of one requirement.
const AHEAD_SHOWN: usize = 20;

/// How often the files of two requirements, by their place in the question, changed in one commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Commits that were read.
    pub commits: u32,
    /// By pair, the smaller place first.
    pub pairs: BTreeMap<(usize, usize), Common>,
}

/// Commits of two sets of files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Common {
    /// That changed something of both.
    pub both: u32,
    /// That changed something of the one that changed less often.
    pub rarer: u32,
    /// The two files that changed together most often, and in how many commits.
    pub example: Option<(String, String, u32)>,
}

/// One requirement, ready to be compared.
struct Work<'a> {
    requirement: &'a Requirement,
    globs: Globs,
    files: &'a [String],
    systems: BTreeSet<String>,
}

impl Queue {
    /// Which requirements can be worked on side by side: by what they name, by what is pending, and by what
    /// used to change together. `paths` are those that the repository is known to have: two globs meet
    /// where both fit one of them.
    ///
    /// # Errors
    /// What of the question cannot be used, as a sentence.
    pub fn parallel(
        &self,
        asked: &ParallelRequest,
        policy: &Policy,
        paths: &[&str],
        history: &History,
    ) -> Result<ParallelReply, String> {
        let target = asked.target.as_ref().unwrap_or(&policy.default_target);
        let work = self.planned(asked, target)?;
        let mut ties = Vec::new();
        for (j, second) in work.iter().enumerate() {
            for (i, first) in work.iter().enumerate().take(j) {
                ties.extend(declared_ties(first, second, paths));
                ties.extend(history.pairs.get(&(i, j)).and_then(|c| past_tie(first, second, c, history)));
            }
        }
        ties.sort_by_key(|tie: &Tie| tie.kind);
        let parallel = ties.iter().all(|tie| tie.kind == TieKind::History);
        let names: Vec<&Requirement> = work.iter().map(|w| w.requirement).collect();
        Ok(ParallelReply {
            parallel,
            sequences: sequences(&names, &ties),
            rounds: rounds(&names, &ties),
            ties,
            pending: self.ahead_of_planned(&work, target),
            commits: history.commits,
        })
    }

    fn planned<'a>(&self, asked: &'a ParallelRequest, target: &BranchName) -> Result<Vec<Work<'a>>, String> {
        let count = asked.requirements.len();
        if !(1..=MAX_PLANNED).contains(&count) {
            return Err(format!("{count} requirements cannot be weighed: name 1 to {MAX_PLANNED}"));
        }
        let mut seen = BTreeSet::new();
        let work = |planned: &'a Planned| {
            let Planned { requirement, files, systems } = planned;
            if !seen.insert(requirement) {
                return Err(format!("{requirement} is named twice: put its files together"));
            }
            if files.len() > MAX_FILES || systems.len() > MAX_SYSTEMS {
                return Err(format!(
                    "{requirement} names too much: at most {MAX_FILES} files and {MAX_SYSTEMS} systems"
                ));
            }
            let globs = Globs::new(files).map_err(|why| format!("{requirement}: {why}"))?;
            let systems = match systems.is_empty() {
                true => self.systems_of_planned(target, files),
                false => systems.iter().cloned().collect(),
            };
            Ok(Work { requirement, globs, files, systems })
        };
        asked.requirements.iter().map(work).collect()
    }

    fn systems_of_planned(&self, target: &BranchName, files: &[String]) -> BTreeSet<String> {
        let project = self.targets.get(target).and_then(|t| t.project.as_ref().ok());
        project.map(|p| p.systems_of(files)).unwrap_or_default()
    }

    fn ahead_of_planned(&self, work: &[Work<'_>], target: &BranchName) -> Vec<Ahead> {
        let pending: Vec<_> = self.live.iter().filter(|(_, r)| r.target == *target).collect();
        let mut found = Vec::new();
        for one in work.iter().filter(|w| !w.files.is_empty()) {
            let of_one = pending.iter().filter_map(|(id, request)| {
                let custody = request.custody()?;
                let met = custody.files.iter().filter(|f| one.globs.matches(f));
                let paths: Vec<String> = met.take(SHOWN).cloned().collect();
                let a = &request.announcement;
                (!paths.is_empty()).then(|| Ahead {
                    requirement: one.requirement.clone(),
                    request: **id,
                    agent: a.agent.clone(),
                    branch: a.branch.clone(),
                    paths,
                })
            });
            found.extend(of_one.take(AHEAD_SHOWN));
        }
        found
    }
}

fn declared_ties(first: &Work<'_>, second: &Work<'_>, paths: &[&str]) -> Vec<Tie> {
    let mut files: BTreeSet<&str> = BTreeSet::new();
    let named = |of: &Work<'_>, path: &str| of.files.iter().any(|f| f == path) || of.globs.matches(path);
    files.extend(first.files.iter().map(String::as_str).filter(|f| named(second, f)));
    files.extend(second.files.iter().map(String::as_str).filter(|f| named(first, f)));
    if !first.files.is_empty() && !second.files.is_empty() {
        files.extend(paths.iter().filter(|p| first.globs.matches(p) && second.globs.matches(p)));
    }
    let files: Vec<String> = files.into_iter().map(str::to_owned).collect();
    let systems: Vec<String> = first.systems.intersection(&second.systems).cloned().collect();
    let told = [(TieKind::Files, files, "touch"), (TieKind::Systems, systems, "work on")];
    let tie = |(kind, mut what, verb): (TieKind, Vec<String>, &str)| {
        let more = what.len().saturating_sub(3);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let shown: Vec<&str> = what.iter().take(3).map(String::as_str).collect();
        let both = format!("{} and {} both {verb}", first.requirement, second.requirement);
        let reason = format!("{both} {}{more}", shown.join(", "));
        what.truncate(SHOWN);
        Tie { kind, between: between(first, second), what, reason }
    };
    told.into_iter().filter(|(_, what, _)| !what.is_empty()).map(tie).collect()
}

/// Half of the commits of the one that changed less often changed the other one too.
fn past_tie(first: &Work<'_>, second: &Work<'_>, common: &Common, history: &History) -> Option<Tie> {
    if common.both < LEAST_TOGETHER || common.both.saturating_mul(2) < common.rarer {
        return None;
    }
    let (what, example) = match &common.example {
        Some((a, b, n)) => (vec![a.clone(), b.clone()], format!("; {a} and {b} in {n}")),
        None => (Vec::new(), String::new()),
    };
    let reason = format!(
        "the files of {} and {} changed together in {} of the {} commits that changed the less often changed \
         ones (last {} on the target){example}",
        first.requirement, second.requirement, common.both, common.rarer, history.commits
    );
    Some(Tie { kind: TieKind::History, between: between(first, second), what, reason })
}

fn between(first: &Work<'_>, second: &Work<'_>) -> [Requirement; 2] {
    [first.requirement.clone(), second.requirement.clone()]
}

fn tied(ties: &[Tie], a: &Requirement, b: &Requirement) -> bool {
    ties.iter().any(|tie| tie.between.contains(a) && tie.between.contains(b))
}

/// Those that are tied to each other, directly or through others, in the order of the question.
fn sequences(names: &[&Requirement], ties: &[Tie]) -> Vec<Vec<Requirement>> {
    let mut group: Vec<usize> = (0..names.len()).collect();
    for (j, b) in names.iter().enumerate() {
        for (i, a) in names.iter().enumerate().take(j) {
            let (from, to) = match (group.get(j), group.get(i)) {
                (Some(from), Some(to)) if from != to && tied(ties, a, b) => (*from, *to),
                _ => continue,
            };
            let (from, to) = (from.max(to), from.min(to));
            group.iter_mut().filter(|g| **g == from).for_each(|g| *g = to);
        }
    }
    let mut found: BTreeMap<usize, Vec<Requirement>> = BTreeMap::new();
    for (name, group) in names.iter().zip(group) {
        found.entry(group).or_default().push((*name).clone());
    }
    found.into_values().collect()
}

/// Each in the first round without anybody that it is tied to, and after those before it that it is.
fn rounds(names: &[&Requirement], ties: &[Tie]) -> Vec<Vec<Requirement>> {
    let mut found: Vec<Vec<Requirement>> = Vec::new();
    for name in names {
        let after = found.iter().rposition(|round| round.iter().any(|other| tied(ties, other, name)));
        let place = after.map_or(0, |round| round + 1);
        match found.get_mut(place) {
            Some(round) => round.push((*name).clone()),
            None => found.push(vec![(*name).clone()]),
        }
    }
    found
}
