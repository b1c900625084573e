//! The product's own planner, `step` and `plan` as they are, in virtual time: announcements, merges, pushes and
//! looks cost nothing, runs take their time on the slots that there are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::rc::Rc;

use serde_json::{Map, Value, json};
use yardmaster_protocol::{
    Assembled, Assembly, BranchName, CandidateSpec, ChangeSize, CommitId, Fact, GateJob, Inspection,
    IntakeSeq, LandOutcome, MergedBy, Millis, Movement, ObjectId, Project, RequestId, RunId, RunOutcome,
    RunReport, Sighting, TreeId,
};
use yardmaster_queue::{Input, Order, Policy, Queue};

use crate::rng::{Rng, digest};

use super::outcome::Outcome;
use super::set::Set;
use super::trace::Change;
use super::world::MINUTE;

/// What a commit of this world brings onto the root.
#[derive(Clone)]
struct Content {
    changes: Rc<Set>,
    red: bool,
}

/// How the world around the product is.
pub(crate) struct Site {
    pub(crate) policy: Policy,
    pub(crate) project: Project,
    pub(crate) slots: usize,
    /// The chance that a green run is told to be red.
    pub(crate) flake: f64,
    pub(crate) flakes: Rng,
}

/// What an agent does when its request fails; given what failed and when, another change to announce.
pub(crate) type Mend<'a> = dyn FnMut(&Change, usize, u64) -> Option<Change> + 'a;

struct Job {
    change: Option<usize>,
    tree: TreeId,
    red: bool,
    took: u64,
    started: Option<u64>,
}

struct Life<'a> {
    site: Site,
    changes: Vec<Change>,
    mend: &'a mut Mend<'a>,
    room: usize,
    queue: Queue,
    now: u64,
    arrivals: BinaryHeap<Reverse<(u64, usize)>>,
    ends: BinaryHeap<Reverse<(u64, String)>>,
    commits: BTreeMap<CommitId, Content>,
    tip: CommitId,
    /// Which change each request is, by the request's number.
    announced: Vec<usize>,
    jobs: BTreeMap<RunId, Job>,
    waiting: VecDeque<RunId>,
    busy: usize,
    dropped: BTreeSet<(Option<usize>, TreeId)>,
    landed: Set,
    outcome: Outcome,
}

/// Lives until everything that was announced has ended.
pub(crate) fn live(changes: Vec<Change>, room: usize, site: Site, mend: &mut Mend<'_>) -> Outcome {
    let root = CommitId(ObjectId(digest(&[b"root"])));
    let content = Content { changes: Rc::new(Set::with_room(room)), red: false };
    let arrivals = changes.iter().enumerate().map(|(j, c)| Reverse((c.at, j))).collect();
    let mut life = Life {
        site,
        changes,
        mend,
        room,
        queue: Queue::new(),
        now: 0,
        arrivals,
        ends: BinaryHeap::new(),
        commits: BTreeMap::from([(root, content)]),
        tip: root,
        announced: Vec::new(),
        jobs: BTreeMap::new(),
        waiting: VecDeque::new(),
        busy: 0,
        dropped: BTreeSet::new(),
        landed: Set::with_room(room),
        outcome: Outcome::default(),
    };
    life.look();
    life.run();
    life.outcome.turnarounds.sort_by(f64::total_cmp);
    life.outcome
}

