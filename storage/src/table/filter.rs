//! The filter: a blocked Bloom filter, which says of most absent keys that they are absent.
//!
//! A key sets eight bits in one line of 64 bytes, one in each word of the line, so a lookup touches one line of the
//! processor's cache.

use crate::blob::{BlobReader, BlobWriter};
use crate::disk::ReadRange;
use crate::error::{Result, StorageError};
use crate::sealed::{ExtentFile, ExtentFileWriter};
use crate::table::FILTER;

const WORDS: usize = 8;
const LINE_BYTES: usize = WORDS * size_of::<u64>();
const LINE_BITS: u64 = LINE_BYTES as u64 * 8;

/// A table's filter, in RAM.
#[derive(Debug)]
pub(super) struct Filter {
    /// At least one.
    lines: Vec<Line>,
}

#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line([u64; WORDS]);

impl Filter {
    /// An empty filter of so many bits for each of so many keys.
    pub(super) fn for_keys(keys: u64, bits_per_key: u32) -> Self {
        let bits = keys.saturating_mul(bits_per_key.into());
        let count = bits.div_ceil(LINE_BITS).clamp(1, u32::MAX.into());
        Self { lines: vec![Line::default(); count as usize] }
    }

    /// A filter of so many bits a key, given the keys' hashes.
    pub(super) fn build(hashes: &[u64], bits_per_key: u32) -> Self {
        let mut filter = Self::for_keys(hashes.len() as u64, bits_per_key);
        hashes.iter().for_each(|&hash| filter.insert(hash));
        filter
    }

    /// Takes the hash of a key.
    pub(super) fn insert(&mut self, hash: u64) {
        let line = self.line(hash);
        for (word, bit) in self.lines[line].0.iter_mut().zip(bits_of(hash)) {
            *word |= bit;
        }
    }

    /// Whether a key with this hash may be there. `false` is certain.
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        let line = &self.lines[self.line(hash)];
        line.0.iter().zip(bits_of(hash)).all(|(word, bit)| word & bit != 0)
    }

    /// Memory in bytes.
    pub(super) fn ram_bytes(&self) -> usize {
        self.lines.capacity() * LINE_BYTES
    }

    /// Writes the filter as a blob.
    pub(super) fn write(&self, writer: &mut ExtentFileWriter) -> Result<ReadRange> {
        let mut blob = BlobWriter::new(writer, FILTER);
        for line in &self.lines {
            for word in &line.0 {
                blob.write(&word.to_le_bytes())?;
            }
        }
        blob.finish()
    }

    /// Reads the blob back.
    pub(super) fn read(file: &ExtentFile, range: ReadRange) -> Result<Self> {
        let mut blob = BlobReader::new(file, FILTER, range)?;
        let mut lines = Vec::with_capacity(range.bytes / LINE_BYTES);
        // A full chunk is made of whole lines.
        while let Some(chunk) = blob.chunk()? {
            let (whole, rest) = chunk.as_chunks::<LINE_BYTES>();
            if !rest.is_empty() {
                let (path, found) = (file.file().path(), rest.len() as u64);
                return Err(StorageError::corrupt(path, range.offset, "bytes behind a filter", found, 0));
            }
            lines.extend(whole.iter().map(line_of));
        }
        if lines.is_empty() {
            let path = file.file().path();
            return Err(StorageError::corrupt(path, range.offset, "lines of a filter", 0, 1));
        }
        lines.shrink_to_fit();
        Ok(Self { lines })
    }

    /// The line of a hash, by its upper half.
    fn line(&self, hash: u64) -> usize {
        (((hash >> 32) * self.lines.len() as u64) >> 32) as usize
    }
}

fn line_of(bytes: &[u8; LINE_BYTES]) -> Line {
    let mut line = Line::default();
    for (word, bytes) in line.0.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    line
}

/// The bit of a hash in each word: six bits of the hash, mixed anew, for each.
fn bits_of(hash: u64) -> impl Iterator<Item = u64> {
    let mixed = fold(hash, 0xa076_1d64_78bd_642f);
    (0..WORDS).map(move |word| 1 << (mixed >> (word * 6) & 63))
}

/// The hash of a key; part of the format.
pub(super) fn hash(key: &[u8]) -> u64 {
    let mut hash = key.len() as u64 ^ 0xe703_7ed1_a0b4_28db;
    for piece in key.chunks(size_of::<u64>()) {
        let mut word = [0; size_of::<u64>()];
        word[..piece.len()].copy_from_slice(piece);
        hash = fold(hash ^ u64::from_le_bytes(word), 0x9e37_79b9_7f4a_7c15);
    }
    fold(hash, 0xd6e8_feb8_6659_fd93)
}

/// Both halves of a product, folded into one.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of absent keys let through, by how keys are made of numbers.
    fn let_through(bits: u32, key: impl Fn(u64) -> Vec<u8>) -> f64 {
        let hashes: Vec<u64> = (0..50_000).map(|i| hash(&key(i))).collect();
        let filter = Filter::build(&hashes, bits);
        assert!(hashes.iter().all(|&hash| filter.may_hold(hash)));
        let wrong = (50_000..150_000).filter(|&i| filter.may_hold(hash(&key(i)))).count();
        wrong as f64 / 1e5
    }

    #[test]
    fn keys_that_are_there_pass_and_one_in_a_hundred_of_the_others() {
        let shapes: [fn(u64) -> Vec<u8>; 5] = [
            |i| i.to_be_bytes().to_vec(),
            |i| i.to_le_bytes().to_vec(),
            |i| (i as u32).to_be_bytes().to_vec(),
            |i| format!("color/{i}").into_bytes(),
            |i| [[7; 16].as_slice(), &(i << 20).to_be_bytes()].concat(),
        ];
        for (i, shape) in shapes.into_iter().enumerate() {
            let rate = let_through(10, shape);
            assert!((0.003..0.016).contains(&rate), "shape {i}: {rate}");
            assert!(let_through(20, shape) < 0.002, "shape {i}");
        }
    }

    #[test]
    fn the_hash_never_changes() {
        let hashes = [hash(b""), hash(b"a"), hash(b"a\0"), hash(b"ten bytes.")];
        assert_eq!(
            hashes,
            [0xd351_6188_c0f5_1fdd, 0xda47_1b23_d2c5_9b82, 0xcd8a_cadc_eacc_b5ec, 0x9bee_dae7_0001_7c7f]
        );
    }
}
