//! Exists so that the whole house can be tried as users have it: a real nats-server, a real bare
//! repository, the real program in its own process, and agents that speak plain NATS.

mod cluster;
mod daemon;
mod disk;
mod events;
mod gate;
mod house;
mod ledger;
mod refused;
mod remote;
mod server;
pub mod siege;

pub use cluster::Cluster;
pub use daemon::{Daemon, yardmaster};
pub use disk::Disk;
pub use events::{Events, Message};
pub use gate::{GateKeeper, Run, make_pipe};
pub use house::{House, PROJECT, announcement};
pub use ledger::Ledger;
pub use refused::Refused;
pub use remote::{Change, OnMain, Remote};
pub use server::PlainServer;

/// How long anything may take that should take a moment; generous, for machines that are busy.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
