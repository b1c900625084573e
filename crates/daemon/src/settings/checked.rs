//! What was read is looked at as a whole; everything that is wrong is told at once.

use std::collections::BTreeSet;
use std::time::Duration;

use yardmaster_protocol::{BranchName, Gate, Requirement};
use yardmaster_queue::{ChangelogPolicy, GateRule, Policy};
use yardmaster_runner::HostLimits;

use super::raw::{Raw, RawChangelog, RawGate, RawRunner};
use super::values::{
    at_least_one, base_red, bytes, cross_check, cycles, definitions, duration, guarantee, labels,
    least_chance, millis, overlap, takes_back, trusted,
};
use super::{MOST_SLOTS, NatsSettings, Settings};
use crate::rules::Rules;

impl Raw {
    pub(super) fn checked(self, problems: &mut Vec<String>) -> Option<Settings> {
        let policy = self.policy(problems);
        let poll = duration("repo.poll", &self.repo.poll, problems).max(Duration::from_millis(100));
        let poison_after = at_least_one("intake.poison_after", self.intake.poison_after, problems);
        let cross_check = cross_check(&self.git.cross_check, problems);
        let host = self.runner.host(problems);
        let refuse_takes_back = takes_back(&self.guard.takes_back, problems);
        if self.repo.remote.as_deref().is_none_or(|r| r.trim().is_empty()) {
            problems.push(
                "`repo.remote` is missing: say where to land with --remote URL-OR-PATH, YARDMASTER__REPO__REMOTE, or `remote` under [repo]".to_owned(),
            );
        }
        if self.runner.slots > MOST_SLOTS {
            problems.push(format!(
                "`runner.slots` (--slots) is {}, but must be 0 (only runners elsewhere) to {MOST_SLOTS}",
                self.runner.slots
            ));
        }
        if ![1, 3, 5].contains(&self.nats.replicas) {
            problems.push(format!("`nats.replicas` is {}, but must be 1, 3 or 5", self.nats.replicas));
        }
        if self.nats.user.is_some() != self.nats.password.is_some() {
            problems.push("`nats.user` and `nats.password` go together".to_owned());
        }
        let labels = labels(&self.runner.labels, problems);
        let disk_bytes = self.runner.disk.as_deref().and_then(|text| bytes("runner.disk", text, problems));
        let url = Some(self.nats.url).filter(|url| url != "embedded");
        Some(Settings {
            name: self.name,
            nats: NatsSettings {
                url,
                credentials: self.nats.credentials,
                user: self.nats.user,
                password: self.nats.password,
                token: self.nats.token,
                replicas: self.nats.replicas,
            },
            remote: self.repo.remote.as_deref().map(located).unwrap_or_default(),
            poll,
            slots: self.runner.slots,
            pass_env: self.runner.pass_env,
            host,
            cache_dir: self.runner.cache_dir,
            disk_bytes,
            state_dir: self.state.dir,
            ssh_command: self.repo.ssh_command,
            cross_check,
            poison_after,
            refuse_takes_back,
            policy: policy?,
            labels,
            window_min: self.queue.window_min,
            window_max: self.queue.window_max,
            announce_url: true,
        })
    }

