//! Exists so that what we claim can be repeated: the merges of public repositories made again by the
//! program, and how quick it is beside the plain tools. Everything goes through the real daemon, a
//! real nats-server and real git.

mod agents;
mod cost;
mod daemon;
mod figures;
mod git;
mod history;
mod nats;
mod stats;

pub use figures::{Figures, figures};
pub use history::{RealHistory, real_history};

/// What can go wrong is told to the person at the terminal, and that is all.
pub type Trouble = Box<dyn std::error::Error + Send + Sync>;
