//! Exists so that every decision of the merge queue is made in one pure place: inputs become facts
//! (`step`), facts become state (`replay`), state becomes the work that should be in progress
//! (`plan`). No I/O, no clock, no randomness, no async: `now` and policy are arguments.

mod amend;
mod apart;
mod apply;
mod check;
mod compare;
mod definitions;
mod depend;
mod explain;
mod failure;
mod few;
mod flake;
mod freeze;
mod health;
mod independent;
mod index;
mod input;
mod intent;
mod invariant;
mod land;
mod learn;
mod odds;
mod order;
mod parallel;
mod pause;
mod plan;
mod policy;
mod pressure;
mod promote;
mod review;
mod rules;
mod runners;
mod scope;
mod settle;
mod spare;
mod speculate;
mod state;
mod step;
mod suspect;
mod taken;
mod takeover;
mod unit;
mod view;
mod walk;
mod watch;

pub use check::{Foreseen, Found, PendingWork};
pub use freeze::FREEZERS;
pub use input::Input;
pub use intent::Moved;
pub use parallel::{Common, History};
pub use plan::{Order, PinAsk, Plan};
pub use policy::{BaseRed, ChangelogPolicy, Cycles, Definitions, GateRule, Guarantee, Overlap, Policy};
pub use state::{Ended, Ending, Queue};
pub use step::{Projected, Step};
pub use takeover::MadeCandidate;