    fn policy(&self, problems: &mut Vec<String>) -> Option<Policy> {
        let mut branch = |key: &str, text: &str| match BranchName::new(text) {
            Ok(branch) => Some(branch),
            Err(why) => {
                problems.push(format!("`{key}`: {why}"));
                None
            }
        };
        let target = branch("repo.target", &self.repo.target);
        let others: Vec<_> = self.repo.targets.iter().filter_map(|t| branch("repo.targets", t)).collect();
        let gate = gate(&self.gate, problems);
        let ageing = duration("queue.ageing", &self.queue.ageing, problems);
        let kept = if self.changelog.enabled { changelog(&self.changelog, problems) } else { None };
        let stall_grace = duration("queue.stall_grace", &self.queue.stall_grace, problems);
        let base_red = base_red(&self.queue.base_red, problems);
        let overlap = overlap(&self.queue.overlap, problems);
        let guarantee = guarantee(&self.queue.guarantee, problems);
        let cycles = cycles(&self.queue.cycles, problems);
        let least_chance = least_chance(self.queue.least_chance, problems);
        let definitions = definitions(&self.queue.definitions, problems);
        let mut policy = Policy::new(target?);
        policy.targets.extend(others.into_iter().collect::<BTreeSet<_>>());
        policy.gate = gate;
        policy.batch_max = at_least_one("queue.batch", self.queue.batch, problems);
        (policy.guarantee, policy.cycles, policy.least_chance) = (guarantee, cycles, least_chance);
        policy.ageing_ms = millis(ageing).max(1_000);
        policy.max_pending = at_least_one("queue.max_pending", self.queue.max_pending, problems);
        policy.max_pending_per_agent =
            at_least_one("queue.max_pending_per_agent", self.queue.max_pending_per_agent, problems);
        policy.max_lost_runs = at_least_one("queue.max_lost_runs", self.queue.max_lost_runs, problems);
        policy.bind_agent_to_subject = self.auth.bind_agent_to_subject;
        policy.trusted = trusted(&self.auth.trusted_runners, problems);
        policy.changelog = kept;
        policy.base_red = base_red;
        policy.overlap = overlap;
        policy.definitions = definitions;
        policy.stall_grace_ms = millis(stall_grace);
        let (window_min, window_max) = (self.queue.window_min, self.queue.window_max);
        Some(Rules { policy, window_min, window_max }.at(self.runner.slots))
    }
}

/// A path as seen from everywhere: the state directory is found by it, and `r.git` is another repository in
/// another directory.
fn located(remote: &str) -> String {
    let path = std::path::Path::new(remote);
    let found = path.is_dir().then(|| path.canonicalize().ok()).flatten();
    found.and_then(|path| path.to_str().map(str::to_owned)).unwrap_or_else(|| remote.to_owned())
}

fn gate(raw: &RawGate, problems: &mut Vec<String>) -> GateRule {
    let Some(command) = raw.command.as_deref().map(str::trim) else { return GateRule::FromTarget };
    match command {
        "" => {
            problems.push(
                "`gate.command` (--gate) is empty: give a command, or `none` to land without any test"
                    .to_owned(),
            );
            GateRule::FromTarget
        }
        "none" => GateRule::Fixed(Gate::default()),
        command => {
            let mut gate = Gate::command(command);
            gate.environment.clone_from(&raw.environment);
            gate.steps.iter_mut().for_each(|s| s.learns_timeout = raw.timeout.is_none());
            if let Some(timeout) = &raw.timeout {
                let ms = millis(duration("gate.timeout", timeout, problems)).max(1);
                gate.steps.iter_mut().for_each(|s| s.timeout_ms = ms);
            }
            GateRule::Fixed(gate)
        }
    }
}

impl RawRunner {
    fn host(&self, problems: &mut Vec<String>) -> HostLimits {
        let machine = HostLimits::of_machine();
        if self.cpu == Some(0) {
            problems
                .push("`runner.cpu` is 0, but must be 1 or more processors; leave it out for all".to_owned());
        }
        let mem = self.mem.as_deref().and_then(|text| bytes("runner.mem", text, problems));
        let mem_bytes = mem.unwrap_or(machine.mem_bytes);
        HostLimits { cpu: self.cpu.unwrap_or(machine.cpu), mem_bytes }
    }
}

fn changelog(raw: &RawChangelog, problems: &mut Vec<String>) -> Option<ChangelogPolicy> {
    let plain =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.eq_ignore_ascii_case(".git");
    if !raw.path.split('/').all(plain) || raw.path.contains('\0') {
        problems.push(format!(
            "`changelog.path` is `{}`, but must be a plain path inside the repository",
            raw.path
        ));
        return None;
    }
    if raw.template.contains('\n')
        || Requirement::new(raw.template.chars().take(128).collect::<String>()).is_err()
    {
        problems.push("`changelog.template` must be one line of printable text".to_owned());
        return None;
    }
    Some(ChangelogPolicy { path: raw.path.clone(), template: raw.template.clone() })
}
