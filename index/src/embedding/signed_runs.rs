//! Rows that are runs of one array, each value with a sign by hash.

use super::runs::{Run, Runs, ValuePart};
use super::segment::Dtype;

/// The sign of an `f32`.
const SIGN: u32 = 1 << 31;
/// Bits of a byte, the lowest first.
const BITS: [u8; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

/// Where in an array the values of a row are, and their signs.
pub(super) trait SignedRuns: Send + Sync + std::fmt::Debug {
    /// Number of rows, values of a row, values of the array.
    fn shape(&self) -> (u64, usize, u64);
    /// The runs of a row, in their order.
    fn each_run(&self, id: u64, take: impl FnMut(Run));
    /// Gives values of a row their signs, or takes them away.
    fn turn(&self, id: u64, values: &mut [f32]);

    /// A row out of the array.
    fn read(&self, id: u64, array: &[f32], out: &mut [f32]) {
        let mut at = 0;
        self.each_run(id, |run| {
            let values = run.of(array);
            out[at..at + values.len()].copy_from_slice(values);
            at += values.len();
        });
        self.turn(id, out);
    }

    /// The place in the array of each value of a row, or of its gradient, and the value times its sign.
    fn each_value(&self, id: u64, row: &[f32], mut take: impl FnMut(usize, f32)) {
        let mut signed = row.to_vec();
        self.turn(id, &mut signed);
        let mut values = signed.into_iter();
        self.each_run(id, |run| {
            let first = run.first as usize;
            (first..first + run.len as usize).zip(&mut values).for_each(|(at, value)| take(at, value));
        });
    }
}

impl<L: SignedRuns> Runs for L {
    fn rows(&self) -> u64 {
        self.shape().0
    }

    fn dim(&self) -> usize {
        self.shape().1
    }

    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn parts(&self) -> Vec<ValuePart> {
        vec![ValuePart { name: "array".into(), width: 1, values: self.shape().2 }]
    }

    fn runs(&self, id: u64, out: &mut Vec<Run>) {
        self.each_run(id, |run| out.push(run));
    }

    fn row_of(&self, id: u64, values: &[u8], out: &mut [f32]) {
        bytemuck::cast_slice_mut(out).copy_from_slice(values);
        self.turn(id, out);
    }
}

/// Turns the sign of each value whose bit is 1: the first value has bit `first` of the words, the next one the next bit, 64 of
/// them a word, the lowest first.
pub(super) fn turn(values: &mut [f32], first: u64, word: impl Fn(u64) -> u64) {
    let (mut left, mut bit) = (values, first);
    while !left.is_empty() {
        let skipped = bit % 64;
        let (now, later) = left.split_at_mut(left.len().min(64 - skipped as usize));
        bit += now.len() as u64;
        turn_by(now, word((bit - 1) / 64) >> skipped);
        left = later;
    }
}

/// The same of at most 64 values and their bits. Eight at a time, because that is a loop the compiler does at once.
fn turn_by(values: &mut [f32], word: u64) {
    let (eights, rest) = values.as_chunks_mut::<8>();
    let bytes = word.to_le_bytes();
    for (eight, byte) in eights.iter_mut().zip(bytes) {
        turn_each(eight, byte);
    }
    let byte = bytes.get(eights.len()).copied().unwrap_or(0);
    turn_each(rest, byte);
}

fn turn_each(values: &mut [f32], byte: u8) {
    for (value, bit) in values.iter_mut().zip(BITS) {
        let turned = if byte & bit == 0 { 0 } else { SIGN };
        *value = f32::from_bits(value.to_bits() ^ turned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// The twin takes one value after another.
        #[test]
        fn signs_are_those_of_each_bit(words: [u64; 5], first in 0_u64..128, len in 0_usize..190) {
            let values: Vec<f32> = (0..len).map(|j| j as f32 - 90.0).collect();
            let mut found = values.clone();
            turn(&mut found, first, |at| words[at as usize]);
            for (j, (value, found)) in values.iter().zip(found).enumerate() {
                let bit = first as usize + j;
                let expected = if words[bit / 64] >> (bit % 64) & 1 == 1 { -value } else { *value };
                assert_eq!(found.to_bits(), expected.to_bits(), "{j}");
            }
        }
    }
}
