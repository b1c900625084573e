use yardmaster_protocol::{EventBody, Fact, Millis, Pressure};

use crate::apply::Caused;
use crate::policy::Policy;
use crate::state::Queue;
use crate::step::Act;

/// Pending requests for each place of the windows, beyond which it rises and down to which it stays.
const SLOW: Marks = Marks { rises: 3, falls: 2 };
const STOP: Marks = Marks { rises: 8, falls: 6 };

/// Apart from each other, so that a queue that stays about as long as it is does not flap.
struct Marks {
    rises: usize,
    falls: usize,
}

impl Queue {
    /// What agents should do about the length of the queue. Depends on what they were told last.
    pub fn pressure(&self, policy: &Policy) -> Pressure {
        let windows = policy.targets.len().saturating_mul(policy.window_max.max(1) as usize);
        let pending = self.live.len();
        let beyond = |places: usize| pending > places.saturating_mul(windows);
        let level = |stop: usize, slow: usize| match pending {
            _ if beyond(stop) => Pressure::Stop,
            _ if beyond(slow) => Pressure::Slow,
            _ => Pressure::Steady,
        };
        let least = level(STOP.rises, SLOW.rises);
        let most = level(STOP.falls, SLOW.falls);
        self.pressure.min(most).max(least)
    }

    /// Requests that have not ended, as events say it.
    pub(crate) fn pending_told(&self) -> u32 {
        u32::try_from(self.live.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn pressure_set(&mut self, at: Millis, pressure: Pressure, pending: u32) -> Caused {
        self.pressure = pressure;
        let why = match pressure {
            Pressure::Steady => format!("{pending} requests are pending: go on"),
            Pressure::Slow => {
                format!("{pending} requests are pending: finish what is started before starting more")
            }
            Pressure::Stop => format!("{pending} requests are pending: start nothing new, skip a turn"),
        };
        Caused::loose(at, EventBody::Pressure { pressure, pending, why })
    }
}

impl Act<'_> {
    /// Tells a change of the recommendation, once.
    pub(crate) fn tell_pressure(&mut self) {
        let pressure = self.queue.pressure(self.policy);
        if pressure != self.queue.pressure {
            let pending = self.queue.pending_told();
            self.emit(Fact::PressureSet { pressure, pending });
        }
    }
}
