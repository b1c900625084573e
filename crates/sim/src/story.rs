//! The language of `tests/stories/*.story`; its page is `tests/stories/README.md`.

use yardmaster_queue::{Cycles, Guarantee, Overlap};

/// A story: what happens and what is to be seen, line by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// What it shows: the comment at its top.
    pub about: String,
    /// Its lines in order.
    pub lines: Vec<Line>,
}

/// One line of a story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// From 1.
    pub number: usize,
    /// As it is written.
    pub text: String,
    /// What it means.
    pub verb: Verb,
}

/// What a line means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// `window 3`, `window 1..2`: how many may be tested at the same time. Before anything else.
    Window {
        /// At least.
        min: u32,
        /// At most, and at first.
        max: u32,
    },
    /// `overlap files`, `overlap systems`: which requests are kept apart. After the window.
    Overlap(Overlap),
    /// `batch 8 slots 1`: how many may land on one run, and how many runs there may be. After the window.
    Batch {
        /// The most requests of one run.
        most: u32,
        /// Runs at the same time.
        slots: u32,
    },
    /// `cycles bundle`: who depends on each other lands as one unit. After the window.
    Cycles(Cycles),
    /// `guarantee every-push`: only the tip of each push is tested. After the window.
    Guarantee(Guarantee),
    /// `change NAME …`: somebody makes a branch from the tip of main and pushes it.
    Change(Change),
    /// `red A`, `red A with B`, `red A unless B`: a rule of the gate.
    Red(RedRule),
    /// `refuse A`: the remote's hook keeps A out of main.
    Refuse(String),
    /// `announce A B`, `announce A at 1`: the head, or an earlier one, is offered.
    Announce {
        /// Whose branches.
        names: Vec<String>,
        /// The how-manieth head of the branch, from 1; none: the newest.
        head: Option<usize>,
    },
    /// `push A edits FILE:LINE fixed`: a new head on the branch of A.
    Push {
        /// Whose branch.
        name: String,
        /// What it changes more.
        edits: Vec<Edit>,
        /// The gate's rules do not hold against it any more.
        fixed: bool,
    },
    /// `rules KEY = VALUE; KEY = VALUE`: what the project file says besides the gate, from now on. Before the
    /// first change it is part of the first commit; later somebody pushes it to main by hand, as `rules`.
    Rules(String),
    /// `review A approved by eve`, `review A at 1 blocked by eve`: a reviewer's verdict on a head.
    Review {
        /// Whose branch.
        name: String,
        /// The how-manieth head of the branch, from 1; none: the newest.
        head: Option<usize>,
        /// `approved`, `changes_requested` or `blocked`.
        verdict: String,
        /// Who says it.
        by: String,
    },
    /// `delete A`: the branch is gone from the remote.
    Delete(String),
    /// `withdraw A B`.
    Withdraw(Vec<String>),
    /// `promote B C`: an operator moves them to the front, in this order.
    Promote(Vec<String>),
    /// `hotfix H edits FILE:LINE merges A mends B`: somebody pushes a commit to main by hand.
    Hotfix {
        /// The commit's name.
        name: String,
        /// What it changes besides adding itself.
        edits: Vec<Edit>,
        /// Whose branch it merges.
        merges: Option<String>,
        /// Against whom the gate's rules do not hold any more.
        mends: Vec<String>,
    },
    /// `cut next push before arrival`, `kill in next push after arrival`.
    Break {
        /// The daemon dies; otherwise only its connection does.
        kills: bool,
        /// The remote has taken the push by then.
        arrived: bool,
    },
    /// `remote silent`, `remote answers`.
    Remote {
        /// Nobody can talk to it.
        silent: bool,
    },
    /// `restart`: the daemon is killed, if it lives, and started again.
    Restart,
    /// `look`: the daemon looks at main. A house that looks by itself waits until it has.
    Look,
    /// `finish A B`: their runs end, in this order, as the gate's rules say.
    Finish(Vec<String>),
    /// `testing A on main, B on A`, `testing nothing`: exactly these are under test.
    Testing(Vec<Tested>),
    /// `stopped B C`, `stopped nothing`: runs that were dropped since the story was last asked.
    Stopped(Vec<String>),
    /// `main: base A B`: the first-parent history of main, oldest first.
    Main(Vec<String>),
    /// `events A: queued testing failed(gate_red)`: all that was published about A.
    Events {
        /// About whom.
        name: String,
        /// The last tokens of the subjects; failures with their cause, blocks with their kinds.
        events: Vec<String>,
    },
    /// `runs 5`: how many runs were asked for since the story began.
    Runs(u32),
}

/// A branch and its announcement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The branch is `work/NAME`.
    pub name: String,
    /// `for REQ`: the requirement, where it is not the name.
    pub requirement: Option<String>,
    /// `by roy`; otherwise `agent`.
    pub by: Option<String>,
    /// `edits FILE:LINE …`, besides adding `changes/NAME`.
    pub edits: Vec<Edit>,
    /// `needs A B`: requirements.
    pub needs: Vec<String>,
    /// `priority 1`.
    pub priority: Option<u8>,
    /// `touches backend`.
    pub touches: Vec<String>,
    /// `mends H`: the gate's rules do not hold against it where this change is.
    pub mends: Vec<String>,
    /// `empty`: the branch is at the tip of main and changes nothing.
    pub empty: bool,
}

