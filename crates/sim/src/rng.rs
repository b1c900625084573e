/// A seeded stream of numbers (splitmix64): the same seed gives the same history on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The stream of `seed`.
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// From `low` to `high`, both included.
    pub(crate) fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high.saturating_sub(low) + 1)
    }

    /// Below `n`, as an index; 0 when `n` is 0.
    pub(crate) fn index(&mut self, n: usize) -> usize {
        let below = u64::try_from(n).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % below).unwrap_or(0)
    }

    /// True in `percent` of all cases.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

/// Spreads every bit of `x` over the whole number.
pub(crate) fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Twenty bytes that depend on every part, for ids of toy objects.
pub(crate) fn digest(parts: &[&[u8]]) -> [u8; 20] {
    let mut lanes = [0x243f_6a88_85a3_08d3_u64, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0];
    for part in parts {
        for byte in part.iter().copied().chain([0xff, 0x00]) {
            for (lane, prime) in
                lanes.iter_mut().zip([0x0100_0000_01b3_u64, 0x9e37_79b1_85eb_ca87, 0xc2b2_ae3d_27d4_eb4f])
            {
                *lane = (*lane ^ u64::from(byte)).wrapping_mul(prime).rotate_left(23);
            }
        }
    }
    let mut id = [0; 20];
    let bytes = lanes.into_iter().map(mix).flat_map(u64::to_be_bytes);
    id.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    id
}
