use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use yardmaster_protocol::{
    Assembled, Assembly, CandidateSpec, ChangeSize, CommitId, DefinitionMeeting, Inspection, MeetingKind,
    MergedBy, Movement, NotRead, ObjectId, PairConflict, RequestId, Rollup, TipConflict, TreeId, Unread,
    UnreadWhy,
};

use crate::rng::digest;

/// What a tree holds: the value of each region. A region is a path, or `path:line` for a part of a
/// file; two sides that changed one region differently conflict.
pub(crate) type Files = BTreeMap<String, String>;

#[derive(Clone)]
struct Commit {
    parents: Vec<CommitId>,
    tree: TreeId,
    name: String,
    index: usize,
    /// One bit for each commit that it contains, itself among them.
    contains: Vec<u64>,
}

/// All objects of a toy world; nothing is ever collected.
#[derive(Default, Clone)]
pub(crate) struct Git {
    commits: BTreeMap<CommitId, Commit>,
    order: Vec<CommitId>,
    trees: BTreeMap<TreeId, Rc<Files>>,
}

impl Git {
    /// Stores a commit; the same values give the same id.
    pub(crate) fn commit(&mut self, parents: &[CommitId], files: Files, name: &str) -> CommitId {
        let tree = self.tree_of(files);
        self.commit_tree(parents, tree, name, name)
    }

    fn tree_of(&mut self, files: Files) -> TreeId {
        let parts: Vec<&[u8]> = files.iter().flat_map(|(k, v)| [k.as_bytes(), v.as_bytes()]).collect();
        let tree = TreeId(ObjectId(digest(&parts)));
        self.trees.entry(tree).or_insert_with(|| Rc::new(files));
        tree
    }

    fn commit_tree(&mut self, parents: &[CommitId], tree: TreeId, message: &str, name: &str) -> CommitId {
        let mut parts: Vec<&[u8]> = parents.iter().map(|p| p.0.0.as_slice()).collect();
        parts.extend([tree.0.0.as_slice(), message.as_bytes()]);
        let id = CommitId(ObjectId(digest(&parts)));
        if self.commits.contains_key(&id) {
            return id;
        }
        let index = self.order.len();
        let mut contains = vec![0; index / 64 + 1];
        for parent in parents.iter().filter_map(|p| self.commits.get(p)) {
            contains.iter_mut().zip(&parent.contains).for_each(|(all, theirs)| *all |= theirs);
        }
        contains[index / 64] |= 1 << (index % 64);
        self.order.push(id);
        self.commits
            .insert(id, Commit { parents: parents.to_vec(), tree, name: name.to_owned(), index, contains });
        id
    }

    /// The files of a commit; none for a commit that was never made.
    pub(crate) fn files(&self, commit: CommitId) -> Rc<Files> {
        let tree = self.commits.get(&commit).and_then(|c| self.trees.get(&c.tree));
        tree.cloned().unwrap_or_default()
    }

    /// The files of a tree.
    pub(crate) fn files_of(&self, tree: TreeId) -> Rc<Files> {
        self.trees.get(&tree).cloned().unwrap_or_default()
    }

