//! Finding the rows nearest to a query: all, or those that match a filter, in the way that was chosen.

use std::time::Instant;

use nearline_index::{
    AllowedRows, CALIBRATED_TARGETS, CodeAsk, Distances, Flat, Nearest, Picked, Probe, RowCodes, RowId,
};
use nearline_storage::PAGE;
use roaring::RoaringBitmap;

use super::Reader;
use super::flush::dead_points;
use super::index::{live_in_lists, rest_of};
use super::plan::{Choice, Estimate, IndexEstimate, Reads, Strategy, choose_strategy, first_tries};
use super::query::micros;
use super::select::{Doubt, FilterReport, LAZY_SHARE, part_of};
use crate::error::QueryError;
use crate::filter::Checked;
use crate::segment::Segment;
use crate::vector_index::{Ask, Listed};

/// Of more than these, lists and vectors are looked at, not codes: there would be too many candidates.
const CODES_K_MAX: usize = 10_000;

/// A question about the vectors of one name.
#[derive(Clone, Copy)]
pub(super) struct Search<'a> {
    pub(super) reader: Reader<'a>,
    /// The place of the name in the schema.
    pub(super) at: usize,
    pub(super) scorer: &'a dyn Distances,
    pub(super) k: usize,
    /// What the vector index is asked, if it can tell what is near.
    pub(super) by_index: Option<ByIndex<'a>>,
}

/// A question to a vector index.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByIndex<'a> {
    /// The query as it is stored.
    pub(super) query: &'a [u8],
    pub(super) effort: Effort,
}

/// How much a vector index is to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Effort {
    pub(super) target_recall: f32,
    /// So many lists, whatever the recall.
    pub(super) nprobe: Option<usize>,
    pub(super) max_bytes_read: Option<u64>,
    pub(super) max_us: Option<u64>,
}

impl Effort {
    /// Whether the recall is one that estimates can be asked for.
    fn is_estimated(&self) -> bool {
        CALIBRATED_TARGETS.last().is_some_and(|best| self.target_recall <= *best)
    }
}

/// What was found.
pub(super) struct Found {
    /// Nearest first.
    pub(super) rows: Vec<(RowId, f32)>,
    pub(super) choice: Choice,
    pub(super) matching: Option<u64>,
    pub(super) filter: FilterReport,
    pub(super) filter_us: f64,
    pub(super) picked: Compared,
}

/// What comparing took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Compared {
    /// Vectors.
    pub(super) compared: u64,
    /// Pages read.
    pub(super) pages: u64,
    /// Reads of the disk.
    pub(super) reads: u64,
    /// Posting lists looked at.
    pub(super) lists: u64,
    /// Whether a budget cut it short.
    pub(super) cut: bool,
}

impl Compared {
    pub(super) fn add(&mut self, other: Self) {
        self.compared += other.compared;
        self.pages += other.pages;
        self.reads += other.reads;
        self.lists += other.lists;
        self.cut |= other.cut;
    }

    fn add_picked(&mut self, Picked { compared, pages, reads }: Picked) {
        self.add(Self { compared, pages, reads, ..Self::default() });
    }
}

/// The rows of a segment that match.
struct Part<'a>(&'a RoaringBitmap);

impl AllowedRows for Part<'_> {
    fn count(&self) -> u64 {
        self.0.len()
    }

    fn iter(&self) -> impl Iterator<Item = RowId> {
        self.0.iter().map(RowId)
    }

    fn has(&self, row: RowId) -> bool {
        self.0.contains(row.0)
    }
}

