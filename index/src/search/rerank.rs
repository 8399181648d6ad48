//! Comparing candidates with the raw vectors: only those whose place is undecided, nearest lower bound first, until no
//! bound can enter.

use std::time::Instant;

use nearline_storage::{BatchReader, ReadRange};

use super::job::{Job, ROWS, Scratch, micros, tag};
use super::open::Inner;
use super::options::Hit;
use super::pool::{Candidate, NO_ROW};
use super::scan::aligned;
use crate::calibration::Residency;
use crate::error::Result;
use crate::ids::read_id;
use crate::posting::Codec;
use crate::rows::RowPage;
use crate::topk::{self, TopK};
use crate::vector::RowId;

/// Candidates whose rows are in flight ahead of the one that is compared next.
pub(crate) const ROWS_AHEAD: usize = 16;

/// The rows a query reads.
#[derive(Debug, Default)]
pub(super) struct RowReads {
    /// Candidates to compare, by lower bound (which is a distance of the metric).
    order: Vec<(f32, Candidate)>,
    submitted: usize,
    compared: usize,
    end: usize,
    pages: Vec<Page>,
    /// Candidates that are among the nearest whatever their exact distance.
    sure: Vec<Candidate>,
    best: TopK,
    found: Vec<Hit>,
}

#[derive(Debug)]
struct Page {
    range: ReadRange,
    bytes: Option<Vec<u8>>,
}

impl RowReads {
    pub(super) fn deliver(&mut self, page: usize, bytes: Vec<u8>) {
        self.pages[page].bytes = Some(bytes);
    }
}

