//! Codes of the vectors of a file, held in memory by slot: what is far from a query need not be read.
//!
//! RaBitQ codes (see `quantize`) about the mean of an index's routing space, so that a slot is all it takes to estimate a
//! distance: no list, no centroid. Where a filter says which rows may be answered, the signs of their codes are looked at
//! first, 32 rows at a time, then all bits of the nearest, and the vectors of the nearest of these are read. The errors of
//! both estimates have known deviations, and so it is known with what probability a vector at a distance would have been
//! read: reading ends when that is the recall that is wanted for vectors as near as those that were found.

mod file;
mod fine;
mod reading;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use fine::{FACTORS, Fine};
use reading::{Errors, FIRST_MIN, Query, Reading};

use super::shortlist::{Listed, Shortlist};
use super::{Flat, Nearest, Picked};
use crate::error::Result;
use crate::kernel::Kernel;
use crate::metric::{Distances, Metric};
use crate::quantize::{BLOCK, Bounds, CodeShape, CodedList, Encoder, Scale, SignEstimates};
use crate::search::Index;
use crate::space::{Space, dim_of, norm2};
use crate::vector::{RowId, Shape};

/// Rows encoded between two questions whether to go on.
const ROUND: usize = 1 << 14;
/// Rows whose codes are looked at with all bits, for each vector wanted, and beside those. Where that does not do, all are looked
/// at again.
const ROOM: usize = 64;
const ROOM_MORE: usize = 4096;
/// All codes are looked at where rows are asked for that are at least one in so many of the file's.
const DENSE: u64 = 4;
/// Rows whose codes are looked at together, and how far ahead codes are asked for.
const CHUNK: usize = 4096;
const AHEAD: usize = 32;

/// The codes of the vectors of a file.
#[derive(Debug)]
pub struct RowCodes {
    space: Space,
    seed: u64,
    shape: CodeShape,
    /// Vectors.
    rows: usize,
    errors: Errors,
    /// Blocks of signs with their factors, and zeros behind the last row.
    signs: Arc<Vec<u8>>,
    /// One after another: the lower bits and [`Fine`] factors. None where there are only signs.
    planes: Vec<u8>,
}

/// A question to the vectors of a file that codes are held of.
#[derive(Clone, Copy)]
pub struct CodeAsk<'a> {
    /// The query as vectors are stored.
    pub query: &'a [u8],
    /// Compares with the same query.
    pub scorer: &'a dyn Distances,
    /// The share of the nearest that is to be found, below 1.
    pub recall: f32,
}

/// Rows that may be answered.
pub trait AllowedRows {
    /// How many.
    fn count(&self) -> u64;
    /// All of them, in ascending order.
    fn iter(&self) -> impl Iterator<Item = RowId>;
    /// Whether a row is one of them.
    fn has(&self, row: RowId) -> bool;
}

impl RowCodes {
    /// Bits a dimension that codes may have, most first.
    pub const BITS: [u8; 5] = [5, 4, 3, 2, 1];

    /// Bytes of memory that the codes of so many vectors take.
    pub fn bytes_of(metric: Metric, shape: Shape, vectors: u64, bits: u8) -> u64 {
        let shape = CodeShape { dim: dim_of(metric, shape), bits: bits.into() };
        vectors.div_ceil(BLOCK as u64) * shape.block_bytes() as u64 + vectors * plane_bytes(shape) as u64
    }

    /// Encodes all vectors of a file in the routing space of an index; `None` if `goes_on`, asked now and then, says no.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged, or `goes_on` fails.
    ///
    /// # Panics
    /// When the vectors are not of the index's shape, or codes of so many bits are none.
    pub fn build<E: From<crate::IndexError>>(
        flat: &Flat,
        index: &Index,
        bits: u8,
        goes_on: impl FnMut() -> Result<bool, E>,
    ) -> Result<Option<Self>, E> {
        let codes = Self::empty(index.inner.space.clone(), index.inner.info.seed, bits, flat.rows() as usize);
        codes.fill(flat, goes_on)
    }

    /// Encodes the same vectors with other bits. The signs, which are the same, take no more memory as long as both are there.
    ///
    /// # Errors
    /// As [`RowCodes::build`].
    ///
    /// # Panics
    /// Likewise.
    pub fn with_bits<E: From<crate::IndexError>>(
        &self,
        flat: &Flat,
        bits: u8,
        goes_on: impl FnMut() -> Result<bool, E>,
    ) -> Result<Option<Self>, E> {
        let codes = Self::empty(self.space.clone(), self.seed, bits, self.rows);
        Self { signs: Arc::clone(&self.signs), ..codes }.fill(flat, goes_on)
    }

