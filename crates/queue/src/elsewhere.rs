//! Gates that have passed elsewhere: what a trusted agent says of a tree counts like a run of ours.

use yardmaster_protocol::{BranchName, GateId, GatePassed, Millis, RunId, RunOutcome, TreeId};

use crate::state::{Queue, Target, VERDICTS_KEPT, Verdict};

impl Queue {
    /// What a run of ours has said of the same tree stays.
    pub(crate) fn passed_elsewhere(&mut self, name: &BranchName, passed: &GatePassed, at: Millis) {
        let text = format!("by-{}-{}", passed.agent, passed.tree.short());
        let Ok(run) = RunId::new(text.replace(|c: char| !c.is_ascii_alphanumeric(), "-")) else { return };
        let key = (passed.tree, passed.gate.clone());
        let target = self.target(name);
        let known = target.verdicts.get(&key).map(|v| &v.outcome);
        if matches!(known, Some(RunOutcome::Green | RunOutcome::Red { .. } | RunOutcome::TimedOut { .. })) {
            return;
        }
        let verdict = Verdict {
            outcome: RunOutcome::Green,
            run,
            request: None,
            candidate: passed.commit,
            ms: passed.ms,
            at,
            lost: 0,
            reds: 0,
            flaky: Vec::new(),
            asked: None,
        };
        target.keep_verdict(key, verdict);
    }
}

impl Target {
    /// The oldest are forgotten.
    pub(crate) fn keep_verdict(&mut self, of: (TreeId, GateId), verdict: Verdict) {
        self.verdicts.insert(of, verdict);
        while self.verdicts.len() > VERDICTS_KEPT {
            let oldest = self.verdicts.iter().min_by_key(|(_, v)| v.at).map(|(k, _)| k.clone());
            oldest.and_then(|k| self.verdicts.remove(&k));
        }
    }
}
