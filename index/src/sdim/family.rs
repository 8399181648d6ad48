//! Signatures: on which side of random planes a vector lies.

use crate::error::{IndexError, Result};
use crate::kernel::{Kernel, PANEL, TILE_PANELS, TILE_QUERIES};
use crate::random::Random;
use crate::vector::DIM_MAX;

use super::check_vectors;

/// Bits of a group at most.
pub const GROUP_BITS_MAX: usize = 16;
/// Bits of a signature at most.
pub const HASHES_MAX: usize = 4096;
/// Values of all projections at most: hashes times dimensions.
pub const PROJECTION_VALUES_MAX: usize = 1 << 22;
/// Values of a table at most: groups times buckets times dimensions.
pub const TABLE_VALUES_MAX: usize = 1 << 24;

/// What projections are drawn for, among the uses of a seed.
const LANE: u64 = 0x5d1a;
/// The rows that one step of hashing projects to.
const STEP: usize = TILE_PANELS * PANEL;

/// How vectors are hashed: d dimensions, G groups of τ bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignShape {
    dim: usize,
    groups: usize,
    bits: usize,
}

impl SignShape {
    /// A shape of `dim` dimensions and `groups` groups of `bits` bits.
    ///
    /// # Errors
    /// When one of them is out of its range, or a table of this shape would be too large.
    pub fn new(dim: usize, groups: usize, bits: usize) -> Result<Self> {
        let range = |option, found: usize, max: usize| {
            let (found, expected) = (found.to_string(), format!("1 to {max}"));
            Err(IndexError::BadOption { option, found, expected })
        };
        if !(1..=DIM_MAX).contains(&dim) {
            return range("dimensions", dim, DIM_MAX);
        }
        if !(1..=GROUP_BITS_MAX).contains(&bits) {
            return range("bits of a group", bits, GROUP_BITS_MAX);
        }
        if groups == 0 || groups > HASHES_MAX / bits {
            return range("groups", groups, HASHES_MAX / bits);
        }
        let shape = Self { dim, groups, bits };
        if shape.hashes() * dim > PROJECTION_VALUES_MAX {
            return range("hashes times dimensions", shape.hashes() * dim, PROJECTION_VALUES_MAX);
        }
        if shape.table_values() > TABLE_VALUES_MAX {
            return range("groups times buckets times dimensions", shape.table_values(), TABLE_VALUES_MAX);
        }
        Ok(shape)
    }

    /// Dimensions of a vector (d).
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Groups of bits (G).
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Bits of a group (τ).
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// Bits of a signature (m = G·τ).
    pub fn hashes(&self) -> usize {
        self.groups * self.bits
    }

    /// Buckets of a group (2^τ).
    pub fn buckets(&self) -> usize {
        1 << self.bits
    }

    /// Values of a table: `[group][bucket][dimension]`.
    pub fn table_values(&self) -> usize {
        (self.groups << self.bits) * self.dim
    }

    /// Words of a signature. Hash `h` is bit `h % 64` of word `h / 64`; bits behind the last hash are zero.
    pub fn words(&self) -> usize {
        self.hashes().div_ceil(64)
    }

    /// The bucket of a group: its first hash is the lowest bit.
    ///
    /// # Panics
    /// When there is no such group, or the signature is too short.
    pub fn bucket(&self, signature: &[u64], group: usize) -> usize {
        assert!(group < self.groups);
        let at = group * self.bits;
        let (word, shift) = (at / 64, at % 64);
        let mut found = signature[word] >> shift;
        if shift + self.bits > 64 {
            found |= signature[word + 1] << (64 - shift);
        }
        found as usize & (self.buckets() - 1)
    }

    /// The row of a table that a group of a signature picks.
    pub(super) fn row(&self, signature: &[u64], group: usize) -> usize {
        (group << self.bits) + self.bucket(signature, group)
    }
}

/// Random planes through the origin, frozen: what all vectors of a table are hashed by.
#[derive(Clone, Debug)]
pub struct SignFamily {
    shape: SignShape,
    /// `[hash][dimension]`.
    projections: Vec<f32>,
    /// The same in panels, filled up with planes of zeros.
    panels: Vec<f32>,
}

