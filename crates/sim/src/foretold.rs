//! What `explain` tells of what would be different, acted on: it has to come true.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use yardmaster_protocol::{
    Change, CommitId, Counterfactual, Explanation, Fact, Inspection, Millis, RequestId, RequestRow,
    announce_subject,
};
use yardmaster_queue::{Input, Queue};

use crate::daemon::Daemon;
use crate::git::Files;
use crate::ledger::End;
use crate::populate::policy;
use crate::rng::Rng;
use crate::violation::Violation;
use crate::world::{QUIET_AT, World};

const RULE: &str = "what is foretold comes true";
/// Of one hundred moments, so many are asked at.
const ASKED_AT: u64 = 4;
/// Requests that are asked about at one moment.
const ASKED_OF: usize = 3;
/// Until then somebody has landed, in milliseconds.
const PATIENCE: u64 = 1_500_000;

/// How often each kind of thing was told and tried.
pub type Told = BTreeMap<&'static str, u64>;

/// Lives the history of `seed`; now and then asks why somebody has not landed, and acts on every answer in a
/// world of its own.
///
/// # Errors
/// When an answer did not come true, or broke a rule of its own.
pub fn foretell(seed: u64) -> Result<Told, Violation> {
    let mut world = World::new(seed, policy(&mut Rng::new(seed ^ 0xabcd)), false);
    world.populate();
    let (mut rng, mut told) = (Rng::new(seed ^ 0xf0e7), Told::new());
    while let Some(happening) = world.next().filter(|_| world.now < QUIET_AT) {
        world.happen(happening)?;
        if rng.chance(ASKED_AT) {
            world.ask(&mut rng, &mut told)?;
        }
    }
    Ok(told)
}

impl World {
    fn ask(&self, rng: &mut Rng, told: &mut Told) -> Result<(), Violation> {
        let leads =
            |d: &Daemon| d.wakes_at <= self.now && d.position == self.journal.len() && d.batch.is_empty();
        let Some(epoch) = self.daemons.iter().find(|(_, d)| leads(d)).map(|(epoch, _)| *epoch) else {
            return Ok(());
        };
        let mut world = self.clone();
        world.calm();
        (world.forked, world.acting) = (true, epoch);
        let Some(daemon) = world.daemons.get(&epoch) else { return Ok(()) };
        let pending: Vec<RequestId> = daemon.queue.in_custody().collect();
        for _ in 0..ASKED_OF.min(pending.len()) {
            let Some(id) = pending.get(rng.index(pending.len())) else { continue };
            let explanation = world.explained(daemon, *id)?;
            *told.entry("explained").or_default() += 1;
            *told.entry("estimated").or_default() += u64::from(explanation.estimate.is_some());
            for foretold in &explanation.counterfactuals {
                world.act_on(*id, foretold, told).map_err(|v| {
                    Violation::new(v.rule, format!("at {}: {}; of {explanation:#?}", self.now, v.found))
                })?;
            }
        }
        Ok(())
    }

    /// An answer that keeps to its own rules, and changes nothing.
    fn explained(&self, daemon: &Daemon, id: RequestId) -> Result<Explanation, Violation> {
        let explain = |queue: &Queue| queue.explain(id, self.clock(), &daemon.policy);
        let before = daemon.queue.to_snapshot().unwrap_or_default();
        let explanation = explain(&daemon.queue);
        let same = daemon.queue.to_snapshot().unwrap_or_default() == before;
        Violation::unless(same, "a question changes nothing", || id.to_string())?;
        Violation::unless(
            explain(&daemon.queue) == explanation,
            "the same question, the same answer",
            || id.to_string(),
        )?;
        let Some(explanation) = explanation else {
            return Err(Violation::new("whoever is pending can be explained", id.to_string()));
        };
        let bytes = serde_json::to_vec(&explanation).map_or(usize::MAX, |b| b.len());
        let mut named: Vec<RequestId> = explanation.chain.iter().filter_map(|l| l.request).collect();
        named.sort_unstable();
        let links = named.len();
        named.dedup();
        let starts = explanation.chain.first().is_some_and(|l| l.request == Some(id));
        let short = explanation.chain.len() <= 12
            && explanation.chain.iter().all(|l| l.sentence.chars().count() <= 300 && !l.sentence.is_empty());
        let view = daemon.queue.request(id, self.clock(), &daemon.policy);
        // A long note is cut in an explanation.
        let agrees = view.is_some_and(|v| {
            let note = explanation.row.note.clone();
            v.row.note.starts_with(note.trim_end_matches('…'))
                && RequestRow { note, ..v.row } == explanation.row
        });
        let holds = starts && short && links == named.len() && bytes <= 16 * 1_024 && agrees;
        Violation::unless(holds, "an explanation keeps its own rules", || format!("{explanation:#?}"))?;
        Ok(explanation)
    }

