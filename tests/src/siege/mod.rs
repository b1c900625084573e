//! What proves, with real kills, that nothing is lost, nothing lands twice and the target is never red.

mod chance;
mod disk;
mod evidence;
mod faults;
mod field;
mod full;
mod hooks;
mod judge;
#[cfg(test)]
mod judge_tests;
mod plan;
mod points;
mod proxy;
mod record;
mod round;
mod sabotage;
mod stranger;
mod suffer;
mod tally;
mod workload;

pub use chance::Chance;
pub use disk::disks_can_be_had;
pub use faults::{Fault, Full, HookFault, Kind, NetFault};
pub use judge::{Rule, Violation, judge};
pub use plan::Plan;
pub use record::{Announced, Commit, Evidence, Expected, Foreign};
pub use round::{RoundEnd, armed_program, run};
pub use sabotage::{Broken, Caught, Workshop, broken_builds};
pub use tally::Tally;
