//! RaBitQ: vectors of a list as codes of 1 to 8 bits a dimension, and squared distances estimated from them
//! (Gao and Long, "RaBitQ", SIGMOD 2024; Gao et al., "Practical and asymptotically optimal quantization", 2025).
//!
//! All vectors are of the routing space, filled up to a multiple of 16 dimensions and rotated at random, and the
//! distance is squared Euclidean. With the centroid `c` of a list, the residual `r = o - c` of an entry and codes
//! `u` in `0..2^B`, the grid's point is `x = u - (2^B - 1)/2`, and for any `S`
//!
//! ```text
//! |q - c - S·x|² = |q - c|² + S²|x|² + 2S⟨x, c⟩ - 2S⟨x, q⟩
//! estimate       = |q - c|² + add    + scale · ⟨x, q⟩
//! ```
//!
//! so that one preparation of the query serves all lists. `S = |r|²/⟨r, x⟩` and `|r|²` in the place of `S²|x|²`
//! give RaBitQ's estimate, which is right on average over the rotation; see [`Scale`]. The highest bits of the
//! codes are the signs of the residual: a code of one bit, with factors of its own, scanned by table 32 entries at
//! a time. Only entries that might be near are looked at with all bits.
//!
//! A coded list is two runs of bytes, all little-endian:
//!
//! * **signs**: blocks of 32 entries, the last filled up with zeros. A block is 16 bytes for each group of four
//!   dimensions (the low nibble of byte `i` is entry `i`, the high one entry `16 + i`; bit `j` is dimension `j` of
//!   the group, 1 where the residual is positive), 32 addends, 32 scales, both `bf16`.
//! * **records**, one an entry: the other `B - 1` bits, highest first, for each 16 dimensions four bits of each in
//!   8 bytes, then two in 4 bytes, then one in 2 bytes, each only if `B - 1` has that part; then addend `f32`,
//!   scale `f32`, row `u32`. The four bits of dimension `j` are nibble `j / 2` of the `j % 2`-th of two `u32`.

mod copy;
mod encode;
mod planes;
mod query;

pub(crate) use encode::{Encoded, Encoder, Estimator, Scale, encode};
pub(crate) use query::{CodedQuery, SignEstimates};

use half::bf16;

use crate::kernel::{CODE_BLOCK, Kernel};
use crate::slots::Slots;

/// Entries of one block of signs.
pub(crate) const BLOCK: usize = CODE_BLOCK;

/// Half the width of error intervals, in standard deviations: RaBitQ's choice.
const EPSILON: f64 = 1.9;

/// Bytes of a record after the codes: addend, scale, row.
const RECORD_TAIL: usize = 12;

/// The layout of coded lists: padded dimensions and bits a dimension (1..=8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CodeShape {
    /// Dimensions, a multiple of 16.
    pub(crate) dim: usize,
    pub(crate) bits: usize,
}

impl CodeShape {
    /// Blocks of so many entries.
    pub(crate) fn blocks(self, entries: usize) -> usize {
        entries.div_ceil(BLOCK)
    }

    /// Bytes of a block of signs with its factors.
    pub(crate) fn block_bytes(self) -> usize {
        self.sign_bytes() + 4 * BLOCK
    }

    /// Bytes of an entry's record.
    pub(crate) fn record_bytes(self) -> usize {
        self.plane_bytes() + RECORD_TAIL
    }

    /// Bytes of a block's signs.
    fn sign_bytes(self) -> usize {
        self.dim * BLOCK / 8
    }

    /// Bytes of the lower bits in a record.
    pub(crate) fn plane_bytes(self) -> usize {
        self.dim / 8 * (self.bits - 1)
    }

    /// What is taken from a code to centre it: (2^B - 1)/2.
    fn middle(self) -> f32 {
        ((1u32 << self.bits) - 1) as f32 / 2.0
    }

    fn check(self) {
        assert!(self.dim > 0 && self.dim.is_multiple_of(16), "{} dimensions", self.dim);
        assert!((1..=8).contains(&self.bits), "{} bits", self.bits);
    }
}