    fn act_on(&self, id: RequestId, foretold: &Counterfactual, told: &mut Told) -> Result<(), Violation> {
        let mut world = self.clone();
        match foretold.change {
            Change::Withdraw { withdrawn } => {
                world.withdraw_one(withdrawn)?;
                world.stands(id, foretold, false)?;
                *told.entry("withdraw").or_default() += 1;
                if foretold.lands_next {
                    *told.entry("lands next").or_default() += 1;
                    return world.lands_next(id, told);
                }
            }
            Change::Promote => {
                let (who, why) = ("operator".to_owned(), "urgent".to_owned());
                world.input(Input::Promote { requests: vec![id], who, why })?;
                world.stands(id, foretold, false)?;
                *told.entry("promote").or_default() += 1;
                if foretold.lands_next {
                    return world.lands_next(id, told);
                }
            }
            Change::Priority { priority } => {
                let Some(head) = world.ledger.requests.get(&id).and_then(|r| r.head) else { return Ok(()) };
                world.withdraw_one(id)?;
                let new = world.announced_again(id, head, |info| info["priority"] = json!(priority))?;
                if let Some(new) = new.filter(|new| world.is_of_size(*new, id)) {
                    world.stands(new, foretold, false)?;
                    *told.entry("priority").or_default() += 1;
                }
            }
            Change::Rebase { over, of } => {
                let Some(head) = world.rebased(id, over) else { return Ok(()) };
                let depends = |info: &mut Value| {
                    let mut needs = info["depends_on"].as_array().cloned().unwrap_or_default();
                    needs.push(json!(of));
                    info["depends_on"] = Value::Array(needs);
                };
                if let Some(new) = world.announced_again(id, head, depends)? {
                    world.stands(new, foretold, true)?;
                    *told.entry("rebase").or_default() += 1;
                }
            }
        }
        Ok(())
    }

    fn withdraw_one(&mut self, request: RequestId) -> Result<(), Violation> {
        let branch = self.ledger.requests.get(&request).map(|r| r.announcement.branch.clone());
        self.withdrawn.extend(branch);
        self.input(Input::Withdraw { request, by: "person".to_owned() })
    }

    /// Where the acting daemon has it now is where it was told to be, or further in front.
    fn stands(&self, id: RequestId, foretold: &Counterfactual, or_better: bool) -> Result<(), Violation> {
        let daemon = self.daemons.get(&self.acting);
        let view = daemon.and_then(|d| d.queue.request(id, self.clock(), &d.policy));
        let holds = view.as_ref().is_some_and(|v| {
            let place = v.row.position == Some(foretold.position)
                || (or_better && v.row.position.is_some_and(|p| p < foretold.position));
            place && (v.row.state == "blocked") == foretold.blocked
        });
        Violation::unless(holds, RULE, || format!("{id} was to be so: {foretold:?}; it is so: {view:?}"))
    }

    /// The next of its target that lands is `id`, unless it ends otherwise or turns out red.
    fn lands_next(&mut self, id: RequestId, told: &mut Told) -> Result<(), Violation> {
        let landed = |world: &World| -> Vec<RequestId> {
            let target = world.ledger.requests.get(&id).map(|r| r.target.clone());
            let on_target = world.ledger.requests.iter().filter(|(_, r)| Some(&r.target) == target.as_ref());
            on_target
                .filter(|(_, r)| r.end == Some(End::Landed) && r.commit.is_some())
                .map(|(id, _)| *id)
                .collect()
        };
        let (before, until) = (landed(self), self.now + PATIENCE);
        while let Some(happening) = self.next().filter(|_| self.now < until) {
            self.happen(happening)?;
            let end = self.ledger.requests.get(&id).and_then(|r| r.end);
            let news: Vec<RequestId> = landed(self).into_iter().filter(|r| !before.contains(r)).collect();
            if news.contains(&id) || end == Some(End::Landed) {
                *told.entry("landed next").or_default() += 1;
                return Ok(());
            }
            if end.is_some() || self.is_blocked(id) {
                return Ok(());
            }
            Violation::unless(news.is_empty(), RULE, || format!("{id} lands next, but {news:?} landed"))?;
        }
        Ok(())
    }

