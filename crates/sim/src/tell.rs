use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use yardmaster_protocol::{
    BranchName, CommitId, Entry, Event, EventBody, Fact, Gate, GateJob, IntakeSeq, LandOutcome, Landing,
    Millis, PROJECT_FILE, RequestId, RunId, RunOutcome, RunReport,
};
use yardmaster_queue::{GateRule, Input, Order, Policy, Queue};

use crate::gate::{GateRules, change_region, fix_region, rules};
use crate::git::{Files, Git, change_name};
use crate::remote::{Pushed, Remote};
use crate::story::{Change, Edit, Line, RedRule, Story, Tested, Verb};

const ROUNDS: usize = 10_000;

/// Tells a story to the queue with toys for hands.
///
/// # Errors
/// The first line that does not come true: what was expected, and what is.
pub fn tell(story: &Story) -> Result<(), String> {
    let mut teller = Teller::new(story.first_rules());
    for line in &story.lines {
        teller.line(line).map_err(|why| format!("line {}: `{}`: {why}", line.number, line.text))?;
    }
    Ok(())
}

struct Teller {
    git: Git,
    remote: Remote,
    rules: GateRules,
    policy: Policy,
    queue: Queue,
    journal: Vec<Entry>,
    now: u64,
    messages: u64,
    reviews: u64,
    main: BranchName,
    changes: BTreeMap<String, Change>,
    heads: BTreeMap<String, Vec<CommitId>>,
    running: BTreeMap<RunId, (GateJob, Tested)>,
    names: BTreeMap<RequestId, String>,
    events: BTreeMap<String, Vec<String>>,
    stopped: BTreeSet<String>,
    runs: u32,
    breaks: Option<(bool, bool)>,
    dead: bool,
}

fn branch(name: &str) -> Result<BranchName, String> {
    BranchName::new(name).map_err(|e| e.to_string())
}

impl Teller {
    fn new(first_rules: &str) -> Teller {
        let main = BranchName::new("main").unwrap_or_else(|e| unreachable!("{e}"));
        let mut policy = Policy::new(main.clone());
        policy.gate = GateRule::Fixed(Gate::command("gate"));
        let mut git = Git::default();
        let files = Files::from([(PROJECT_FILE.to_owned(), first_rules.to_owned())]);
        let base = git.commit(&[], files, "base");
        let remote = Remote { branches: [(main.clone(), base)].into(), ..Remote::default() };
        Teller {
            git,
            remote,
            rules: GateRules::default(),
            policy,
            queue: Queue::new(),
            journal: Vec::new(),
            now: 0,
            messages: 0,
            reviews: 0,
            main,
            changes: BTreeMap::new(),
            heads: BTreeMap::new(),
            running: BTreeMap::new(),
            names: BTreeMap::new(),
            events: BTreeMap::new(),
            stopped: BTreeSet::new(),
            runs: 0,
            breaks: None,
            dead: false,
        }
    }

    fn line(&mut self, line: &Line) -> Result<(), String> {
        self.now += 1_000;
        let is_policy = line.verb.is_policy();
        let is_first = self.queue.tip(&self.main).is_none();
        if is_first && matches!(line.verb, Verb::Rules(_)) {
            return Ok(());
        }
        if is_first && !is_policy {
            self.look();
        }
        match &line.verb {
            Verb::Window { min, max } => {
                (self.policy.window_min, self.policy.window_max) = (*min, *max);
                Ok(())
            }
            Verb::Overlap(overlap) => {
                self.policy.overlap = *overlap;
                Ok(())
            }
            Verb::Batch { most, slots } => {
                (self.policy.batch_max, self.policy.slots) = (*most, *slots);
                Ok(())
            }
            Verb::Cycles(cycles) => {
                self.policy.cycles = *cycles;
                Ok(())
            }
            Verb::Guarantee(guarantee) => {
                self.policy.guarantee = *guarantee;
                Ok(())
            }
            Verb::Red(rule) => {
                self.rule(rule);
                Ok(())
            }
            Verb::Refuse(name) => {
                self.remote.refused.insert(name.clone());
                Ok(())
            }
            Verb::Break { kills, arrived } => {
                self.breaks = Some((*kills, *arrived));
                Ok(())
            }
            Verb::Remote { silent } => {
                self.remote.silent = *silent;
                self.look();
                self.pump()
            }
            Verb::Restart => self.restart(),
            Verb::Look => {
                self.look();
                self.pump()
            }
            Verb::Finish(names) => names.iter().try_for_each(|name| self.finish(name)),
            Verb::Change(_)
            | Verb::Announce { .. }
            | Verb::Push { .. }
            | Verb::Delete(_)
            | Verb::Withdraw(_)
            | Verb::Promote(_)
            | Verb::Rules(_)
            | Verb::Review { .. }
            | Verb::Hotfix { .. } => self.agents_act(&line.verb),
            Verb::Testing(_) | Verb::Stopped(_) | Verb::Main(_) | Verb::Events { .. } | Verb::Runs(_) => {
                self.expect(&line.verb)
            }
        }
    }

