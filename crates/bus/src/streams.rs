/// The oldest server that will do.
pub const MIN_SERVER: (u64, u64) = (2, 12);
/// What `ensure_streams` found and made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Streams {
    /// Names of those that were missing.
    pub created: Vec<String>,
    /// Names of those that were there.
    pub found: Vec<String>,
}