/// Widths of the error intervals of a list, maxima over its entries.
///
/// With `d²` the squared distance of a query to an entry's vector, or to the decoded vector under
/// [`Scale::LeastSquares`], `|sign estimate - d²| <= sign_slope * |q - c| + sign_offset` and
/// `|full estimate - d²| <= full_slope * |q - c|` hold with the confidence of [`EPSILON`], but for the rounding of
/// `f32`. Infinite if an entry was too far from the centroid for its factors to be numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Bounds {
    pub(crate) sign_slope: f32,
    pub(crate) sign_offset: f32,
    pub(crate) full_slope: f32,
}

impl Bounds {
    /// How far off an estimate by all bits may be for a query at this squared distance from the centroid; infinite
    /// where nothing is known. A distance that rounding has brought below 0 is 0.
    pub(crate) fn full_error(self, centroid_distance: f32) -> f32 {
        let squared = if centroid_distance < 0.0 { 0.0 } else { centroid_distance };
        let error = self.full_slope * squared.sqrt();
        // An infinite slope times nothing is no number, and would be lost in comparisons.
        if error.is_nan() { f32::INFINITY } else { error }
    }
}

/// A coded list in memory. Its bytes may lie anywhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CodedList<'a> {
    pub(crate) shape: CodeShape,
    pub(crate) signs: &'a [u8],
    pub(crate) records: &'a [u8],
    pub(crate) bounds: Bounds,
    /// The slots of the entries, where those stand for their rows.
    pub(crate) slots: Option<Slots<'a>>,
}

impl<'a> CodedList<'a> {
    /// Entries.
    pub(crate) fn len(&self) -> usize {
        self.records.len() / self.shape.record_bytes()
    }

    /// The row of an entry.
    pub(crate) fn row(&self, entry: usize) -> u32 {
        match self.slots {
            Some(slots) => slots.of(entry),
            None => self.record(entry).row,
        }
    }

    /// Tells the processor that an entry will be looked at with all bits soon.
    pub(crate) fn prefetch(&self, entry: usize) {
        let bytes = self.shape.record_bytes();
        Kernel::best().prefetch(&self.records[entry * bytes..][..bytes]);
    }

    /// Addend and scale of an entry's estimate by signs.
    pub(crate) fn sign_factors(&self, entry: usize) -> (f32, f32) {
        let factors = self.block(entry / BLOCK).factors;
        let factor = |at: usize| bf16::from_le_bytes([factors[at], factors[at + 1]]).to_f32();
        (factor(entry % BLOCK * 2), factor((BLOCK + entry % BLOCK) * 2))
    }

    /// The vector that an entry's code stands for, `c + S·x`, into `out`.
    pub(crate) fn decode(&self, entry: usize, centroid: &[f32], out: &mut [f32]) {
        let record = self.record(entry);
        let signs = self.block(entry / BLOCK).signs;
        Kernel::best().unpack(self.shape.bits, signs, entry % BLOCK, record.planes, out);
        let (step, middle) = (-0.5 * record.scale, self.shape.middle());
        for (x, c) in out.iter_mut().zip(centroid) {
            *x = c + step * (*x - middle);
        }
    }

    fn block(&self, block: usize) -> Block<'a> {
        let bytes = self.shape.block_bytes();
        let (signs, factors) = self.signs[block * bytes..][..bytes].split_at(self.shape.sign_bytes());
        Block { signs, factors: &factors.as_chunks().0[0] }
    }

    fn record(&self, entry: usize) -> Record<'a> {
        let bytes = self.shape.record_bytes();
        let (planes, tail) = self.records[entry * bytes..][..bytes].split_at(self.shape.plane_bytes());
        let word = |i: usize| u32::from_le_bytes(std::array::from_fn(|byte| tail[4 * i + byte]));
        Record { planes, add: f32::from_bits(word(0)), scale: f32::from_bits(word(1)), row: word(2) }
    }
}

/// The parts of a block of signs.
struct Block<'a> {
    signs: &'a [u8],
    /// Addends, then scales, two bytes each.
    factors: &'a [u8; 4 * BLOCK],
}

/// The parts of a record.
struct Record<'a> {
    planes: &'a [u8],
    add: f32,
    scale: f32,
    row: u32,
}
