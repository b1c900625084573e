use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::unix::pipe;
use tokio::time::Instant;
use yardmaster_sim::story::{Change, Edit, RedRule, Story, Tested, Verb};
use yardmaster_tests::{Change as Commit, GateKeeper, House, PATIENCE, PROJECT, Run, make_pipe};

/// How soon the published events have to be what a line says.
const SOON: Duration = Duration::from_secs(5);

/// Tells one story in a house of its own. What is pushed and announced, the gate and the push are real; the
/// test gives the verdicts, and it waits between lines until the daemon has nothing more to do.
pub(crate) struct Teller {
    pub(crate) house: House,
    gate: GateKeeper,
    flags: Vec<String>,
    env: Vec<(&'static str, String)>,
    changes: BTreeMap<String, Change>,
    heads: BTreeMap<String, Vec<String>>,
    hotfixes: BTreeMap<String, String>,
    rules: Vec<RedRule>,
    live: Vec<Run>,
    stopped: BTreeSet<String>,
    /// The hook of a push that is to be killed says here that it is there,
    there: pipe::Receiver,
    silent: bool,
    dead: bool,
}

/// One push may be broken by a file in `break/`; every push is held against the list in `refused`.
const PRE_RECEIVE: &str = r#"#!/bin/sh
while read -r old new ref; do
  while read -r name; do
    if git cat-file -e "$new:changes/$name" 2> /dev/null; then echo "$name is refused" >&2; exit 1; fi
  done < refused
done
if rm break/cut-before 2> /dev/null; then kill -9 $PPID; fi
if rm break/kill-before 2> /dev/null; then echo x > there; read -r on < on; exit 1; fi
exit 0
"#;
const POST_RECEIVE: &str = r#"#!/bin/sh
if rm break/cut-after 2> /dev/null; then kill -9 $PPID; fi
if rm break/kill-after 2> /dev/null; then echo x > there; read -r on < on; fi
exit 0
"#;

impl Teller {
    pub(crate) async fn open(story: &Story) -> Teller {
        let house = House::empty().await;
        let gate = GateKeeper::open(&house.dir.path().join("gate"));
        gate.keep_tips();
        let there = set_up_remote(&house, &gate, story);
        let looks = story.lines.iter().any(|l| matches!(l.verb, Verb::Look | Verb::Remote { .. }));
        let poll = if looks { "100ms" } else { "10m" };
        let mut env = vec![("YARDMASTER__REPO__POLL", poll.to_owned())];
        let (mut slots, mut batch) = (8, 1);
        for line in &story.lines {
            if let Verb::Window { min, max } = line.verb {
                env.push(("YARDMASTER__QUEUE__WINDOW_MIN", min.to_string()));
                env.push(("YARDMASTER__QUEUE__WINDOW_MAX", max.to_string()));
                slots = max + 1;
            }
            match line.verb {
                Verb::Overlap(overlap) => {
                    env.push(("YARDMASTER__QUEUE__OVERLAP", format!("{overlap:?}").to_lowercase()));
                }
                Verb::Batch { most, slots: runs } => {
                    (batch, slots) = (most, runs);
                }
                Verb::Cycles(_) => env.push(("YARDMASTER__QUEUE__CYCLES", "bundle".to_owned())),
                Verb::Guarantee(_) => env.push(("YARDMASTER__QUEUE__GUARANTEE", "every-push".to_owned())),
                _ => {}
            }
        }
        env.push(("YARDMASTER__QUEUE__BATCH", batch.to_string()));
        // By a link, so that it can be taken away without the remote itself.
        std::os::unix::fs::symlink(house.remote.path(), house.dir.path().join("front.git")).expect("a link");
        let front = format!("file://{}/front.git", house.dir.path().display());
        let flags = ["--slots", &slots.to_string(), "--remote", &front].map(str::to_owned).to_vec();
        let mut teller = Teller {
            house,
            gate,
            flags,
            env,
            changes: BTreeMap::new(),
            heads: BTreeMap::new(),
            hotfixes: BTreeMap::new(),
            rules: Vec::new(),
            live: Vec::new(),
            stopped: BTreeSet::new(),
            there,
            silent: false,
            dead: false,
        };
        teller.start().await;
        teller
    }

