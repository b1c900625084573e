//! How well the planner plans, in virtual time, beside policies and tables that were published: one seed one world, the same
//! for every policy.

mod accept;
mod batch;
mod building;
mod figures;
mod fleet;
mod grid;
mod oracle;
mod ours;
mod outcome;
mod peers;
mod planner;
mod plot;
mod product;
pub mod published;
mod random;
mod set;
mod speculate;
mod trace;
mod world;

pub use accept::{Check, acceptance, quick_acceptance};
pub use batch::batch;
pub use figures::{SHOWN, figures, tables};
pub use fleet::{Coming, Fleet, Setting, fleets};
pub use grid::{Cell, grid};
pub use oracle::oracle;
pub use ours::ours;
pub use outcome::{Mean, Outcome};
pub use peers::{optimistic, single_queue};
pub use planner::{Knowledge, Planner, Run};
pub use plot::plot;
pub use speculate::{patient, speculate_all, submit_queue};
pub use world::{Parameters, World};