    fn fill<E: From<crate::IndexError>>(
        self,
        flat: &Flat,
        mut goes_on: impl FnMut() -> Result<bool, E>,
    ) -> Result<Option<Self>, E> {
        let bits = self.bits();
        let mut codes = self;
        assert!(Self::BITS.contains(&bits), "codes of {bits} bits");
        assert_eq!(codes.space.shape, flat.layout.shape, "codes are of the index's vectors");
        let (shape, mut planes) = (codes.shape, Vec::new());
        // Where signs are there, they are made in one block again and again, for nothing.
        let has_signs = !codes.signs.is_empty();
        let blocks = if has_signs { 1 } else { shape.blocks(codes.rows) };
        let mut signs = vec![0; blocks * shape.block_bytes()];
        let (origin, mut place) = (vec![0.0; shape.dim], vec![0.0; shape.dim]);
        let mut wide = vec![0.0; codes.space.shape.dim];
        let mut encoder = Encoder::new(shape, Scale::Unbiased, &origin);
        let (mut sums, mut known, mut slot, mut next) = ([0.0; 2], 0u64, 0, 0);
        while next < flat.rows() {
            next = flat.read(next, ROUND, |_, vector| {
                codes.space.embed(vector, &mut place);
                let at = if has_signs { 0 } else { slot / BLOCK };
                let block = &mut signs[at * shape.block_bytes()..][..shape.block_bytes()];
                planes.clear();
                let estimator = encoder.code(
                    &place,
                    codes.space.excess(vector, &mut wide),
                    slot % BLOCK,
                    block,
                    &mut planes,
                );
                if bits > 1 {
                    codes.planes.extend_from_slice(&planes);
                    codes.planes.extend(Fine::new(shape, &estimator).encode());
                }
                if estimator.deviation.is_finite() {
                    let length = norm2(&place);
                    let part = |deviation: f32| f64::from(deviation).powi(2) / length.max(f64::MIN_POSITIVE);
                    sums[0] += part(estimator.sign_deviation);
                    sums[1] += part(estimator.deviation);
                    known += 1;
                }
                slot += 1;
            })?;
            if !goes_on()? {
                return Ok(None);
            }
        }
        let [by_signs, all_bits] = sums.map(|sum| (sum / known.max(1) as f64) as f32);
        codes.errors = Errors { signs: by_signs, all_bits };
        if !has_signs {
            codes.signs = Arc::new(signs);
        }
        Ok(Some(codes))
    }

    /// Codes without signs and planes yet.
    fn empty(space: Space, seed: u64, bits: u8, rows: usize) -> Self {
        let shape = CodeShape { dim: space.dim(), bits: bits.into() };
        let planes = Vec::with_capacity(rows * plane_bytes(shape));
        let errors = Errors { signs: 0.0, all_bits: 0.0 };
        Self { space, seed, shape, rows, errors, signs: Arc::default(), planes }
    }

    /// The same codes by signs alone, which take no more memory as long as both are there.
    pub fn signs_only(&self) -> Self {
        let shape = CodeShape { bits: 1, ..self.shape };
        let errors = Errors { signs: self.errors.signs, all_bits: self.errors.signs };
        let (space, signs) = (self.space.clone(), Arc::clone(&self.signs));
        Self { space, seed: self.seed, shape, rows: self.rows, errors, signs, planes: Vec::new() }
    }

    /// Bits a dimension.
    pub fn bits(&self) -> u8 {
        self.shape.bits as u8
    }

    /// Bytes of memory.
    pub fn ram_bytes(&self) -> u64 {
        (self.signs.len() + self.planes.len()) as u64
    }

    /// About how many vectors are read to find `k` of many.
    pub fn reads(&self, k: u64) -> u64 {
        // Of a million vectors of 96 dimensions, at a recall of 0.95.
        k * [16, 4, 3, 2, 2][self.shape.bits - 1] + FIRST_MIN as u64
    }

