//! Bucket tables in a quarter of the bytes.

use half::f16;
use nearline_storage::{Decoder, Encoder, StorageError};

use super::family::SignShape;
use super::table::BucketTable;

/// The sums of a [`BucketTable`] in `f16`, each bucket's divided by its greatest element. No element is off by more than 2^-11
/// of the greatest of its bucket; an empty bucket is exactly zero.
#[derive(Clone, Debug, PartialEq)]
pub struct HalfTable {
    shape: SignShape,
    /// `[group][bucket][dimension]`.
    sums: Vec<f16>,
    /// What the sums of each bucket are to be multiplied by: `[group][bucket]`.
    scales: Vec<f64>,
    /// `[group][bucket]`.
    counts: Vec<u32>,
    len: u64,
}

impl HalfTable {
    /// Rounds the sums of a table.
    pub fn new(table: &BucketTable) -> Self {
        let dim = table.shape().dim();
        let greatest = |sums: &[f64]| sums.iter().fold(0f64, |greatest, sum| greatest.max(sum.abs()));
        let scales: Vec<f64> = table.sums().chunks_exact(dim).map(greatest).collect();
        let rows = table.sums().chunks_exact(dim).zip(&scales);
        let divided = |(sums, &scale): (_, &f64)| {
            // A bucket of zeros stays one.
            let divisor = if scale > 0.0 { scale } else { 1.0 };
            <&[f64]>::into_iter(sums).map(move |sum| f16::from_f64(sum / divisor))
        };
        let sums = rows.flat_map(divided).collect();
        Self { shape: table.shape(), sums, scales, counts: table.counts().to_vec(), len: table.len() }
    }

    /// The table that it stands for. It is [not exact](BucketTable::is_exact).
    pub fn widen(&self) -> BucketTable {
        let mut sums = Vec::with_capacity(self.sums.len());
        for (row, &scale) in self.sums.chunks_exact(self.shape.dim()).zip(&self.scales) {
            sums.extend(row.iter().map(|sum| f64::from(sum.to_f32()) * scale));
        }
        BucketTable::rounded(self.shape, sums, self.counts.clone(), self.len)
    }

    /// How it hashes.
    pub fn shape(&self) -> SignShape {
        self.shape
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
        size_of::<Self>() + size_of_val(&*self.sums) + size_of_val(&*self.scales) + size_of_val(&*self.counts)
    }

    /// Encodes it: what is in buckets that are not empty, bit by bit.
    pub fn encode(&self, out: &mut Encoder) {
        out.u64(self.len);
        for &count in &self.counts {
            out.u32(count);
        }
        let rows = self.sums.chunks_exact(self.shape.dim()).zip(&self.scales);
        for ((sums, &scale), _) in rows.zip(&self.counts).filter(|(_, count)| **count > 0) {
            out.f64(scale);
            for sum in sums {
                out.u16(sum.to_bits());
            }
        }
    }

    /// Decodes one of a shape.
    ///
    /// # Errors
    /// When the numbers of its buckets do not agree with each other, or a sum is no number.
    pub fn decode(decoder: &mut Decoder<'_>, shape: SignShape) -> Result<Self, StorageError> {
        let at = decoder.offset();
        let (len, rows) = (decoder.u64()?, shape.groups() * shape.buckets());
        let counts = (0..rows).map(|_| decoder.u32()).collect::<Result<Vec<_>, _>>()?;
        for counts in counts.chunks_exact(shape.buckets()) {
            let found = counts.iter().map(|&count| u64::from(count)).sum();
            if found != len {
                return Err(decoder.wrong(at, "vectors of a group", found, len));
            }
        }
        let (mut sums, mut scales) = (vec![f16::ZERO; shape.table_values()], vec![0.0; rows]);
        let rows = sums.chunks_exact_mut(shape.dim()).zip(&mut scales).zip(&counts);
        for ((sums, scale), _) in rows.filter(|(_, count)| **count > 0) {
            let at = decoder.offset();
            *scale = decoder.f64()?;
            let bytes = decoder.raw(size_of_val(sums))?.as_chunks().0;
            sums.iter_mut().zip(bytes).for_each(|(sum, &bytes)| *sum = f16::from_le_bytes(bytes));
            if !scale.is_finite() || !sums.iter().all(|sum| sum.is_finite()) {
                return Err(decoder.wrong(at, "finite sums", 0, 1));
            }
        }
        Ok(Self { shape, sums, scales, counts, len })
    }
}
