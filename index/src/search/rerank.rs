//! Comparing candidates with the raw vectors: only those whose place is undecided, nearest lower bound first, until no
//! bound can enter.

use std::time::Instant;

use nearline_storage::{BatchReader, ReadRange};

use super::block::Block;
use super::context::{Context, RowsAt};
use super::job::{Job, Scratch, micros, tag};
use super::open::Inner;
use super::options::Hit;
use super::pool::{Candidate, NO_ROW};
use super::scan::aligned;
use crate::calibration::Residency;
use crate::error::Result;
use crate::ids::read_id;
use crate::posting::Codec;
use crate::topk::{self, TopK};
use crate::vector::RowId;

/// Candidates whose rows are in flight ahead of the one that is compared next.
pub(crate) const ROWS_AHEAD: usize = 16;

/// The rows a query reads.
#[derive(Debug, Default)]
pub(super) struct RowReads {
    /// Candidates to compare, by lower bound.
    order: Vec<Undecided>,
    submitted: usize,
    compared: usize,
    end: usize,
    /// The pages that hold their rows.
    pages: Vec<Page>,
    /// The file and offset of each candidate's page, with the candidate's place in the order: to find those of one page.
    by_page: Vec<(usize, u64, u32)>,
    /// Candidates that are among the nearest whatever their exact distance.
    sure: Vec<Candidate>,
    best: TopK,
    found: Vec<Hit>,
}

/// A candidate whose place only its row can tell.
#[derive(Debug)]
struct Undecided {
    /// The least distance, of the metric, that it may have.
    bound: f32,
    candidate: Candidate,
    /// The number of the page that holds its row, and which row of the page that is.
    page: u32,
    at: usize,
}

/// A page of rows: read when it is first needed, kept until it is needed no more.
#[derive(Debug)]
struct Page {
    /// The number of its file among those of the reader.
    file: usize,
    range: ReadRange,
    is_read: bool,
    block: Option<Block>,
    /// Whether its bytes passed their checks.
    is_checked: bool,
    /// Candidates in it that are not compared yet.
    left: u32,
}

impl RowReads {
    /// Takes in a page.
    pub(super) fn deliver(&mut self, page: usize, bytes: Vec<u8>) {
        if let Some(page) = self.pages.get_mut(page) {
            page.block = Some(Block::Read(bytes));
        }
    }

    /// Finds the pages of all candidates in order, each page once. Candidates whose row is nowhere are left out.
    fn find_pages(&mut self, rows: RowsAt<'_>) {
        let Self { order, pages, by_page, .. } = self;
        by_page.clear();
        order.retain_mut(|undecided| {
            let Some((file, range, at)) = rows.place(undecided.candidate.key) else { return false };
            undecided.at = at;
            by_page.push((file, range.offset, by_page.len() as u32));
            true
        });
        by_page.sort_unstable();
        for together in by_page.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            for &(_, _, number) in together {
                order[number as usize].page = pages.len() as u32;
            }
            let first = &order[together[0].2 as usize];
            if let Some((file, range, _)) = rows.place(first.candidate.key) {
                let left = together.len() as u32;
                pages.push(Page { file, range, is_read: false, block: None, is_checked: false, left });
            }
        }
    }
}