/// A line of a file that exists from the beginning.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edit {
    /// The path.
    pub file: String,
    /// From 1.
    pub line: u32,
}

/// When the gate is red.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedRule {
    /// Wherever it is.
    Alone(String),
    /// Where both are.
    With(String, String),
    /// Where the first is without the second.
    Unless(String, String),
}

/// A candidate under test.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tested {
    /// Whose.
    pub name: String,
    /// On top of these, lowest first; none: on main alone.
    pub on: Vec<String>,
}

impl Story {
    /// What the project file says besides the gate in the first commit.
    pub fn first_rules(&self) -> &str {
        let first = self.lines.iter().take_while(|l| l.verb.is_policy() || matches!(l.verb, Verb::Rules(_)));
        let rules =
            first.filter_map(|l| if let Verb::Rules(text) = &l.verb { Some(text.as_str()) } else { None });
        rules.last().unwrap_or_default()
    }
}

/// Reads a story.
///
/// # Errors
/// The first line that is not understood, with its number and what was expected.
pub fn parse(text: &str) -> Result<Story, String> {
    let comment = |line: &&str| line.starts_with('#');
    let about: Vec<&str> =
        text.lines().take_while(comment).map(|l| l.trim_start_matches('#').trim()).collect();
    let mut lines = Vec::new();
    for (i, written) in text.lines().enumerate() {
        let code = written.split('#').next().unwrap_or_default().trim();
        if !code.is_empty() {
            let verb = verb(code).map_err(|why| format!("line {}: `{code}`: {why}", i + 1))?;
            lines.push(Line { number: i + 1, text: code.to_owned(), verb });
        }
    }
    Ok(Story { about: about.join(" "), lines })
}

impl Verb {
    /// It says how the queue is run, before anything happens.
    pub fn is_policy(&self) -> bool {
        matches!(
            self,
            Verb::Window { .. }
                | Verb::Overlap(_)
                | Verb::Batch { .. }
                | Verb::Cycles(_)
                | Verb::Guarantee(_)
        )
    }
}

fn verb(code: &str) -> Result<Verb, String> {
    let (first, rest) = code.split_once(char::is_whitespace).unwrap_or((code, ""));
    let words: Vec<&str> = rest.split_whitespace().collect();
    let names = || words.iter().map(|w| (*w).to_owned()).filter(|w| w != "nothing").collect::<Vec<String>>();
    match (first, words.as_slice()) {
        ("window", [width]) => window(width),
        ("batch", [most, "slots", slots]) => Ok(Verb::Batch { most: number(most)?, slots: number(slots)? }),
        ("cycles", ["bundle"]) => Ok(Verb::Cycles(Cycles::Bundle)),
        ("guarantee", ["every-push"]) => Ok(Verb::Guarantee(Guarantee::EveryPush)),
        ("overlap", ["files"]) => Ok(Verb::Overlap(Overlap::Files)),
        ("overlap", ["systems"]) => Ok(Verb::Overlap(Overlap::Systems)),
        ("change", [name, options @ ..]) => change(name, options).map(Verb::Change),
        ("red", [a]) => Ok(Verb::Red(RedRule::Alone((*a).to_owned()))),
        ("red", [a, "with", b]) => Ok(Verb::Red(RedRule::With((*a).to_owned(), (*b).to_owned()))),
        ("red", [a, "unless", b]) => Ok(Verb::Red(RedRule::Unless((*a).to_owned(), (*b).to_owned()))),
        ("refuse", [a]) => Ok(Verb::Refuse((*a).to_owned())),
        ("announce", [a, "at", n]) => {
            Ok(Verb::Announce { names: vec![(*a).to_owned()], head: Some(number(n)?) })
        }
        ("announce", [_, ..]) => Ok(Verb::Announce { names: names(), head: None }),
        ("push", [name, options @ ..]) => push(name, options),
        ("rules", _) => Ok(Verb::Rules(rest.split(';').map(str::trim).collect::<Vec<_>>().join("\n"))),
        ("review", [name, verdict, "by", by]) => Ok(review(name, None, verdict, by)),
        ("review", [name, "at", n, verdict, "by", by]) => Ok(review(name, Some(number(n)?), verdict, by)),
        ("delete", [a]) => Ok(Verb::Delete((*a).to_owned())),
        ("withdraw", [_, ..]) => Ok(Verb::Withdraw(names())),
        ("promote", [_, ..]) => Ok(Verb::Promote(names())),
        ("hotfix", [name, options @ ..]) => hotfix(name, options),
        ("cut", ["next", "push", at, "arrival"]) => Ok(Verb::Break { kills: false, arrived: arrived(at)? }),
        ("kill", ["in", "next", "push", at, "arrival"]) => {
            Ok(Verb::Break { kills: true, arrived: arrived(at)? })
        }
        ("remote", ["silent"]) => Ok(Verb::Remote { silent: true }),
        ("remote", ["answers"]) => Ok(Verb::Remote { silent: false }),
        ("restart", []) => Ok(Verb::Restart),
        ("look", []) => Ok(Verb::Look),
        ("finish", [_, ..]) => Ok(Verb::Finish(names())),
        ("testing", [_, ..]) => testing(rest),
        ("stopped", [_, ..]) => Ok(Verb::Stopped(names())),
        ("main:", [_, ..]) => Ok(Verb::Main(names())),
        ("events", [name, ..]) => Ok(Verb::Events {
            name: name.strip_suffix(':').ok_or("write `events NAME: …`")?.to_owned(),
            events: names().split_off(1),
        }),
        ("runs", [n]) => Ok(Verb::Runs(number(n)?)),
        _ => Err("no such verb, or not with these words".to_owned()),
    }
}