impl SignFamily {
    /// A family of given planes: `[hash][dimension]`, hash `group * bits + bit`.
    ///
    /// # Errors
    /// When it is another number of values, or one is not finite.
    pub fn from_projections(shape: SignShape, projections: &[f32]) -> Result<Self> {
        let found = check_vectors("projections", shape.dim, projections)?;
        super::check_len("projections", found * shape.dim, shape.hashes() * shape.dim)?;
        let step = STEP * shape.dim;
        let mut panels = vec![0.0; shape.hashes().div_ceil(STEP) * step];
        for (hash, plane) in projections.chunks_exact(shape.dim).enumerate() {
            let start = hash / PANEL * PANEL * shape.dim + hash % PANEL;
            for (j, &value) in plane.iter().enumerate() {
                panels[start + j * PANEL] = value;
            }
        }
        Ok(Self { shape, projections: projections.to_vec(), panels })
    }

    /// A family of planes as models keep them: `[dimension][group][bit]`, such as the `random_rotations` of a checkpoint.
    ///
    /// # Errors
    /// As [`SignFamily::from_projections`].
    pub fn from_rotations(shape: SignShape, rotations: &[f32]) -> Result<Self> {
        let (dim, hashes) = (shape.dim, shape.hashes());
        super::check_len("rotations", rotations.len(), dim * hashes)?;
        let turned: Vec<f32> =
            (0..hashes).flat_map(|hash| (0..dim).map(move |j| rotations[j * hashes + hash])).collect();
        Self::from_projections(shape, &turned)
    }

    /// A family drawn from the normal distribution. It follows from the seed; keep the projections all the same, for
    /// logarithms may round otherwise elsewhere.
    ///
    /// # Errors
    /// None that a shape can have.
    pub fn from_seed(shape: SignShape, seed: u64) -> Result<Self> {
        let random = Random::new(seed, LANE);
        let values: Vec<f32> = (0..(shape.hashes() * shape.dim) as u64).map(|i| normal(random, i)).collect();
        Self::from_projections(shape, &values)
    }

    /// How it hashes.
    pub fn shape(&self) -> SignShape {
        self.shape
    }

    /// The planes: `[hash][dimension]`.
    pub fn projections(&self) -> &[f32] {
        &self.projections
    }

    /// The signatures of vectors, [`SignShape::words`] words each. A bit is 1 if the projection is above zero; so all
    /// bits of a vector of zeros are 0. Products are added in the order of the dimensions, in `f32` with fused
    /// multiply-add: every processor gives the same bits.
    ///
    /// # Errors
    /// When `vectors` are not whole vectors, or a value is not finite.
    pub fn signatures(&self, vectors: &[f32]) -> Result<Vec<u64>> {
        let count = check_vectors("vectors to hash", self.shape.dim, vectors)?;
        Ok(self.signatures_with(Kernel::best(), vectors, count))
    }

    pub(super) fn signatures_with(&self, kernel: Kernel, vectors: &[f32], count: usize) -> Vec<u64> {
        let (dim, words) = (self.shape.dim, self.shape.words());
        let mut signatures = vec![0; count * words];
        for first in (0..count).step_by(TILE_QUERIES) {
            let here = TILE_QUERIES.min(count - first);
            // What is missing of the last tile is filled up with its last vector.
            let queries = std::array::from_fn(|i| {
                let at = (first + i.min(here - 1)) * dim;
                &vectors[at..at + dim]
            });
            for (step, panels) in self.panels.chunks_exact(STEP * dim).enumerate() {
                let mut dots = [[[0.0; PANEL]; TILE_PANELS]; TILE_QUERIES];
                kernel.tile(panels, &queries, &mut dots);
                for (i, dots) in dots.iter().take(here).enumerate() {
                    let at = step * STEP;
                    signatures[(first + i) * words + at / 64] |= above_zero(dots.as_flattened()) << (at % 64);
                }
            }
        }
        signatures
    }
}

/// One bit a value, the first the lowest.
fn above_zero(values: &[f32]) -> u64 {
    values.iter().rev().fold(0, |bits, &value| bits << 1 | u64::from(value > 0.0))
}

/// The `i`-th number of the normal distribution (Box and Muller, 1958).
fn normal(random: Random, i: u64) -> f32 {
    // Uniform in (0, 1]: the logarithm of 0 is no number.
    let uniform = |i| ((random.at(i) >> 11) + 1) as f64 / (1u64 << 53) as f64;
    ((-2.0 * uniform(2 * i).ln()).sqrt() * (std::f64::consts::TAU * uniform(2 * i + 1)).cos()) as f32
}
