//! Exists so that the landing protocol is not only tried but gone through: every interleaving of
//! messages, records, looks, pushes, deaths and a second daemon, for small numbers of each. The mind
//! is the real queue; the world around it is as small as it can be.

mod book;
mod cases;
mod daemon;
mod flaw;
mod minds;
mod remote;
mod scenario;
mod search;
mod state;
mod world;

pub use cases::cases;
pub use flaw::Flaw;
pub use scenario::Scenario;
pub use search::{Case, Counterexample, Explored, explore};
pub use state::Faults;
