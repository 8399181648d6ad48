//! What all tables answer.

use crate::error::{IndexError, Result};
use crate::kernel::{Bag, Bags, Kernel, LANES, fold};

use super::check_len;
use super::runs::value_segments;
use super::segment::{Segment, SizeReport};

/// How rows become bytes: the numbers are those of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum Method {
    /// Plain values in `f32`, `f16` or `bf16`.
    Float = 1,
    /// 8, 4 or 2 bits a value, with a scale and a bias a row.
    Rowwise = 2,
    /// 8 or 16 bits a value, with one scale for all (INT8/INT16).
    Uniform = 3,
    /// 8 or 16 bits a value, with a learned step a row (ALPT).
    Step = 4,
    /// Product quantisation.
    Product = 5,
    /// Residual quantisation.
    Residual = 6,
    /// A few factors a row and one basis (SVD).
    LowRank = 7,
    /// Levels of signs and rank-one magnitudes (BitStack).
    BitStack = 8,
    /// Ids share rows by their remainder.
    Hash = 9,
    /// A row of quotients times a row of remainders (CompoEmb).
    Compositional = 10,
    /// Chunks of one array, by hash (ROBE).
    Robe = 11,
    /// One array that all rows turn around in (STABLE-RPS).
    Cyclic = 12,
    /// Frequent ids have rows of their own, the others share (AdaptEmb).
    Adaptive = 13,
    /// Blocks of rows that are alike, once (Dedup).
    Deduplicated = 14,
    /// Three cores (TT-Rec).
    TensorTrain = 15,
    /// A network of hashes (DHE).
    DeepHash = 16,
    /// Fewer dimensions where a field has many rows (MDE, AutoDim).
    Mixed = 17,
    /// Rows left out and dimensions masked by field (OptEmbed).
    Masked = 18,
    /// Values left out (DeepLight, AutoSrh).
    Sparse = 19,
    /// Product quantisation with more centroids for frequent rows (MGQE).
    Tiered = 20,
    /// Rows of ids that come and go.
    Dynamic = 21,
}

impl Method {
    /// All methods, by their numbers.
    pub const ALL: [Self; 21] = [
        Self::Float,
        Self::Rowwise,
        Self::Uniform,
        Self::Step,
        Self::Product,
        Self::Residual,
        Self::LowRank,
        Self::BitStack,
        Self::Hash,
        Self::Compositional,
        Self::Robe,
        Self::Cyclic,
        Self::Adaptive,
        Self::Deduplicated,
        Self::TensorTrain,
        Self::DeepHash,
        Self::Mixed,
        Self::Masked,
        Self::Sparse,
        Self::Tiered,
        Self::Dynamic,
    ];

    /// Whether tables of it are trained as they are stored: gradients of rows are gradients of its parameters.
    pub fn is_trainable(self) -> bool {
        matches!(
            self,
            Self::Hash
                | Self::Compositional
                | Self::Robe
                | Self::Cyclic
                | Self::Adaptive
                | Self::Deduplicated
                | Self::TensorTrain
                | Self::DeepHash
                | Self::Mixed
                | Self::Masked
        )
    }

    /// Whether rows are runs of values, which can be kept elsewhere than the rest of a table ([`super::Runs`]).
    pub fn is_of_runs(self) -> bool {
        !value_segments(self).is_empty()
    }

    /// What it is called on the command line and over HTTP.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Rowwise => "rowwise",
            Self::Uniform => "uniform",
            Self::Step => "step",
            Self::Product => "pq",
            Self::Residual => "rq",
            Self::LowRank => "svd",
            Self::BitStack => "bit-stack",
            Self::Hash => "hash",
            Self::Compositional => "qr",
            Self::Robe => "robe",
            Self::Cyclic => "rps",
            Self::Adaptive => "adapt",
            Self::Deduplicated => "dedup",
            Self::TensorTrain => "tt",
            Self::DeepHash => "dhe",
            Self::Mixed => "mde",
            Self::Masked => "masked",
            Self::Sparse => "sparse",
            Self::Tiered => "mgqe",
            Self::Dynamic => "dynamic",
        }
    }

    /// The method of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// The method of a number in a file.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|&method| method as u16 == number)
    }
}

/// What becomes of the rows of a bag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pool {
    /// Their sum, each times its weight.
    Sum,
    /// That sum divided by the number of ids.
    Mean,
}

impl<'a> Bags<'a> {
    /// Bag `i` has the ids from `offsets[i]` to `offsets[i + 1]`: there is one offset more than bags. Ids may have
    /// weights.
    ///
    /// # Errors
    /// When offsets do not begin with 0, decrease or do not end with the number of ids; when there is another number of
    /// weights than of ids, or one is no number.
    pub fn new(ids: &'a [u64], offsets: &'a [u64], weights: Option<&'a [f32]>) -> Result<Self> {
        let bad = |found: String, expected: &str| Err(IndexError::input("offsets of bags", found, expected));
        let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else {
            return bad("none".to_owned(), "0, and one more than there are bags");
        };
        if first != 0 {
            return bad(format!("begin with {first}"), "0, and one more than there are bags");
        }
        if let Some(at) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
            let found = format!("{} after {} at offset {}", offsets[at + 1], offsets[at], at + 1);
            return bad(found, "offsets that do not decrease");
        }
        if last != ids.len() as u64 {
            return bad(format!("end with {last}"), &format!("the number of ids, {}", ids.len()));
        }
        if let Some(weights) = weights {
            check_len("weights of ids", weights.len(), ids.len())?;
            super::check_finite("weights of ids", 1, weights)?;
        }
        Ok(Self { ids, offsets, weights })
    }

    /// Number of bags.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there are no bags.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All ids.
    pub fn ids(&self) -> &'a [u64] {
        self.ids
    }
}

