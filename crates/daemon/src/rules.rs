use yardmaster_queue::Policy;

/// How the queue is run, as far as it is configured; the rest follows from the number of slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// As it is for the slots inside the daemon alone.
    pub(crate) policy: Policy,
    /// `queue.window_min`, where it is set.
    pub(crate) window_min: Option<u32>,
    /// `queue.window_max`, where it is set.
    pub(crate) window_max: Option<u32>,
}

impl Rules {
    /// The policy where so many runs fit at the same time.
    pub(crate) fn at(&self, slots: u32) -> Policy {
        let mut policy = self.policy.clone();
        policy.slots = slots;
        // Twice the slots: while the lower half is pushed, the slots have the upper half to test. A job
        // that nobody has started costs nothing to take back.
        policy.window_max = self.window_max.unwrap_or(slots.saturating_mul(2)).max(1);
        policy.window_min = self.window_min.unwrap_or(slots).clamp(1, policy.window_max);
        policy
    }
}