    /// Ends in good order, with everything that must hold of any run.
    pub(crate) async fn close(mut self) {
        if !self.dead {
            assert_eq!(self.house.stop().await, Some(0));
        }
        let seen = yardmaster_tests::Ledger::read(&self.house.nats).await;
        seen.check_unended();
        assert_eq!(self.house.processes(), Vec::<String>::new());
    }

    /// What was published so far, one short line each.
    pub(crate) fn told(&self) -> String {
        let line = |e: &Value| format!("  {} {} {}\n", e["branch"], told(e), e["behind"]);
        self.house.events.all().iter().map(line).collect()
    }

    async fn start(&mut self) {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let env: Vec<(&str, &str)> = self.env.iter().map(|(k, v)| (*k, v.as_str())).collect();
        self.house.start_with(&flags, &env).await;
    }

    pub(crate) async fn line(&mut self, verb: &Verb) -> Result<(), String> {
        match verb {
            Verb::Window { .. }
            | Verb::Overlap(_)
            | Verb::Batch { .. }
            | Verb::Cycles(_)
            | Verb::Guarantee(_) => {}
            Verb::Change(change) => self.change(change),
            Verb::Red(rule) => self.rules.push(rule.clone()),
            Verb::Refuse(name) => self.refuse(name),
            Verb::Announce { names, head } => {
                for name in names {
                    self.announce(name, *head).await?;
                }
            }
            Verb::Rules(text) => self.rules(text),
            Verb::Review { name, head, verdict, by } => {
                let head = self.chosen(name, *head)?;
                self.house.review(by, &head, verdict).await;
                self.house.wait_until_acked_in("REVIEWS").await;
            }
            Verb::Push { name, edits, fixed } => self.push(name, edits, *fixed),
            Verb::Delete(name) => {
                self.house.remote.git(&["update-ref", "-d", &format!("refs/heads/work/{name}")]);
            }
            Verb::Withdraw(names) => {
                for name in names {
                    self.house.withdraw(&self.agent(name), &format!("work/{name}")).await;
                    self.answered().await;
                }
            }
            Verb::Promote(names) => {
                let what: Vec<String> = names.iter().map(|name| format!("work/{name}")).collect();
                let body = json!({"what": what, "who": "operator", "why": "urgent"}).to_string();
                let reply = self.house.nats.request("yardmaster.admin.v1.promote", body.into()).await;
                reply.map_err(|e| e.to_string())?;
            }
            Verb::Hotfix { name, edits, merges, mends } => {
                self.hotfix(name, edits, merges.as_deref(), mends);
            }
            Verb::Break { kills, arrived } => self.break_next(*kills, *arrived),
            Verb::Remote { silent } => self.remote_answers(!silent).await,
            Verb::Restart => self.restart().await,
            Verb::Look => self.looked().await?,
            Verb::Finish(names) => {
                for name in names {
                    self.finish(name).await?;
                }
            }
            Verb::Testing(_) | Verb::Stopped(_) | Verb::Main(_) | Verb::Events { .. } | Verb::Runs(_) => {
                return self.expect(verb).await;
            }
        }
        self.rest().await
    }

    fn change(&mut self, change: &Change) {
        let (name, branch) = (&change.name, format!("work/{}", change.name));
        if change.empty {
            self.house.remote.git(&["branch", &branch, "main"]);
        } else {
            self.commit(&branch, "main", &paths(name, &change.mends), name, &change.edits);
        }
        self.heads.insert(name.clone(), vec![self.house.remote.head(&branch)]);
        self.changes.insert(name.clone(), change.clone());
    }

