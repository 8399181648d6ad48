//! Histories that are shorter than a table has rows: sums are made of the behaviours when they are asked for.

use crate::error::Result;
use crate::kernel::Kernel;

use super::family::SignShape;
use super::interest::{Normalize, normalize};
use super::{check_len, check_vectors};

/// Behaviours by group and bucket, without their sums. It answers as a [`super::ServingTable`] of the same does, bit by bit; its size
/// and what a candidate costs follow from the behaviours, and not from the number of buckets.
#[derive(Clone, Debug)]
pub struct SparseTable {
    shape: SignShape,
    normalize: Normalize,
    vectors: Vec<f32>,
    /// `[group][rank]`: buckets that are not empty in order, each with its behaviours in theirs.
    places: Vec<(u32, u32)>,
}

impl SparseTable {
    /// A table of vectors and their signatures, back to back.
    ///
    /// # Errors
    /// When these are not whole vectors, or not a signature for each.
    pub fn new(
        shape: SignShape,
        normalize: Normalize,
        vectors: Vec<f32>,
        signatures: &[u64],
    ) -> Result<Self> {
        let count = check_vectors("vectors of behaviours", shape.dim(), &vectors)?;
        check_len("signatures of behaviours", signatures.len(), count * shape.words())?;
        let mut places = Vec::with_capacity(count * shape.groups());
        for group in 0..shape.groups() {
            let own = signatures.chunks_exact(shape.words()).zip(0..);
            places.extend(own.map(|(signature, at)| (shape.bucket(signature, group) as u32, at)));
            places[group * count..].sort_unstable();
        }
        Ok(Self { shape, normalize, vectors, places })
    }

    /// The interest in candidates, as that of [`super::ServingTable::interest`].
    ///
    /// # Errors
    /// As there.
    pub fn interest(&self, signatures: &[u64], out: &mut [f32]) -> Result<()> {
        let (shape, dim) = (self.shape, self.shape.dim());
        let candidates = signatures.len() / shape.words();
        check_len("signatures of candidates", signatures.len(), candidates * shape.words())?;
        check_len("interest of candidates", out.len(), candidates * dim)?;
        let kernel = Kernel::best();
        let picked: Vec<u32> = (0..shape.groups() as u32).collect();
        let (mut rows, mut sums) = (vec![0.0; shape.groups() * dim], vec![0.0; dim]);
        for (signature, out) in signatures.chunks_exact(shape.words()).zip(out.chunks_exact_mut(dim)) {
            let mut found = 0;
            for (group, row) in rows.chunks_exact_mut(dim).enumerate() {
                found += self.sum(signature, group, &mut sums);
                normalize(&sums, self.normalize, row);
            }
            let divisor = if self.normalize == Normalize::Count { found } else { shape.groups() };
            kernel.sum_rows(&rows, &picked, (1.0 / divisor.max(1) as f64) as f32, out);
        }
        Ok(())
    }

    /// The sum of the bucket that a group of a signature picks; says how many behaviours are in it.
    fn sum(&self, signature: &[u64], group: usize, sums: &mut [f64]) -> usize {
        let dim = self.shape.dim();
        let count = self.vectors.len() / dim;
        let places = &self.places[group * count..(group + 1) * count];
        let bucket = self.shape.bucket(signature, group) as u32;
        let first = places.partition_point(|(of, _)| *of < bucket);
        let own = places[first..].iter().take_while(|(of, _)| *of == bucket);
        sums.fill(0.0);
        let mut found = 0;
        for (_, at) in own {
            let at = *at as usize * dim;
            sums.iter_mut()
                .zip(&self.vectors[at..at + dim])
                .for_each(|(sum, &value)| *sum += f64::from(value));
            found += 1;
        }
        found
    }
}
