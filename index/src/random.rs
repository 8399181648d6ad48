//! Seeded choices without state: every draw is a hash of the seed and what is drawn for.

/// A stream of hashed numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Random(u64);

impl Random {
    /// The stream of `seed` for one purpose, named by `lane`.
    pub(crate) fn new(seed: u64, lane: u64) -> Self {
        Self(splitmix(splitmix(seed) ^ lane))
    }

    /// The `i`-th number of the stream.
    pub(crate) fn at(self, i: u64) -> u64 {
        splitmix(self.0 ^ splitmix(i))
    }

    /// The `i`-th number, scaled to `0..below`.
    pub(crate) fn below(self, i: u64, below: u64) -> u64 {
        ((u128::from(self.at(i)) * u128::from(below)) >> 64) as u64
    }

    /// `n` different numbers of `0..total`, ascending: one from each of `n` equal strata.
    pub(crate) fn strata(self, n: u64, total: u64) -> Vec<u64> {
        let n = n.min(total);
        let bound = |i: u64| (u128::from(i) * u128::from(total) / u128::from(n.max(1))) as u64;
        (0..n).map(|i| bound(i) + self.below(i, bound(i + 1) - bound(i))).collect()
    }
}

/// The finaliser of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn splitmix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