/// Rows by id, however they are kept. Ids are `0..rows`.
pub trait Table: Send + Sync {
    /// How rows are kept.
    fn method(&self) -> Method;
    /// Number of rows.
    fn rows(&self) -> u64;
    /// Values of a row.
    fn dim(&self) -> usize;
    /// What, besides method, rows, dimensions and segments, has to be known to open it again.
    fn params(&self) -> Vec<u64>;
    /// All that is stored.
    fn segments(&self) -> Vec<Segment<'_>>;
    /// Writes a row to `out`, which has room for exactly one. The id is one of the table's.
    fn read(&self, id: u64, out: &mut [f32]);

    /// Adds the rows of one bag to `out`, in their order: `acc_j = fma(w, x_j, acc_j)`, but for row-wise integers (see
    /// [`super::RowwiseCodec`]). The ids are the table's.
    fn add(&self, bag: &Bag<'_>, out: &mut [f32]) {
        let mut row = vec![0.0; self.dim()];
        for (i, &id) in bag.ids.iter().enumerate() {
            self.read(id, &mut row);
            add_row(&row, bag, i, out);
        }
    }

    /// Products of a query with rows, the ids being the table's.
    fn products(&self, query: &[f32], ids: &[u64], out: &mut [f32]) {
        let mut row = vec![0.0; self.dim()];
        for (&id, out) in ids.iter().zip(out) {
            self.read(id, &mut row);
            *out = dot(query, &row);
        }
    }

    /// What it costs.
    fn bytes(&self) -> SizeReport {
        let segments = self.segments();
        SizeReport {
            segments: segments.iter().map(|one| (one.name.to_string(), one.bytes.len() as u64)).collect(),
            plain_bytes: self.rows() * self.dim() as u64 * 4,
        }
    }

    /// Rows by id, back to back.
    ///
    /// # Errors
    /// When an id is out of range, or `out` has another length than `ids` ask for.
    fn lookup(&self, ids: &[u64], out: &mut [f32]) -> Result<()> {
        check_ids(ids, self.rows())?;
        check_len("rows to fill", out.len(), ids.len() * self.dim())?;
        let pairs = ids.iter().zip(out.chunks_exact_mut(self.dim()));
        pairs.for_each(|(&id, out)| self.read(id, out));
        Ok(())
    }

    /// The pooled rows of each bag, back to back. An empty bag gives zeros.
    ///
    /// # Errors
    /// As [`Table::lookup`].
    fn pool(&self, bags: &Bags<'_>, pool: Pool, out: &mut [f32]) -> Result<()> {
        check_ids(bags.ids(), self.rows())?;
        check_len("bags to fill", out.len(), bags.len() * self.dim())?;
        out.fill(0.0);
        for (bag, out) in bags.iter().zip(out.chunks_exact_mut(self.dim())) {
            self.add(&bag, out);
            finish(pool, bag.ids.len(), out);
        }
        Ok(())
    }

    /// Products of a query with rows.
    ///
    /// # Errors
    /// When an id is out of range, or a length does not fit.
    fn dot(&self, query: &[f32], ids: &[u64], out: &mut [f32]) -> Result<()> {
        check_ids(ids, self.rows())?;
        check_len("query", query.len(), self.dim())?;
        check_len("products to fill", out.len(), ids.len())?;
        self.products(query, ids, out);
        Ok(())
    }
}

/// Adds the row of a bag's id `i`.
pub(super) fn add_row(row: &[f32], bag: &Bag<'_>, i: usize, out: &mut [f32]) {
    let weight = bag.weights.map(|weights| &weights[i..=i]);
    Kernel::best().pool_f32(bytemuck::cast_slice(row), &Bag::new(&[0], weight), out);
}

/// The product of two rows: sixteen sums by position, added as a tree, which is the same on every processor.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((wide_a, tail_a), (wide_b, tail_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in wide_a.iter().zip(wide_b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter_mut().zip(tail_a.iter().zip(tail_b)).for_each(|(sum, (a, b))| *sum += a * b);
    fold(sums)
}

/// Makes a mean of a sum where one is asked for.
pub(super) fn finish(pool: Pool, ids: usize, out: &mut [f32]) {
    if pool == Pool::Mean && ids > 0 {
        let inverse = 1.0 / ids as f32;
        out.iter_mut().for_each(|value| *value *= inverse);
    }
}

/// Refuses ids that are no row's.
pub(super) fn check_ids(ids: &[u64], rows: u64) -> Result<()> {
    // Several at a time: none is out of range if no id, and none of these differences, has its highest bit set.
    let last = rows.wrapping_sub(1);
    let bits = ids.iter().fold(0, |bits, &id| bits | id | last.wrapping_sub(id));
    if bits >> 63 == 0 {
        return Ok(());
    }
    match ids.iter().position(|&id| id >= rows) {
        Some(at) => {
            let found = format!("{} at place {at}", ids[at]);
            Err(IndexError::input("ids", found, format!("ids below {rows}")))
        }
        None => Ok(()),
    }
}
