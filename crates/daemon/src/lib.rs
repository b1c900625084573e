//! Exists so that mind and hands meet in one place: the engine feeds the queue, journals what it
//! says, and has git, runners and the bus carry out the plan. Nothing here decides what lands.

mod advisor;
mod api;
mod candidates;
mod caught;
mod clock;
mod compare;
mod crew;
mod custody;
mod engine;
mod error;
mod hands;
mod happening;
mod in_hand;
mod intake;
mod logs;
mod outbox;
mod questions;
mod read_definitions;
mod record;
mod rehearse;
mod reload;
mod remote;
mod rules;
mod runners;
mod serve;
mod service;
mod settings;
mod shutdown;
mod standby;
mod state_dir;
mod telemetry;
mod vanished;
mod work;

pub use error::ServeError;
pub use read_definitions::read_definitions;
pub use rehearse::{Rehearse, RehearseError, rehearse};
pub use reload::Reload;
pub use serve::{Ready, Stage, serve};
pub use settings::{Flags, Settings, SettingsError};
pub use shutdown::Shutdown;
pub use state_dir::{known_url, state_home};
pub use telemetry::start_logging;
pub use yardmaster_runner::HostLimits;

pub use work::{Stop, WorkError, WorkOptions, Working, work};
