use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};
use yardmaster_failpoint::Point;

use super::faults::Fault;
use super::round::RoundEnd;

/// What all rounds came to.
#[derive(Debug, Default)]
pub struct Tally {
    rounds: usize,
    /// Seeds and what was broken.
    failed: Vec<Value>,
    /// Kills by point: planned, and come to pass.
    points: BTreeMap<&'static str, (usize, usize)>,
    /// Other faults: planned, and come to pass.
    others: BTreeMap<String, (usize, usize)>,
    daemon_kills: usize,
    ends: BTreeMap<String, usize>,
    commits: usize,
    foreign: usize,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Tally {
        Tally { points: Point::ALL.iter().map(|p| (p.name(), (0, 0))).collect(), ..Tally::default() }
    }

    /// Adds a round.
    pub fn add(&mut self, end: &RoundEnd) {
        self.rounds += 1;
        self.commits += end.commits;
        self.foreign += end.foreign;
        for kind in &end.ends {
            *self.ends.entry(kind.clone()).or_default() += 1;
        }
        for (fault, happened) in &end.faults {
            let (count, kills) = match fault {
                Fault::DiesAt(point, ..) => (self.points.entry(point.name()).or_default(), 1),
                Fault::DiesAfter(_) => (self.others.entry("daemon dies at any time".into()).or_default(), 1),
                Fault::NatsDies(_) => (self.others.entry("nats-server dies".into()).or_default(), 0),
                Fault::NatsStops(..) => {
                    (self.others.entry("nats-server stands still".into()).or_default(), 0)
                }
                Fault::BothDie(_) => (self.others.entry("nats-server and daemon die".into()).or_default(), 1),
                Fault::NatsDiesAndDiesAt(..) => {
                    (self.others.entry("nats-server dies, daemon dies at a point".into()).or_default(), 1)
                }
                Fault::Hook(hook) => (self.others.entry(format!("remote {}", hook.name())).or_default(), 0),
                Fault::HookAndDies(hook) => {
                    let name = format!("remote {}, daemon dies", hook.name());
                    (self.others.entry(name).or_default(), 1)
                }
            };
            count.0 += 1;
            count.1 += usize::from(*happened);
            self.daemon_kills += kills;
        }
        if !end.violations.is_empty() {
            let broken: Vec<String> =
                end.violations.iter().map(|v| format!("{:?}: {}", v.rule, v.seen)).collect();
            let dir = end.dir.as_ref().map(|d| d.to_string_lossy().into_owned());
            self.failed.push(json!({
                "seed": end.plan.seed, "only": end.plan.kind.name(), "dir": dir, "broken": broken,
            }));
        }
    }

    /// Whether every round held.
    pub fn holds(&self) -> bool {
        self.failed.is_empty()
    }

    /// The same for programs.
    pub fn to_json(&self) -> Value {
        let counts = |(planned, happened): &(usize, usize)| json!({"planned": planned, "happened": happened});
        let points: BTreeMap<_, _> = self.points.iter().map(|(name, c)| (*name, counts(c))).collect();
        let others: BTreeMap<_, _> = self.others.iter().map(|(name, c)| (name.as_str(), counts(c))).collect();
        json!({
            "rounds": self.rounds, "failed": self.failed, "daemon_kills": self.daemon_kills,
            "failpoints": points, "others": others, "events": self.ends, "commits_tested_again": self.commits,
            "foreign_pushes": self.foreign,
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "rounds {}, failed {}, daemon kills {}",
            self.rounds,
            self.failed.len(),
            self.daemon_kills
        )?;
        writeln!(f, "commits tested again {}, foreign pushes {}", self.commits, self.foreign)?;
        let events: Vec<String> = self.ends.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
        writeln!(f, "events: {}", events.join(", "))?;
        for (name, (planned, happened)) in &self.points {
            writeln!(f, "  {name:<24} died there {happened:>4} of {planned}")?;
        }
        for (name, (planned, happened)) in &self.others {
            writeln!(f, "  {name:<44} {happened:>4} of {planned}")?;
        }
        for failed in &self.failed {
            writeln!(f, "FAILED {failed}")?;
        }
        Ok(())
    }
}