impl Search<'_> {
    pub(super) fn run(&self, filter: Option<&Checked>) -> Result<Found, QueryError> {
        let Some(filter) = filter else { return self.among(None) };
        let started = Instant::now();
        let mut doubt = self.reader.doubt(filter)?;
        let mut filter_us = micros(started);
        let unsure = doubt.unsure.len();
        let first = choose_strategy(&self.estimate(Some(&(&doubt.certain | &doubt.unsure)), unsure));
        let mut sum = Compared::default();
        if first.strategy == Strategy::CompareFirst
            && let Some(rows) = self.compare_first(first.reads, &mut doubt, &mut sum, &mut filter_us)?
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
        let (rows, picked) = self.compare(Some(&doubt.certain), choice.reads, self.k)?;
        sum.add(picked);
        let (filter, matching) = (doubt.report(), Some(doubt.certain.len()));
        Ok(Found { rows, choice, matching, filter, filter_us, picked: sum })
    }

    /// The nearest of rows that are known to match, all of them alive.
    pub(super) fn among(&self, matching: Option<&RoaringBitmap>) -> Result<Found, QueryError> {
        let choice = choose_strategy(&self.estimate(matching, 0));
        let (rows, picked) = self.compare(matching, choice.reads, self.k)?;
        let (filter, matching) = (FilterReport::default(), matching.map(RoaringBitmap::len));
        Ok(Found { rows, choice, matching, filter, filter_us: 0.0, picked })
    }

    /// Compares all that may match and asks the nearest. `None` if too few of them match to go on so.
    fn compare_first(
        &self,
        reads: Reads,
        doubt: &mut Doubt<'_>,
        sum: &mut Compared,
        filter_us: &mut f64,
    ) -> Result<Option<Vec<(RowId, f32)>>, QueryError> {
        let most = doubt.unsure.len() / LAZY_SHARE;
        let mut tries = first_tries(self.k as u64);
        // A second time if it is likely to be the last.
        for _ in 0..2 {
            let may = &doubt.certain | &doubt.unsure;
            let (mut rows, picked) = self.compare(Some(&may), reads, tries as usize)?;
            sum.add(picked);
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
            coded: 0,
            index: self.listed().map(|(listed, _)| {
                let live = live_in_lists(self.reader.state, listed);
                IndexEstimate { live, matching: allowed_in(listed, live, matching), rest_pages: 0 }
            }),
        };
        for segment in &self.reader.state.segments {
            let info = &segment.info;
            estimate.points += info.points.saturating_sub(dead_points(info, self.reader.state));
            let part = matching.map(|rows| rows.range_cardinality(info.first.0..=info.last.0));
            estimate.matching = estimate.matching.zip(part).map(|(sum, part)| sum + part);
            if let Some(vectors) = &segment.vectors[self.at] {
                if let (Some(index), Some((listed, _))) = (&mut estimate.index, self.listed()) {
                    let rest = rest_of(self.reader.state, segment, self.at, Some(listed.last));
                    index.rest_pages += pages_in_a_row(vectors, rest);
                }
                estimate.all_pages += vectors.pages();
                let part = part.unwrap_or(vectors.rows());
                match self.codes(segment, part) {
                    Some((codes, _)) => {
                        estimate.coded += part;
                        estimate.matching_pages += vectors.pages_of(codes.reads(self.k as u64));
                    }
                    None => estimate.matching_pages += vectors.pages_of(part),
                }
            }
        }
        estimate
    }

    /// The vector index and what it is asked, unless the answer has to be better than it can be known to be.
    fn listed(&self) -> Option<(&Listed, ByIndex<'_>)> {
        let ask = self.by_index?;
        let listed = self.reader.state.indexes.get(self.at)?.as_ref()?;
        (ask.effort.nprobe.is_some() || ask.effort.is_estimated()).then_some((listed, ask))
    }

    /// The codes of a segment and what they are asked about so many of its rows, if that spares reading most of them.
    fn codes<'a>(&'a self, segment: &'a Segment, rows: u64) -> Option<(&'a RowCodes, CodeAsk<'a>)> {
        let ByIndex { query, effort } = self.by_index?;
        let codes = segment.codes(self.at)?;
        let is_of_use = effort.nprobe.is_none()
            && effort.is_estimated()
            && codes.reads(self.k as u64) < rows
            && self.k <= CODES_K_MAX;
        is_of_use.then_some((codes, CodeAsk { query, scorer: self.scorer, recall: effort.target_recall }))
    }

    /// The `k` rows nearest to the query, of those that match or of all, and what finding them took.
    fn compare(
        &self,
        matching: Option<&RoaringBitmap>,
        reads: Reads,
        k: usize,
    ) -> Result<(Vec<(RowId, f32)>, Compared), QueryError> {
        let allowed = |row: RowId| match matching {
            Some(matching) => matching.contains(row.0),
            None => !self.reader.state.is_dead(row),
        };
        let (mut nearest, mut sum) = (Nearest::new(k), Compared::default());
        let mut last = None;
        if let (Reads::Index, Some((listed, ask))) = (reads, self.listed()) {
            last = Some(listed.last);
            let allowed_rows = allowed_in(listed, live_in_lists(self.reader.state, listed), matching);
            if allowed_rows > 0 || matching.is_none() {
                let ask = ask.of(k, &allowed, allowed_rows);
                sum.add(search_lists(listed, &ask, &mut nearest)?);
            }
        }
        for segment in &self.reader.state.segments {
            let Some(vectors) = &segment.vectors[self.at] else { continue };
            if last.is_some_and(|last| segment.info.last <= last) {
                continue;
            }
            if let Some(matching) = matching.filter(|_| reads == Reads::Matching) {
                let part = part_of(segment, matching);
                let picked = match self.codes(segment, part.len()) {
                    Some((codes, ask)) => codes.nearest_of(vectors, &ask, &Part(&part), &mut nearest)?,
                    None => vectors.nearest_of(self.scorer, part.into_iter().map(RowId), &mut nearest)?,
                };
                sum.add_picked(picked);
                continue;
            }
            let from = last.map_or(0, |last| vectors.slot_after(last));
            sum.compared += vectors.nearest_from(from, self.scorer, allowed, &mut nearest)?;
            sum.pages += pages_in_a_row(vectors, vectors.rows() - from);
            sum.reads += vectors.reads_from(from);
        }
        for run in self.reader.state.frozen.iter().chain(&self.reader.state.runs) {
            let Some(block) = run.vectors.get(self.at) else { continue };
            nearest.push_all(self.scorer, &block.rows, &block.bytes, allowed);
            sum.compared += block.rows.len() as u64;
        }
        Ok((nearest.into_sorted(), sum))
    }
}

