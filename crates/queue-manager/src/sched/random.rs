//! Seeded randomness for jitter: repeatable in tests, unguessable enough in service.

/// SplitMix64: one addition and three mixing steps per number.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// `value` give or take a tenth: what failed together does not come back together.
    pub(super) fn around(&mut self, value: u64) -> u64 {
        let tenth = value / 10;
        value - tenth + self.next() % (2 * tenth + 1)
    }
}