    fn push(&mut self, name: &str, edits: &[Edit], fixed: bool) {
        let branch = format!("work/{name}");
        let heads = self.heads.get(name).cloned().unwrap_or_default();
        let from = heads.last().cloned().unwrap_or_default();
        let called = format!("{name}'{}", heads.len() + 1);
        self.commit(&branch, &from, &paths(name, &[]), &called, edits);
        if fixed {
            self.commit(&branch, &branch, &[format!("fixes/{name}")], &called, &[]);
        }
        self.heads.entry(name.to_owned()).or_default().push(self.house.remote.head(&branch));
    }

    fn hotfix(&mut self, name: &str, edits: &[Edit], merges: Option<&str>, mends: &[String]) {
        let remote = &self.house.remote;
        let Some(head) = merges.and_then(|m| self.heads.get(m)?.last()) else {
            self.commit("main", "main", &paths(name, mends), name, edits);
            self.hotfixes.insert(remote.head("main"), name.to_owned());
            return;
        };
        // Made aside, so that main moves once: nobody may see it halfway.
        let by_hand = |tree: &str| {
            let who = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.invalid"];
            let made = ["commit-tree", tree, "-p", "main", "-p", head, "-m", "by hand"];
            remote.git(&[&who[..], &made[..]].concat())
        };
        let merged = by_hand(&remote.git(&["merge-tree", "--write-tree", "main", head]));
        self.commit("by-hand", &merged, &paths(name, mends), name, edits);
        let commit = by_hand(&remote.git(&["rev-parse", "by-hand^{tree}"]));
        remote.git(&["update-ref", "refs/heads/main", &commit]);
        remote.git(&["update-ref", "-d", "refs/heads/by-hand"]);
        self.hotfixes.insert(commit, name.to_owned());
    }

    fn commit(&self, branch: &str, from: &str, paths: &[String], text: &str, edits: &[Edit]) {
        let mut files: BTreeMap<&str, String> =
            paths.iter().map(|path| (path.as_str(), format!("{text}\n"))).collect();
        for edit in edits {
            let read = || self.house.remote.file(from, &edit.file).unwrap_or_default();
            let before = files.remove(edit.file.as_str()).unwrap_or_else(read);
            let at = edit.line as usize;
            let line =
                |(i, old): (usize, &str)| if i + 1 == at { format!("{text}\n") } else { format!("{old}\n") };
            files.insert(&edit.file, before.lines().enumerate().map(line).collect());
        }
        let files: Vec<(&str, Option<&str>)> = files.iter().map(|(p, t)| (*p, Some(t.as_str()))).collect();
        self.house.remote.commit(&Commit { branch, from: Some(from), files: &files });
    }

    fn agent(&self, name: &str) -> String {
        self.changes.get(name).and_then(|c| c.by.clone()).unwrap_or_else(|| "agent".to_owned())
    }

    fn chosen(&self, name: &str, head: Option<usize>) -> Result<String, String> {
        let heads = self.heads.get(name).map(Vec::as_slice).unwrap_or_default();
        let chosen = head.map_or_else(|| heads.last(), |n| heads.get(n.checked_sub(1)?));
        chosen.cloned().ok_or_else(|| format!("there is no such head of {name}"))
    }

    /// The rules of the project, pushed by hand once there is a change.
    fn rules(&mut self, text: &str) {
        if self.changes.is_empty() {
            return;
        }
        let text = project(text);
        let files = [(".yardmaster.toml", Some(text.as_str()))];
        self.house.remote.commit(&Commit { branch: "main", from: Some("main"), files: &files });
        self.hotfixes.insert(self.house.remote.head("main"), "rules".to_owned());
    }

    async fn announce(&mut self, name: &str, head: Option<usize>) -> Result<(), String> {
        let commit = self.chosen(name, head)?;
        let change = self.changes.get(name).cloned().unwrap_or_default();
        let agent = self.agent(name);
        let info = json!({
            "agent": agent, "branch": format!("work/{name}"), "commit": commit,
            "requirement": change.requirement.as_deref().unwrap_or(name),
            "depends_on": change.needs, "systems_touched": change.touches, "priority": change.priority,
        });
        self.house.publish(&agent, json!({"type": "ready_to_merge", "merge_info": info}).to_string()).await;
        self.answered().await;
        self.rest().await
    }