    fn rule(&mut self, rule: &RedRule) {
        match rule {
            RedRule::Alone(a) => drop(self.rules.red.replace(a.clone())),
            RedRule::With(a, b) => drop(self.rules.together.replace((a.clone(), b.clone()))),
            RedRule::Unless(a, b) => drop(self.rules.unless.insert(a.clone(), b.clone())),
        }
    }

    fn agents_act(&mut self, verb: &Verb) -> Result<(), String> {
        match verb {
            Verb::Change(change) => self.change(change),
            Verb::Announce { names, head } => names.iter().try_for_each(|n| self.announce(n, *head)),
            Verb::Push { name, edits, fixed } => self.push_again(name, edits, *fixed),
            Verb::Delete(name) => {
                self.remote.branches.remove(&branch(&format!("work/{name}"))?);
                Ok(())
            }
            Verb::Withdraw(names) => names.iter().try_for_each(|name| {
                let agent = self.agent(name);
                let info = json!({"agent": agent, "branch": format!("work/{name}")});
                self.publish(&agent, json!({"type": "withdraw", "merge_info": info}).to_string())
            }),
            Verb::Promote(names) => {
                self.needs_life()?;
                let found = names.iter().filter_map(|name| self.queue.find(&format!("work/{name}")));
                let (requests, who, why) = (found.collect(), "operator".to_owned(), "urgent".to_owned());
                self.input(Input::Promote { requests, who, why });
                self.pump()
            }
            Verb::Rules(text) => {
                let tip = self.tip()?;
                let mut files = (*self.git.files(tip)).clone();
                files.insert(PROJECT_FILE.to_owned(), text.clone());
                let commit = self.git.commit(&[tip], files, "rules");
                self.remote.branches.insert(self.main.clone(), commit);
                Ok(())
            }
            Verb::Review { name, head, verdict, by } => self.review(name, *head, verdict, by),
            Verb::Hotfix { name, edits, merges, mends } => self.hotfix(name, edits, merges.as_deref(), mends),
            _ => Ok(()),
        }
    }

    fn agent(&self, name: &str) -> String {
        self.changes.get(name).and_then(|c| c.by.clone()).unwrap_or_else(|| "agent".to_owned())
    }

    fn tip(&self) -> Result<CommitId, String> {
        self.remote.branches.get(&self.main).copied().ok_or_else(|| "main is gone".to_owned())
    }

    fn head(&self, name: &str) -> Result<CommitId, String> {
        let heads = self.heads.get(name).and_then(|h| h.last());
        heads.copied().ok_or_else(|| format!("there is no change {name}"))
    }

    fn change(&mut self, change: &Change) -> Result<(), String> {
        let (name, tip) = (&change.name, self.tip()?);
        let mut head = tip;
        if !change.empty {
            let mut files = (*self.git.files(tip)).clone();
            files.insert(change_region(name), name.clone());
            edit(&mut files, &change.edits, name);
            files.extend(change.mends.iter().map(|other| (fix_region(other), name.clone())));
            head = self.git.commit(&[tip], files, name);
        }
        self.remote.branches.insert(branch(&format!("work/{name}"))?, head);
        self.heads.insert(name.clone(), vec![head]);
        self.changes.insert(name.clone(), change.clone());
        Ok(())
    }

