use std::fmt::Write;
use std::time::{Duration, Instant};

use serde_json::{Map, json};
use yardmaster_sim::{Fault, Outcome};

/// So often something is said while many histories run.
const PROGRESS: Duration = Duration::from_secs(30);

/// What many histories came to.
pub(crate) struct Report {
    pub(crate) total: Outcome,
    seeds: u64,
    done: u64,
    started: Instant,
    said: Instant,
}

impl Report {
    pub(crate) fn new(seeds: u64) -> Report {
        let now = Instant::now();
        Report { total: Outcome::default(), seeds, done: 0, started: now, said: now }
    }

    /// One more history is over; now and then that is said.
    pub(crate) fn one_more(&mut self) {
        self.done += 1;
        if self.said.elapsed() >= PROGRESS {
            self.said = Instant::now();
            eprintln!("{} of {} histories, {:.0} a second", self.done, self.seeds, self.rate());
        }
    }

    fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn rate(&self) -> f64 {
        self.done as f64 / self.seconds()
    }

    fn times(&self, fault: Fault) -> u64 {
        self.total.tally.get(&fault).copied().unwrap_or(0)
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let total = &self.total;
        let mut text = format!(
            "{} histories, {} steps, {} landed, {} failed, {} left waiting, {} forks, {:.0} virtual hours: every invariant held; {:.1} s, {:.0} seeds/s\nfaults that came to pass:",
            self.done,
            total.steps,
            total.landed,
            total.failed,
            total.waiting,
            total.forks,
            total.ms as f64 / 3_600_000.0,
            self.seconds(),
            self.rate()
        );
        for fault in Fault::ALL {
            let _ = write!(text, "\n{:>10} {}", self.times(*fault), fault.name());
        }
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> String {
        let faults: Map<_, _> =
            Fault::ALL.iter().map(|f| (f.name().to_owned(), json!(self.times(*f)))).collect();
        json!({
            "histories": self.done,
            "steps": self.total.steps,
            "landed": self.total.landed,
            "failed": self.total.failed,
            "waiting": self.total.waiting,
            "forks": self.total.forks,
            "virtual_ms": self.total.ms,
            "seconds": self.seconds(),
            "violations": 0,
            "faults": faults,
        })
        .to_string()
    }
}