    async fn answered(&self) {
        if !self.dead && !self.silent {
            self.house.wait_until_acked().await;
        }
    }

    fn refuse(&self, name: &str) {
        let file = self.house.remote.path().join("refused");
        let before = fs::read_to_string(&file).unwrap_or_default();
        fs::write(file, format!("{before}{name}\n")).expect("written");
    }

    fn break_next(&self, kills: bool, arrived: bool) {
        let name =
            format!("{}-{}", if kills { "kill" } else { "cut" }, if arrived { "after" } else { "before" });
        fs::write(self.house.remote.path().join("break").join(name), "").expect("written");
    }

    async fn remote_answers(&mut self, answers: bool) {
        let front = self.house.dir.path().join("front.git");
        let kind = if answers { "resumed" } else { "stalled" };
        let so_far = self.house.events.all().iter().filter(|e| e["type"] == kind).count();
        if answers {
            std::os::unix::fs::symlink(self.house.remote.path(), front).expect("a link");
        } else {
            fs::remove_file(front).expect("removed");
        }
        let events = self.house.events.clone();
        let more = |_: &Value| events.all().iter().filter(|e| e["type"] == kind).count() > so_far;
        self.house.events.wait_for(kind, more).await;
        self.silent = !answers;
    }

    async fn restart(&mut self) {
        if !self.dead {
            self.house.kill().await;
        }
        self.adopt();
        // They are of the life that is over, and are started again.
        let old = std::mem::take(&mut self.live);
        self.dead = false;
        self.start().await;
        for run in old {
            run.dead().await;
        }
    }

    async fn finish(&mut self, name: &str) -> Result<(), String> {
        let mut found = None;
        for (i, run) in self.live.iter().enumerate() {
            if self.tested(run).await.name == name {
                found = Some(i);
            }
        }
        let run = self.live.remove(found.ok_or_else(|| format!("{name} is not under test"))?);
        self.judge(run);
        self.rest().await
    }

    fn judge(&self, run: Run) {
        let mirror = yardmaster_tests::Remote::at(&self.house.state_dir().join("mirror.git"));
        let files = mirror.git(&["ls-tree", "-r", "--name-only", &run.candidate]);
        if self.is_green(&files.lines().collect()) {
            run.green();
        } else {
            run.red();
        }
    }

    fn is_green(&self, files: &BTreeSet<&str>) -> bool {
        let there = |name: &str| files.contains(format!("changes/{name}").as_str());
        let broken = |name: &str| there(name) && !files.contains(format!("fixes/{name}").as_str());
        !self.rules.iter().any(|rule| match rule {
            RedRule::Alone(a) => broken(a),
            RedRule::With(a, b) => broken(a) && broken(b),
            RedRule::Unless(a, b) => broken(a) && !there(b),
        })
    }

    async fn testing_event(&self, run: &Run) -> Value {
        self.house
            .events
            .wait_for(&run.id, |e| e["type"] == "merge_testing" && e["run"] == run.id.as_str())
            .await
    }

    async fn tested(&self, run: &Run) -> Tested {
        let event = self.testing_event(run).await;
        let behind = event["behind"].as_array().into_iter().flatten();
        let on = behind.map(|r| self.name_of(r.as_str().unwrap_or_default())).collect();
        Tested { name: self.name_of(&run.request), on }
    }

    fn name_of(&self, request: &str) -> String {
        let event = self.house.events.all().into_iter().find(|e| e["request"] == request);
        let branch = event.as_ref().and_then(|e| e["branch"].as_str()).unwrap_or(request);
        branch.trim_start_matches("work/").to_owned()
    }

    /// Takes note of runs that have started. Those of main itself end at once, as the rules say.
    fn adopt(&mut self) {
        self.live.extend(self.gate.take_started());
        for run in self.gate.take_tips() {
            self.judge(run);
        }
    }

