//! Exists so that one gate job becomes one report, whatever the gate does: it hangs, forks, floods,
//! ignores signals or escapes. It knows checkouts and processes; it knows no queue and no NATS.

mod checkout;
mod config;
mod environment;
mod error;
mod lane;
mod leftovers;
mod log;
mod process;
mod room;
mod step;
mod store;
mod tail;

pub use config::{LaneConfig, RunLimits};
pub use error::RunnerError;
pub use lane::Lane;
pub use store::{LogPiece, LogStore};
