//! Random numbers as pure functions of (seed, row, lane): no state, so any row can be made anywhere.

/// The finalizer of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
pub(super) fn splitmix(x: u64) -> u64 {
    let z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The random numbers of one row, in numbered lanes.
#[derive(Clone, Copy)]
pub(super) struct RowHash(u64);

impl RowHash {
    pub(super) fn new(seed: u64, row: u64) -> Self {
        Self(splitmix(row.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(seed)))
    }

    /// 64 random bits.
    pub(super) fn bits(self, lane: u64) -> u64 {
        splitmix(self.0 ^ lane.wrapping_mul(0x2545_F491_4F6C_DD1D))
    }

    /// Uniform in [0, 1), a multiple of 2^-53.
    pub(super) fn uniform(self, lane: u64) -> f64 {
        (self.bits(lane) >> 11) as f64 * f64::from_bits((1023 - 53) << 52)
    }

    /// About normal, see [`Normal`].
    pub(super) fn normal(self, lane: u64, normal: Normal) -> f32 {
        normal.of(self.bits(lane))
    }
}

/// Sum of four uniform 16-bit numbers, centered and scaled to variance 1: a bell up to |g| = 3.4642. All steps
/// but the last are exact in f32.
#[derive(Clone, Copy)]
pub(super) struct Normal {
    scale: f32,
}

impl Normal {
    pub(super) fn new() -> Self {
        // four uniform numbers of range 65,535 have variance 65,535² 4/12
        Self { scale: (1.0 / (65_535.0 * (4.0f64 / 12.0).sqrt())) as f32 }
    }

    pub(super) fn of(self, bits: u64) -> f32 {
        let sum = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48);
        (sum as f32 - 131_070.0) * self.scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_outputs_of_splitmix64() {
        // the published sequence for seed 0
        assert_eq!(splitmix(0), 0xE220_A839_7B1D_CDAF);
        assert_eq!(splitmix(0x9E37_79B9_7F4A_7C15), 0x6E78_9E6A_A1B9_65F4);
    }

    #[test]
    fn normals_have_mean_0_and_variance_1() {
        let normal = Normal::new();
        let draws = (0..100_000).map(|row| f64::from(RowHash::new(1, row).normal(7, normal)));
        let (sum, squares) = draws.fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
        assert!((sum / 1e5).abs() < 0.01 && (squares / 1e5 - 1.0).abs() < 0.01, "{sum} {squares}");
    }
}
