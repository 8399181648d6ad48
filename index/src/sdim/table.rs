//! Bucket tables: sums and numbers of vectors by group and bucket.

use nearline_storage::{Decoder, Encoder, StorageError};

use crate::error::Result;

use super::family::SignShape;
use super::{check_len, check_vectors};

/// The sums of the vectors in each bucket, in `f64`, and how many there are.
///
/// A bucket whose number is 0 is exactly zero. While [`BucketTable::is_exact`], its sums are those of real numbers:
/// whatever order vectors came and went in, the bits are the same.
#[derive(Clone, Debug, PartialEq)]
pub struct BucketTable {
    shape: SignShape,
    /// `[group][bucket][dimension]`.
    sums: Vec<f64>,
    /// `[group][bucket]`.
    counts: Vec<u32>,
    len: u64,
    /// The smallest absolute value of an element that ever came, zeros left out.
    smallest: f32,
    /// The greatest absolute values of all vectors that ever came or went, added up.
    greatest: f64,
}

impl BucketTable {
    /// A table of nothing.
    pub fn new(shape: SignShape) -> Self {
        let rows = shape.groups() * shape.buckets();
        Self {
            shape,
            sums: vec![0.0; shape.table_values()],
            counts: vec![0; rows],
            len: 0,
            smallest: f32::INFINITY,
            greatest: 0.0,
        }
    }

    /// How it hashes.
    pub fn shape(&self) -> SignShape {
        self.shape
    }

    /// Sums: `[group][bucket][dimension]`.
    pub fn sums(&self) -> &[f64] {
        &self.sums
    }

    /// Vectors in each bucket: `[group][bucket]`.
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// Vectors in it.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory it takes.
    pub fn ram_bytes(&self) -> usize {
        size_of::<Self>() + self.sums.len() * size_of::<f64>() + self.counts.len() * size_of::<u32>()
    }

    /// Adds a vector to the bucket of each group that its signature names.
    ///
    /// # Errors
    /// When vector or signature have another length, or a value is not finite. Nothing was added then.
    pub fn add(&mut self, vector: &[f32], signature: &[u64]) -> Result<()> {
        self.check(vector, signature)?;
        self.note(vector);
        self.len += 1;
        for group in 0..self.shape.groups() {
            let row = self.shape.row(signature, group);
            self.counts[row] += 1;
            self.sum_mut(row).iter_mut().zip(vector).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        Ok(())
    }

    /// Takes out a vector that was added with this signature. A bucket that becomes empty becomes zero.
    ///
    /// # Errors
    /// As [`BucketTable::add`], and when one of its buckets is empty: it was never added. Nothing was taken out then.
    pub fn remove(&mut self, vector: &[f32], signature: &[u64]) -> Result<()> {
        self.check(vector, signature)?;
        let rows = || (0..self.shape.groups()).map(|group| self.shape.row(signature, group));
        if rows().any(|row| self.counts[row] == 0) {
            return Err(crate::IndexError::BadInput {
                name: "vector to remove".to_owned(),
                found: "one of a bucket that is empty".to_owned(),
                expected: "one that was added".to_owned(),
            });
        }
        self.note(vector);
        self.len -= 1;
        for group in 0..self.shape.groups() {
            let row = self.shape.row(signature, group);
            self.counts[row] -= 1;
            let is_empty = self.counts[row] == 0;
            let sums = self.sum_mut(row);
            if is_empty {
                sums.fill(0.0);
            } else {
                sums.iter_mut().zip(vector).for_each(|(sum, &value)| *sum -= f64::from(value));
            }
        }
        Ok(())
    }

    /// Adds all that is in another table of the same shape.
    ///
    /// # Errors
    /// When the shapes differ.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.shape != other.shape {
            return Err(crate::IndexError::BadInput {
                name: "table to merge".to_owned(),
                found: format!("{:?}", other.shape),
                expected: format!("{:?}", self.shape),
            });
        }
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, more)| *sum += more);
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.len += other.len;
        self.smallest = self.smallest.min(other.smallest);
        self.greatest += other.greatest;
        Ok(())
    }

    /// Encodes it: what is in buckets that are not empty, bit by bit.
    pub fn encode(&self, out: &mut Encoder) {
        out.u64(self.len).f32(self.smallest).f64(self.greatest);
        for &count in &self.counts {
            out.u32(count);
        }
        let rows = self.counts.iter().zip(self.sums.chunks_exact(self.shape.dim()));
        for &sum in rows.filter(|(count, _)| **count > 0).flat_map(|(_, sums)| sums) {
            out.f64(sum);
        }
    }

    /// Decodes one of a shape.
    ///
    /// # Errors
    /// When the numbers of its buckets do not agree with each other, or a sum is no number.
    pub fn decode(decoder: &mut Decoder<'_>, shape: SignShape) -> std::result::Result<Self, StorageError> {
        let at = decoder.offset();
        let mut table = Self::new(shape);
        (table.len, table.smallest, table.greatest) = (decoder.u64()?, decoder.f32()?, decoder.f64()?);
        for count in &mut table.counts {
            *count = decoder.u32()?;
        }
        for counts in table.counts.chunks_exact(shape.buckets()) {
            let found = counts.iter().map(|&count| u64::from(count)).sum();
            if found != table.len {
                return Err(decoder.wrong(at, "vectors of a group", found, table.len));
            }
        }
        for (&count, sums) in table.counts.iter().zip(table.sums.chunks_exact_mut(shape.dim())) {
            if count == 0 {
                continue;
            }
            let at = decoder.offset();
            let bytes = decoder.raw(size_of_val(sums))?.as_chunks().0;
            sums.iter_mut().zip(bytes).for_each(|(sum, &bytes)| *sum = f64::from_le_bytes(bytes));
            if !sums.iter().all(|sum| sum.is_finite()) {
                return Err(decoder.wrong(at, "finite sums", 0, 1));
            }
        }
        Ok(table)
    }

    /// Whether no sum can have been rounded, in any order of what came and went so far. The lowest bit of an `f32` is
    /// 2^23 below its highest, and an `f64` has 53 bits; one of them is given away for the rounding of the bound itself.
    pub fn is_exact(&self) -> bool {
        let unit = f64::from(self.smallest) * 2f64.powi(-24);
        self.greatest == 0.0 || self.greatest < unit * 2f64.powi(52)
    }

    fn check(&self, vector: &[f32], signature: &[u64]) -> Result<()> {
        check_len("vector of a behaviour", vector.len(), self.shape.dim())?;
        check_len("signature of a behaviour", signature.len(), self.shape.words())?;
        check_vectors("vector of a behaviour", self.shape.dim(), vector).map(drop)
    }

    fn note(&mut self, vector: &[f32]) {
        let (mut smallest, mut greatest) = (f32::INFINITY, 0f32);
        for value in vector.iter().map(|value| value.abs()) {
            smallest = smallest.min(if value == 0.0 { f32::INFINITY } else { value });
            greatest = greatest.max(value);
        }
        self.smallest = self.smallest.min(smallest);
        self.greatest += f64::from(greatest);
    }

    fn sum_mut(&mut self, row: usize) -> &mut [f64] {
        let dim = self.shape.dim();
        &mut self.sums[row * dim..(row + 1) * dim]
    }
}