    /// Every commit, oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = CommitId> + '_ {
        self.order.iter().copied()
    }

    /// The tree of a commit.
    pub(crate) fn tree(&self, commit: CommitId) -> TreeId {
        self.commits.get(&commit).map_or(TreeId(ObjectId([0; 20])), |c| c.tree)
    }

    /// What the commit is called in stories.
    pub(crate) fn name(&self, commit: CommitId) -> String {
        self.commits.get(&commit).map_or_else(|| commit.short(), |c| c.name.clone())
    }

    /// Whether `tip` is `commit` or has it in its history.
    pub(crate) fn contains(&self, tip: CommitId, commit: CommitId) -> bool {
        let (Some(tip), Some(commit)) = (self.commits.get(&tip), self.commits.get(&commit)) else {
            return false;
        };
        tip.contains.get(commit.index / 64).is_some_and(|word| word >> (commit.index % 64) & 1 == 1)
    }

    /// The newest commit that both contain.
    pub(crate) fn merge_base(&self, a: CommitId, b: CommitId) -> Option<CommitId> {
        let (a, b) = (&self.commits.get(&a)?.contains, &self.commits.get(&b)?.contains);
        let words = a.len().min(b.len());
        let both = a.iter().take(words).zip(b.iter().take(words)).map(|(a, b)| a & b).enumerate();
        let (word, bits) = both.rev().find(|(_, bits)| *bits != 0)?;
        self.order.get(word * 64 + 63 - usize::try_from(bits.leading_zeros()).ok()?).copied()
    }

    /// The first-parent history that `tip` has and `base` is the end of, newest first; all of it
    /// without a base.
    pub(crate) fn first_parents(&self, tip: CommitId, base: Option<CommitId>) -> Vec<CommitId> {
        let mut found = Vec::new();
        let mut next = Some(tip);
        while let Some(commit) = next.filter(|c| Some(*c) != base) {
            found.push(commit);
            next = self.commits.get(&commit).and_then(|c| c.parents.first().copied());
        }
        found
    }

    /// The first parent.
    pub(crate) fn parent(&self, commit: CommitId) -> Option<CommitId> {
        self.commits.get(&commit)?.parents.first().copied()
    }

    /// Regions that differ.
    pub(crate) fn changed(&self, from: CommitId, to: CommitId) -> BTreeSet<String> {
        let (was, is) = (self.files(from), self.files(to));
        let regions = was.keys().chain(is.keys());
        regions.filter(|r| was.get(*r) != is.get(*r)).cloned().collect()
    }

    /// Where heads meet at definitions: some do, and which is as good as random.
    pub(crate) fn meetings(
        &self,
        requests: &[RequestId],
        heads: &[(RequestId, CommitId)],
    ) -> Vec<DefinitionMeeting> {
        let head = |id: &RequestId| heads.iter().find(|(other, _)| other == id).map(|(_, head)| *head);
        let wanted = requests.iter().filter_map(|id| Some((*id, head(id)?)));
        let pairs = wanted.flat_map(|one| heads.iter().map(move |other| (one, *other)));
        let met = pairs.filter(|((one, a), (other, b))| {
            let once = other < one || !requests.contains(other);
            one != other && once && Git::do_meet(*a, *b)
        });
        met.map(|((one, _), (other, _))| DefinitionMeeting {
            one,
            other,
            meeting: MeetingKind::RemovedAndUsed,
            symbol: "f".to_owned(),
            path: "a.rs".to_owned(),
            used_in: None,
        })
        .collect()
    }

    /// What of some heads cannot be read.
    pub(crate) fn unread(&self, requests: &[RequestId], heads: &[(RequestId, CommitId)]) -> Vec<Unread> {
        let unread = |(id, head): &(RequestId, CommitId)| {
            let what = NotRead { why: UnreadWhy::LeftOut, files: Some(1), paths: vec!["a.rs".to_owned()] };
            (requests.contains(id) && sum(*head).is_multiple_of(5)).then_some(Unread { request: *id, what })
        };
        heads.iter().filter_map(unread).collect()
    }

    /// Whether two heads meet at a definition.
    pub(crate) fn do_meet(a: CommitId, b: CommitId) -> bool {
        a != b && (sum(a) + sum(b)).is_multiple_of(4)
    }

    /// What `head` changes since it left the history that `merge` put it on.
    pub(crate) fn own_changes(&self, head: CommitId, merge: CommitId) -> BTreeSet<String> {
        let left = self.parent(merge).and_then(|was| self.merge_base(head, was));
        left.map(|left| self.changed(left, head)).unwrap_or_default()
    }

    /// How a branch got from `known` to `tip`.
    pub(crate) fn movement(&self, known: Option<CommitId>, tip: CommitId) -> Movement {
        match known {
            None => Movement::First,
            Some(known) if known == tip => Movement::Same,
            Some(known) if self.contains(tip, known) => Movement::Forward,
            Some(known) if self.contains(known, tip) => Movement::Rewound,
            Some(_) => Movement::Diverged,
        }
    }

    /// What `known` contains and `tip` does not, newest first.
    pub(crate) fn not_in(&self, known: CommitId, tip: CommitId) -> Vec<CommitId> {
        let lost = |c: &CommitId| self.contains(known, *c) && !self.contains(tip, *c);
        self.order.iter().rev().copied().filter(lost).collect()
    }

    /// Merges by region; the paths in conflict when it cannot be.
    ///
    /// # Errors
    /// The paths that both sides changed differently, sorted.
    pub(crate) fn merge_files(&self, ours: CommitId, theirs: CommitId) -> Result<Files, Vec<String>> {
        let was = self.merge_base(ours, theirs).map(|b| self.files(b)).unwrap_or_default();
        let (ours, theirs) = (self.files(ours), self.files(theirs));
        let regions: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        let mut merged = Files::new();
        let mut conflicts = BTreeSet::new();
        for region in regions {
            let (o, a, b) = (was.get(region), ours.get(region), theirs.get(region));
            let value = match (a == b, a == o, b == o) {
                (true, _, _) | (_, _, true) => a,
                (_, true, _) => b,
                (false, false, false) => {
                    conflicts.insert(path_of(region).to_owned());
                    continue;
                }
            };
            merged.extend(value.map(|v| (region.clone(), v.clone())));
        }
        if conflicts.is_empty() { Ok(merged) } else { Err(conflicts.into_iter().collect()) }
    }

    /// How `new` merge with all of `heads`, and those with `tip`.
    pub(crate) fn compare(
        &self,
        tip: CommitId,
        new: &[RequestId],
        heads: &[(RequestId, CommitId)],
    ) -> (Vec<PairConflict>, Vec<TipConflict>) {
        let mut conflicts = Vec::new();
        for (i, (one, head)) in heads.iter().enumerate() {
            for (other, theirs) in heads.iter().take(i) {
                if (new.contains(one) || new.contains(other))
                    && let Err(paths) = self.merge_files(*theirs, *head)
                {
                    conflicts.push(PairConflict { one: *one, other: *other, paths });
                }
            }
        }
        let with_tip = heads.iter().filter_map(|(request, head)| {
            let paths = self.merge_files(tip, *head).err()?;
            Some(TipConflict { request: *request, paths })
        });
        (conflicts, with_tip.collect())
    }

    /// Merges each spec onto the last one that was clean.
    pub(crate) fn assemble(&mut self, base: CommitId, specs: &[CandidateSpec]) -> Vec<Assembled> {
        let mut on = base;
        let mut merges = Vec::new();
        for spec in specs {
            let assembly = self.candidate(on, spec);
            merges.push(Assembled { base: on, request: spec.request, assembly: assembly.clone() });
            if let Assembly::Clean { commit, .. } = assembly {
                on = commit;
            }
        }
        merges
    }

    /// The merge commit of a batch.
    pub(crate) fn roll_up(&mut self, rollup: &Rollup) -> CommitId {
        let mut members = self.first_parents(rollup.top, Some(rollup.base));
        members.reverse();
        let members: Vec<String> = members.iter().map(|c| self.name(*c)).collect();
        let (tree, name) = (self.tree(rollup.top), format!("[{}]", members.join(" ")));
        self.commit_tree(&[rollup.base, rollup.top], tree, &rollup.message, &name)
    }

    fn candidate(&mut self, base: CommitId, spec: &CandidateSpec) -> Assembly {
        let by = MergedBy::Memory;
        if self.contains(base, spec.head) {
            return Assembly::Clean { commit: base, tree: self.tree(base), by };
        }
        match self.merge_files(base, spec.head) {
            Err(paths) => {
                Assembly::Conflict { detail: format!("conflict in {}", paths.join(", ")), paths, hunk: None }
            }
            Ok(files) => {
                let tree = self.tree_of(files);
                let name = change_name(&self.name(spec.head)).to_owned();
                let commit = self.commit_tree(&[base, spec.head], tree, &spec.message, &name);
                Assembly::Clean { commit, tree, by }
            }
        }
    }

    /// What a fetch of a branch at `found` finds, seen from `tip`.
    pub(crate) fn inspect(
        &self,
        found: Option<CommitId>,
        announced: Option<CommitId>,
        tip: CommitId,
    ) -> Inspection {
        let Some(head) = found else { return Inspection::BranchMissing };
        if announced.is_some_and(|c| c != head) {
            return Inspection::HeadMoved { found: head };
        }
        let Some(merge_base) = self.merge_base(head, tip) else {
            return Inspection::Unusable { why: "it has no history in common with the target".to_owned() };
        };
        let (was, is) = (self.files(merge_base), self.files(head));
        let regions: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        let changed: Vec<&String> = regions.into_iter().filter(|r| was.get(*r) != is.get(*r)).collect();
        let files: BTreeSet<String> = changed.iter().map(|r| path_of(r).to_owned()).collect();
        Inspection::Pinned {
            head,
            merge_base,
            size: ChangeSize {
                lines: u64::try_from(changed.len()).unwrap_or(u64::MAX),
                files: u32::try_from(files.len()).unwrap_or(u32::MAX),
            },
            files: files.into_iter().collect(),
            contained: self.contains(tip, head),
        }
    }
}

/// As good as random, and the same each time.
fn sum(head: CommitId) -> u32 {
    head.to_string().into_bytes().into_iter().map(u32::from).sum()
}

fn path_of(region: &str) -> &str {
    region.split_once(':').map_or(region, |(path, _)| path)
}

/// Heads are called `A`, then `A'2`, `A'3`; what lands is called `A`.
pub(crate) fn change_name(head: &str) -> &str {
    head.split_once('\'').map_or(head, |(name, _)| name)
}