fn review(name: &str, head: Option<usize>, verdict: &str, by: &str) -> Verb {
    Verb::Review { name: name.to_owned(), head, verdict: verdict.to_owned(), by: by.to_owned() }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number"))
}

fn window(width: &str) -> Result<Verb, String> {
    let (min, max) = width.split_once("..").unwrap_or((width, width));
    Ok(Verb::Window { min: number(min)?, max: number(max)? })
}

fn arrived(at: &str) -> Result<bool, String> {
    match at {
        "before" => Ok(false),
        "after" => Ok(true),
        _ => Err(format!("`{at}` is neither `before` nor `after`")),
    }
}

fn edit(text: &str) -> Result<Edit, String> {
    let (file, line) = text.split_once(':').ok_or_else(|| format!("`{text}` is not FILE:LINE"))?;
    Ok(Edit { file: file.to_owned(), line: number(line)? })
}

/// Words after a name: each belongs to the last key before it.
fn options<'a>(words: &[&'a str], keys: &[&'a str]) -> Result<Vec<(&'a str, Option<&'a str>)>, String> {
    let mut key = None;
    let mut found = Vec::new();
    for word in words {
        match (keys.contains(word), key) {
            (true, _) => {
                key = Some(*word);
                found.push((*word, None));
            }
            (false, Some(key)) => found.push((key, Some(*word))),
            (false, None) => return Err(format!("`{word}`: expected one of {}", keys.join(", "))),
        }
    }
    Ok(found)
}

fn change(name: &str, words: &[&str]) -> Result<Change, String> {
    let mut change = Change { name: name.to_owned(), ..Change::default() };
    for option in options(words, &["edits", "needs", "for", "priority", "by", "touches", "mends", "empty"])? {
        match option {
            ("edits", Some(text)) => change.edits.push(edit(text)?),
            ("needs", Some(other)) => change.needs.push(other.to_owned()),
            ("priority", Some(text)) => change.priority = Some(number(text)?),
            ("for", Some(requirement)) => change.requirement = Some(requirement.to_owned()),
            ("by", Some(agent)) => change.by = Some(agent.to_owned()),
            ("mends", Some(other)) => change.mends.push(other.to_owned()),
            ("touches", Some(system)) => change.touches.push(system.to_owned()),
            ("empty", _) => change.empty = true,
            _ => {}
        }
    }
    Ok(change)
}

fn push(name: &str, words: &[&str]) -> Result<Verb, String> {
    let found = options(words, &["edits", "fixed"])?;
    let fixed = found.iter().any(|(key, _)| *key == "fixed");
    let edits = found.iter().filter_map(|(_, text)| *text).map(edit).collect::<Result<_, _>>()?;
    Ok(Verb::Push { name: name.to_owned(), edits, fixed })
}

fn hotfix(name: &str, words: &[&str]) -> Result<Verb, String> {
    let (mut edits, mut merges, mut mends) = (Vec::new(), None, Vec::new());
    for option in options(words, &["edits", "merges", "mends"])? {
        match option {
            ("mends", Some(other)) => mends.push(other.to_owned()),
            ("edits", Some(text)) => edits.push(edit(text)?),
            ("merges", Some(other)) => merges = Some(other.to_owned()),
            _ => {}
        }
    }
    Ok(Verb::Hotfix { name: name.to_owned(), edits, merges, mends })
}

fn testing(rest: &str) -> Result<Verb, String> {
    if rest.trim() == "nothing" {
        return Ok(Verb::Testing(Vec::new()));
    }
    let one = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            [name, "on", "main"] => Ok(Tested { name: (*name).to_owned(), on: Vec::new() }),
            [name, "on", on @ ..] if !on.is_empty() => {
                Ok(Tested { name: (*name).to_owned(), on: on.iter().map(|w| (*w).to_owned()).collect() })
            }
            _ => Err(format!("`{}`: write `A on main` or `C on A B`", text.trim())),
        }
    };
    rest.split(',').map(one).collect::<Result<_, String>>().map(Verb::Testing)
}
