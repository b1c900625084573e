use super::scenario::Scenario;
use super::search::Case;
use super::state::Faults;

const NONE: Faults =
    Faults { crashes: 0, takeovers: 0, foreign: 0, unclear: 0, lost_acks: 0, lost_runs: 0, declines: 0 };
/// A crash, a second daemon, a push by somebody else, and an answer of the remote that does not come.
const ONE_OF_EACH: Faults = Faults { crashes: 1, takeovers: 1, foreign: 1, unclear: 1, ..NONE };
const EVERY_KIND: Faults = Faults { lost_acks: 1, lost_runs: 1, ..ONE_OF_EACH };
const MOST_STATES: u32 = 100_000_000;

/// What is gone through at a level: 1 in seconds, for every change of the code; 2 in minutes.
pub fn cases(level: u64) -> Vec<Case> {
    let case =
        |scenario, faults| Case { scenario, faults, flaw: None, sleepers: false, most_states: MOST_STATES };
    let awake = Faults { takeovers: 1, foreign: 1, ..NONE };
    let mut cases = vec![
        case(Scenario::One, EVERY_KIND),
        Case { sleepers: true, ..case(Scenario::One, awake) },
        case(Scenario::Two, ONE_OF_EACH),
        case(Scenario::Moody, Faults { foreign: 1, declines: 2, ..NONE }),
    ];
    let others =
        Scenario::ALL.into_iter().filter(|s| !matches!(s, Scenario::One | Scenario::Two | Scenario::Moody));
    let small = [Faults { crashes: 1, takeovers: 1, ..NONE }, Faults { crashes: 1, unclear: 1, ..NONE }];
    if level < 2 {
        cases.extend(others.flat_map(|scenario| small.map(|faults| case(scenario, faults))));
    } else {
        cases.push(Case { sleepers: true, ..case(Scenario::One, Faults { crashes: 1, ..awake }) });
        cases.push(case(Scenario::One, Faults { crashes: 2, unclear: 2, ..EVERY_KIND }));
        cases.extend(others.map(|scenario| case(scenario, ONE_OF_EACH)));
    }
    cases
}
