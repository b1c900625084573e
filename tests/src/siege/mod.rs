//! What proves, with real kills, that nothing is lost, nothing lands twice and the target is never red.

mod chance;
mod evidence;
mod faults;
mod field;
mod hooks;
mod judge;
#[cfg(test)]
mod judge_tests;
mod round;
mod stranger;
mod tally;
mod workload;

pub use chance::Chance;
pub use faults::{Fault, HookFault, Kind, Plan};
pub use judge::{Announced, Commit, Evidence, Expected, Foreign, Rule, Violation, judge};
pub use round::{RoundEnd, armed_program, run};
pub use tally::Tally;