impl Life<'_> {
    fn run(&mut self) {
        loop {
            let arrival = self.arrivals.peek().map(|Reverse((at, _))| *at);
            let end = self.ends.peek().map(|Reverse((at, _))| *at);
            let Some(now) = arrival.into_iter().chain(end).min() else { break };
            self.now = now;
            while let Some(Reverse((at, run))) = self.ends.pop() {
                if at > now {
                    self.ends.push(Reverse((at, run)));
                    break;
                }
                self.end(&run);
            }
            while let Some(Reverse((at, change))) = self.arrivals.pop() {
                if at > now {
                    self.arrivals.push(Reverse((at, change)));
                    break;
                }
                self.announce(change);
            }
            self.act();
        }
        assert_eq!(self.queue.pending(), 0, "something never ended");
    }

    fn target(&self) -> BranchName {
        self.site.policy.default_target.clone()
    }

    fn sighting(&self, movement: Movement, contains: Vec<CommitId>) -> Sighting {
        let tree = self.tree(self.tip);
        Sighting { tip: self.tip, tree, movement, contains, project_file: None, lost: Vec::new() }
    }

    fn look(&mut self) {
        let sighting = self.sighting(Movement::First, Vec::new());
        let project = Ok(self.site.project.clone());
        self.input(Input::Seen { target: self.target(), known: None, sighting, project });
    }

    fn announce(&mut self, change: usize) {
        let c = &self.changes[change];
        let agent = format!("agent-{}", c.agent);
        let mut info = Map::new();
        info.insert("agent".to_owned(), json!(agent));
        info.insert("branch".to_owned(), json!(format!("work/{change}")));
        info.insert("requirement".to_owned(), json!(format!("REQ-{change}")));
        info.insert("commit".to_owned(), json!(head(change)));
        info.extend(c.confidence.map(|p| ("confidence".to_owned(), json!(p))));
        let message = json!({"type": "ready_to_merge", "merge_info": Value::Object(info)});
        self.announced.push(change);
        let intake = IntakeSeq(self.announced.len() as u64);
        let (subject, payload) = (format!("work.integration.{agent}"), message.to_string().into_bytes());
        let published = Millis(self.now);
        self.input(Input::Message { intake, subject, published, traceparent: None, payload });
    }

    /// Whatever takes no time, until the plan has nothing more of it; then the runs.
    fn act(&mut self) {
        loop {
            let plan = self.queue.plan(&self.site.policy);
            let (mut jobs, mut merges) = (Vec::new(), Vec::new());
            let mut done = false;
            for order in plan.orders {
                match order {
                    Order::Test(job) => jobs.push(job),
                    Order::Assemble { base, specs, .. } => merges.extend(self.assemble(base, &specs)),
                    other => {
                        self.at_once(other);
                        done = true;
                    }
                }
            }
            // All of one plan together: one thing learned, not one for each.
            if !merges.is_empty() {
                self.input(Input::Assembled { target: self.target(), merges });
                done = true;
            }
            if !done {
                self.match_jobs(jobs);
                return;
            }
        }
    }

    fn at_once(&mut self, order: Order) {
        match order {
            Order::Pin { asks, .. } => {
                let found = asks.iter().map(|ask| (ask.request, self.inspect(ask.request))).collect();
                self.input(Input::Inspected(found));
            }
            Order::Compare { target, tip, requests } => {
                let (conflicts, with_tip) = (Vec::new(), Vec::new());
                self.input(Input::Compared { target, tip, requests, conflicts, with_tip });
            }
            // Nothing here is source code: nobody meets anybody.
            Order::ReadDefinitions { target, requests, .. } => {
                self.input(Input::DefinitionsRead {
                    target,
                    requests,
                    meetings: Vec::new(),
                    unread: Vec::new(),
                });
            }
            Order::RollUp { target, rollup } => {
                let (base, top) = (rollup.base, rollup.top);
                let commit = CommitId(ObjectId(digest(&[b"roll", &base.0.0, &top.0.0])));
                let content = self.commits.get(&top).cloned();
                self.commits.extend(content.map(|content| (commit, content)));
                self.input(Input::RolledUp { target, base, top, commit });
            }
            Order::Land { target, landing } => {
                assert_eq!(landing.from, self.tip, "a push from somewhere else");
                self.tip = landing.to;
                let contains = landing.requests.iter().map(|(_, commit)| *commit).collect();
                let seen = self.sighting(Movement::Forward, contains);
                let project = Ok(self.site.project.clone());
                self.input(Input::LandEnded {
                    target,
                    to: landing.to,
                    outcome: LandOutcome::Landed { seen },
                    project,
                });
            }
            Order::Assemble { .. } | Order::Test(_) => {}
        }
    }

    fn change_of(&self, request: RequestId) -> usize {
        let place = usize::try_from(request.0).unwrap_or_default().wrapping_sub(1);
        self.announced.get(place).copied().unwrap_or_default()
    }

    fn inspect(&self, request: RequestId) -> Inspection {
        let change = self.change_of(request);
        let files = self.changes[change].files.clone();
        let count = u32::try_from(files.len()).unwrap_or(u32::MAX);
        Inspection::Pinned {
            head: head(change),
            merge_base: CommitId(ObjectId(digest(&[b"root"]))),
            size: ChangeSize { lines: 1, files: count },
            files,
            contained: false,
        }
    }

    fn assemble(&mut self, base: CommitId, specs: &[CandidateSpec]) -> Vec<Assembled> {
        let mut on = base;
        let mut merges = Vec::with_capacity(specs.len());
        for spec in specs {
            let assembly = self.merge(on, spec.request);
            merges.push(Assembled { base: on, request: spec.request, assembly: assembly.clone() });
            if let Assembly::Clean { commit, .. } = assembly {
                on = commit;
            }
        }
        merges
    }

    fn merge(&mut self, base: CommitId, request: RequestId) -> Assembly {
        let change = self.change_of(request);
        let it = &self.changes[change];
        let Some(beneath) = self.commits.get(&base) else {
            return Assembly::Conflict { paths: Vec::new(), detail: "no such base".to_owned(), hunk: None };
        };
        if beneath.changes.meets(&it.unmergeable) {
            let paths = it.files.first().cloned().into_iter().collect();
            return Assembly::Conflict { paths, detail: "conflict".to_owned(), hunk: None };
        }
        let red = beneath.red || !it.good || beneath.changes.meets(&it.red_with);
        let mut changes = (*beneath.changes).clone();
        changes.insert(change);
        let commit = CommitId(ObjectId(digest(&[&base.0.0, &change.to_be_bytes()])));
        self.commits.insert(commit, Content { changes: Rc::new(changes), red });
        Assembly::Clean { commit, tree: self.tree(commit), by: MergedBy::Memory }
    }

    /// The same changes are the same tree, in whatever order.
    fn tree(&self, commit: CommitId) -> TreeId {
        let bytes = self.commits.get(&commit).map(|c| c.changes.bytes()).unwrap_or_default();
        TreeId(ObjectId(digest(&[&bytes])))
    }

    fn match_jobs(&mut self, jobs: Vec<GateJob>) {
        let wanted: BTreeSet<&RunId> = jobs.iter().map(|j| &j.run).collect();
        let gone: Vec<RunId> = self.jobs.keys().filter(|run| !wanted.contains(run)).cloned().collect();
        for run in gone {
            self.drop_run(&run);
        }
        for job in jobs {
            if self.jobs.contains_key(&job.run) {
                continue;
            }
            let change = job.request.map(|r| self.change_of(r));
            let red = self.commits.get(&job.candidate).is_none_or(|c| c.red);
            let red = red || self.site.flakes.happens(self.site.flake);
            let took = change.map_or(MINUTE, |c| self.changes[c].duration);
            self.outcome.repeated += usize::from(self.dropped.contains(&(change, job.tree)));
            self.jobs.insert(job.run.clone(), Job { change, tree: job.tree, red, took, started: None });
            self.waiting.push_back(job.run);
        }
        while self.busy < self.site.slots {
            let Some(run) = self.waiting.pop_front() else { break };
            let Some(job) = self.jobs.get_mut(&run) else { continue };
            job.started = Some(self.now);
            self.busy += 1;
            self.outcome.peak = self.outcome.peak.max(self.busy);
            self.outcome.builds += 1;
            self.ends.push(Reverse((self.now + job.took, run.to_string())));
        }
    }

    fn drop_run(&mut self, run: &RunId) {
        let Some(job) = self.jobs.remove(run) else { return };
        if job.started.is_some() {
            self.busy -= 1;
            self.outcome.aborted += 1;
            self.dropped.insert((job.change, job.tree));
        }
    }

    fn end(&mut self, run: &str) {
        let Ok(run) = RunId::new(run.to_owned()) else { return };
        let Some(job) = self.jobs.remove(&run) else { return };
        self.busy -= 1;
        let (step, log_tail) = ("gate".to_owned(), String::new());
        let outcome = match job.red {
            true => RunOutcome::Red { step, exit_code: Some(1), log_tail },
            false => RunOutcome::Green,
        };
        let started = Millis(job.started.unwrap_or_default());
        let report = RunReport {
            run,
            runner: "sim/1".to_owned(),
            outcome,
            started,
            ms: job.took,
            steps: Vec::new(),
            skipped: Vec::new(),
        };
        self.input(Input::RunEnded(report));
    }

    fn input(&mut self, input: Input) {
        let step = self.queue.step(Millis(self.now), &self.site.policy, input);
        for fact in step.entry.facts {
            match fact {
                Fact::Landed { request, .. } => self.has_landed(request),
                Fact::Failed { request, .. } => self.has_failed(request),
                Fact::Refused { refusal, .. } => panic!("refused: {refusal:?}"),
                _ => {}
            }
        }
    }

    fn has_landed(&mut self, request: RequestId) {
        let change = self.change_of(request);
        let it = &self.changes[change];
        let breaks = !it.good || it.red_with.meets(&self.landed);
        self.outcome.violations += usize::from(breaks);
        self.outcome.decided += 1;
        self.outcome.turnarounds.push((self.now - it.first) as f64 / MINUTE as f64);
        self.landed.insert(change);
    }

    fn has_failed(&mut self, request: RequestId) {
        let change = self.change_of(request);
        self.outcome.decided += 1;
        let more = (self.mend)(&self.changes[change], change, self.now);
        if let Some(more) = more.filter(|_| self.changes.len() < self.room) {
            self.arrivals.push(Reverse((more.at, self.changes.len())));
            self.changes.push(more);
        }
    }
}

fn head(change: usize) -> CommitId {
    CommitId(ObjectId(digest(&[b"head", &change.to_be_bytes()])))
}
