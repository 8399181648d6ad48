//! The factors of estimates by all bits, as they lie behind the lower bits of a code.

use half::bf16;

use crate::quantize::{CodeShape, Estimator};

/// Bytes of addend and scale behind the lower bits of a code.
pub(super) const FACTORS: usize = 4;
/// One, in units of a scale by all bits: the two scales are within a factor of two of each other.
const SCALE_UNIT: f32 = (1 << 14) as f32;

/// Addend and scale by all bits, from those by signs: two bytes each would not do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fine {
    /// What the addend has more.
    add: bf16,
    /// The scale in steps that are the finer the more bits there are, in units of [`SCALE_UNIT`].
    scale: u16,
}

impl Fine {
    pub(super) fn new(shape: CodeShape, estimator: &Estimator) -> Self {
        let Estimator { signs, all_bits, .. } = estimator;
        let ratio = all_bits.1 * steps(shape) / signs.1;
        if ratio * SCALE_UNIT >= f32::from(u16::MAX) {
            return Self { add: bf16::NEG_INFINITY, scale: 0 };
        }
        Self { add: bf16::from_f32(all_bits.0 - signs.0), scale: (ratio * SCALE_UNIT).round() as u16 }
    }

    pub(super) fn factors(self, shape: CodeShape, (add, scale): (f32, f32)) -> (f32, f32) {
        (add + self.add.to_f32(), scale * f32::from(self.scale) / (SCALE_UNIT * steps(shape)))
    }

    pub(super) fn encode(self) -> [u8; FACTORS] {
        let ([a, b], [c, d]) = (self.add.to_le_bytes(), self.scale.to_le_bytes());
        [a, b, c, d]
    }

    pub(super) fn decode(bytes: &[u8]) -> Self {
        let two = |at: usize| [bytes[at], bytes[at + 1]];
        Self { add: bf16::from_le_bytes(two(0)), scale: u16::from_le_bytes(two(2)) }
    }
}

/// Steps of all bits in one of the signs.
fn steps(shape: CodeShape) -> f32 {
    (1u32 << (shape.bits - 1)) as f32
}