    fn push_again(&mut self, name: &str, edits: &[Edit], fixed: bool) -> Result<(), String> {
        let last = self.head(name)?;
        let heads = self.heads.entry(name.to_owned()).or_default();
        let called = format!("{name}'{}", heads.len() + 1);
        let mut files = (*self.git.files(last)).clone();
        files.insert(change_region(name), called.clone());
        edit(&mut files, edits, &called);
        if fixed {
            files.insert(fix_region(name), called.clone());
        }
        let head = self.git.commit(&[last], files, &called);
        heads.push(head);
        self.remote.branches.insert(branch(&format!("work/{name}"))?, head);
        Ok(())
    }

    fn hotfix(
        &mut self,
        name: &str,
        edits: &[Edit],
        merges: Option<&str>,
        mends: &[String],
    ) -> Result<(), String> {
        let tip = self.tip()?;
        let mut parents = vec![tip];
        let mut files = (*self.git.files(tip)).clone();
        if let Some(other) = merges {
            let head = self.head(other)?;
            parents.push(head);
            files = self.git.merge_files(tip, head).map_err(|paths| format!("conflict in {paths:?}"))?;
        }
        files.insert(change_region(name), name.to_owned());
        edit(&mut files, edits, name);
        files.extend(mends.iter().map(|other| (fix_region(other), name.to_owned())));
        let commit = self.git.commit(&parents, files, name);
        self.remote.branches.insert(self.main.clone(), commit);
        Ok(())
    }

    fn chosen(&self, name: &str, head: Option<usize>) -> Result<CommitId, String> {
        let heads = self.heads.get(name).map(Vec::as_slice).unwrap_or_default();
        let chosen = match head {
            Some(n) => n.checked_sub(1).and_then(|i| heads.get(i)),
            None => heads.last(),
        };
        chosen.copied().ok_or_else(|| format!("there is no such head of {name}"))
    }

    fn review(&mut self, name: &str, head: Option<usize>, verdict: &str, by: &str) -> Result<(), String> {
        self.needs_life()?;
        let review = json!({"reviewer": by, "head": self.chosen(name, head)?, "verdict": verdict});
        self.reviews += 1;
        let payload = json!({"type": "review", "review": review}).to_string().into_bytes();
        let (intake, subject) = (IntakeSeq(self.reviews), format!("work.reviews.{by}"));
        self.input(Input::Review { intake, subject, payload });
        self.pump()
    }

    fn announce(&mut self, name: &str, head: Option<usize>) -> Result<(), String> {
        let commit = self.chosen(name, head)?;
        let change = self.changes.get(name).cloned().unwrap_or_default();
        let agent = self.agent(name);
        let info = json!({
            "agent": agent, "branch": format!("work/{name}"), "commit": commit,
            "requirement": change.requirement.as_deref().unwrap_or(name),
            "depends_on": change.needs, "systems_touched": change.touches, "priority": change.priority,
        });
        self.publish(&agent, json!({"type": "ready_to_merge", "merge_info": info}).to_string())
    }

    fn publish(&mut self, agent: &str, payload: String) -> Result<(), String> {
        self.needs_life()?;
        self.messages += 1;
        let input = Input::Message {
            intake: IntakeSeq(self.messages),
            subject: format!("work.integration.{agent}"),
            published: Millis(self.now + self.messages),
            traceparent: None,
            payload: payload.into_bytes(),
        };
        self.input(input);
        self.pump()
    }

    fn input(&mut self, input: Input) -> bool {
        let step = self.queue.step(Millis(self.now), &self.policy, input);
        for fact in &step.entry.facts {
            self.note(fact);
        }
        for projected in &step.events {
            self.hear(&projected.event);
        }
        let news = !step.entry.facts.is_empty();
        if news {
            self.journal.push(step.entry);
        }
        news
    }

    fn note(&mut self, fact: &Fact) {
        if let Fact::Announced { request, announcement, .. } = fact {
            self.names.insert(*request, change_of(&announcement.branch));
        }
    }

    fn hear(&mut self, event: &Event) {
        let Some(about) = &event.about else { return };
        let token = event.body.token();
        let said = match &event.body {
            EventBody::MergeFailed(failure) => format!("{token}({})", word(&failure.cause)),
            EventBody::MergeBlocked { blockers, .. } => {
                let kinds: BTreeSet<String> = blockers.iter().map(|b| word(&b.kind)).collect();
                format!("{token}({})", kinds.into_iter().collect::<Vec<_>>().join(","))
            }
            EventBody::MergeTesting { .. } => {
                self.runs += 1;
                token.to_owned()
            }
            _ => token.to_owned(),
        };
        self.events.entry(change_of(&about.branch)).or_default().push(said);
    }

