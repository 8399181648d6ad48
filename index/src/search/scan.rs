//! Scoring a list into the pool of candidates.

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::options::{Cost, Filter};
use super::pool::{Candidate, NO_ROW, Pool};
use super::residency::HeldList;
use crate::metric::Scorer;
use crate::posting::Posting;
use crate::quantize::{BLOCK, CodedList, CodedQuery, SignEstimates};
use crate::vector::RowId;

/// What scans need again and again.
#[derive(Debug, Default)]
pub(super) struct ScanScratch {
    signs: SignEstimates,
    distances: Vec<f32>,
    copy: Vec<u32>,
}

/// Which entries may be answered, and what tells them apart.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Admit<'a> {
    pub(super) filter: Option<Filter<'a>>,
    /// Whether it is their rows; their slots otherwise.
    pub(super) by_row: bool,
}

/// Scores all entries of a raw list.
pub(super) fn raw(
    scorer: &Scorer,
    posting: &Posting<'_>,
    vectors: &[u8],
    filter: Option<Filter<'_>>,
    scratch: &mut ScanScratch,
    pool: &mut Pool,
) {
    let ScanScratch { distances, copy, .. } = scratch;
    let vectors = aligned(vectors, copy);
    distances.resize(posting.entries, 0.0);
    scorer.distances(vectors, distances);
    for (entry, &distance) in distances.iter().enumerate() {
        if distance <= pool.limit() || distance.is_nan() {
            let row = posting.row(entry);
            if filter.is_some_and(|filter| !(filter.allows)(RowId(row))) {
                continue;
            }
            pool.push(Candidate { distance, error: 0.0, key: row, row: RowId(row) });
        }
    }
}

/// Scores a list of codes: first the signs of 32 entries at a time, then all bits of those that may still be let in.
///
/// `squared` is the query's squared distance to the list's centroid. Where only signs are held, they decide.
pub(super) fn coded(
    query: &CodedQuery,
    list: &HeldList<'_>,
    codes: &CodedList<'_>,
    squared: f32,
    admit: Admit<'_>,
    (scratch, pool, cost): (&mut ScanScratch, &mut Pool, &mut Cost),
) {
    let (entries, scan) = (list.posting.entries, Coded { query, list, codes, squared, admit });
    for first in (0..entries).step_by(BLOCK) {
        query.sign_block(codes, first / BLOCK, squared, &mut scratch.signs);
        let count = BLOCK.min(entries - first);
        if list.all_bits {
            refine(&scan, first..first + count, &scratch.signs, pool, cost);
        } else {
            take_signs(list, first..first + count, &scratch.signs, pool);
        }
    }
}

/// A list of codes and who scans it.
struct Coded<'a> {
    query: &'a CodedQuery,
    list: &'a HeldList<'a>,
    codes: &'a CodedList<'a>,
    squared: f32,
    admit: Admit<'a>,
}

/// Looks at all bits of those entries of a block that may be let in.
fn refine(scan: &Coded<'_>, block: Range<usize>, signs: &SignEstimates, pool: &mut Pool, cost: &mut Cost) {
    let Coded { query, list, codes, squared, admit } = *scan;
    let mut limit = pool.limit();
    let (mut survivors, mut count) = ([0u8; BLOCK], 0);
    for (entry, lower) in (0u8..).zip(&signs.lower[..block.len()]) {
        if *lower <= limit {
            survivors[count] = entry;
            count += 1;
            codes.prefetch(block.start + usize::from(entry));
        }
    }
    let error = codes.bounds.full_error(squared);
    for &entry in &survivors[..count] {
        if signs.lower[usize::from(entry)] > limit {
            continue;
        }
        let at = block.start + usize::from(entry);
        if admit.filter.is_some_and(|filter| !(filter.allows)(RowId(codes.row(at)))) {
            continue;
        }
        cost.refined += 1;
        let distance = query.full(codes, at, squared);
        if distance <= limit {
            let row = RowId(codes.row(at));
            let key = if admit.by_row { row.0 } else { list.posting.slot(at) };
            pool.push(Candidate { distance, error, key, row });
            limit = pool.limit();
        }
    }
}

/// Takes the entries of a block as their signs have them.
fn take_signs(list: &HeldList<'_>, block: Range<usize>, signs: &SignEstimates, pool: &mut Pool) {
    for (at, (&distance, &lower)) in block.zip(signs.estimate.iter().zip(&signs.lower)) {
        if distance <= pool.limit() {
            let key = list.posting.slot(at);
            // Both infinite, they say nothing.
            let error = distance - lower;
            let error = if error.is_nan() { f32::INFINITY } else { error };
            pool.push(Candidate { distance, error, key, row: NO_ROW });
        }
    }
}

/// The same bytes where elements of any type may lie: copied, if they do not already.
pub(crate) fn aligned<'a>(bytes: &'a [u8], copy: &'a mut Vec<u32>) -> &'a [u8] {
    if bytes.as_ptr().align_offset(align_of::<u32>()) == 0 {
        return bytes;
    }
    copy.resize(bytes.len().div_ceil(size_of::<u32>()), 0);
    let copy = &mut bytemuck::cast_slice_mut(copy)[..bytes.len()];
    copy.copy_from_slice(bytes);
    copy
}
