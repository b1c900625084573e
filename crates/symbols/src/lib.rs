//! Exists so that one room alone reads source code: it says which definitions a change alters and which
//! names it newly uses, and where two changes meet. It knows nothing of repositories, queues or NATS.
//!
//! Names are not resolved: a use is a name in a place where it can mean such a definition. What is told
//! is advice, wrong at times in both directions; `docs/conflicts.md` says how often.
//!
//! Parsers are C code that reads what strangers wrote: who serves others has [`Reader`] run them in a process that
//! can be killed.

mod change;
mod child;
mod class;
mod error;
mod frame;
mod language;
mod meet;
mod naming;
mod outline;
mod reader;
mod roles;
mod rules;

pub use change::{Altered, ApiChange, FileChange, How, Use, UsingFile, change, change_within};
pub use child::serve_child;
pub use class::{Class, Reach, Roles};
pub use error::ReadError;
pub use language::Language;
pub use meet::{Clash, Kind, Side, meet};
pub use reader::Reader;

/// Larger files are skipped, in bytes.
pub const MAX_FILE_BYTES: usize = 512 * 1024;
/// Files of one change beyond this many are skipped.
pub const MAX_FILES: usize = 500;
/// So many of the files that were skipped are named.
pub const MAX_SKIPPED_NAMED: usize = 3;
/// After so long no further file of one change is read, in milliseconds.
pub const MAX_CHANGE_MS: u64 = 2_000;
/// The most definitions that are listed of one change.
pub const MAX_ALTERED: usize = 5_000;
/// The most new uses that are listed of one change, and the most names that are kept to judge them.
pub const MAX_USES: usize = 20_000;
/// The most meetings of two changes that are told.
pub const MAX_CLASHES: usize = 50;
/// Longer names are no names.
const MAX_NAME_BYTES: usize = 200;