    fn look(&mut self) {
        if self.dead {
            return;
        }
        let known = self.queue.tip(&self.main);
        let asked = self.queue.landing_commits(&self.main);
        let target = self.main.clone();
        let input = match self.remote.look(&self.git, &target, known, &asked) {
            Some(sighting) => {
                let project = rules(&self.git.files(sighting.tip));
                Input::Seen { target, known, sighting, project }
            }
            None => Input::RemoteSilent { why: "it does not answer".to_owned() },
        };
        self.input(input);
    }

    fn restart(&mut self) -> Result<(), String> {
        self.dead = false;
        self.queue = Queue::new();
        for entry in &self.journal {
            self.queue.replay(entry);
        }
        self.look();
        self.pump()
    }

    /// Does all that the plan asks for, except to end runs, until it asks for nothing more.
    fn pump(&mut self) -> Result<(), String> {
        for _ in 0..ROUNDS {
            if self.dead || !self.work_once() {
                return Ok(());
            }
        }
        Err("the daemon never comes to rest".to_owned())
    }

    fn work_once(&mut self) -> bool {
        let orders = self.queue.plan(&self.policy).orders;
        let jobs: Vec<&GateJob> =
            orders.iter().filter_map(|o| if let Order::Test(job) = o { Some(job) } else { None }).collect();
        self.match_runs(&jobs);
        let of_tip = jobs.iter().find(|j| j.request.is_none()).map(|j| self.report(j));
        if let Some(report) = of_tip {
            return self.input(Input::RunEnded(report));
        }
        for order in orders {
            let news = match order {
                Order::Pin { tip, asks, .. } if !self.remote.silent => {
                    let found = asks.iter().map(|ask| {
                        let at = self.remote.branches.get(&ask.branch).copied();
                        (ask.request, self.git.inspect(at, ask.commit, tip))
                    });
                    let found = found.collect();
                    self.input(Input::Inspected(found))
                }
                Order::Pin { .. } => self.input(Input::RemoteSilent { why: "silent".to_owned() }),
                Order::Assemble { target, base, specs } => {
                    let merges = self.git.assemble(base, &specs);
                    self.input(Input::Assembled { target, merges })
                }
                Order::RollUp { target, rollup } => {
                    let commit = self.git.roll_up(&rollup);
                    self.input(Input::RolledUp { target, base: rollup.base, top: rollup.top, commit })
                }
                Order::Compare { target, tip, requests } => {
                    let (conflicts, with_tip) = self.git.compare(tip, &requests, &self.queue.heads(&target));
                    self.input(Input::Compared { target, tip, requests, conflicts, with_tip })
                }
                Order::ReadDefinitions { target, requests, .. } => self.input(Input::DefinitionsRead {
                    target,
                    requests,
                    meetings: Vec::new(),
                    unread: Vec::new(),
                }),
                Order::Test(_) => false,
                Order::Land { landing, .. } => self.land(&landing),
            };
            if news || self.dead {
                return true;
            }
        }
        false
    }

    fn match_runs(&mut self, jobs: &[&GateJob]) {
        let name = |r: &RequestId| self.names.get(r).cloned().unwrap_or_else(|| r.to_string());
        let gone: Vec<RunId> =
            self.running.keys().filter(|run| !jobs.iter().any(|j| j.run == **run)).cloned().collect();
        let mut started = Vec::new();
        for job in jobs.iter().filter(|j| !self.running.contains_key(&j.run)) {
            let Some(request) = job.request else { continue };
            let asked = self.journal.iter().rev().flat_map(|e| &e.facts).find_map(|f| match f {
                Fact::Testing { run, behind, .. } if *run == job.run => Some(behind),
                _ => None,
            });
            let on = asked.into_iter().flatten().map(&name).collect();
            started.push((job.run.clone(), ((*job).clone(), Tested { name: name(&request), on })));
        }
        for run in gone {
            self.stopped.extend(self.running.remove(&run).map(|(_, tested)| tested.name));
        }
        self.running.extend(started);
    }

