//! Exists so that the whole house can be tried as users have it: a real nats-server, a real bare
//! repository, the real program in its own process, and agents that speak plain NATS.

mod daemon;
mod events;
mod house;
mod remote;

pub use daemon::{Daemon, yardmaster};
pub use events::Events;
pub use house::{House, announcement};
pub use remote::{Change, Remote};

/// How long anything may take that should take a moment; generous, for machines that are busy.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
