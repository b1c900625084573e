//! Exists so that one room alone has its hands on git repositories: it mirrors, pins, inspects,
//! assembles, checks out and lands. It knows nothing of queues or NATS.
//!
//! Objects are read and written in memory through libgit2. Everything that talks to a remote is done
//! by the `git` program, because libgit2's push is a forced write that runs no hooks.

mod assemble;
mod attributes;
mod audit;
mod borrow;
mod candidate;
mod changelog;
mod changes;
mod cochange;
mod contents;
mod durable;
mod environment;
mod error;
mod git;
mod guard;
mod history;
mod hunks;
mod inverse;
mod land;
mod look;
mod markers;
mod matrix;
mod merge;
mod mergetree;
mod mirror;
mod objects;
mod options;
mod pack;
mod pin;
mod process;
mod project;
mod recent;
mod standing;
mod stray;
mod sweep;
mod switch;
mod walk;
mod worktree;

pub use changes::{Changes, MAX_FILES, each_difference};
pub use cochange::{Cochange, Together};
pub use contents::{Contents, FileContents};
pub use error::GitError;
pub use guard::TakenBack;
pub use matrix::{Considered, MAX_ASKED, MAX_MEETINGS, Matrix, MatrixCounters, Meeting, Standing, Verdict};
pub use mirror::{MergeCounters, Mirror};
pub use options::{CrossCheck, GitOptions};
pub use pin::PinAsk;
pub use project::Unusable;
pub use worktree::Worktree;
