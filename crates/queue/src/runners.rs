//! What runners have, and what a gate needs that none of them has. A run that nobody can take is asked for all
//! the same: who comes with what is missing takes it at once.

use std::collections::BTreeSet;

use yardmaster_protocol::{Blocker, BlockerKind, BranchName, Fact, Gate, Label, Millis, RunnerOffer, Step};

use crate::policy::Policy;
use crate::state::{Queue, Target};
use crate::step::Act;

/// Groups of runners that are kept in mind, and those that are told.
const MAX_OFFERS: usize = 64;
const MAX_TOLD: usize = 4;
const MIB: u64 = 1 << 20;

impl Act<'_> {
    /// What runners have from now on.
    pub(crate) fn runners_seen(&mut self, mut offers: Vec<RunnerOffer>) {
        offers.sort();
        offers.truncate(MAX_OFFERS);
        if self.queue.offers.as_ref() != Some(&offers) {
            self.emit(Fact::RunnersSeen { offers });
        }
    }
}

impl Queue {
    pub(crate) fn runners_were_seen(&mut self, at: Millis, offers: &[RunnerOffer]) {
        let before = self.offers.replace(offers.to_vec());
        let waited = |t: &&mut Target| t.runs.values().any(|r| lacks(before.as_deref(), &r.gate));
        // The watch on those begins anew: until now they waited for somebody outside.
        for target in self.targets.values_mut().filter(waited) {
            target.progressed = target.progressed.max(Some(at));
        }
    }

    /// Whether no runner has what the gate of `name` needs. Nobody has said yet what there is: no.
    pub(crate) fn lacks_a_runner(&self, name: &BranchName, policy: &Policy) -> bool {
        let gate = self.targets.get(name).and_then(|t| t.gate(policy).ok());
        gate.is_some_and(|gate| lacks(self.offers.as_deref(), &gate))
    }

    /// What untested requests for `name` wait for where no runner has what their gate needs.
    pub(crate) fn runner_blocker(&self, name: &BranchName, policy: &Policy) -> Option<Blocker> {
        if !self.lacks_a_runner(name, policy) {
            return None;
        }
        let gate = self.targets.get(name)?.gate(policy).ok()?;
        let offers = self.offers.as_deref()?;
        let (reason, missing) = told(offers, &gate);
        let command = command(&missing);
        let until = if missing.is_empty() {
            format!("a runner is there: `{command}`")
        } else {
            format!("a runner with {} is there: `{command}`", labels(&missing))
        };
        Some(Blocker { kind: BlockerKind::Runner, with: None, paths: Vec::new(), until, reason })
    }

    /// The same for who looks at the target, where something is asked for; else where a step gets less than it
    /// declares.
    pub(crate) fn runner_note(&self, name: &BranchName, policy: &Policy) -> Option<String> {
        let target = self.targets.get(name).filter(|t| !t.runs.is_empty())?;
        let missing = self.runner_blocker(name, policy).map(|b| format!("{}; until {}", b.reason, b.until));
        missing.or_else(|| self.short(&target.gate(policy).ok()?))
    }

    /// A step that declares more than any runner gives: it is not kept waiting, but gets a whole one.
    pub(crate) fn short(&self, gate: &Gate) -> Option<String> {
        let needs = gate.needs();
        let able = || self.offers.iter().flatten().filter(|o| needs.is_subset(&o.labels));
        let cpu = able().map(|o| o.cpu).max()?;
        let mem = able().map(|o| o.mem_bytes).max()?;
        let too_large = |s: &&Step| cpu.is_some_and(|c| s.cpu > c) || mem.is_some_and(|m| s.mem_bytes > m);
        let step = gate.steps.iter().find(too_large)?;
        let (declared, most) = match cpu.filter(|cpu| step.cpu > *cpu) {
            Some(cpu) => (format!("cpu = {}", step.cpu), cpu.to_string()),
            None => (format!("mem of {} MiB", step.mem_bytes / MIB), format!("{} MiB", mem? / MIB)),
        };
        Some(format!(
            "step `{}` declares {declared} and no runner has more than {most}: it gets all that its runner has",
            step.name
        ))
    }
}

fn lacks(offers: Option<&[RunnerOffer]>, gate: &Gate) -> bool {
    let needs = gate.needs();
    !gate.steps.is_empty()
        && offers.is_some_and(|offers| !offers.iter().any(|offer| needs.is_subset(&offer.labels)))
}

/// Why nobody takes a run of this gate, and what is missing.
fn told(offers: &[RunnerOffer], gate: &Gate) -> (String, BTreeSet<Label>) {
    let needs = gate.needs();
    if offers.is_empty() {
        return ("no runner is there".to_owned(), needs);
    }
    let nobody = |label: &&Label| !offers.iter().any(|offer| offer.labels.contains(*label));
    let missing: BTreeSet<Label> = needs.iter().filter(nobody).cloned().collect();
    let there: Vec<String> = offers.iter().take(MAX_TOLD).map(group).collect();
    let there = format!("there is {}", there.join("; "));
    if missing.is_empty() {
        return (format!("no runner has {} together; {there}", labels(&needs)), needs);
    }
    let who = gate.steps.iter().find(|s| s.labels.iter().any(|l| missing.iter().any(|m| m.as_str() == l)));
    let step = who.map(|s| format!(", which step `{}` needs", s.name)).unwrap_or_default();
    (format!("no runner has {}{step}; {there}", labels(&missing)), missing)
}

/// `one, two (arch=x86_64, os=linux)`
fn group(offer: &RunnerOffer) -> String {
    let own = offer.here.then(|| "the daemon itself".to_owned());
    let names: Vec<String> = own.into_iter().chain(offer.runners.iter().map(|r| format!("`{r}`"))).collect();
    let has: Vec<&str> = offer.labels.iter().map(Label::as_str).collect();
    format!("{} ({})", names.join(", "), has.join(", "))
}

fn labels(labels: &BTreeSet<Label>) -> String {
    let names: Vec<&str> = labels.iter().map(Label::as_str).collect();
    format!("label{} {}", if names.len() > 1 { "s" } else { "" }, names.join(", "))
}

/// What starts a runner that has these. Where it runs says what `os` and `arch` are.
fn command(missing: &BTreeSet<Label>) -> String {
    let said = |label: &&str| !label.starts_with("os=") && !label.starts_with("arch=");
    let flags: Vec<String> =
        missing.iter().map(Label::as_str).filter(said).map(|l| format!(" --label {l}")).collect();
    format!("yardmaster work{}", flags.concat())
}