    /// Kills the daemon if a push has come to where the story wants it killed.
    async fn die_if_due(&mut self) {
        if matches!(self.there.try_read(&mut [0; 8]), Ok(1..)) {
            self.house.kill().await;
            self.dead = true;
            let on = self.house.remote.path().join("on");
            // Opening waits for the hook.
            tokio::task::spawn_blocking(move || fs::write(on, "x\n")).await.ok();
        }
    }

    /// Waits until the daemon knows the tip that main has.
    async fn looked(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        if self.dead || self.silent {
            return Ok(());
        }
        loop {
            if self.ask("queue").await["targets"][0]["tip"] == self.house.remote.head("main").as_str() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err("the daemon never sees where main is".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// Waits until the daemon has nothing to do but to wait: for the ends of runs, or for its remote.
    async fn rest(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = (Value::Null, 0);
        loop {
            self.die_if_due().await;
            if self.dead {
                return Ok(());
            }
            self.adopt();
            let (gone, live): (Vec<Run>, Vec<Run>) =
                std::mem::take(&mut self.live).into_iter().partition(Run::is_dead);
            self.live = live;
            for run in gone {
                self.stopped.insert(self.name_of(&run.request));
            }
            let (queue, status) = (self.ask("queue").await, self.ask("status").await);
            let now = (status["journal"].clone(), self.live.len());
            if self.is_at_rest(&queue) && now == last && self.runs_are_those_asked_for().await {
                return Ok(());
            }
            last = now;
            if Instant::now() > deadline {
                return Err(format!("the house never comes to rest: {queue}\n{}", self.house.log()));
            }
            // Nobody tells that nothing happens.
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    fn is_at_rest(&self, queue: &Value) -> bool {
        let waits = |state: &str| match state {
            "queued" | "blocked" | "testing" | "green" => true,
            "arriving" | "landing" => self.silent,
            _ => false,
        };
        let rows = queue["requests"].as_array().into_iter().flatten();
        let testing: u64 =
            queue["targets"].as_array().into_iter().flatten().filter_map(|t| t["testing"].as_u64()).sum();
        queue["requests"].is_array()
            && rows.into_iter().all(|row| row["state"].as_str().is_some_and(waits))
            && testing == self.live.len() as u64
    }

    /// A run that is being killed must not be taken for the one that follows it. A request may have two, where
    /// one is of the tree of somebody else's candidate, too.
    async fn runs_are_those_asked_for(&self) -> bool {
        for run in &self.live {
            let view = self.ask_for("status", &json!({"what": run.request}).to_string()).await;
            let mut its = self.live.iter().filter(|other| other.request == run.request);
            if !its.any(|other| view["run"] == other.id.as_str()) {
                return false;
            }
        }
        true
    }

    async fn ask(&self, verb: &str) -> Value {
        self.ask_for(verb, "").await
    }

    async fn ask_for(&self, verb: &str, body: &str) -> Value {
        let subject = format!("yardmaster.v1.{verb}");
        let reply = self.house.nats.request(subject, body.to_owned().into()).await;
        reply.ok().and_then(|r| serde_json::from_slice(&r.payload).ok()).unwrap_or_default()
    }

    async fn expect(&mut self, verb: &Verb) -> Result<(), String> {
        match verb {
            Verb::Testing(expected) => {
                let mut found = Vec::new();
                for run in &self.live {
                    found.push(self.tested(run).await);
                }
                let mut expected = expected.clone();
                expected.sort();
                found.sort();
                same(&format!("{expected:?}"), &format!("{found:?}"))
            }
            Verb::Stopped(expected) => {
                let expected: BTreeSet<String> = expected.iter().cloned().collect();
                same(&format!("{expected:?}"), &format!("{:?}", std::mem::take(&mut self.stopped)))
            }
            Verb::Main(expected) => same(&expected.join(" "), &self.main().join(" ")),
            Verb::Events { name, events } => {
                self.soon(&events.join(" "), |t| t.events_of(name).join(" ")).await
            }
            Verb::Runs(expected) => {
                let count =
                    |t: &Teller| t.house.events.all().iter().filter(|e| e["type"] == "merge_testing").count();
                self.soon(&expected.to_string(), |t| count(t).to_string()).await
            }
            _ => Ok(()),
        }
    }

    /// Events are published behind the journal, so that they may come a moment later.
    async fn soon(&self, expected: &str, found: impl Fn(&Teller) -> String) -> Result<(), String> {
        let deadline = Instant::now() + SOON;
        while found(self) != expected && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        same(expected, &found(self))
    }

    fn main(&self) -> Vec<String> {
        let format = "--format=%H %(trailers:key=Request-Id,valueonly,separator=%x2C)";
        let log = self.house.remote.git(&["log", "--first-parent", "--reverse", format, "main"]);
        let name = |line: &str| match line.split_once(' ') {
            Some((_, requests)) if requests.contains(',') => {
                let members: Vec<String> = requests.split(',').map(|r| self.name_of(r)).collect();
                format!("[{}]", members.join(" "))
            }
            Some((_, request)) if !request.is_empty() => self.name_of(request),
            _ => self.hotfixes.get(line.trim()).cloned().unwrap_or_else(|| "base".to_owned()),
        };
        log.lines().map(name).collect()
    }

    fn events_of(&self, name: &str) -> Vec<String> {
        let branch = format!("work/{name}");
        let events = self.house.events.all().into_iter().filter(|e| e["branch"] == branch.as_str());
        events.map(|e| told(&e)).collect()
    }
}

fn told(event: &Value) -> String {
    let token = event["type"].as_str().unwrap_or_default().trim_start_matches("merge_");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match token {
        "failed" => format!("failed({})", text(&event["cause"])),
        "blocked" => {
            let blockers = event["blockers"].as_array().into_iter().flatten();
            let kinds: BTreeSet<String> = blockers.map(|b| text(&b["kind"])).collect();
            format!("blocked({})", kinds.into_iter().collect::<Vec<_>>().join(","))
        }
        _ => token.to_owned(),
    }
}

/// The file of a change, and those that mend others.
fn paths(name: &str, mends: &[String]) -> Vec<String> {
    let fixes = mends.iter().map(|other| format!("fixes/{other}"));
    std::iter::once(format!("changes/{name}")).chain(fixes).collect()
}

fn same(expected: &str, found: &str) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("expected `{expected}`, found `{found}`")) }
}

/// The project file: rules that are keys of the file itself come before the table of the gate.
fn project(rules: &str) -> String {
    format!("{rules}\n{PROJECT}")
}

/// The first commit, with every file that is edited anywhere in the story, and the hooks.
fn set_up_remote(house: &House, gate: &GateKeeper, story: &Story) -> pipe::Receiver {
    let script = gate.script();
    let project = project(story.first_rules());
    let lines: String = (1..=40).map(|n| format!("line {n}\n")).collect();
    let mut files: BTreeMap<&str, Option<&str>> = BTreeMap::from([
        ("gate.sh", Some(script.as_str())),
        (".yardmaster.toml", Some(project.as_str())),
        ("README", Some("a project\n")),
    ]);
    for line in &story.lines {
        let edits = match &line.verb {
            Verb::Change(change) => &change.edits,
            Verb::Push { edits, .. } | Verb::Hotfix { edits, .. } => edits,
            _ => continue,
        };
        files.extend(edits.iter().map(|e| (e.file.as_str(), Some(lines.as_str()))));
    }
    let files: Vec<_> = files.into_iter().collect();
    house.remote.commit(&Commit { branch: "main", from: None, files: &files });
    let place = house.remote.path();
    fs::create_dir_all(place.join("break")).expect("a directory");
    fs::create_dir_all(place.join("hooks")).expect("a directory");
    fs::write(place.join("refused"), "").expect("written");
    for (name, text) in [("pre-receive", PRE_RECEIVE), ("post-receive", POST_RECEIVE)] {
        let hook = place.join("hooks").join(name);
        fs::write(&hook, text).expect("written");
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("executable");
    }
    make_pipe(&place.join("there"));
    make_pipe(&place.join("on"));
    pipe::OpenOptions::new().read_write(true).open_receiver(place.join("there")).expect("opened")
}