impl<'a> ByIndex<'a> {
    /// The question for the `k` nearest that are allowed, about so many.
    fn of(&self, k: usize, allows: &'a (dyn Fn(RowId) -> bool + Sync), allowed: u64) -> Ask<'a> {
        let Effort { target_recall, nprobe, max_bytes_read, max_us } = self.effort;
        let probe = nprobe.map_or(Probe::TargetRecall(target_recall), Probe::Lists);
        Ask { query: self.query, k, probe, max_bytes_read, max_us, allows, allowed }
    }
}

/// Searches the lists.
fn search_lists(listed: &Listed, ask: &Ask<'_>, nearest: &mut Nearest) -> Result<Compared, QueryError> {
    let answer = listed.index.search(ask, &listed.live)?;
    answer.hits.iter().for_each(|hit| nearest.push(hit.row, hit.distance));
    Ok(Compared {
        compared: answer.cost.entries + answer.cost.reranked,
        pages: answer.cost.bytes / PAGE as u64,
        reads: answer.cost.reads,
        lists: answer.cost.lists,
        cut: answer.cut,
    })
}

/// About how many of the vectors in lists may be answered; none only if there are none.
fn allowed_in(listed: &Listed, live: u64, matching: Option<&RoaringBitmap>) -> u64 {
    let count = |rows: &RoaringBitmap| rows.range_cardinality(..=listed.last.0).min(live.max(1));
    matching.map_or(live, count)
}

/// About how many pages so many vectors take that lie side by side.
fn pages_in_a_row(vectors: &Flat, count: u64) -> u64 {
    (vectors.pages() * count).div_ceil(vectors.rows().max(1))
}