impl Job {
    /// Turns from lists to rows: decides which candidates must be compared. Says whether there are none.
    pub(super) fn start_rerank(&mut self, cx: &Context<'_>) -> bool {
        let index = cx.index;
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
                reads.order.push(Undecided { bound, candidate: *candidate, page: 0, at: 0 });
            }
        }
        let key = |undecided: &Undecided| undecided.candidate.key;
        reads.order.sort_by(|a, b| a.bound.total_cmp(&b.bound).then(key(a).cmp(&key(b))));
        reads.find_pages(cx.rows);
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
        cx: &Context<'_>,
        reader: &mut dyn BatchReader,
        slot: usize,
        scratch: &mut Scratch,
    ) -> Result<bool> {
        let start = Instant::now();
        let done = loop {
            let before = (self.row_reads.compared, self.row_reads.submitted);
            self.compare_ready(cx, scratch)?;
            if self.row_reads.compared >= self.row_reads.end {
                break true;
            }
            self.submit_rows(cx, reader, slot)?;
            if before == (self.row_reads.compared, self.row_reads.submitted) {
                break false;
            }
        };
        self.cost.rerank_us += micros(start);
        Ok(done)
    }

    fn compare_ready(&mut self, cx: &Context<'_>, scratch: &mut Scratch) -> Result<()> {
        let Some(scorer) = &self.scorer else { return Ok(()) };
        let reads = &mut self.row_reads;
        while reads.compared < reads.submitted {
            let &Undecided { page, at, candidate, .. } = &reads.order[reads.compared];
            let page = &mut reads.pages[page as usize];
            let Some(block) = &page.block else { return Ok(()) };
            let read = cx.rows.decode(page.file, page.range.offset, block)?;
            if let Some((row, vector)) = read.get(at) {
                cx.rows.check_row(page.file, page.range.offset, row, candidate.key)?;
                let mut distance = [0.0];
                scorer.distances(aligned(vector, &mut scratch.copy), &mut distance);
                reads.best.push(topk::Candidate { distance: distance[0], row: RowId(row) });
                self.cost.reranked += 1;
            }
            page.is_checked = true;
            page.left -= 1;
            if page.left == 0
                && let Some(block) = page.block.take()
            {
                cx.rows.keep(&block, cx.index.cache.as_ref(), page.file, page.range.offset);
                block.recycle(&mut scratch.buffers);
            }
            reads.compared += 1;
            // In order of lower bound: behind the first that cannot enter, none can. What may be in flight by then is
            // compared, whether it is or not: what is answered must not depend on the disk.
            let limit = reads.best.limit();
            if reads.order[reads.compared..reads.end].first().is_some_and(|next| next.bound > limit) {
                reads.end = reads.end.min(reads.compared - 1 + ROWS_AHEAD);
            }
        }
        Ok(())
    }

    fn submit_rows(&mut self, cx: &Context<'_>, reader: &mut dyn BatchReader, slot: usize) -> Result<()> {
        let until = self.row_reads.end.min(self.row_reads.compared + ROWS_AHEAD);
        while self.row_reads.submitted < until {
            let number = self.row_reads.order[self.row_reads.submitted].page as usize;
            let page = &mut self.row_reads.pages[number];
            let (file, range) = (page.file, page.range);
            if !page.is_read {
                page.block = cx.rows.find(cx.index.cache.as_ref(), file, range.offset);
                page.is_read = page.block.is_some();
                self.cost.cached += u64::from(page.is_read);
            }
            if !page.is_read {
                if self.is_over_budget(range) {
                    (self.cut, self.row_reads.end) = (true, self.row_reads.submitted);
                    return Ok(());
                }
                if !reader.has_room(range) {
                    return Ok(());
                }
                reader.submit(tag(slot, number), file, range)?;
                self.row_reads.pages[number].is_read = true;
                self.count(range);
            }
            self.row_reads.submitted += 1;
        }
        Ok(())
    }

    /// The answer's vectors: those compared, and those that needed no comparison.
    pub(super) fn hits(&mut self, cx: &Context<'_>, scratch: &mut Scratch) -> Result<Vec<Hit>> {
        let index = cx.index;
        let reads = &mut self.row_reads;
        for page in reads.pages.drain(..) {
            if let Some(block) = page.block {
                // Not all of its candidates needed to be compared.
                if page.is_checked {
                    cx.rows.keep(&block, index.cache.as_ref(), page.file, page.range.offset);
                }
                block.recycle(&mut scratch.buffers);
            }
        }
        let raw = index.info.codec == Codec::Raw;
        if !reads.order.is_empty() {
            let exact =
                |near: topk::Candidate| Hit { id: 0, row: near.row, distance: near.distance, exact: true };
            reads.found.extend(reads.best.take().into_iter().map(exact));
        }
        // Cut short, what was not compared counts as estimated.
        let uncompared = if self.cut { &reads.order[reads.compared.min(reads.order.len())..] } else { &[] };
        let named =
            uncompared.iter().map(|undecided| &undecided.candidate).filter(|found| found.row != NO_ROW);
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
