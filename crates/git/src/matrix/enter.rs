use std::collections::HashSet;
use std::sync::Arc;

use git2::{Odb, Repository};
use yardmaster_protocol::{CommitId, RequestId};

use super::oracle::Answer;
use super::request::{Reader, Request, Weighed, forks};
use super::{Key, MAX_MEETINGS, Matrix, Standing, Verdict};
use crate::objects::commit_id;
use crate::{GitError, Mirror};

impl Matrix {
    /// Takes requests in, without asking git.
    pub(super) fn enter(
        &mut self,
        mirror: &Mirror,
        requests: &[(RequestId, CommitId)],
    ) -> Result<(), GitError> {
        mirror.with_repository(|repo| {
            let odb = repo.odb()?;
            let mut read = Vec::with_capacity(requests.len());
            for (id, head) in requests {
                self.remove(*id);
                let tip = self.tip;
                let mut reader = self.reader(repo, &odb);
                let request = reader.request(*head, tip)?;
                read.push((reader.history.time(repo, request.fork())?, *id, request));
            }
            // Whoever comes later has mostly forked later, and that is the quick way round.
            read.sort_by_key(|(time, id, _)| (*time, *id));
            for (_, id, request) in read {
                self.meet_all(repo, &odb, id, &request)?;
                self.owners.enter(id, &request);
                self.requests.insert(id, request);
                self.weigh_target(repo, &odb, id)?;
            }
            Ok(())
        })
    }

    /// A request some of whose commits have landed, or whose target was set back, forks elsewhere now. How
    /// it merges with others does not depend on that.
    pub(super) fn read_again(
        &mut self,
        repo: &Repository,
        odb: &Odb<'_>,
        id: RequestId,
    ) -> Result<(), GitError> {
        let Some(old) = self.requests.get(&id) else { return Ok(()) };
        let (head, tip) = (commit_id(old.head), self.tip);
        let request = self.reader(repo, odb).request(head, tip)?;
        if let Some(old) = self.requests.remove(&id) {
            self.owners.leave(id, &old);
        }
        self.owners.enter(id, &request);
        self.requests.insert(id, request);
        Ok(())
    }

    fn meet_all(
        &mut self,
        repo: &Repository,
        odb: &Odb<'_>,
        id: RequestId,
        request: &Request,
    ) -> Result<(), GitError> {
        let kin = self.owners.kin(request);
        let others = forks(&self.requests);
        let mut reader = Reader { repo, odb, store: &mut self.store, history: &mut self.history };
        let older = match request.fork() {
            Some(fork) => reader.history.contained(repo, fork, &others)?,
            None => HashSet::new(),
        };
        let mut met = Vec::new();
        for (other, theirs) in &self.requests {
            self.counters.weighed += 1;
            match reader.pair(request, theirs, kin.contains(other), &older)? {
                Weighed::Clean(paths) if paths.is_empty() => {}
                weighed => met.push((*other, weighed)),
            }
        }
        for (i, (other, weighed)) in met.into_iter().enumerate() {
            if i < MAX_MEETINGS {
                let key = Key::Pair(id.min(other), id.max(other));
                let standing = self.standing(key, weighed);
                self.keep_pair(id, other, standing);
            } else {
                *self.crowded.entry(id).or_default() += 1;
            }
        }
        Ok(())
    }

    pub(super) fn weigh_target(
        &mut self,
        repo: &Repository,
        odb: &Odb<'_>,
        id: RequestId,
    ) -> Result<(), GitError> {
        let key = Key::Target(id);
        self.open.remove(&key);
        let Some(request) = self.requests.get(&id) else { return Ok(()) };
        let mut reader = Reader { repo, odb, store: &mut self.store, history: &mut self.history };
        self.counters.weighed += 1;
        let weighed = reader.against(request, self.tip)?;
        let standing = weighed.map(|weighed| self.standing(key, weighed));
        self.targets.insert(id, standing);
        Ok(())
    }

    fn standing(&mut self, key: Key, weighed: Weighed) -> Standing {
        match weighed {
            Weighed::Clean(paths) if paths.is_empty() => Standing { verdict: Verdict::Apart, paths },
            Weighed::Clean(paths) => Standing { verdict: Verdict::Overlap, paths },
            Weighed::Unrelated => Standing { verdict: Verdict::Conflict, paths: Vec::new() },
            Weighed::Asked(question, paths) => {
                self.counters.left_to_git += 1;
                self.open.insert(key, question);
                Standing { verdict: Verdict::Unsettled, paths }
            }
        }
    }

    pub(super) fn answered(&mut self, key: Key, answer: &Answer) {
        let now = |standing: &Standing| match answer {
            Some(paths) => Standing { verdict: Verdict::Conflict, paths: paths.clone() },
            None if standing.paths.is_empty() => Standing { verdict: Verdict::Apart, paths: Vec::new() },
            None => Standing { verdict: Verdict::Overlap, paths: standing.paths.clone() },
        };
        match key {
            Key::Target(id) => {
                if let Some(Some(standing)) = self.targets.get_mut(&id) {
                    *standing = now(standing);
                }
            }
            Key::Pair(a, b) => {
                let Some(known) = self.pairs.get(&a).and_then(|meetings| meetings.get(&b)) else { return };
                let standing = now(known);
                if standing.verdict == Verdict::Apart {
                    self.drop_pair(a, b);
                } else {
                    self.keep_pair(a, b, standing);
                }
            }
        }
    }

    fn keep_pair(&mut self, a: RequestId, b: RequestId, standing: Standing) {
        let standing = Arc::new(standing);
        self.pairs.entry(a).or_default().insert(b, Arc::clone(&standing));
        self.pairs.entry(b).or_default().insert(a, standing);
    }

    fn drop_pair(&mut self, a: RequestId, b: RequestId) {
        for (one, other) in [(a, b), (b, a)] {
            if let Some(meetings) = self.pairs.get_mut(&one) {
                meetings.remove(&other);
            }
        }
    }

    fn reader<'a>(&'a mut self, repo: &'a Repository, odb: &'a Odb<'a>) -> Reader<'a> {
        Reader { repo, odb, store: &mut self.store, history: &mut self.history }
    }
}