impl Job {
    /// Turns from lists to rows: decides which candidates must be compared. Says whether there are none.
    pub(super) fn start_rerank(&mut self, index: &Inner) -> bool {
        self.take_candidates();
        self.reranking = true;
        let (k, width, widest) = (self.course.k, self.course.rerank, self.widest(index));
        let reads = &mut self.row_reads;
        reads.order.clear();
        reads.sure.clear();
        reads.found.clear();
        // A search that failed leaves pages behind.
        reads.pages.clear();
        (reads.submitted, reads.compared) = (0, 0);
        if width == 0.0 {
            reads.sure.extend(self.candidates.iter().filter(|found| found.row != NO_ROW).take(k));
            reads.end = 0;
            return true;
        }
        let enough =
            nth_smallest(&self.candidates, k, |found| found.distance + found.error.max(widest) * width);
        let next = nth_smallest(&self.candidates, k + 1, |found| lower(found, width));
        for candidate in &self.candidates {
            if lower(candidate, width) > enough {
                continue;
            }
            let sure = !self.course.exact && candidate.row != NO_ROW && upper(candidate, width) < next;
            if sure {
                reads.sure.push(*candidate);
            } else {
                let bound = index.space.metric_distance(lower(candidate, width), self.norm);
                reads.order.push((bound, *candidate));
            }
        }
        reads.order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.key.cmp(&b.1.key)));
        reads.end = reads.order.len();
        reads.best.reset(k.saturating_sub(reads.sure.len()).max(1), 1);
        reads.end == 0
    }

    /// The least error that candidates are believed to have when they limit others.
    ///
    /// Held are the signs of all lists and all bits of some: the estimates of the latter would rule out what signs alone
    /// show too far away, although the width was calibrated for signs against signs.
    fn widest(&self, index: &Inner) -> f32 {
        let is_mixed = index.held.residency == Residency::Signs && index.held.lists > 0;
        let errors = self.candidates.iter().filter(|_| is_mixed).map(|found| found.error);
        errors.fold(0.0, f32::max)
    }

    /// Goes on with the rows as far as it is possible without waiting. Says whether all are compared.
    pub(super) fn advance_rows(
        &mut self,
        index: &Inner,
        reader: &mut dyn BatchReader,
        slot: usize,
        scratch: &mut Scratch,
    ) -> Result<bool> {
        let start = Instant::now();
        let done = loop {
            let before = (self.row_reads.compared, self.row_reads.submitted);
            self.compare_ready(index, scratch)?;
            if self.row_reads.compared >= self.row_reads.end {
                break true;
            }
            self.submit_rows(index, reader, slot)?;
            if before == (self.row_reads.compared, self.row_reads.submitted) {
                break false;
            }
        };
        self.cost.rerank_us += micros(start);
        Ok(done)
    }

    fn compare_ready(&mut self, index: &Inner, scratch: &mut Scratch) -> Result<()> {
        let (Some(scorer), Some(rows)) = (&self.scorer, &index.rows) else { return Ok(()) };
        let reads = &mut self.row_reads;
        while reads.compared < reads.submitted {
            let (_, candidate) = reads.order[reads.compared];
            let (range, at) = rows.layout.place(candidate.key, index.info.rows);
            let page = reads.pages.iter().find(|page| page.range == range);
            let Some(bytes) = page.and_then(|page| page.bytes.as_ref()) else { return Ok(()) };
            let (key, path) = (rows.file.key(range.offset), rows.file.file().path());
            let page = RowPage::decode(bytes, key, path, rows.layout, index.info.rows)?;
            if let Some((row, vector)) = page.get(at) {
                let mut distance = [0.0];
                scorer.distances(aligned(vector, &mut scratch.copy), &mut distance);
                reads.best.push(topk::Candidate { distance: distance[0], row: RowId(row) });
                self.cost.reranked += 1;
            }
            reads.compared += 1;
            // In order of lower bound: behind the first that cannot enter, none can. What may be in flight by then is
            // compared, whether it is or not: what is answered must not depend on the disk.
            let limit = reads.best.limit();
            if reads.order[reads.compared..reads.end].first().is_some_and(|next| next.0 > limit) {
                reads.end = reads.end.min(reads.compared - 1 + ROWS_AHEAD);
            }
        }
        Ok(())
    }

    fn submit_rows(&mut self, index: &Inner, reader: &mut dyn BatchReader, slot: usize) -> Result<()> {
        let Some(rows) = &index.rows else { return Ok(()) };
        let until = self.row_reads.end.min(self.row_reads.compared + ROWS_AHEAD);
        while self.row_reads.submitted < until {
            let (_, candidate) = self.row_reads.order[self.row_reads.submitted];
            let (range, _) = rows.layout.place(candidate.key, index.info.rows);
            if !self.row_reads.pages.iter().any(|page| page.range == range) {
                if self.is_over_budget(range) {
                    (self.cut, self.row_reads.end) = (true, self.row_reads.submitted);
                    return Ok(());
                }
                if !reader.has_room(range) {
                    return Ok(());
                }
                reader.submit(tag(slot, self.row_reads.pages.len()), ROWS, range)?;
                self.row_reads.pages.push(Page { range, bytes: None });
                self.count(range);
            }
            self.row_reads.submitted += 1;
        }
        Ok(())
    }

    /// The answer's vectors: those compared, and those that needed no comparison.
    pub(super) fn hits(&mut self, index: &Inner, scratch: &mut Scratch) -> Result<Vec<Hit>> {
        let reads = &mut self.row_reads;
        for page in reads.pages.drain(..) {
            scratch.buffers.extend(page.bytes);
        }
        let raw = index.info.codec == Codec::Raw;
        if !reads.order.is_empty() {
            let exact =
                |near: topk::Candidate| Hit { id: 0, row: near.row, distance: near.distance, exact: true };
            reads.found.extend(reads.best.take().into_iter().map(exact));
        }
        // Cut short, what was not compared counts as estimated.
        let uncompared = if self.cut { &reads.order[reads.compared.min(reads.order.len())..] } else { &[] };
        let named = uncompared.iter().map(|(_, candidate)| candidate).filter(|found| found.row != NO_ROW);
        for candidate in reads.sure.iter().chain(named) {
            let distance = match raw {
                true => candidate.distance,
                false => index.space.metric_distance(candidate.distance, self.norm),
            };
            reads.found.push(Hit { id: 0, row: candidate.row, distance, exact: raw });
        }
        reads.found.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.row.cmp(&b.row)));
        reads.found.truncate(self.course.k);
        name(&mut reads.found, index, &mut scratch.page)?;
        Ok(std::mem::take(&mut reads.found))
    }
}

/// Looks up the ids of the vectors found.
pub(super) fn name(hits: &mut [Hit], index: &Inner, page: &mut Vec<u8>) -> Result<()> {
    for hit in hits {
        hit.id = match &index.ids {
            Some(ids) => read_id(ids, hit.row, page)?,
            None => u64::from(hit.row.0),
        };
    }
    Ok(())
}

fn lower(candidate: &Candidate, width: f32) -> f32 {
    candidate.distance - candidate.error * width
}

fn upper(candidate: &Candidate, width: f32) -> f32 {
    candidate.distance + candidate.error * width
}

/// The `n`-th smallest of the candidates' bounds, or infinity.
fn nth_smallest(candidates: &[Candidate], n: usize, bound: impl Fn(&Candidate) -> f32) -> f32 {
    if candidates.len() < n {
        return f32::INFINITY;
    }
    let mut bounds: Vec<f32> = candidates.iter().map(bound).collect();
    *bounds.select_nth_unstable_by(n - 1, f32::total_cmp).1
}
