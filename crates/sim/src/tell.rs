mod agents;
mod expect;
mod hands;

use std::collections::{BTreeMap, BTreeSet};

use yardmaster_protocol::{
    BranchName, CommitId, Entry, Event, EventBody, Fact, Gate, GateJob, Millis, PROJECT_FILE, RequestId,
    RunId,
};
use yardmaster_queue::{GateRule, Input, Policy, Queue};

use crate::gate::{GateRules, rules};
use crate::git::{Files, Git};
use crate::remote::Remote;
use crate::story::{Change, Line, RedRule, Story, Tested, Verb};

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

    fn tip(&self) -> Result<CommitId, String> {
        self.remote.branches.get(&self.main).copied().ok_or_else(|| "main is gone".to_owned())
    }

    fn head(&self, name: &str) -> Result<CommitId, String> {
        let heads = self.heads.get(name).and_then(|h| h.last());
        heads.copied().ok_or_else(|| format!("there is no change {name}"))
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

    fn needs_life(&self) -> Result<(), String> {
        if self.dead { Err("the daemon is dead: `restart` comes first".to_owned()) } else { Ok(()) }
    }
}

fn change_of(branch: &BranchName) -> String {
    branch.as_str().trim_start_matches("work/").to_owned()
}

/// The word that a plain enum has on the wire.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}
