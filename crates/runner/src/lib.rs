//! Exists so that one gate job becomes one report, whatever the gate does: it hangs, forks, floods,
//! ignores signals or escapes. It knows checkouts and processes; it knows no queue and no NATS.

mod checkout;
mod config;
mod disk;
mod environment;
mod error;
mod host;
mod lane;
mod leftovers;
mod log;
mod output;
mod process;
mod room;
mod step;
mod steps;
mod store;
mod tail;
mod when;

pub use config::{LaneConfig, RunLimits};
pub use disk::{Disk, DiskLimits};
pub use error::RunnerError;
pub use host::{Host, HostLimits};
pub use lane::Lane;
pub(crate) use lane::{LONGEST, ms};
pub use store::{LogPiece, LogStore};
