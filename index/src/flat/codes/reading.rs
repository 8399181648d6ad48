//! Reading candidates until those that are wanted are likely to be among them.

use std::collections::BTreeSet;

use super::super::shortlist::Listed;
use super::super::{Flat, Nearest, Picked};
use super::{CodeAsk, RowCodes};
use crate::error::Result;
use crate::quantize::CodedQuery;
use crate::space::{Space, norm2};
use crate::vector::RowId;

/// Vectors read at first, for each that is wanted, and at least; and at a time after that, at least and at most.
const FIRST: usize = 2;
pub(super) const FIRST_MIN: usize = 16;
const MORE_MIN: usize = 16;
const MORE_MAX: usize = 1024;
/// Reading goes on until so much of what the wanted recall leaves is found, too: the estimates are no more than that.
const SURER: f32 = 0.25;
/// The logistic distribution with this scale is as good as the normal one.
const LOGISTIC: f32 = 1.702;

/// What is known of the errors of estimates.
///
/// An error is twice the product of the query with what the code lacks of the vector, which is at right angles to the vector:
/// only the part of the query that is so, too, matters. (All are seen from the mean.)
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Errors {
    /// The mean squares of the deviations of both estimates, for each unit of that part of a query and of a vector's length.
    pub(super) signs: f32,
    pub(super) all_bits: f32,
}

/// Of that part's square, at least so much of the whole.
const ACROSS_MIN: f32 = 0.05;

/// The square of the part of a query at right angles to vectors of a length at a distance, all squared.
fn across(query: f32, length: f32, distance: f32) -> f32 {
    let along = (query + length - distance).powi(2) / (4.0 * length);
    let across = query - along;
    // NaN, too.
    if across > ACROSS_MIN * query { across } else { ACROSS_MIN * query }
}

/// A query made ready.
pub(super) struct Query {
    pub(super) coded: CodedQuery,
    /// The square of its distance from the mean.
    pub(super) squared: f32,
    /// Its norm as it was given.
    norm: f64,
    errors: Errors,
}

impl Query {
    pub(super) fn new(codes: &RowCodes, query: &[u8]) -> Self {
        let (mut place, mut wide) = (vec![0.0; codes.shape.dim], vec![0.0; codes.space.shape.dim]);
        codes.space.embed_query(query, &mut place);
        codes.space.shape.widen(query, &mut wide);
        let mut coded = CodedQuery::default();
        coded.set(codes.shape, &place);
        let squared = norm2(&place) as f32;
        Self { coded, squared, norm: norm2(&wide).sqrt(), errors: codes.errors }
    }

    /// The mean square of the lengths of vectors, from the scales of their signs: those are -2|r|²/⟨r, s⟩, about -5|r|/√dim, for
    /// the angle between a vector and its signs is hardly ever far from arccos 0.8.
    fn length_of(&self, some: &[Listed]) -> f32 {
        let squares: f32 = some.iter().map(|listed| listed.factors.1.powi(2)).sum();
        squares / some.len().max(1) as f32 * self.coded.dim() as f32 / 25.0
    }

    /// How likely it is that vectors of a length as far as these would be among those that were read: those with estimates below
    /// `next`, and by signs below `cut`.
    fn recall(&self, found: &[f32], length: f32, next: Option<f32>, cut: Option<f32>) -> f32 {
        let Errors { signs, all_bits } = self.errors;
        // Products are looked up in a table of steps, and multiplied with the scale.
        let steps = 25.0 * length / self.coded.dim() as f32 * self.coded.table_deviation().powi(2);
        let below = |limit: Option<f32>, distance: f32, variance: f32| {
            let Some(limit) = limit else { return 1.0 };
            let deviation = variance.sqrt().max(f32::MIN_POSITIVE);
            1.0 / (1.0 + (LOGISTIC * (distance - limit) / deviation).exp())
        };
        let of = |&distance: &f32| {
            let across = length * across(self.squared, length, distance);
            below(next, distance, all_bits * across + steps) * below(cut, distance, signs * across + steps)
        };
        found.iter().map(of).sum::<f32>() / found.len() as f32
    }
}

/// A search that reads candidates.
pub(super) struct Reading<'a> {
    flat: &'a Flat,
    ask: &'a CodeAsk<'a>,
    query: &'a Query,
    nearest: &'a mut Nearest,
    /// Rows that were read.
    read: BTreeSet<u32>,
    picked: Picked,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        flat: &'a Flat,
        ask: &'a CodeAsk<'a>,
        query: &'a Query,
        nearest: &'a mut Nearest,
    ) -> Self {
        Self { flat, ask, query, nearest, read: BTreeSet::new(), picked: Picked::default() }
    }

    pub(super) fn has_read(&self, row: u32) -> bool {
        self.read.contains(&row)
    }

    /// What it took so far.
    pub(super) fn picked(&self) -> Picked {
        self.picked
    }

    /// Reads candidates, lowest estimate first, until as many as are wanted are likely to be found. Says whether they are;
    /// above `cut`, some are not among the candidates.
    pub(super) fn run(&mut self, space: &Space, candidates: &[Listed], cut: Option<f32>) -> Result<bool> {
        let wanted = self.ask.recall + (1.0 - self.ask.recall) * SURER;
        let first = (self.nearest.k() * FIRST).max(FIRST_MIN);
        let length = self.query.length_of(&candidates[..candidates.len().min(first)]);
        let mut left = candidates;
        loop {
            let found: Vec<f32> = match self.nearest.distances().count() == self.nearest.k() {
                true => {
                    self.nearest.distances().map(|d| space.routing_distance(d, self.query.norm)).collect()
                }
                false => Vec::new(),
            };
            let recall = |at: usize, cut| {
                let next = left.get(at).map(|next| next.estimate);
                self.query.recall(&found, length, next, cut)
            };
            // When all that is left to do is to look at more candidates, reading these would not help.
            let is_enough = |at: usize| !found.is_empty() && recall(at, None) >= wanted;
            if left.is_empty() || is_enough(0) {
                return Ok(cut.is_none() || (!found.is_empty() && recall(0, cut) >= wanted));
            }
            // If no nearer ones come, it is known how many are needed; if they do, fewer are.
            let count = match found.is_empty() {
                true => first,
                false => first_place(left.len(), is_enough).div_ceil(2).clamp(MORE_MIN, MORE_MAX.max(first)),
            };
            let (now, later) = left.split_at(count.min(left.len()));
            let mut rows: Vec<RowId> = now.iter().map(|listed| RowId(listed.row)).collect();
            rows.sort_unstable();
            self.read.extend(rows.iter().map(|row| row.0));
            self.picked.add(self.flat.nearest_of(self.ask.scorer, rows, self.nearest)?);
            left = later;
        }
    }
}

/// The first place below `len` for which something holds that holds for all later ones, or `len`.
fn first_place(len: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = (low + high) / 2;
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    low
}
