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
    /// How often the daemon said what is wrong and ended, on a full disk.
    gave_up: usize,
    /// How often a nats-server had to be started again after its disk was full.
    servers: usize,
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
        self.gave_up += end.gave_up;
        self.servers += end.servers;
        for kind in &end.ends {
            *self.ends.entry(kind.clone()).or_default() += 1;
        }
        for (fault, happened) in &end.faults {
            let count = match fault {
                Fault::DiesAt(point, ..) => self.points.entry(point.name()).or_default(),
                _ => self.others.entry(fault.name()).or_default(),
            };
            count.0 += 1;
            count.1 += usize::from(*happened);
            self.daemon_kills += usize::from(fault.kills_the_daemon());
        }
        if !end.violations.is_empty() {
            let broken: Vec<String> =
                end.violations.iter().map(|v| format!("{:?}: {}", v.rule, v.seen)).collect();
            let dir = end.dir.as_ref().map(|d| d.to_string_lossy().into_owned());
            self.failed.push(json!({
                "seed": end.plan.seed, "only": end.plan.kind.name(), "again": end.plan.again(), "dir": dir,
                "broken": broken,
            }));
        }
    }

    /// The points at which it died fewer than `wanted` times, the fewest first.
    pub fn short(&self, wanted: usize) -> Vec<Point> {
        let died = |point: &Point| self.points.get(point.name()).map_or(0, |(_, happened)| *happened);
        let mut short: Vec<Point> = Point::ALL.iter().copied().filter(|p| died(p) < wanted).collect();
        short.sort_by_key(died);
        short
    }

    /// How many faults of a kind, by the beginning of their name, came to pass.
    fn happened(&self, begins: &str) -> usize {
        let fits = self.others.iter().filter(|(name, _)| name.starts_with(begins));
        fits.map(|(_, (_, happened))| happened).sum()
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
            "nats_faults": self.happened("nats"), "remote_faults": self.happened("remote"),
            "network_faults": self.happened("network"), "disk_faults": self.happened("disk"),
            "ended_with_an_error": self.gave_up, "servers_started_again": self.servers,
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
        writeln!(
            f,
            "faults: nats-server {}, remote {}, network {}, disk {}",
            self.happened("nats"),
            self.happened("remote"),
            self.happened("network"),
            self.happened("disk")
        )?;
        if self.gave_up + self.servers > 0 {
            let (gave_up, servers) = (self.gave_up, self.servers);
            writeln!(
                f,
                "on a full disk: the daemon ended with an error {gave_up} times, the nats-server was started again {servers} times"
            )?;
        }
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
