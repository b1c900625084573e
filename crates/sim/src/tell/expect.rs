//! What a story says that is.

use std::collections::BTreeSet;

use super::Teller;
use crate::git::change_name;
use crate::story::{Tested, Verb};

impl Teller {
    pub(super) fn expect(&mut self, verb: &Verb) -> Result<(), String> {
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

fn told(tested: &Tested) -> String {
    let on = if tested.on.is_empty() { "main".to_owned() } else { tested.on.join(" ") };
    format!("{} on {on}", tested.name)
}

fn same(expected: &str, found: &str) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("expected `{expected}`, found `{found}`")) }
}
