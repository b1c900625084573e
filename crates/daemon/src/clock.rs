use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use yardmaster_protocol::Millis;

/// A wall clock that runs off from the monotonic one by more than this was set, or the machine slept.
const LEAP: Duration = Duration::from_secs(5);

/// The wall clock.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Since when the wall clock and we have run together.
#[derive(Debug)]
pub(crate) struct Wakefulness {
    longest_gap: Duration,
    since: Option<Millis>,
    last: Option<(Millis, Instant)>,
}

impl Wakefulness {
    /// Who asks every `interval`. Whoever comes much later was held up, and so was everything else.
    pub(crate) fn asked_every(interval: Duration) -> Wakefulness {
        Wakefulness { longest_gap: interval * 3 + Duration::from_secs(30), since: None, last: None }
    }

    /// Since when there was neither a start, nor a sleep, nor a leap of the clock, nor a hold-up.
    pub(crate) fn since(&mut self, now: Millis, monotonic: Instant) -> Millis {
        let together = self.last.replace((now, monotonic)).is_some_and(|(wall, ticks)| {
            let by_wall = Duration::from_millis(now.since(wall));
            let gap = monotonic.duration_since(ticks);
            now >= wall && by_wall.abs_diff(gap) <= LEAP && gap <= self.longest_gap
        });
        if !together {
            self.since = Some(now);
        }
        self.since.unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_a_sleep_and_a_clock_that_was_set_begin_anew() {
        let mut awake = Wakefulness::asked_every(Duration::from_secs(10));
        let began = Instant::now();
        let at = |s: u64| began + Duration::from_secs(s);
        assert_eq!(awake.since(Millis(100_000), at(0)), Millis(100_000));
        assert_eq!(awake.since(Millis(110_000), at(10)), Millis(100_000));
        // The monotonic clock stands still while the machine sleeps.
        assert_eq!(awake.since(Millis(4_000_000), at(20)), Millis(4_000_000));
        assert_eq!(awake.since(Millis(4_010_000), at(30)), Millis(4_000_000));
        assert_eq!(awake.since(Millis(90_000), at(40)), Millis(90_000));
        assert_eq!(awake.since(Millis(100_000), at(50)), Millis(90_000));
        // A minute and more in which nobody asked.
        assert_eq!(awake.since(Millis(165_000), at(115)), Millis(165_000));
    }
}
