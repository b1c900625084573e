/// What the records up to `seq` amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last record that it contains.
    pub seq: u64,
    /// As it was stored.
    pub bytes: Vec<u8>,
}
