//! Finding the rows nearest to a query: all, or those that match a filter, in the way that was chosen.

use std::time::Instant;

use nearline_index::{Nearest, Picked, RowId, Scorer};
use roaring::RoaringBitmap;

use super::Inner;
use super::flush::dead_points;
use super::plan::{Choice, Estimate, Strategy, choose_strategy, first_tries};
use super::query::micros;
use super::select::{Doubt, FilterReport, LAZY_SHARE, part_of};
use crate::error::QueryError;
use crate::filter::Checked;
use crate::state::State;

/// A question about the vectors of one name.
pub(super) struct Search<'a> {
    pub(super) inner: &'a Inner,
    pub(super) state: &'a State,
    /// The place of the name in the schema.
    pub(super) at: usize,
    pub(super) scorer: &'a Scorer,
    pub(super) k: usize,
}

/// What was found.
pub(super) struct Found {
    /// Nearest first.
    pub(super) rows: Vec<(RowId, f32)>,
    pub(super) choice: Choice,
    pub(super) matching: Option<u64>,
    pub(super) filter: FilterReport,
    pub(super) filter_us: f64,
    pub(super) picked: Picked,
}

impl Search<'_> {
    pub(super) fn run(&self, filter: Option<&Checked>) -> Result<Found, QueryError> {
        let Some(filter) = filter else {
            let choice = choose_strategy(&self.estimate(None, 0));
            let (rows, picked) = self.compare(None, false, self.k)?;
            return Ok(Found {
                rows,
                choice,
                matching: None,
                filter: FilterReport::default(),
                filter_us: 0.0,
                picked,
            });
        };
        let started = Instant::now();
        let mut doubt = self.inner.doubt(self.state, filter)?;
        let mut filter_us = micros(started);
        let unsure = doubt.unsure.len();
        let first = choose_strategy(&self.estimate(Some(&(&doubt.certain | &doubt.unsure)), unsure));
        let mut sum = Picked::default();
        if first.strategy == Strategy::CompareFirst
            && let Some(rows) = self.compare_first(&mut doubt, &mut sum, &mut filter_us)?
        {
            let filter = doubt.report();
            return Ok(Found { rows, choice: first, matching: None, filter, filter_us, picked: sum });
        }
        let asking = Instant::now();
        doubt.settle_all()?;
        filter_us += micros(asking);
        let mut choice = choose_strategy(&self.estimate(Some(&doubt.certain), 0));
        if matches!(first.strategy, Strategy::CompareFirst | Strategy::PayloadsFirst) {
            choice.strategy = Strategy::PayloadsFirst;
            choice.why = format!("{}; then {}", first.why, choice.why);
        }
        let (rows, picked) = self.compare(Some(&doubt.certain), choice.picks, self.k)?;
        sum.compared += picked.compared;
        sum.pages += picked.pages;
        let (filter, matching) = (doubt.report(), Some(doubt.certain.len()));
        Ok(Found { rows, choice, matching, filter, filter_us, picked: sum })
    }

    /// Compares all that may match and asks the nearest. `None` if too few of them match to go on so.
    fn compare_first(
        &self,
        doubt: &mut Doubt<'_>,
        sum: &mut Picked,
        filter_us: &mut f64,
    ) -> Result<Option<Vec<(RowId, f32)>>, QueryError> {
        let most = doubt.unsure.len() / LAZY_SHARE;
        let mut tries = first_tries(self.k as u64);
        // A second time if it is likely to be the last.
        for _ in 0..2 {
            let may = &doubt.certain | &doubt.unsure;
            let (mut rows, picked) = self.compare(Some(&may), false, tries as usize)?;
            sum.compared += picked.compared;
            sum.pages += picked.pages;
            let asking = Instant::now();
            let (is_all, looked_at) = ((rows.len() as u64) < tries, rows.len() as u64);
            doubt.settle(&rows.iter().map(|(row, _)| row.0).collect())?;
            *filter_us += micros(asking);
            rows.retain(|(row, _)| doubt.certain.contains(row.0));
            if is_all || rows.len() >= self.k {
                rows.truncate(self.k);
                return Ok(Some(rows));
            }
            // As many as it takes if they go on matching so often, and half as many more.
            let needed = looked_at.saturating_mul(self.k as u64) / (rows.len() as u64).max(1);
            tries = needed.saturating_add(needed / 2);
            if tries > most {
                break;
            }
        }
        Ok(None)
    }

    /// What the choice of a strategy goes by.
    fn estimate(&self, matching: Option<&RoaringBitmap>, unsure: u64) -> Estimate {
        let mut estimate = Estimate {
            points: 0,
            matching: matching.map(|_| 0),
            unsure,
            k: self.k as u64,
            all_pages: 0,
            matching_pages: 0,
        };
        for segment in &self.state.segments {
            let info = &segment.info;
            estimate.points += info.points.saturating_sub(dead_points(info, self.state));
            let part = matching.map(|rows| rows.range_cardinality(info.first.0..=info.last.0));
            estimate.matching = estimate.matching.zip(part).map(|(sum, part)| sum + part);
            if let Some(vectors) = &segment.vectors[self.at] {
                estimate.all_pages += vectors.pages();
                estimate.matching_pages += vectors.pages_of(part.unwrap_or(vectors.rows()));
            }
        }
        estimate
    }

    /// The `k` rows nearest to the query, of those that match or of all, and what finding them took. With `picks`, only
    /// vectors that match are read.
    fn compare(
        &self,
        matching: Option<&RoaringBitmap>,
        picks: bool,
        k: usize,
    ) -> Result<(Vec<(RowId, f32)>, Picked), QueryError> {
        let allowed = |row: RowId| match matching {
            Some(matching) => matching.contains(row.0),
            None => !self.state.is_dead(row),
        };
        let (mut nearest, mut sum) = (Nearest::new(k), Picked::default());
        for segment in &self.state.segments {
            let Some(vectors) = &segment.vectors[self.at] else { continue };
            let done = match matching.filter(|_| picks) {
                Some(matching) => {
                    let rows = part_of(segment, matching);
                    let within = segment.info.first..=segment.info.last;
                    vectors.nearest_of(self.scorer, rows.into_iter().map(RowId), &within, &mut nearest)?
                }
                None => {
                    let compared = vectors.nearest(self.scorer, allowed, &mut nearest)?;
                    Picked { compared, pages: vectors.pages() }
                }
            };
            sum.compared += done.compared;
            sum.pages += done.pages;
        }
        for point in self.state.live_in_memory().filter(|point| allowed(point.row)) {
            if let Some(vector) = &point.vectors[self.at] {
                nearest.push(point.row, self.scorer.distance(vector));
                sum.compared += 1;
            }
        }
        Ok((nearest.into_sorted(), sum))
    }
}