    /// Compares the vectors of some rows of the file with a query, but for those whose estimates say
    /// that they are farther than the nearest. Rows that are not in the file are passed over.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn nearest_of(
        &self,
        flat: &Flat,
        ask: &CodeAsk<'_>,
        rows: &impl AllowedRows,
        nearest: &mut Nearest,
    ) -> Result<Picked> {
        let query = Query::new(self, ask.query);
        let mut room = nearest.k() * ROOM + ROOM_MORE;
        let mut search = Reading::new(flat, ask, &query, nearest);
        loop {
            let mut list = Shortlist::new(room);
            if rows.count() * DENSE >= flat.rows() {
                self.estimate_all(flat, &query, rows, &mut list);
            } else {
                self.estimate(flat, &query, rows, &mut list);
            }
            let cut = list.cut();
            let mut candidates = self.refine(flat, &query, list.take());
            candidates.retain(|candidate| !search.has_read(candidate.row));
            if search.run(&self.space, &candidates, cut)? {
                return Ok(search.picked());
            }
            room *= 4;
        }
    }

    /// Puts the rows on the list by the signs of their codes.
    fn estimate(&self, flat: &Flat, query: &Query, rows: &impl AllowedRows, shortlist: &mut Shortlist) {
        let (kernel, list, bytes) = (Kernel::best(), self.list(), self.shape.block_bytes());
        let mut slots = rows.iter().filter_map(|row| Some((row, flat.rows.slot_of(row)? as usize)));
        let (mut estimates, mut known) = (SignEstimates::default(), usize::MAX);
        let mut some: Vec<(RowId, usize)> = Vec::with_capacity(CHUNK);
        loop {
            some.clear();
            some.extend(slots.by_ref().take(CHUNK));
            if some.is_empty() {
                return;
            }
            for (at, &(row, slot)) in some.iter().enumerate() {
                let (block, entry) = (slot / BLOCK, slot % BLOCK);
                if block != known {
                    query.coded.sign_block(&list, block, query.squared, &mut estimates);
                    known = block;
                }
                if let Some((_, later)) = some.get(at + AHEAD)
                    && later / BLOCK != some[at + AHEAD - 1].1 / BLOCK
                {
                    kernel.prefetch(&self.signs[later / BLOCK * bytes..][..bytes]);
                }
                let estimate = known_or_first(estimates.estimate[entry]);
                if !shortlist.is_beyond(estimate) {
                    shortlist.push(Listed { estimate, row: row.0, factors: list.sign_factors(slot) });
                }
            }
        }
    }

    /// The same where many of all rows are asked for: only those that are near enough are looked for.
    fn estimate_all(&self, flat: &Flat, query: &Query, rows: &impl AllowedRows, shortlist: &mut Shortlist) {
        let (list, mut estimates) = (self.list(), SignEstimates::default());
        for block in 0..self.shape.blocks(self.rows) {
            query.coded.sign_block(&list, block, query.squared, &mut estimates);
            let mut left = shortlist.within(&estimates.estimate) | unknown(&estimates.estimate);
            while left != 0 {
                let entry = left.trailing_zeros() as usize;
                left &= left - 1;
                let (slot, estimate) = (block * BLOCK + entry, known_or_first(estimates.estimate[entry]));
                if slot >= self.rows || shortlist.is_beyond(estimate) {
                    continue;
                }
                let row = flat.rows.row_of(slot as u32);
                if rows.has(row) {
                    shortlist.push(Listed { estimate, row: row.0, factors: list.sign_factors(slot) });
                }
            }
        }
    }

    fn list(&self) -> CodedList<'_> {
        let bounds = Bounds::default();
        CodedList { shape: self.shape, signs: &self.signs, records: &[], bounds, slots: None }
    }

    /// Estimates by all bits, lowest first.
    fn refine(&self, flat: &Flat, query: &Query, mut candidates: Vec<Listed>) -> Vec<Listed> {
        if self.shape.bits == 1 {
            return candidates;
        }
        let (kernel, bytes) = (Kernel::best(), plane_bytes(self.shape));
        let record = |candidate: &Listed| {
            let slot = flat.rows.slot_of(RowId(candidate.row))?;
            Some(&self.planes[slot as usize * bytes..][..bytes])
        };
        for at in 0..candidates.len() {
            if let Some(later) = candidates.get(at + AHEAD).and_then(record) {
                kernel.prefetch(later);
            }
            let candidate = &mut candidates[at];
            let Some(record) = record(candidate).filter(|_| candidate.estimate.is_finite()) else { continue };
            let (planes, fine) = record.split_at(bytes - FACTORS);
            let (add, scale) = candidate.factors;
            let signs = if scale == 0.0 { 0.0 } else { (candidate.estimate - query.squared - add) / scale };
            let product = query.coded.product(self.shape, signs, planes);
            let (add, scale) = Fine::decode(fine).factors(self.shape, candidate.factors);
            candidate.estimate = known_or_first(add + query.squared + scale * product);
        }
        candidates.sort_unstable_by(|a, b| a.estimate.total_cmp(&b.estimate).then(a.row.cmp(&b.row)));
        candidates
    }
}

/// An estimate that is no number of its type would not come first, and its vector not be read.
fn known_or_first(estimate: f32) -> f32 {
    if estimate < f32::MAX { estimate } else { f32::NEG_INFINITY }
}

/// Which estimates of a block [`known_or_first`] puts first: a bit for each.
fn unknown(estimates: &[f32; BLOCK]) -> u32 {
    !Kernel::best().up_to(estimates, f32::MAX.next_down())
}

/// Bytes of the lower bits of a code and its factors.
fn plane_bytes(shape: CodeShape) -> usize {
    if shape.bits == 1 { 0 } else { shape.plane_bytes() + FACTORS }
}
