//! Exists so that the queue meets more bad luck in a minute than in a year of service: a toy git, a
//! toy remote, toy gates, agents and faults in virtual time, one seed one history, every invariant
//! checked at every step. Never linked into the product.

mod claims;
mod daemon;
pub mod exhaust;
pub mod experiment;
mod fault;
mod foretold;
mod gate;
mod git;
mod hands;
mod history;
pub mod hostile;
mod just;
mod ledger;
mod life;
mod outside;
mod populate;
mod promoted;
mod push;
mod remote;
mod rest;
mod rights;
mod rng;
pub mod story;
mod tell;
mod told;
mod violation;
mod words;
mod work;
mod world;

pub use fault::{Fault, Tally};
pub use foretold::{Told, foretell};
pub use history::{History, Outcome, run};
pub use tell::tell;
pub use violation::Violation;
