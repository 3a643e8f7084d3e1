//! Numbers that are the same for the same seed.

/// `SplitMix64`.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Up to `count` numbers below `total`, in order: one at random of each of `count` equal parts.
    pub(crate) fn spread(&mut self, total: u64, count: u64) -> Vec<u64> {
        if count >= total {
            return (0..total).collect();
        }
        let start = |part: u64| {
            let start = u128::from(part) * u128::from(total) / u128::from(count);
            u64::try_from(start).expect("it is below the total")
        };
        (0..count).map(|part| start(part) + self.below(start(part + 1) - start(part))).collect()
    }
}
