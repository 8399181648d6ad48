//! Interest: what of a history collides with a candidate.

use crate::error::Result;
use crate::kernel::Kernel;

use super::check_len;
use super::family::SignShape;
use super::table::BucketTable;

/// What becomes of the sum of a bucket before the mean over groups is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Normalize {
    /// Nothing: the expectation is Σ w·s, w the chance that a behaviour s collides ([`super::collision_weight`]).
    None,
    /// It is divided by its length, at least 1e-12, as in the paper.
    #[default]
    L2,
    /// All groups' sums are divided by the behaviours in them, together: an estimate of Σ w·s / Σ w.
    Count,
}

/// A table ready to answer, in `f32`.
#[derive(Clone, Debug)]
pub struct ServingTable {
    shape: SignShape,
    normalize: Normalize,
    /// `[group][bucket][dimension]`.
    rows: Vec<f32>,
    counts: Vec<u32>,
}

/// What a length is at least, before it divides.
const LENGTH_MIN: f64 = 1e-12;

impl ServingTable {
    /// Makes a table ready.
    pub fn new(table: &BucketTable, normalize: Normalize) -> Self {
        let dim = table.shape().dim();
        let mut rows = vec![0.0; table.sums().len()];
        for (out, sums) in rows.chunks_exact_mut(dim).zip(table.sums().chunks_exact(dim)) {
            self::normalize(sums, normalize, out);
        }
        Self { shape: table.shape(), normalize, rows, counts: table.counts().to_vec() }
    }

    /// How it hashes.
    pub fn shape(&self) -> SignShape {
        self.shape
    }

    /// The normalised sums: `[group][bucket][dimension]`.
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// Bytes of memory it takes.
    pub fn ram_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.rows) + size_of_val(&*self.counts)
    }

    /// The interest in candidates, by their signatures: `[candidate][dimension]` into `out`. Empty buckets are zeros
    /// and count in the mean; nothing in common is exactly zero.
    ///
    /// # Errors
    /// When these are no whole signatures, or `out` is not a vector for each.
    pub fn interest(&self, signatures: &[u64], out: &mut [f32]) -> Result<()> {
        let (dim, words) = (self.shape.dim(), self.shape.words());
        let candidates = signatures.len() / words;
        check_len("signatures of candidates", signatures.len(), candidates * words)?;
        check_len("interest of candidates", out.len(), candidates * dim)?;
        let kernel = Kernel::best();
        let mut picked = vec![0; self.shape.groups()];
        for (signature, out) in signatures.chunks_exact(words).zip(out.chunks_exact_mut(dim)) {
            for (group, row) in picked.iter_mut().enumerate() {
                *row = self.shape.row(signature, group) as u32;
            }
            kernel.sum_rows(&self.rows, &picked, self.scale(&picked), out);
        }
        Ok(())
    }

    fn scale(&self, picked: &[u32]) -> f32 {
        let divisor = match self.normalize {
            Normalize::None | Normalize::L2 => self.shape.groups() as u64,
            Normalize::Count => picked.iter().map(|&row| u64::from(self.counts[row as usize])).sum(),
        };
        (1.0 / divisor.max(1) as f64) as f32
    }
}

/// The sum of a bucket as answers take it.
pub(super) fn normalize(sums: &[f64], normalize: Normalize, out: &mut [f32]) {
    let length = match normalize {
        Normalize::L2 => length(sums).max(LENGTH_MIN),
        Normalize::None | Normalize::Count => 1.0,
    };
    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = (sum / length) as f32);
}

/// The length of a vector. Its squares are added in eight sums, which do not wait for each other.
fn length(values: &[f64]) -> f64 {
    let (eights, rest) = values.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for eight in eights {
        sums.iter_mut().zip(eight).for_each(|(sum, value)| *sum += value * value);
    }
    let rest: f64 = rest.iter().map(|value| value * value).sum();
    (sums.iter().sum::<f64>() + rest).sqrt()
}

/// The interest of several histories, each in candidates of its own: `lengths` says how many belong to each table. All
/// candidates lie back to back in `signatures`, their interest in `out`.
///
/// # Errors
/// When the lengths do not agree, or as [`ServingTable::interest`].
pub fn interest_jagged(
    tables: &[&ServingTable],
    lengths: &[usize],
    mut signatures: &[u64],
    mut out: &mut [f32],
) -> Result<()> {
    check_len("lengths of candidates", lengths.len(), tables.len())?;
    let wanted = || tables.iter().zip(lengths);
    let words = wanted().map(|(table, len)| table.shape.words() * len).sum();
    let values = wanted().map(|(table, len)| table.shape.dim() * len).sum();
    check_len("signatures of candidates", signatures.len(), words)?;
    check_len("interest of candidates", out.len(), values)?;
    for (table, len) in wanted() {
        let (own, rest) = signatures.split_at(table.shape.words() * len);
        let (own_out, rest_out) = std::mem::take(&mut out).split_at_mut(table.shape.dim() * len);
        table.interest(own, own_out)?;
        (signatures, out) = (rest, rest_out);
    }
    Ok(())
}
