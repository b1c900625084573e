use std::collections::BTreeSet;

use yardmaster_protocol::RequestId;

use crate::state::{Phase, Queue};

impl Queue {
    /// Stops the program on a state that must never be: going on would break what users were told.
    pub(crate) fn assert_invariants(&self) {
        if let Err(broken) = self.check() {
            panic!("the queue broke its own rule: {broken}");
        }
    }

    /// What of the rules of the state is broken.
    ///
    /// # Errors
    /// A sentence that names the first broken rule.
    pub fn check(&self) -> Result<(), String> {
        for (name, target) in &self.targets {
            let distinct: BTreeSet<&RequestId> = target.stack.iter().collect();
            if distinct.len() != target.stack.len() {
                return Err(format!("a request stands twice in the stack of {name}"));
            }
            for id in &target.stack {
                let stacked = self.live.get(id).is_some_and(|r| matches!(r.phase, Phase::Stacked(_)));
                if !stacked {
                    return Err(format!("{id} is in the stack of {name} but not live and stacked"));
                }
            }
            for (id, _) in target.landing.iter().flat_map(|l| &l.requests) {
                if !target.stack.contains(id) {
                    return Err(format!("{id} is being pushed to {name} but is not in its stack"));
                }
            }
            if let Some((run, _)) = target.runs.iter().find(|(_, r)| r.gate.steps.is_empty()) {
                return Err(format!("{run} was asked for with nothing to run"));
            }
        }
        match self.live.last_key_value() {
            Some((id, _)) if id.0 > self.last_request => Err(format!("{id} is live but was never given out")),
            Some(_) | None => Ok(()),
        }
    }
}