    fn land(&mut self, landing: &Landing) -> bool {
        let (target, to) = (self.main.clone(), landing.to);
        let breaks = self.breaks.take();
        let unknown = LandOutcome::Unknown { why: "the connection broke".to_owned() };
        let mut outcome = unknown.clone();
        if !self.remote.silent && !matches!(breaks, Some((_, false))) {
            let pushed = self.remote.push(&self.git, &target, landing.from, to);
            let asked: Vec<CommitId> = landing.requests.iter().map(|(_, c)| *c).collect();
            let seen = self.remote.look(&self.git, &target, Some(landing.from), &asked);
            outcome = match (pushed, seen) {
                (Pushed::Taken, Some(seen)) => LandOutcome::Landed { seen },
                (Pushed::Moved, Some(seen)) => LandOutcome::Moved { seen },
                (Pushed::Declined(why), Some(seen)) => LandOutcome::Declined { why, seen },
                (_, None) => unknown.clone(),
            };
        }
        match breaks {
            Some((true, _)) => {
                self.dead = true;
                return false;
            }
            Some((false, _)) => outcome = unknown,
            None => {}
        }
        let project = self.tip().and_then(|tip| rules(&self.git.files(tip)));
        self.input(Input::LandEnded { target, to, outcome, project })
    }

    fn needs_life(&self) -> Result<(), String> {
        if self.dead { Err("the daemon is dead: `restart` comes first".to_owned()) } else { Ok(()) }
    }

    fn finish(&mut self, name: &str) -> Result<(), String> {
        self.needs_life()?;
        let found = self.running.iter().find(|(_, (_, tested))| tested.name == name);
        let (run, (job, _)) = found.ok_or_else(|| format!("{name} is not under test"))?;
        let (run, report) = (run.clone(), self.report(job));
        self.running.remove(&run);
        self.input(Input::RunEnded(report));
        self.pump()
    }

    /// How a run ends by the rules of the gate.
    fn report(&self, job: &GateJob) -> RunReport {
        let outcome = if self.rules.is_green(&self.git.files_of(job.tree), &job.gate) {
            RunOutcome::Green
        } else {
            RunOutcome::Red { step: "gate".to_owned(), exit_code: Some(1), log_tail: "red".to_owned() }
        };
        RunReport {
            run: job.run.clone(),
            runner: "toy/1".to_owned(),
            outcome,
            started: Millis(self.now),
            ms: 1_000,
            steps: Vec::new(),
            skipped: Vec::new(),
        }
    }

    fn expect(&mut self, verb: &Verb) -> Result<(), String> {
        match verb {
            Verb::Testing(expected) => {
                let sorted = |mut all: Vec<Tested>| {
                    all.sort();
                    all.iter().map(told).collect::<Vec<_>>().join(", ")
                };
                let found = self.running.values().map(|(_, tested)| tested.clone()).collect();
                same(&sorted(expected.clone()), &sorted(found))
            }
            Verb::Stopped(expected) => {
                let expected: BTreeSet<String> = expected.iter().cloned().collect();
                let found = std::mem::take(&mut self.stopped);
                same(&format!("{expected:?}"), &format!("{found:?}"))
            }
            Verb::Main(expected) => {
                let mut found: Vec<String> =
                    self.git.first_parents(self.tip()?, None).iter().map(|c| self.git.name(*c)).collect();
                found.reverse();
                let found: Vec<&str> = found.iter().map(|n| change_name(n)).collect();
                same(&expected.join(" "), &found.join(" "))
            }
            Verb::Events { name, events } => {
                let found = self.events.get(name).map(|e| e.join(" ")).unwrap_or_default();
                same(&events.join(" "), &found)
            }
            Verb::Runs(expected) => same(&expected.to_string(), &self.runs.to_string()),
            _ => Ok(()),
        }
    }
}

fn change_of(branch: &BranchName) -> String {
    branch.as_str().trim_start_matches("work/").to_owned()
}

fn edit(files: &mut Files, edits: &[Edit], value: &str) {
    files.extend(edits.iter().map(|e| (format!("{}:{}", e.file, e.line), value.to_owned())));
}

fn told(tested: &Tested) -> String {
    let on = if tested.on.is_empty() { "main".to_owned() } else { tested.on.join(" ") };
    format!("{} on {on}", tested.name)
}

fn same(expected: &str, found: &str) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("expected `{expected}`, found `{found}`")) }
}

/// The word that a plain enum has on the wire.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}