    /// Some daemon sees that it is red, or does not merge.
    fn is_blocked(&self, id: RequestId) -> bool {
        let state = |d: &Daemon| d.queue.request(id, self.clock(), &d.policy).map(|v| v.row.state);
        self.daemons.values().any(|d| state(d).is_some_and(|state| state == "blocked"))
    }

    /// The branch of `id` with `over` merged into it, pushed.
    fn rebased(&mut self, id: RequestId, over: CommitId) -> Option<CommitId> {
        let record = self.ledger.requests.get(&id)?;
        let (head, branch) = (record.head?, record.announcement.branch.clone());
        let files = self.git.merge_files(over, head).unwrap_or_else(|_| {
            let (mut both, own): (Files, _) = ((*self.git.files(over)).clone(), self.git.files(head));
            let base = self.git.merge_base(over, head).map(|b| self.git.files(b)).unwrap_or_default();
            both.extend(
                own.iter().filter(|(k, v)| base.get(*k) != Some(*v)).map(|(k, v)| (k.clone(), v.clone())),
            );
            both
        });
        let name = format!("{}'9", crate::git::change_name(&self.git.name(head)));
        let merged = self.git.commit(&[head, over], files, &name);
        self.remote.branches.insert(branch, merged);
        Some(merged)
    }

    /// Announces a branch once more and takes it into custody at once; none where that is not possible any more.
    fn announced_again(
        &mut self,
        id: RequestId,
        head: CommitId,
        change: impl Fn(&mut Value),
    ) -> Result<Option<RequestId>, Violation> {
        let Some(record) = self.ledger.requests.get(&id) else { return Ok(None) };
        let (a, target) = (&record.announcement, record.target.clone());
        let (branch, subject) = (a.branch.clone(), announce_subject(&a.agent));
        let found = self.remote.branches.get(&branch).copied();
        let tip = self.daemons.get(&self.acting).and_then(|d| d.queue.tip(&target));
        let Some(tip) = tip.filter(|_| found == Some(head)) else { return Ok(None) };
        let mut info = json!(a);
        (info["commit"], info["target"]) = (json!(head), json!(target));
        change(&mut info);
        let inspection = self.git.inspect(found, Some(head), tip);
        if !matches!(&inspection, Inspection::Pinned { contained: false, .. }) {
            return Ok(None);
        }
        let published = self.server_clock();
        self.now += 1;
        let message = json!({"type": "ready_to_merge", "merge_info": info}).to_string().into_bytes();
        let seq = self.say(subject.clone(), message.clone());
        let last = self.ledger.requests.keys().next_back().copied();
        self.input(Input::Message {
            intake: seq,
            subject,
            published: Millis(published.0 + 1),
            traceparent: None,
            payload: message,
        })?;
        let new = self.daemons.get(&self.acting).and_then(|d| d.queue.arriving().into_keys().next_back());
        let Some(new) = new.filter(|new| Some(*new) > last) else { return Ok(None) };
        self.pins.insert(new);
        self.input(Input::Inspected(vec![(new, inspection)]))?;
        let lives = self.daemons.get(&self.acting).is_some_and(|d| d.queue.in_custody().any(|r| r == new));
        Ok(lives.then_some(new))
    }

    /// Whether two were found to be of the same size.
    fn is_of_size(&self, new: RequestId, old: RequestId) -> bool {
        let found = |id: RequestId| {
            let batch = self.daemons.get(&self.acting).into_iter().flat_map(|d| d.news());
            self.journal.iter().chain(batch).flat_map(|e| &e.facts).find_map(|fact| match fact {
                Fact::Pinned { request, size, .. } if *request == id => Some(*size),
                _ => None,
            })
        };
        found(new).is_some() && found(new) == found(old)
    }
}
